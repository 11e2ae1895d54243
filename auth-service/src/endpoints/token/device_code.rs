//! `grant_type=urn:ietf:params:oauth:grant-type:device_code` (RFC 8628, section 3.4).

use super::TokenRequest;
use super::given::{NewTokens, give};
use crate::authorization::claims::RequestedClaims;
use crate::device_grant;
use crate::issue::ClientTokens;
use crate::oauth_error::OAuthError;
use crate::small_values::Payer;
use crate::storage::grants::GrantId;

pub(super) async fn exchange(request: &TokenRequest<'_>) -> Result<ClientTokens, OAuthError> {
    let TokenRequest { service, client, form, .. } = request;
    let device_code = form.required("device_code")?;
    let allowed = device_grant::poll(service, client, device_code).await?;
    let bound_to = request.bind(None, Payer::User(allowed.user)).await?;
    let used_up = device_grant::use_up(service, device_code).await?;
    let new = NewTokens {
        grant: GrantId::random(),
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
    let give_back = async || device_grant::give_back(service, device_code, used_up).await.map(|()| true);
    give(request, new, give_back).await.map_err(|why| why.or(device_grant::over))
}
