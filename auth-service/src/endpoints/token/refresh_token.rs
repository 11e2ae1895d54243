//! `grant_type=refresh_token` (RFC 6749, section 6): the platform's own rotation, for each grant by itself.

use super::{TokenRequest, with_id_token};
use crate::authorization::claims::RequestedClaims;
use crate::authorization::request;
use crate::grants;
use crate::issue::{self, ClientTokens, ToClient};
use crate::oauth_error::OAuthError;
use crate::refresh::{self, Rotated};
use crate::scopes::Words;
use crate::small_values::Payer;

pub(super) async fn exchange(request: &TokenRequest<'_>) -> Result<ClientTokens, OAuthError> {
    let TokenRequest { service, client, form, by, .. } = request;
    let text = form
        .secret("refresh_token")
        .ok_or_else(|| OAuthError::invalid_request("the parameter refresh_token is missing"))?;
    // What cannot be given is refused before the token is used up.
    let grant = refresh::grant_of(service, &text).await?.filter(|grant| grant.client_id == client.id);
    let grant = grant.ok_or_else(OAuthError::invalid_grant)?;
    let left = grants::left(service, client, &grant.scope, &grant.audiences);
    let (scope, audiences) = left.ok_or_else(OAuthError::invalid_grant)?;
    let scope = narrowed(form.get("scope"), &scope)?;
    let audiences = request::narrowed(form, &audiences)?;
    let bound_to = request.bind(grant.dpop_jkt.as_deref(), Payer::User(grant.user_id)).await?;
    let rotated = refresh::rotate(service, &text, by).await.map_err(as_grant_error)?;
    let Rotated { user, session, generation } = rotated;
    let to = ToClient { user: &user, session: &session, grant: &grant, audiences: &audiences, scope: &scope, bound_to };
    let tokens = issue::to_client(service, &to, Some(generation))?;
    let claims: RequestedClaims = serde_json::from_str(&grant.claims).unwrap_or_default();
    let claims = claims.left(&client.words(), &grant.scope, &scope);
    // Without the nonce (OpenID Connect Core, section 12.2).
    with_id_token(service, client, &to, tokens, None, &claims)
}

/// Less than was granted may be asked for, never more.
fn narrowed(asked: Option<&str>, granted: &Words) -> Result<Words, OAuthError> {
    let Some(asked) = asked.map(Words::split) else { return Ok(granted.clone()) };
    if asked.is_within(granted) && !asked.is_empty() {
        return Ok(asked);
    }
    Err(OAuthError::new("invalid_scope", "the scope is wider than what was granted"))
}

/// A refusal of the platform's own refresh, in OAuth's words; what does not answer stays that.
fn as_grant_error(problem: shared::problem::Problem) -> OAuthError {
    if problem.status().is_server_error() { problem.into() } else { OAuthError::invalid_grant() }
}
