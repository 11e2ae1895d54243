//! The page between this service and a client that no administrator has approved, where a browser would be sent to it without
//! the person's act: it names where that leads, and the person goes on or stays (RFC 9700, section 4.11.2).

use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use shared::pages::Page;
use shared::problem::Problem;
use url::Url;

use super::texts::AuthTexts;
use crate::clients::{Client, place_of};

#[derive(Template)]
#[template(path = "leave.html")]
struct LeavePage<'a> {
    page: &'a Page,
    t: AuthTexts,
    client: &'a str,
    /// The host, or the scheme of an application on the machine.
    place: &'a str,
    address: &'a str,
    /// What a form takes there; a link has it in its address.
    posted: Option<&'a [(&'a str, &'a str)]>,
}

/// Shows where `address` leads, with `posted` in a form or without.
///
/// # Errors
/// 500 when the page cannot be shown.
pub(in crate::endpoints) fn leave(
    http: &HttpRequest,
    client: &Client,
    ui_locales: Option<&str>,
    address: &str,
    posted: Option<&[(&str, &str)]>,
) -> Result<HttpResponse, Problem> {
    let page = Page::of(http).ok_or_else(|| Problem::internal("web::Data<Site> is not in this App's data"))?;
    let page = if let Some(locales) = ui_locales { page.preferring(locales) } else { page };
    let url = Url::parse(address).map_err(Problem::internal)?;
    let page = if posted.is_some() { page.form_leads_to(&url) } else { page };
    let place = &place_of(&url);
    let (t, client) = (AuthTexts(page.language), client.shown_name());
    page.show(&LeavePage { page: &page, t, client, place, address, posted })
}
