//! What a person does whose account is not the one that the client's request is about: use that one, or stay, which the client
//! is told (OpenID Connect Core, section 3.1.2.1, `id_token_hint`).

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;
use shared::session::UserId;

use super::consent::FlowQuery;
use super::texts::AuthTexts;
use super::way::{flow, flow_of_form, flow_page, next, step};
use crate::AuthService;
use crate::authorization::Flow;
use crate::browser_session::{self, BrowserSession};
use crate::clients::place_of;
use crate::storage::users::User;

#[derive(Template)]
#[template(path = "switch_account.html")]
struct SwitchAccountPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    client: String,
    user: &'a User,
    /// The address of the account that the client expects, where it has shown that it knows it.
    expected: Option<&'a str>,
    /// Where that account signs in.
    sign_in: String,
    /// Whom the browser is sent to by those who stay.
    host: Option<String>,
}

pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<FlowQuery>,
) -> Result<HttpResponse, Problem> {
    let flow = flow(&service, &http, &query.flow).await?;
    let page = flow_page(page, &flow);
    let Some(BrowserSession { user, .. }) = mismatched(&service, &http, &flow).await? else {
        return Ok(page.see_other(&next(&flow)));
    };
    page.show(&SwitchAccountPage {
        page: &page,
        t: AuthTexts(page.language),
        client: flow.client_name(),
        user: &user,
        expected: flow.request().subject_email.as_deref(),
        sign_in: step(&flow, "/sign-in"),
        host: flow.returns_to().as_ref().map(place_of),
    })
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct SwitchAccountForm {
    /// The account that stays: another person may have signed in since.
    account: UserId,
}

/// The person stays with the account that they have.
pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<FlowQuery>,
    HtmlForm(form): HtmlForm<SwitchAccountForm>,
) -> Result<HttpResponse, Problem> {
    let flow = match flow_of_form(&service, &http, &query.flow).await? {
        Ok(flow) => flow,
        Err(on) => return Ok(page.see_other(&on)),
    };
    let next = next(&flow);
    let session = mismatched(&service, &http, &flow).await?;
    if session.is_some_and(|session| session.user.id == form.account) {
        flow.stay(&service, form.account).await?;
    }
    Ok(page.see_other(&next))
}

/// Who is signed in, where the request is about another account and nothing is decided yet.
async fn mismatched(service: &AuthService, http: &HttpRequest, flow: &Flow) -> Result<Option<BrowserSession>, Problem> {
    let session = browser_session::find(service, http).await?;
    let is_asked = |session: &BrowserSession| flow.request().is_about_another_than(session.user.id);
    Ok(session.filter(is_asked).filter(|_| flow.refusal().is_none()))
}
