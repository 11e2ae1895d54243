//! Signing out of everything, from a page of this service.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::session::EndReason;

use super::texts::AuthTexts;
use crate::AuthService;
use crate::browser_session;
use crate::end_session;
use crate::endpoints::origin::Origin;

#[derive(Deserialize)]
pub(in crate::endpoints) struct NoFields {}

/// Ends the session of this browser, everywhere. Nobody to sign out is no error.
pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    http: HttpRequest,
    origin: Origin,
    page: Page,
    HtmlForm(NoFields {}): HtmlForm<NoFields>,
) -> Result<HttpResponse, Problem> {
    for current in browser_session::find_all(&service, &http).await? {
        end_session::end(&service, current.session.id, EndReason::Logout, &origin.of_user(current.user.id)).await?;
    }
    let mut answer = page.see_other("/signed-out");
    answer.add_cookie(&browser_session::forget(&service)).map_err(Problem::internal)?;
    Ok(answer)
}

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutPage<'a> {
    page: &'a Page,
    t: AuthTexts,
}

pub(in crate::endpoints) async fn show(page: Page) -> Result<HttpResponse, Problem> {
    page.show(&SignedOutPage { page: &page, t: AuthTexts(page.language) })
}
