//! The proof of a key that a token request may bring (DPoP, RFC 9449, section 5): what is issued is bound to that key.

use std::time::Duration;

use actix_web::HttpRequest;
use shared::authentication::{DPOP_NONCE, dpop_proof};
use shared::key_value::Key;
use shared::token::Thumbprint;
use shared::token::dpop::{self, Proof, ProofError, ProvenRequest};

use super::TokenRequest;
use crate::AuthService;
use crate::clients::Client;
use crate::oauth_error::OAuthError;
use crate::small_values::Payer;

/// How long a proof is remembered, on all replicas: longer than it is good.
const REMEMBERED: Duration = Duration::from_secs(180);

/// A good proof of the caller's key, if it says that it has one; a client that registered `dpop_bound_access_tokens` must.
/// Whether it was used before is asked by [`TokenRequest::bind`].
///
/// # Errors
/// `invalid_dpop_proof`; `use_dpop_nonce`, with a nonce, where the client's clock is wrong (RFC 9449, section 8).
pub(super) fn read(service: &AuthService, http: &HttpRequest, client: &Client) -> Result<Option<Proof>, OAuthError> {
    let Some(proof) = dpop_proof(http.headers()).map_err(refused)? else {
        let needed = client.metadata.dpop_bound_access_tokens;
        return if needed { Err(invalid("this client's requests need a DPoP proof")) } else { Ok(None) };
    };
    let url = format!("{}/oauth2/token", service.issuer.trim_end_matches('/'));
    let request = ProvenRequest { method: http.method().as_str(), url: &url, access_token: None };
    let now = service.clock.now();
    let checked = dpop::check(proof, request, now, |nonce| service.proof_nonces.is_recent(nonce, now));
    checked.map(Some).map_err(|error| match error {
        ProofError::Time => nonce_needed(&service.proof_nonces.make(now)),
        error => refused(error),
    })
}

impl TokenRequest<'_> {
    /// The key that the request proves, before it is known whether the proof was used before.
    pub(super) fn key(&self) -> Option<Thumbprint> {
        self.proof.as_ref().map(|proof| proof.key)
    }

    /// The key that tokens are bound to, by a proof that is used up here. To be called when everything else about the
    /// grant is good, and before the grant is used up: so strangers have nothing remembered for them, and a proof that is
    /// repeated costs no grant. `payer` pays for what is remembered, unless the grant is bound to the key: a caller makes up as
    /// many others as they like.
    ///
    /// # Errors
    /// `invalid_grant` where the grant is bound to another key (RFC 9449, sections 5 and 10): it is worth nothing to
    /// whoever has another one. `invalid_dpop_proof` for a second use; 429; 503 when it cannot be known whether it is one.
    pub(super) async fn bind(
        &self,
        grant_is_bound_to: Option<&str>,
        payer: Payer,
    ) -> Result<Option<Thumbprint>, OAuthError> {
        if grant_is_bound_to.is_some_and(|bound_to| self.key().is_none_or(|key| bound_to.parse() != Ok(key))) {
            return Err(OAuthError::invalid_grant());
        }
        let Some(proof) = &self.proof else { return Ok(None) };
        let once = Key::new("dpop_proof", format!("{} {}", proof.key, proof.id).as_bytes());
        let payer = grant_is_bound_to.map_or(payer, |_| Payer::Key(proof.key));
        if !self.service.key_values.claim(&once, b"1", REMEMBERED, &payer).await? {
            return Err(invalid("the DPoP proof was used before"));
        }
        Ok(Some(proof.key))
    }
}

fn nonce_needed(nonce: &str) -> OAuthError {
    let description = format!("{}; send the nonce in the header DPoP-Nonce", ProofError::Time);
    OAuthError::new("use_dpop_nonce", description).header(DPOP_NONCE, nonce)
}

fn refused(error: ProofError) -> OAuthError {
    invalid(error.to_string())
}

fn invalid(description: impl Into<String>) -> OAuthError {
    OAuthError::new("invalid_dpop_proof", description)
}
