//! A request that came by POST. Browsers bring no cookie along with a form of another site's: so the browser is sent on, to
//! come by itself, with the request sealed in the address.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use shared::problem::Problem;
use url::form_urlencoded;

use crate::AuthService;
use crate::form::Form;
use crate::sealed_requests::Kind;

/// A browser goes on at once; its person may load the page again.
const TTL: Duration = Duration::from_secs(10 * 60);
/// The parameter of GET that holds the request.
pub(super) const PARAMETER: &str = "posted";

/// Sends the browser on to GET with the request.
///
/// # Errors
/// 400 `request_too_large`.
pub(super) fn send_on(service: &AuthService, form: &Form) -> Result<HttpResponse, Problem> {
    let sealed = service.sealed_requests.seal(Kind::Posted, form, service.clock.now() + TTL)?;
    let query = form_urlencoded::Serializer::new(String::new()).append_pair(PARAMETER, &sealed).finish();
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((LOCATION, format!("/oauth2/authorize?{query}")));
    Ok(answer.insert_header((CACHE_CONTROL, "no-store")).insert_header((REFERRER_POLICY, "no-referrer")).finish())
}

/// The request that was sealed. It is bound to no browser: it says nothing that its sender did not know. Loading it again
/// begins it again, as it would by GET.
///
/// # Errors
/// 400 `flow_over` when it is over, or none.
pub(super) fn find(service: &AuthService, sealed: &str) -> Result<Form, Problem> {
    let opened = service.sealed_requests.open(Kind::Posted, sealed, service.clock.now());
    let over = || Problem::bad_request("flow_over", "this request is over; begin it again");
    opened.map(|(_, form)| form).ok_or_else(over)
}
