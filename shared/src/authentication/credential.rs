//! The access token in the `Authorization` header: of whoever has it (RFC 6750, section 2.1), or with a proof of the key that
//! it is bound to (RFC 9449, section 7.1). A token in the query or in a form is not looked at.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use super::challenge;
use crate::problem::Problem;
use crate::token::Thumbprint;
use crate::token::dpop::ProofError;

/// What a request has to show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credential<'a> {
    pub(super) token: &'a str,
    pub(super) scheme: Scheme,
}

/// How a token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Bearer,
    Dpop,
}

impl Scheme {
    /// How a token that is bound to that key, or to none, is sent.
    pub(super) fn of(bound_to: Option<Thumbprint>) -> Self {
        if bound_to.is_some() { Self::Dpop } else { Self::Bearer }
    }
}

/// The one token of a request, or none where there is no `Authorization` header.
///
/// # Errors
/// 400 `invalid_request` for several headers; 401 for another scheme, or for no token after it.
pub(super) fn credential(headers: &HeaderMap, takes_proofs: bool) -> Result<Option<Credential<'_>>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(challenge::several());
    }
    match value.to_str().ok().and_then(|text| text.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(Credential { token: token.trim_start_matches(' '), scheme: Scheme::Bearer }))
        }
        Some((scheme, token)) if takes_proofs && scheme.eq_ignore_ascii_case("dpop") => {
            Ok(Some(Credential { token: token.trim_start_matches(' '), scheme: Scheme::Dpop }))
        }
        _ => Err(challenge::missing(takes_proofs)),
    }
}

/// The proof in a request's `DPoP` header (RFC 9449, section 4.1), or none where there is no such header.
///
/// # Errors
/// [`ProofError::Count`] for several, [`ProofError::Malformed`] for one that is no text.
pub fn dpop_proof(headers: &HeaderMap) -> Result<Option<&str>, ProofError> {
    let mut values = headers.get_all("dpop");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ProofError::Count);
    }
    value.to_str().map(Some).map_err(|_| ProofError::Malformed)
}
