//! How cookies that were renewed while a request was read get onto its answer. Owns no cookie.

use actix_web::body::MessageBody;
use actix_web::cookie::Cookie;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest};

use crate::problem::Problem;

/// Cookies that are to be set with the answer to a request, whatever it will be.
#[derive(Default)]
struct ToSet(Vec<Cookie<'static>>);

/// The middleware that sets what a reader of the request's cookies found necessary: what was renewed, or that a session
/// has ended. `shared::server` has it; another `App` wraps itself in `middleware::from_fn(answer_with_cookies)`.
///
/// # Errors
/// None of its own.
pub async fn answer_with_cookies(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    request.extensions_mut().insert(ToSet::default());
    let mut response = next.call(request).await?;
    let to_set = response.request().extensions_mut().remove::<ToSet>().unwrap_or_default();
    if to_set.0.is_empty() {
        return Ok(response);
    }
    // An endpoint that has set the same cookie itself knew better.
    let prefix = |cookie: &Cookie<'_>| format!("{}=", cookie.name());
    let is_set = |cookie: &Cookie<'_>| {
        let mut set = response.headers().get_all(SET_COOKIE);
        set.any(|value| value.as_bytes().starts_with(prefix(cookie).as_bytes()))
    };
    let missing: Vec<_> = to_set.0.iter().filter(|cookie| !is_set(cookie)).collect();
    let values: Vec<_> = missing.iter().filter_map(|cookie| HeaderValue::from_str(&cookie.to_string()).ok()).collect();
    for value in values {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Sets `cookie` with the answer to `request`.
///
/// # Errors
/// 500 where the `App` has not the middleware: rotated tokens would be lost, and with them the session.
pub(crate) fn set_with_answer(request: &HttpRequest, cookie: Cookie<'static>) -> Result<(), Problem> {
    let mut extensions = request.extensions_mut();
    let Some(ToSet(cookies)) = extensions.get_mut::<ToSet>() else {
        return Err(Problem::internal("the App is not wrapped in authentication::answer_with_cookies"));
    };
    cookies.retain(|other| other.name() != cookie.name());
    cookies.push(cookie);
    Ok(())
}
