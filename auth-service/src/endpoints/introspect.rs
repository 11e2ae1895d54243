//! `POST /oauth2/introspect` (RFC 7662): whether a token is good, for those that it concerns.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, post, web};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::authentication::SingleSignOn;

use super::shown_token;
use crate::AuthService;
use crate::client_authentication::authenticate;
use crate::clients::Client;
use crate::end_session::{self, Look};
use crate::form::Form;
use crate::oauth_error::{OAuthError, OAuthErrorBody};
use crate::refresh;

/// Whether a token is good now (RFC 7662). To anybody but its client and the services that it is for, no token is.
#[utoipa::path(
    tag = "openid",
    request_body(content = inline(std::collections::HashMap<String, String>), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "`active`, and what the token says", body = inline(std::collections::HashMap<String, Value>)),
        (status = 400, description = "`invalid_request`", body = OAuthErrorBody),
        (status = 401, description = "`invalid_client`: also for a public client, which cannot prove who it is", body = OAuthErrorBody),
        (status = 408, description = "The form did not arrive in time", body = OAuthErrorBody),
        (status = 413, description = "The form is too large", body = OAuthErrorBody),
        (status = 415, description = "The body is no form", body = OAuthErrorBody),
        (status = 429, description = "`slow_down`", body = OAuthErrorBody),
        (status = 503, description = "`temporarily_unavailable`", body = OAuthErrorBody),
    )
)]
#[post("/oauth2/introspect")]
pub(super) async fn introspect(
    service: web::Data<AuthService>,
    single_sign_on: web::Data<SingleSignOn>,
    http: HttpRequest,
    form: Form,
) -> Result<HttpResponse, OAuthError> {
    let client = authenticate(&service, &http, &form).await?;
    if client.is_public() {
        return Err(OAuthError::invalid_client());
    }
    let text = form.required("token")?;
    let said = match access_token(&service, &single_sign_on, &client, text).await? {
        Some(said) => said,
        None => refresh_token(&service, &client, text).await?.unwrap_or_else(|| json!({"active": false})),
    };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(said))
}

async fn access_token(
    service: &AuthService,
    single_sign_on: &SingleSignOn,
    client: &Client,
    text: &str,
) -> Result<Option<Value>, OAuthError> {
    let Some(shown) = shown_token::read(service, single_sign_on, client, text).await? else { return Ok(None) };
    let Some(mut claims) = service.keys.verify_own(text, "at+jwt") else { return Ok(None) };
    let is_bound = shown.token.bound_to().is_some();
    claims.remove("grant");
    claims.remove("attributes");
    claims.insert("active".to_owned(), true.into());
    claims.insert("token_type".to_owned(), if is_bound { "DPoP" } else { "Bearer" }.into());
    Ok(Some(Value::Object(claims)))
}

async fn refresh_token(service: &AuthService, client: &Client, text: &str) -> Result<Option<Value>, OAuthError> {
    let text = SecretString::from(text);
    let grant = refresh::grant_of(service, &text).await?.filter(|grant| grant.client_id == client.id);
    let Some(grant) = grant else { return Ok(None) };
    let load = async || Ok(service.sessions.load(grant.session.0).await?);
    let Look::Current(_, session) = end_session::look(service, grant.user_id, load).await? else { return Ok(None) };
    let token = refresh::read(service, &text)?;
    let is_newest = session.clients.get(&grant.id.to_string()).is_some_and(|it| it.generation == token.generation);
    Ok(is_newest.then(|| {
        json!({
            "active": true,
            "scope": client.still_has(&grant.scope).to_string(),
            "client_id": grant.client_id,
            "sub": grant.user_id,
            "iss": service.issuer,
            "exp": session.ends_at().seconds(),
            "sid": session.id,
        })
    }))
}
