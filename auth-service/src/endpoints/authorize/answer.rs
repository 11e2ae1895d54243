//! The answer to a client, by way of the browser: in the query (RFC 6749, section 4.1.2) or in a form that the browser
//! posts (OAuth 2.0 Form Post Response Mode); a refusal of a client that reads the fragment, there. It always names the issuer
//! (RFC 9207).

use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse};
use shared::pages::Destination;
use shared::problem::Problem;
use url::Url;

use super::super::pages::leave;
use crate::AuthService;
use crate::authorization::{Refusal, ResponseMode, ReturnAddress};
use crate::clients::Client;

pub(super) fn give(
    service: &AuthService,
    http: &HttpRequest,
    to: &ReturnAddress,
    code: &str,
) -> Result<HttpResponse, Problem> {
    answer(service, http, to, vec![("code", code)])
}

pub(super) fn refuse(
    service: &AuthService,
    http: &HttpRequest,
    to: &ReturnAddress,
    refusal: &Refusal,
) -> Result<HttpResponse, Problem> {
    answer(service, http, to, refused(refusal))
}

/// A refusal that no act of the person's led to. To a client that no administrator has approved, it goes by way of a page: the
/// address of this service would else take people anywhere (RFC 9700, section 4.11.2). In a frame the page could not be
/// answered, and nobody is taken anywhere: what the address bar shows stays.
pub(super) fn refuse_unasked(
    service: &AuthService,
    http: &HttpRequest,
    client: &Client,
    to: &ReturnAddress,
    ui_locales: Option<&str>,
    refusal: &Refusal,
) -> Result<HttpResponse, Problem> {
    if client.approved || is_framed(http) {
        return refuse(service, http, to, refusal);
    }
    tracing::info!(
        client = client.id,
        error = refusal.error,
        "a refusal to a client that is not approved is shown first"
    );
    let parameters = complete(service, to, refused(refusal));
    match address(to, &parameters) {
        Some(address) => leave(http, client, ui_locales, &address, None),
        None => leave(http, client, ui_locales, &to.redirect_uri, Some(&parameters)),
    }
}

/// Where the client finds a refusal, for a link or a form that leads there.
pub(in super::super) fn refusal_at(service: &AuthService, to: &ReturnAddress, refusal: &Refusal) -> Destination {
    let parameters = complete(service, to, refused(refusal));
    let owned = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let by_form = Destination { address: to.redirect_uri.clone(), posted: Some(owned) };
    address(to, &parameters).map_or(by_form, Destination::link)
}

/// Whether the browser says that what it fetches is for a frame; a page that is gone to cannot make it say so.
fn is_framed(http: &HttpRequest) -> bool {
    let destination = http.headers().get("sec-fetch-dest").map(HeaderValue::as_bytes);
    destination.is_some_and(|it| [&b"iframe"[..], b"frame", b"embed", b"object", b"fencedframe"].contains(&it))
}

fn refused(refusal: &Refusal) -> Vec<(&str, &str)> {
    vec![("error", refusal.error), ("error_description", &refusal.description)]
}

fn complete<'a>(
    service: &'a AuthService,
    to: &'a ReturnAddress,
    mut parameters: Vec<(&'a str, &'a str)>,
) -> Vec<(&'a str, &'a str)> {
    parameters.extend(to.state.as_deref().map(|state| ("state", state)));
    parameters.push(("iss", &service.issuer));
    parameters
}

fn answer<'a>(
    service: &'a AuthService,
    http: &HttpRequest,
    to: &'a ReturnAddress,
    parameters: Vec<(&'a str, &'a str)>,
) -> Result<HttpResponse, Problem> {
    let parameters = complete(service, to, parameters);
    match address(to, &parameters) {
        Some(address) => Ok(redirect(&address)),
        None => super::super::pages::form_post(http, &to.redirect_uri, &parameters),
    }
}

/// The address that holds the answer; none where a form takes it.
fn address(to: &ReturnAddress, parameters: &[(&str, &str)]) -> Option<String> {
    match to.mode {
        ResponseMode::Query => Some(with_query(&to.redirect_uri, parameters)),
        ResponseMode::Fragment => Some(with_fragment(&to.redirect_uri, parameters)),
        ResponseMode::FormPost => None,
    }
}

fn encoded(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// What the redirect URI's query has already stays as it is (RFC 6749, section 3.1.2).
pub(in super::super) fn with_query(redirect_uri: &str, parameters: &[(&str, &str)]) -> String {
    let separator = match Url::parse(redirect_uri).ok().and_then(|url| url.query().map(str::is_empty)) {
        None => "?",
        Some(true) => "",
        Some(false) => "&",
    };
    format!("{redirect_uri}{separator}{}", encoded(parameters))
}

/// A registered redirect URI has no fragment of its own (RFC 6749, section 3.1.2).
fn with_fragment(redirect_uri: &str, parameters: &[(&str, &str)]) -> String {
    format!("{redirect_uri}#{}", encoded(parameters))
}

/// 303: a browser that posted something must not post it again elsewhere (RFC 9700, section 4.12).
fn redirect(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, location))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_added_to_the_query_that_is_there() {
        let added = |uri| with_query(uri, &[("state", "a b&c\r\n<é>")]);
        let encoded = "state=a+b%26c%0D%0A%3C%C3%A9%3E";
        assert_eq!(added("https://app.example/cb"), format!("https://app.example/cb?{encoded}"));
        assert_eq!(added("https://app.example/cb?"), format!("https://app.example/cb?{encoded}"));
        assert_eq!(added("https://app.example/cb?a=b%20c"), format!("https://app.example/cb?a=b%20c&{encoded}"));
        assert_eq!(added("com.example.app:/cb"), format!("com.example.app:/cb?{encoded}"));
        let behind = with_fragment("https://app.example/cb?a=b", &[("state", "a b&c\r\n<é>")]);
        assert_eq!(behind, format!("https://app.example/cb?a=b#{encoded}"));
    }
}
