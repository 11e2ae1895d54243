//! `grant_type=client_credentials` (RFC 6749, section 4.4): a client speaks for itself.

use super::TokenRequest;
use crate::authorization::request;
use crate::issue::{self, ClientTokens};
use crate::oauth_error::OAuthError;
use crate::scopes::Words;

pub(super) async fn exchange(request: &TokenRequest<'_>) -> Result<ClientTokens, OAuthError> {
    let TokenRequest { service, client, form, payer, .. } = request;
    if client.is_public() {
        return Err(OAuthError::new("unauthorized_client", "a public client cannot speak for itself"));
    }
    // The words about a user mean nothing here.
    let may = client.still_has(&service.api_scopes.words());
    let scope = form.get("scope").map_or(may.clone(), Words::split);
    if scope.is_empty() || !scope.is_within(&may) {
        return Err(OAuthError::new("invalid_scope", "the scope is unknown, or not this client's"));
    }
    let opened = request::read_audiences(form, &scope, &service.api_scopes, service.own_audience())?;
    let bound_to = request.bind(None, payer.clone()).await?;
    Ok(issue::to_itself(service, client, &opened, &scope, bound_to)?)
}
