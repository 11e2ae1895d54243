//! With which account to go on, where a client asks for the choice.

use actix_web::http::StatusCode;
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
use crate::storage::users::User;

#[derive(Template)]
#[template(path = "select_account.html")]
struct SelectAccountPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    client: String,
    user: &'a User,
    /// Where another account signs in.
    another: String,
    /// What comes back with the choice.
    shown: String,
    /// The client has changed since the page was shown first.
    changed: bool,
}

impl<'a> SelectAccountPage<'a> {
    fn new(page: &'a Page, flow: &Flow, user: &'a User, changed: bool) -> Self {
        let (client, shown) = (flow.client_name(), flow.shown_to(user, &flow.client));
        let another = format!("{}&another=true", step(flow, "/sign-in"));
        Self { page, t: AuthTexts(page.language), client, user, another, shown, changed }
    }
}

pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<FlowQuery>,
) -> Result<HttpResponse, Problem> {
    let flow = flow(&service, &http, &query.flow).await?;
    let page = flow_page(page, &flow);
    let Some(BrowserSession { user, .. }) = browser_session::find(&service, &http).await? else {
        return Ok(page.see_other(&next(&flow)));
    };
    page.show(&SelectAccountPage::new(&page, &flow, &user, false))
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct SelectAccountForm {
    account: UserId,
    /// What they were shown: the client may have changed since.
    #[serde(default)]
    shown: String,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<FlowQuery>,
    HtmlForm(form): HtmlForm<SelectAccountForm>,
) -> Result<HttpResponse, Problem> {
    let flow = match flow_of_form(&service, &http, &query.flow).await? {
        Ok(flow) => flow,
        Err(on) => return Ok(page.see_other(&on)),
    };
    let next = next(&flow);
    let session = browser_session::find(&service, &http).await?;
    let Some(session) = session.filter(|session| session.user.id == form.account) else {
        return Ok(page.see_other(&next));
    };
    if flow.shown_to(&session.user, &flow.client) != form.shown {
        let page = flow_page(page, &flow);
        return page.answer(StatusCode::CONFLICT, &SelectAccountPage::new(&page, &flow, &session.user, true));
    }
    flow.select_account(&service, form.account).await?;
    Ok(page.see_other(&next))
}
