//! Whether the person wants to be signed out, for whom an application, or nobody, has asked for it.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::pages::{Destination, HtmlForm, NextStep, Page, texts};
use shared::problem::Problem;
use shared::request::Query;
use shared::session::UserId;
use url::Url;

use crate::AuthService;
use crate::browser_session::{self, BrowserSession};
use crate::clients::place_of;
use crate::endpoints::logout;
use crate::endpoints::origin::Origin;
use crate::logout_request::LogoutRequest;
use crate::storage::users::User;

texts! {
    /// What the question says.
    pub(super) LogOutTexts {
        title { en: "Sign out?", zh: "要退出登录吗？" }
        asked_by(client) { en: "{client} asks to sign you out.", zh: "{client} 请求将您退出登录。" }
        everywhere {
            en: "You will be signed out of the shop, your orders, your account and every application that you signed in to with this browser.",
            zh: "您将退出商店、订单、账户，以及用此浏览器登录的所有应用。"
        }
        leads_to { en: "You will be sent to", zh: "之后您将被带往" }
        signed_in_as { en: "Signed in as", zh: "当前账户" }
        yes { en: "Sign out", zh: "退出登录" }
        no { en: "Stay signed in", zh: "保持登录" }
    }
}

#[derive(Template)]
#[template(path = "log_out.html")]
struct LogOutPage<'a> {
    page: &'a Page,
    t: LogOutTexts,
    request: &'a LogoutRequest,
    user: &'a User,
    /// Where the browser is sent then.
    host: Option<String>,
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct LogOutQuery {
    request: String,
}

pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<LogOutQuery>,
) -> Result<HttpResponse, Problem> {
    let request = logout::waiting(&service, &http, &query.request).await?;
    let Some(BrowserSession { user, .. }) = browser_session::find(&service, &http).await? else {
        return Ok(page.see_other(&logout::to("/oauth2/logout", &query.request, None)));
    };
    let page = match &request.ui_locales {
        Some(locales) => page.preferring(locales),
        None => page,
    };
    let address = request.returns_to(true).and_then(|(uri, _)| Url::parse(uri).ok());
    let page = if let Some(address) = &address { page.form_leads_to(address) } else { page };
    let host = address.as_ref().map(place_of);
    page.show(&LogOutPage { page: &page, t: LogOutTexts(page.language), request: &request, user: &user, host })
}

/// 400 `logout_over`. Its page asks anew: nothing is known of whose wish it was.
pub(in crate::endpoints) fn over(http: &HttpRequest) -> Problem {
    if let Some(page) = Page::of(http) {
        let step = NextStep {
            language: page.language,
            says: None,
            action: page.texts().sign_out().to_owned(),
            to: Destination::link("/oauth2/logout"),
            leads_to: None,
            warning: None,
        };
        step.note(http);
    }
    Problem::bad_request("logout_over", "this sign-out is over; begin it again")
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct LogOutForm {
    /// The account that was asked: another person may have signed in since.
    account: Option<UserId>,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    http: HttpRequest,
    origin: Origin,
    Query(query): Query<LogOutQuery>,
    HtmlForm(form): HtmlForm<LogOutForm>,
) -> Result<HttpResponse, Problem> {
    logout::agreed(&service, &origin, &http, &query.request, form.account).await
}
