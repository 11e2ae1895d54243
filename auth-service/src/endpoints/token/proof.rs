//! The proof of a key that a token request may bring (DPoP, RFC 9449, section 5): what is issued is bound to that key.

use std::time::Duration;

use actix_web::HttpRequest;
use shared::authentication::dpop_proof;
use shared::key_value::Key;
use shared::token::Thumbprint;
use shared::token::dpop::{self, ProofError, ProvenRequest};

use crate::AuthService;
use crate::clients::Client;
use crate::oauth_error::OAuthError;

/// How long a proof is remembered, on all replicas: longer than it is good.
const REMEMBERED: Duration = Duration::from_secs(180);

/// The key that the caller has proved to have, if it says so; a client that registered `dpop_bound_access_tokens` must.
///
/// # Errors
/// `invalid_dpop_proof`; 503 when it cannot be known whether the proof was used before.
pub(super) async fn key_of(
    service: &AuthService,
    http: &HttpRequest,
    client: &Client,
) -> Result<Option<Thumbprint>, OAuthError> {
    let Some(proof) = dpop_proof(http.headers()).map_err(refused)? else {
        let needed = client.metadata.dpop_bound_access_tokens;
        return if needed { Err(invalid("this client's requests need a DPoP proof")) } else { Ok(None) };
    };
    let url = format!("{}/oauth2/token", service.issuer.trim_end_matches('/'));
    let request = ProvenRequest { method: http.method().as_str(), url: &url, access_token: None };
    let proof = dpop::check(proof, request, service.clock.now()).map_err(refused)?;
    let once = Key::new("dpop_proof", format!("{} {}", proof.key, proof.id).as_bytes());
    if !service.key_values.claim(&once, b"1", REMEMBERED).await? {
        return Err(invalid("the DPoP proof was used before"));
    }
    Ok(Some(proof.key))
}

/// Refuses another key than the one that a code or a refresh token is bound to (RFC 9449, sections 5 and 10).
///
/// # Errors
/// `invalid_grant`: it is worth nothing to whoever has another key.
pub(super) fn must_be(bound_to: Option<&str>, proven: Option<Thumbprint>) -> Result<(), OAuthError> {
    let Some(bound_to) = bound_to else { return Ok(()) };
    let same = proven.is_some_and(|key| bound_to.parse() == Ok(key));
    same.then_some(()).ok_or_else(OAuthError::invalid_grant)
}

fn refused(error: ProofError) -> OAuthError {
    invalid(error.to_string())
}

fn invalid(description: impl Into<String>) -> OAuthError {
    OAuthError::new("invalid_dpop_proof", description)
}
