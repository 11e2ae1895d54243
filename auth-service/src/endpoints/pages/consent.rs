//! What a client asks to be allowed, for the person to allow or refuse.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;
use shared::session::UserId;

use super::texts::AuthTexts;
use super::way::{flow, flow_of_form, flow_page, next};
use crate::AuthService;
use crate::authorization::{Allowed, Flow};
use crate::browser_session::{self, BrowserSession};
use crate::clients::place_of;
use crate::consent_epoch::ConsentEpoch;
use crate::endpoints::origin::Origin;
use crate::scopes::Words;
use crate::storage::audit::{self, Act, Entry};
use crate::storage::users::User;
use crate::storage::{clients, consents};

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    flow: &'a Flow,
    client: String,
    user: &'a User,
    asked: Words,
    /// What comes back with the decision.
    shown: String,
    /// The client has changed since the page was shown first.
    changed: bool,
}

impl<'a> ConsentPage<'a> {
    fn new(page: &'a Page, flow: &'a Flow, user: &'a User, changed: bool) -> Self {
        let (client, asked, shown) = (flow.client_name(), flow.asked(), flow.shown_to(user, &flow.client));
        Self { page, t: AuthTexts(page.language), flow, client, user, asked, shown, changed }
    }

    fn monogram(&self) -> String {
        self.client.chars().next().into_iter().flat_map(char::to_uppercase).collect()
    }

    /// Whom the browser is sent to: what cannot be made up, unlike a name. An application on the machine has a scheme alone.
    fn host(&self) -> Option<String> {
        self.flow.returns_to().as_ref().map(place_of)
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
    page.show(&ConsentPage::new(&page, &flow, &user, false))
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct ConsentForm {
    /// Who was asked: somebody else may have signed in since.
    account: UserId,
    /// What they were shown: the client may have changed since.
    #[serde(default)]
    shown: String,
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
    let flow = match flow_of_form(&service, &http, &query.flow).await? {
        Ok(flow) => flow,
        Err(on) => return Ok(page.see_other(&on)),
    };
    let next = next(&flow);
    let session = browser_session::find(&service, &http).await?;
    let Some(session) = session.filter(|session| session.user.id == form.account && flow.refusal().is_none()) else {
        return Ok(page.see_other(&next));
    };
    if form.decision == Decision::Refuse {
        flow.consent(&service, form.account, None).await?;
        return Ok(page.see_other(&next));
    }
    match allow(&service, &session, &flow, form.shown, &origin).await? {
        Some(allowed) => {
            flow.consent(&service, form.account, Some(allowed)).await?;
            Ok(page.see_other(&next))
        }
        None => shown_again(&service, &http, page, &query.flow, &session.user).await,
    }
}

/// The page as it is now, for the person to decide anew.
async fn shown_again(
    service: &AuthService,
    http: &HttpRequest,
    page: Page,
    id: &str,
    user: &User,
) -> Result<HttpResponse, Problem> {
    let flow = flow(service, http, id).await?;
    if flow.refusal().is_some() {
        return Ok(page.see_other(&next(&flow)));
    }
    let page = flow_page(page, &flow);
    page.answer(StatusCode::CONFLICT, &ConsentPage::new(&page, &flow, user, true))
}

/// Writes down what is allowed from now on, beside what was allowed before and the client may still have. Nothing where the
/// client is not what was shown any more: it cannot change before this is written.
async fn allow(
    service: &AuthService,
    session: &BrowserSession,
    flow: &Flow,
    shown: String,
    origin: &Origin,
) -> Result<Option<Allowed>, Problem> {
    let (user, id, now) = (&session.user, &flow.client.id, service.clock.now());
    service.throttle.own_change(&user.id.0.to_string()).await??;
    let mut transaction = service.database.begin().await?;
    let held = clients::hold(&mut transaction, id).await?.filter(|client| client.disabled_at.is_none());
    let Some(client) = held.filter(|client| flow.shown_to(user, client) == shown) else {
        tracing::info!(client = id, user = %user.id, "the client has changed since the consent page was shown");
        return Ok(None);
    };
    let before = consents::hold(&mut transaction, user.id, id).await?;
    let before = before.map_or_else(Words::default, |consent| client.still_has(&consent.scope));
    let scope = before.with(&flow.asked());
    let withdrawals = consents::withdrawals(&mut transaction, user.id, id).await?;
    consents::put(&mut transaction, user.id, id, &scope, now).await?;
    let entry = Entry::done(Act::Consent, &origin.of_user(user.id)).subject(user.id).session(session.session.id);
    audit::write_in(&mut transaction, now, &entry.detail(format!("{id}: {}", flow.asked()))).await?;
    transaction.commit().await?;
    Ok(Some(Allowed { user: user.id, shown, epoch: ConsentEpoch::new(withdrawals, &client) }))
}
