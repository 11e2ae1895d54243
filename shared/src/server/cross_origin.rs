//! Which answers scripts of other origins may read (Fetch, section 3.3: CORS). Owns the headers and the answer to a preflight;
//! which paths are open is the service's to say.
//!
//! Never with credentials: a browser adds no cookie to such a request, and lets no script read an answer to one that it has added
//! some to.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};

/// What clients of OAuth and DPoP send beside what any page may.
const ALLOWED_HEADERS: &str = "authorization, content-type, dpop";
/// What they read beside what any page may.
const EXPOSED_HEADERS: &str = "dpop-nonce, retry-after, www-authenticate, x-request-id";
/// How long a browser may remember a preflight, in seconds: as long as Chromium does at most.
const MAX_AGE: &str = "7200";

/// Lets scripts of every origin read what the paths in `open` answer, refusals too. Other paths are left alone.
pub(super) async fn share<B: MessageBody>(
    open: &'static [&'static str],
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    if !open.contains(&request.path()) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let mut response = if is_preflight(&request) {
        let allowed = HttpResponse::NoContent()
            .insert_header((ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"))
            .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS))
            .insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE))
            .finish();
        request.into_response(allowed).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    // In any case: a cache may have the answer to a request without an origin, and give it to one with.
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    Ok(response)
}

fn is_preflight(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    *request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
