//! Beginning a sign-in.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use url::form_urlencoded;

use super::query::Parameters;
use super::see_other;
use crate::authentication::cannot_tell;
use crate::problem::Problem;
use crate::relying_party::own_pages::{referring_page, unnamed};
use crate::relying_party::pending::PendingLogin;
use crate::relying_party::{RelyingParty, random_text, state};
use crate::request::must_be_a_page;
use crate::return_to::ReturnTo;
use crate::token::TokenError;

/// Sends the browser to the provider, and remembers in a cookie what it must come back with.
///
/// # Errors
/// 400 for a `return_to` of another place or a `max_age` that is no number of seconds, 403 for a part of a page, 503 while the provider is away, or where this
/// service is set up wrongly.
pub(super) async fn begin(
    relying_party: web::Data<RelyingParty>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    must_be_a_page(request.headers())?;
    let query = Parameters::read(request.query_string().as_bytes())?;
    let public_url = &relying_party.0.config.public_url;
    let unnamed = unnamed(request.headers(), public_url);
    let return_to = match query.get("return_to") {
        // A plain link to the sign-in, as in a page's header, comes back to the page.
        None => referring_page(request.headers(), unnamed.as_ref().unwrap_or(public_url)).unwrap_or_default(),
        Some(text) => text.parse::<ReturnTo>().map_err(|_| {
            Problem::bad_request("invalid_return_to", "return_to is a path of this service").at("#query/return_to", "")
        })?,
    };
    let max_age = query.get("max_age").map(str::parse::<u32>).transpose().map_err(|_| {
        Problem::bad_request("invalid_max_age", "max_age is a number of seconds").at("#query/max_age", "")
    })?;
    let locales = query.get("ui_locales").filter(|text| is_locales(text));
    if unnamed.is_some() {
        return Ok(at_its_name(&relying_party, &return_to, max_age, locales));
    }
    let metadata = relying_party.0.provider.metadata().await?;
    relying_party.must_be_set_up().await?;
    let id = random_text::<16>();
    let pending = PendingLogin::begin(&return_to, max_age.map(u64::from), relying_party.clock().now());
    let mut location = metadata.authorization_endpoint;
    location
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &relying_party.0.config.client_id)
        .append_pair("redirect_uri", &relying_party.public("/callback"))
        .append_pair("scope", &relying_party.0.config.scope)
        .append_pair("state", &state::write(&relying_party.0.cookies, &id, &return_to))
        .append_pair("nonce", &pending.nonce)
        .append_pair("code_challenge", &pending.challenge())
        .append_pair("code_challenge_method", "S256");
    if let Some(max_age) = max_age {
        location.query_pairs_mut().append_pair("max_age", &max_age.to_string());
    }
    if let Some(locales) = locales {
        location.query_pairs_mut().append_pair("ui_locales", locales);
    }
    let begun = relying_party.0.cookies.keep_login(&id, &pending.to_bytes());
    let mut response = see_other(location.as_str());
    for cookie in relying_party.0.cookies.forget_old_logins(request.headers(), &begun) {
        response.cookie(cookie);
    }
    response.cookie(begun);
    Ok(response.insert_header((CACHE_CONTROL, "no-store")).finish())
}

impl RelyingParty {
    /// Nobody is sent to the provider where it is known that nothing would come of it.
    ///
    /// # Errors
    /// 503 `misconfigured_…`.
    async fn must_be_set_up(&self) -> Result<(), Problem> {
        if let Err(error @ (TokenError::Misconfigured | TokenError::ClockInDoubt)) = self.0.single_sign_on.can_tell() {
            return Err(cannot_tell(error));
        }
        Ok(self.0.provider.check_registration(&self.public("/callback")).await?)
    }
}

/// Where the provider will send the browser back to: the cookie of the sign-in must be there.
fn at_its_name(
    relying_party: &RelyingParty,
    return_to: &ReturnTo,
    max_age: Option<u32>,
    locales: Option<&str>,
) -> HttpResponse {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", return_to.as_str());
    if let Some(max_age) = max_age {
        query.append_pair("max_age", &max_age.to_string());
    }
    if let Some(locales) = locales {
        query.append_pair("ui_locales", locales);
    }
    let address = format!("{}?{}", relying_party.public("/login"), query.finish());
    see_other(&address).insert_header((CACHE_CONTROL, "no-store")).finish()
}

fn is_locales(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b' '))
}
