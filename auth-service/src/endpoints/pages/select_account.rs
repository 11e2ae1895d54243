//! With which account to go on, where a client asks for the choice.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;
use shared::session::UserId;

use super::consent::FlowQuery;
use super::texts::AuthTexts;
use super::way::{Way, flow, next};
use crate::AuthService;
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
}

pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<FlowQuery>,
) -> Result<HttpResponse, Problem> {
    let way = Way::Flow(Box::new(flow(&service, &http, &query.flow).await?));
    let page = way.page(page);
    let Some(BrowserSession { user, .. }) = browser_session::find(&service, &http).await? else {
        return Ok(page.see_other(&way.next()));
    };
    let (t, client) = (AuthTexts(page.language), way.client_name().unwrap_or_default());
    page.show(&SelectAccountPage { page: &page, t, client, user: &user, another: way.to("/sign-in") })
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct SelectAccountForm {
    account: UserId,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<FlowQuery>,
    HtmlForm(form): HtmlForm<SelectAccountForm>,
) -> Result<HttpResponse, Problem> {
    let flow = flow(&service, &http, &query.flow).await?;
    let next = next(&flow);
    let session = browser_session::find(&service, &http).await?;
    if session.is_some_and(|session| session.user.id == form.account) {
        flow.select_account(&service, form.account).await?;
    }
    Ok(page.see_other(&next))
}
