//! `POST /oauth2/revoke` (RFC 7009): a client gives back what it was given.

use actix_web::{HttpRequest, HttpResponse, post, web};
use secrecy::SecretString;
use shared::authentication::SingleSignOn;
use shared::problem::Problem;
use shared::session::UserId;
use shared::token::VerifiedToken;
use uuid::Uuid;

use super::origin::Origin;
use super::shown_token::IN_A_FORM;
use crate::AuthService;
use crate::client_authentication::authenticate;
use crate::clients::Client;
use crate::form::Form;
use crate::oauth_error::{OAuthError, OAuthErrorBody};
use crate::storage::audit::By;
use crate::{end_session, grants, refresh};

/// Take back a token (RFC 7009). A refresh token takes its whole grant with it, an access token itself alone. One that is
/// unknown, over or another client's changes nothing, and the answer is the same.
#[utoipa::path(
    tag = "openid",
    request_body(content = inline(std::collections::HashMap<String, String>), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "It is good for nothing any more"),
        (status = 400, description = "`invalid_request`", body = OAuthErrorBody),
        (status = 401, description = "`invalid_client`", body = OAuthErrorBody),
        (status = 408, description = "The form did not arrive in time", body = OAuthErrorBody),
        (status = 413, description = "The form is too large", body = OAuthErrorBody),
        (status = 415, description = "The body is no form", body = OAuthErrorBody),
        (status = 429, description = "`slow_down`", body = OAuthErrorBody),
        (status = 503, description = "`temporarily_unavailable`: it may still be good", body = OAuthErrorBody),
    )
)]
#[post("/oauth2/revoke")]
pub(super) async fn revoke(
    service: web::Data<AuthService>,
    single_sign_on: web::Data<SingleSignOn>,
    origin: Origin,
    http: HttpRequest,
    form: Form,
) -> Result<HttpResponse, OAuthError> {
    let client = authenticate(&service, &http, &form).await?;
    let text = SecretString::from(form.required("token")?);
    if !revoke_grant(&service, &client, &text, &origin.anonymous()).await? {
        revoke_access_token(&service, &single_sign_on, &client, form.required("token")?, &origin.anonymous()).await?;
    }
    Ok(HttpResponse::Ok().finish())
}

/// `false` when it is no refresh token of this client's.
async fn revoke_grant(
    service: &AuthService,
    client: &Client,
    text: &SecretString,
    by: &By,
) -> Result<bool, OAuthError> {
    let grant = refresh::grant_of(service, text).await?.filter(|grant| grant.client_id == client.id);
    let Some(grant) = grant else { return Ok(false) };
    grants::end(service, &grant, grants::EndOfGrant::RevokedByClient, by).await?;
    Ok(true)
}

async fn revoke_access_token(
    service: &AuthService,
    single_sign_on: &SingleSignOn,
    client: &Client,
    text: &str,
    by: &By,
) -> Result<(), OAuthError> {
    let token = match single_sign_on.verify(text, &IN_A_FORM).await {
        Err(refusal) if refusal.is_unavailable() => return Err(Problem::from(refusal).into()),
        Err(_) => return Ok(()),
        Ok(token) => token,
    };
    if token.client_id() == client.id {
        end_session::revoke_token(service, user_of(&token), token.token_id(), by).await?;
    }
    Ok(())
}

/// In whose part of the feed the revocation stands; a client's own tokens share one.
fn user_of(token: &VerifiedToken) -> UserId {
    match token {
        VerifiedToken::User(token) => token.user,
        VerifiedToken::Client(_) => UserId(Uuid::nil()),
    }
}
