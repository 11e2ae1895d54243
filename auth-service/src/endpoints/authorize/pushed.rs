//! Pushed authorization requests (RFC 9126): a client leaves its request here, where nobody on the way can change it, and
//! sends the browser with a reference that is good once, for a minute.

use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Serialize;
use shared::key_value::Key;
use shared::problem::Problem;
use utoipa::ToSchema;

use super::{client, read};
use crate::AuthService;
use crate::authorization::request;
use crate::client_authentication::authenticate;
use crate::clients::Client;
use crate::codes::random_text;
use crate::form::Form;
use crate::oauth_error::{OAuthError, OAuthErrorBody};
use crate::small_values::Payer;

const TTL: Duration = Duration::from_secs(60);
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

fn key(reference: &str) -> Key {
    Key::new("pushed_request", reference.as_bytes())
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
    let to = request::return_address(&form, &client).map_err(OAuthError::invalid_request)?;
    read(&service, &form, &client, to).map_err(|refusal| OAuthError::new(refusal.error, refusal.description))?;
    let reference = random_text();
    let kept = serde_json::to_vec(&(client.id.as_str(), &form)).map_err(Problem::internal)?;
    service.key_values.put(&key(&reference), &kept, TTL, &Payer::client(&service, &client, &http)).await?;
    let pushed = Pushed { request_uri: format!("{PREFIX}{reference}"), expires_in: TTL.as_secs() };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(pushed))
}

/// The request and its client: the one that was pushed, where the browser brings a reference to it.
///
/// The inner error is for the person: nobody can be answered.
pub(super) async fn resolve(
    service: &AuthService,
    form: Form,
) -> Result<Result<(Client, Form), &'static str>, Problem> {
    let client = match client(service, form.get("client_id")).await? {
        Ok(client) => client,
        Err(why) => return Ok(Err(why)),
    };
    let Some(reference) = form.get("request_uri").and_then(|uri| uri.strip_prefix(PREFIX)) else {
        if client.metadata.require_pushed_authorization_requests {
            return Ok(Err("this application must push its requests (RFC 9126)"));
        }
        return Ok(Ok((client, form)));
    };
    let over = "the reference to the request (request_uri) is not known, was used, or is another application's";
    let Some(kept) = service.key_values.get(&key(reference)).await? else { return Ok(Err(over)) };
    let (owner, pushed): (String, Form) = serde_json::from_slice(&kept).map_err(Problem::internal)?;
    // Another client does not use it up.
    if owner != client.id || service.key_values.take(&key(reference)).await?.is_none() {
        return Ok(Err(over));
    }
    Ok(Ok((client, pushed)))
}
