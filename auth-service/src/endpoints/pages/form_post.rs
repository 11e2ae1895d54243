//! The page that a browser posts to a client at once (OAuth 2.0 Form Post Response Mode): by its script, or else by its button.

use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use shared::pages::Page;
use shared::problem::Problem;
use url::Url;

use super::texts::AuthTexts;

#[derive(Template)]
#[template(path = "form_post.html")]
struct FormPost<'a> {
    page: &'a Page,
    t: AuthTexts,
    action: &'a str,
    parameters: &'a [(&'a str, &'a str)],
}

pub(in crate::endpoints) fn form_post(
    http: &HttpRequest,
    action: &str,
    parameters: &[(&str, &str)],
) -> Result<HttpResponse, Problem> {
    let page = Page::of(http).ok_or_else(|| Problem::internal("web::Data<Site> is not in this App's data"))?;
    let page = page.form_leads_to(&Url::parse(action).map_err(Problem::internal)?);
    page.show(&FormPost { page: &page, t: AuthTexts(page.language), action, parameters })
}
