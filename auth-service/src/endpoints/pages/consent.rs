//! What a client asks to be allowed, for the person to allow or refuse.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;
use shared::session::UserId;

use super::texts::AuthTexts;
use super::way::{flow, flow_page, next};
use crate::AuthService;
use crate::authorization::Flow;
use crate::browser_session::{self, BrowserSession};
use crate::endpoints::origin::Origin;
use crate::scopes::Words;
use crate::storage::audit::{Act, Entry};
use crate::storage::consents;
use crate::storage::users::User;

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    flow: &'a Flow,
    client: String,
    user: &'a User,
}

impl ConsentPage<'_> {
    fn monogram(&self) -> String {
        self.client.chars().next().into_iter().flat_map(char::to_uppercase).collect()
    }

    /// Whom the browser is sent to: what cannot be made up, unlike a name.
    fn host(&self) -> Option<String> {
        self.flow.returns_to()?.host_str().map(str::to_owned)
    }

    /// The client's own pages, where it named some: its privacy policy, its terms.
    fn links(&self) -> Vec<(&'static str, &str)> {
        let metadata = &self.flow.client.metadata;
        let policy = metadata.policy_uri.as_ref().map(|address| (self.t.privacy_policy(), address.url().as_str()));
        let terms = metadata.tos_uri.as_ref().map(|address| (self.t.terms(), address.url().as_str()));
        policy.into_iter().chain(terms).collect()
    }
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct FlowQuery {
    pub(super) flow: String,
}

pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<FlowQuery>,
) -> Result<HttpResponse, Problem> {
    let flow = flow(&service, &http, &query.flow).await?;
    let page = flow_page(page, &flow);
    let session = browser_session::find(&service, &http).await?;
    let Some(BrowserSession { user, .. }) = session.filter(|_| flow.refusal().is_none()) else {
        return Ok(page.see_other(&next(&flow)));
    };
    let client = flow.client_name();
    page.show(&ConsentPage { page: &page, t: AuthTexts(page.language), flow: &flow, client, user: &user })
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct ConsentForm {
    /// Who was asked: somebody else may have signed in since.
    account: UserId,
    decision: Decision,
}

/// What a person says to whoever asks.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(in crate::endpoints) enum Decision {
    Allow,
    Refuse,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    http: HttpRequest,
    origin: Origin,
    page: Page,
    Query(query): Query<FlowQuery>,
    HtmlForm(form): HtmlForm<ConsentForm>,
) -> Result<HttpResponse, Problem> {
    let flow = flow(&service, &http, &query.flow).await?;
    let next = next(&flow);
    let session = browser_session::find(&service, &http).await?;
    if let Some(session) = session.filter(|session| session.user.id == form.account) {
        let allowed = form.decision == Decision::Allow;
        if allowed {
            allow(&service, &session, &flow, &origin).await?;
        }
        flow.consent(&service, form.account, allowed).await?;
    }
    Ok(page.see_other(&next))
}

/// Writes down what is allowed from now on, beside what was allowed before and the client may still have.
async fn allow(service: &AuthService, session: &BrowserSession, flow: &Flow, origin: &Origin) -> Result<(), Problem> {
    let (user, client) = (session.user.id, &flow.client.id);
    let before = consents::of(&service.database, user, client).await?;
    let scope = before.map_or_else(Words::default, |consent| flow.client.still_has(&consent.scope)).with(flow.scope());
    let entry = Entry::done(Act::Consent, &origin.of_user(user)).subject(user).session(session.session.id);
    service.record(&entry.detail(format!("{client}: {scope}"))).await?;
    Ok(consents::put(&service.database, user, client, &scope, service.clock.now()).await?)
}
