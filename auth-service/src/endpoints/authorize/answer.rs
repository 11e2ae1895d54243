//! The answer to a client, by way of the browser: in the query (RFC 6749, section 4.1.2) or in a form that the browser
//! posts (OAuth 2.0 Form Post Response Mode). It always names the issuer (RFC 9207).

use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse};
use shared::problem::Problem;
use url::Url;

use crate::AuthService;
use crate::authorization::{Refusal, ResponseMode, ReturnAddress};

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
    answer(service, http, to, vec![("error", refusal.error), ("error_description", &refusal.description)])
}

fn answer<'a>(
    service: &'a AuthService,
    http: &HttpRequest,
    to: &'a ReturnAddress,
    mut parameters: Vec<(&'a str, &'a str)>,
) -> Result<HttpResponse, Problem> {
    parameters.extend(to.state.as_deref().map(|state| ("state", state)));
    parameters.push(("iss", &service.issuer));
    match to.mode {
        ResponseMode::Query => Ok(redirect(&with_query(&to.redirect_uri, &parameters))),
        ResponseMode::FormPost => super::super::pages::form_post(http, &to.redirect_uri, &parameters),
    }
}

/// What the redirect URI's query has already stays as it is (RFC 6749, section 3.1.2).
pub(in super::super) fn with_query(redirect_uri: &str, parameters: &[(&str, &str)]) -> String {
    let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let separator = match Url::parse(redirect_uri).ok().and_then(|url| url.query().map(str::is_empty)) {
        None => "?",
        Some(true) => "",
        Some(false) => "&",
    };
    format!("{redirect_uri}{separator}{encoded}")
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
    }
}
