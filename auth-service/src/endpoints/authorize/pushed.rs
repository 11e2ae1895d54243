//! Pushed authorization requests (RFC 9126): a client leaves its request here, where nobody on the way can change it, and
//! sends the browser with a reference that is good for a minute, until the request was answered.

use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, post, web};
use futures_util::future::try_join;
use serde::Serialize;
use shared::key_value::Key;
use shared::problem::Problem;
use shared::session::UserId;
use utoipa::ToSchema;

use super::{client, read};
use crate::AuthService;
use crate::authorization::{flow, request};
use crate::client_authentication::authenticate;
use crate::clients::Client;
use crate::codes::{random_text, sha256};
use crate::form::Form;
use crate::oauth_error::{OAuthError, OAuthErrorBody};
use crate::small_values::Payer;

const TTL: Duration = Duration::from_secs(60);
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

fn key(reference: &str) -> Key {
    Key::new("pushed_request", reference.as_bytes())
}

/// The request was answered.
fn answered_key(reference: &str) -> Key {
    Key::new("answered_pushed_request", reference.as_bytes())
}

#[derive(Serialize, ToSchema)]
struct Pushed {
    /// Send it as `request_uri`, with the `client_id`.
    request_uri: String,
    /// Seconds.
    #[schema(minimum = 1, example = 60)]
    expires_in: u64,
}

/// Leave an authorization request here, and get a reference to it (RFC 9126).
#[utoipa::path(
    tag = "openid",
    request_body(content = inline(std::collections::HashMap<String, String>), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 201, description = "The reference", body = Pushed),
        (status = 400, description = "As at the authorization endpoint", body = OAuthErrorBody),
        (status = 401, description = "`invalid_client`", body = OAuthErrorBody),
        (status = 408, description = "The form did not arrive in time", body = OAuthErrorBody),
        (status = 413, description = "The form is too large, or its parameters have more than 5 KiB together; the description names the largest", body = OAuthErrorBody),
        (status = 415, description = "The body is no form", body = OAuthErrorBody),
        (status = 429, description = "`slow_down`", body = OAuthErrorBody),
        (status = 503, description = "`temporarily_unavailable`", body = OAuthErrorBody),
    )
)]
#[post("/oauth2/par")]
pub(in super::super) async fn push(
    service: web::Data<AuthService>,
    http: HttpRequest,
    form: Form,
) -> Result<HttpResponse, OAuthError> {
    let client = authenticate(&service, &http, &form).await?;
    if form.get("request_uri").is_some() {
        return Err(OAuthError::invalid_request("a pushed request has no request_uri"));
    }
    if form.get("client_id").is_some_and(|id| id != client.id) {
        return Err(OAuthError::invalid_request("the client_id is another one's"));
    }
    let form = form.kept(&request::PARAMETERS)?;
    let to = request::return_address(&form, &client).map_err(|why| {
        service.refusals.of_redirect_uri(&client, form.get("redirect_uri"));
        OAuthError::invalid_request(why)
    })?;
    read(&service, &form, &client, to).map_err(|refusal| OAuthError::new(refusal.error, refusal.description))?;
    let reference = random_text();
    let kept = serde_json::to_vec(&(client.id.as_str(), &form)).map_err(Problem::internal)?;
    service.key_values.put(&key(&reference), &kept, TTL, &Payer::client(&service, &client, &http)).await?;
    let pushed = Pushed { request_uri: format!("{PREFIX}{reference}"), expires_in: TTL.as_secs() };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(pushed))
}

/// A request, its client, and its reference where it was pushed.
pub(super) struct Resolved {
    pub(super) client: Client,
    pub(super) form: Form,
    pub(super) reference: Option<String>,
}

/// Why nobody can be answered.
pub(super) enum Unanswerable {
    /// In words for the person.
    Request(&'static str),
    /// Nothing waits any more under the reference that was pushed.
    Over(Box<Client>),
}

/// The request and its client: the one that was pushed, where the browser brings a reference to it. It may be opened again
/// until it was answered, for browsers load pages again (RFC 9126, section 4).
///
/// The inner error is for the person: nobody can be answered.
pub(super) async fn resolve(service: &AuthService, form: Form) -> Result<Result<Resolved, Unanswerable>, Problem> {
    let client = match client(service, form.get("client_id")).await? {
        Ok(client) => client,
        Err(why) => return Ok(Err(Unanswerable::Request(why))),
    };
    let Some(reference) = form.get("request_uri").and_then(|uri| uri.strip_prefix(PREFIX)) else {
        if client.metadata.require_pushed_authorization_requests {
            return Ok(Err(Unanswerable::Request("this application must push its requests (RFC 9126)")));
        }
        return Ok(Ok(Resolved { client, form, reference: None }));
    };
    let (key, answered_key) = (key(reference), answered_key(reference));
    let (kept, answered) = try_join(service.key_values.get(&key), service.key_values.get(&answered_key)).await?;
    let over = |client| Ok(Err(Unanswerable::Over(Box::new(client))));
    let Some(kept) = kept.filter(|_| answered.is_none()) else { return over(client) };
    let (owner, pushed): (String, Form) = serde_json::from_slice(&kept).map_err(Problem::internal)?;
    if owner != client.id {
        return over(client);
    }
    Ok(Ok(Resolved { client, form: pushed, reference: Some(reference.to_owned()) }))
}

/// The request that was pushed under `reference` is answered to this user, once: of several answers at once one gets `true`, and
/// that one again where `by`, which names it, comes back after a failure. A request that was not pushed has no other answer.
///
/// # Errors
/// 429 when the user has left too much behind; 503 when the key-value store does not answer.
pub(super) async fn end(
    service: &AuthService,
    reference: Option<&str>,
    by: &str,
    user: UserId,
) -> Result<bool, Problem> {
    let Some(reference) = reference else { return Ok(true) };
    let (key, by) = (answered_key(reference), sha256(by));
    // As long as a person may take who has opened it.
    if service.key_values.claim(&key, by.as_bytes(), flow::TTL, &Payer::User(user)).await? {
        return Ok(true);
    }
    Ok(service.key_values.get(&key).await?.is_some_and(|first| first == by.as_bytes()))
}
