//! Where signing in leads: on with a client's request that waits, or to a page of this service.

use actix_web::HttpRequest;
use serde::Deserialize;
use shared::pages::{Page, ReturnTo};
use shared::problem::Problem;
use shared::session::UserId;
use url::form_urlencoded;

use super::over::over;
use crate::AuthService;
use crate::authorization::Flow;

const DISPATCHER: &str = "/oauth2/authorize";

/// The query of the pages on the way. Without either, it leads to the account.
#[derive(Deserialize)]
pub(in crate::endpoints) struct WayQuery {
    flow: Option<String>,
    return_to: Option<ReturnTo>,
    /// The person has asked for another account than the one that is signed in.
    pub(super) another: Option<String>,
}

/// Where it leads, and what the pages show of it.
pub(super) enum Way {
    Flow(Box<Flow>),
    Local(ReturnTo),
}

impl Way {
    /// # Errors
    /// 400 `flow_over` when no such request waits for this browser; 503 when a store does not answer.
    pub(super) async fn find(service: &AuthService, http: &HttpRequest, query: WayQuery) -> Result<Self, Problem> {
        match (query.flow, query.return_to) {
            (Some(id), _) => Ok(Self::Flow(Box::new(flow(service, http, &id).await?))),
            (None, Some(path)) => Ok(Self::Local(path)),
            (None, None) => Ok(Self::Local("/account".parse().map_err(Problem::internal)?)),
        }
    }

    /// The same for a form: the inner error is where it leads when its request waits no more, as that of one which is sent a second
    /// time. There the first one has led, and there the person is told what became of it.
    ///
    /// # Errors
    /// 503 when a store does not answer.
    pub(super) async fn of_form(
        service: &AuthService,
        http: &HttpRequest,
        query: WayQuery,
    ) -> Result<Result<Self, String>, Problem> {
        let Some(id) = query.flow else { return Ok(Ok(Self::find(service, http, query).await?)) };
        Ok(flow_of_form(service, http, &id).await?.map(|flow| Self::Flow(Box::new(flow))))
    }

    /// The page, in the client's language where the person has chosen none, and with leave to end at the client.
    pub(super) fn page(&self, page: Page) -> Page {
        match self {
            Self::Flow(flow) => flow_page(page, flow),
            Self::Local(_) => page,
        }
    }

    /// Where the browser goes when the person is done.
    pub(super) fn next(&self) -> String {
        match self {
            Self::Flow(flow) => next(flow),
            Self::Local(path) => path.to_string(),
        }
    }

    /// Another page on the same way.
    pub(super) fn to(&self, page: &str) -> String {
        match self {
            Self::Flow(flow) => step(flow, page),
            Self::Local(path) => with(page, "return_to", path.as_str()),
        }
    }

    pub(super) fn client_name(&self) -> Option<String> {
        match self {
            Self::Flow(flow) => Some(flow.client_name()),
            Self::Local(_) => None,
        }
    }

    /// Who the client thinks it is: by its word alone, unlike [`Way::expected`].
    pub(super) fn email_hint(&self) -> Option<&str> {
        self.expected().or(match self {
            Self::Flow(flow) => flow.request().login_hint.as_deref(),
            Self::Local(_) => None,
        })
    }

    /// The address of the one account that can go on, where the client has shown that it knows it.
    pub(super) fn expected(&self) -> Option<&str> {
        match self {
            Self::Flow(flow) => flow.request().subject_email.as_deref(),
            Self::Local(_) => None,
        }
    }

    /// Whether one account alone can go on.
    pub(super) fn is_about_one(&self) -> bool {
        matches!(self, Self::Flow(flow) if flow.request().subject.is_some())
    }

    /// Whether this user can not go on.
    pub(super) fn is_about_another_than(&self, user: UserId) -> bool {
        matches!(self, Self::Flow(flow) if flow.request().is_about_another_than(user))
    }
}

/// The request that waits under that id for this browser.
///
/// # Errors
/// 400 `flow_over` when there is none; 503 when a store does not answer.
pub(super) async fn flow(service: &AuthService, http: &HttpRequest, id: &str) -> Result<Flow, Problem> {
    Flow::find(service, http, id).await?.map_err(|gone| over(service, http, &gone))
}

/// As [`Way::of_form`].
pub(super) async fn flow_of_form(
    service: &AuthService,
    http: &HttpRequest,
    id: &str,
) -> Result<Result<Flow, String>, Problem> {
    Ok(Flow::find(service, http, id).await?.map_err(|_| with(DISPATCHER, "flow", id)))
}

pub(super) fn flow_page(page: Page, flow: &Flow) -> Page {
    let page = match &flow.request().ui_locales {
        Some(locales) => page.preferring(locales),
        None => page,
    };
    match flow.returns_to() {
        Some(address) => page.form_leads_to(&address),
        None => page,
    }
}

/// Back to the dispatcher, which decides what comes next.
pub(super) fn next(flow: &Flow) -> String {
    step(flow, DISPATCHER)
}

/// A page on the way of a client's request.
pub(super) fn step(flow: &Flow, page: &str) -> String {
    with(page, "flow", &flow.id)
}

fn with(page: &str, name: &str, value: &str) -> String {
    format!("{page}?{}", form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish())
}
