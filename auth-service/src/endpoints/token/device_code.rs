//! `grant_type=urn:ietf:params:oauth:grant-type:device_code` (RFC 8628, section 3.4).

use super::{NewTokens, TokenRequest, give};
use crate::authorization::claims::RequestedClaims;
use crate::device_grant;
use crate::issue::ClientTokens;
use crate::oauth_error::OAuthError;
use crate::small_values::Payer;

pub(super) async fn exchange(request: &TokenRequest<'_>) -> Result<ClientTokens, OAuthError> {
    let TokenRequest { service, client, form, .. } = request;
    let device_code = form.required("device_code")?;
    let allowed = device_grant::poll(service, client, device_code).await?;
    let bound_to = request.bind(None, Payer::User(allowed.user)).await?;
    device_grant::use_up(service, device_code).await?;
    let new = NewTokens {
        grant: allowed.grant,
        session: allowed.session,
        user: allowed.user,
        audiences: allowed.audiences.clone(),
        granted_audiences: allowed.audiences,
        scope: allowed.scope,
        nonce: None,
        claims: RequestedClaims::default(),
        bound_to,
        epoch: allowed.epoch,
    };
    give(request, new).await
}
