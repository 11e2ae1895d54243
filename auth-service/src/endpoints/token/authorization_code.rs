//! `grant_type=authorization_code` (RFC 6749, section 4.1.3).

use super::TokenRequest;
use super::given::{NewTokens, NotGiven, give};
use crate::authorization::request;
use crate::codes::{self, Presented};
use crate::issue::ClientTokens;
use crate::oauth_error::OAuthError;
use crate::small_values::Payer;

pub(super) async fn exchange(request: &TokenRequest<'_>) -> Result<ClientTokens, OAuthError> {
    let TokenRequest { service, client, form, by, .. } = request;
    let presented = Presented {
        client_id: &client.id,
        redirect_uri: form.required("redirect_uri")?,
        verifier: form.get("code_verifier"),
        key: request.key(),
    };
    let text = form.required("code")?;
    let code = codes::find(service, text, &presented, by).await?;
    // What the client has changed since must not make its code worth more.
    let is_unproved = client.is_public() && code.code_challenge.is_none();
    if is_unproved || client.redirect_uri(&code.redirect_uri).is_none() {
        return Err(OAuthError::invalid_grant());
    }
    // What cannot be given is refused before the code is used up.
    let audiences = request::narrowed(form, &code.audiences)?;
    let bound_to = request.bind(code.dpop_jkt.as_deref(), Payer::User(code.user)).await?;
    let grant = codes::use_up(service, text, &code, by).await?;
    let new = NewTokens {
        grant,
        session: code.session,
        user: code.user,
        audiences,
        granted_audiences: code.audiences,
        scope: code.scope,
        nonce: code.nonce,
        claims: code.claims,
        bound_to,
        epoch: code.epoch,
    };
    let given = give(request, new, async || codes::give_back(service, text, grant).await).await;
    if !given.as_ref().is_err_and(NotGiven::is_as_before) {
        codes::forget(service, text).await;
    }
    given.map_err(|why| why.or(OAuthError::code_lost))
}
