//! `POST /oauth2/token` (RFC 6749, section 3.2). The steps that no grant may forget are here: the form, the client, whether
//! it may use the grant. One file for each grant.

mod authorization_code;
mod client_credentials;
mod device_code;
mod given;
mod proof;
mod refresh_token;
mod token_exchange;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, post, web};

use shared::authentication::SingleSignOn;
use shared::token::dpop::Proof;

use super::origin::Origin;
use crate::AuthService;
use crate::authorization::claims::RequestedClaims;
use crate::client_authentication::authenticate;
use crate::clients::{Client, GrantType};
use crate::form::Form;
use crate::id_token::{self, NewIdToken};
use crate::issue::{ClientTokens, ToClient};
use crate::oauth_error::{OAuthError, OAuthErrorBody};
use crate::scopes::OPENID;
use crate::small_values::Payer;
use crate::storage::audit::By;

/// A request for tokens whose client is known and may use the grant.
struct TokenRequest<'a> {
    service: &'a AuthService,
    single_sign_on: &'a SingleSignOn,
    client: Client,
    form: &'a Form,
    /// A proof of a key: [`TokenRequest::bind`] uses it up.
    proof: Option<Proof>,
    /// Who pays for what is remembered where no user does.
    payer: Payer,
    by: By,
}

/// Exchange a grant for tokens (RFC 6749, section 3.2): a code, a refresh token, a device's code, another token, or a
/// client's own name.
#[utoipa::path(
    tag = "openid",
    request_body(content = inline(std::collections::HashMap<String, String>), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Tokens", body = ClientTokens, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 400, description = "`invalid_request`, `invalid_grant`, `unauthorized_client`, `unsupported_grant_type`, `invalid_scope`, `invalid_target`, `invalid_dpop_proof`; `use_dpop_nonce` where the time of a DPoP proof is out of bounds", body = OAuthErrorBody, headers(("DPoP-Nonce" = Option<String>, description = "With `use_dpop_nonce` (RFC 9449, section 8): the nonce of the next proof, good for a minute"))),
        (status = 401, description = "`invalid_client`", body = OAuthErrorBody),
        (status = 408, description = "The form did not arrive in time", body = OAuthErrorBody),
        (status = 413, description = "The form is too large", body = OAuthErrorBody),
        (status = 415, description = "The body is no form", body = OAuthErrorBody),
        (status = 429, description = "`slow_down`", body = OAuthErrorBody),
        (status = 503, description = "`temporarily_unavailable`: try again after `Retry-After` seconds", body = OAuthErrorBody),
    )
)]
#[post("/oauth2/token")]
pub(super) async fn token(
    service: web::Data<AuthService>,
    single_sign_on: web::Data<SingleSignOn>,
    origin: Origin,
    request: HttpRequest,
    form: Form,
) -> Result<HttpResponse, OAuthError> {
    let client = authenticate(&service, &request, &form).await?;
    let grant = grant_type(&form)?;
    if !client.allows_grant(grant) {
        return Err(OAuthError::new("unauthorized_client", "the client is not registered for this grant_type"));
    }
    let proof = proof::read(&service, &request, &client)?;
    let payer = Payer::client(&service, &client, &request);
    let (service, single_sign_on, by) = (&*service, &*single_sign_on, origin.anonymous());
    let request = TokenRequest { service, single_sign_on, client, form: &form, proof, payer, by };
    let tokens = match grant {
        GrantType::AuthorizationCode => authorization_code::exchange(&request).await?,
        GrantType::RefreshToken => refresh_token::exchange(&request).await?,
        GrantType::ClientCredentials => client_credentials::exchange(&request).await?,
        GrantType::DeviceCode => device_code::exchange(&request).await?,
        GrantType::TokenExchange => token_exchange::exchange(&request).await?,
    };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(tokens))
}

/// Adds the ID token that an OpenID scope comes with.
fn with_id_token(
    service: &AuthService,
    client: &Client,
    to: &ToClient<'_>,
    tokens: ClientTokens,
    nonce: Option<&str>,
    claims: &RequestedClaims,
) -> Result<ClientTokens, OAuthError> {
    if !to.scope.has(OPENID) {
        return Ok(tokens);
    }
    let (user, session, access_token) = (to.user, to.session, &*tokens.access_token);
    let scope = to.scope;
    let id_token = id_token::write(service, &NewIdToken { client, user, session, nonce, access_token, scope, claims })?;
    Ok(tokens.with_id_token(id_token))
}

fn grant_type(form: &Form) -> Result<GrantType, OAuthError> {
    let text = form.required("grant_type")?;
    serde_json::from_value(text.into()).map_err(|_| unsupported())
}

fn unsupported() -> OAuthError {
    OAuthError::new("unsupported_grant_type", "this grant_type is not supported")
}
