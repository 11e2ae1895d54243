//! A request that came by POST. Browsers bring no cookie along with a form of another site's: so it is kept for a moment, and
//! the browser is sent on, to come by itself.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use shared::key_value::Key;
use shared::problem::Problem;
use url::form_urlencoded;

use crate::AuthService;
use crate::codes::random_text;
use crate::form::Form;

/// A browser goes on at once.
const TTL: Duration = Duration::from_secs(60);
/// The parameter of GET that names the request.
pub(super) const PARAMETER: &str = "posted";

fn key(id: &str) -> Key {
    Key::new("posted_request", id.as_bytes())
}

/// Sends the browser on to GET, where the request waits for it.
///
/// # Errors
/// 503 when the key-value store does not answer.
pub(super) async fn send_on(service: &AuthService, form: &Form) -> Result<HttpResponse, Problem> {
    let id = random_text();
    let kept = serde_json::to_vec(form).map_err(Problem::internal)?;
    service.key_values.put(&key(&id), &kept, TTL).await?;
    let query = form_urlencoded::Serializer::new(String::new()).append_pair(PARAMETER, &id).finish();
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((LOCATION, format!("/oauth2/authorize?{query}")));
    Ok(answer.insert_header((CACHE_CONTROL, "no-store")).insert_header((REFERRER_POLICY, "no-referrer")).finish())
}

/// The request that waits under that id. It is bound to no browser: it says nothing that its sender did not know.
///
/// # Errors
/// 400 `flow_over` when there is none; 503 when the key-value store does not answer.
pub(super) async fn find(service: &AuthService, id: &str) -> Result<Form, Problem> {
    let over = || Problem::bad_request("flow_over", "this request is over; begin it again");
    let kept = service.key_values.get(&key(id)).await?.ok_or_else(over)?;
    serde_json::from_slice(&kept).map_err(Problem::internal)
}
