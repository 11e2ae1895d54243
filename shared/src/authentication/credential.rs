//! The access token in the `Authorization` header: of whoever has it (RFC 6750, section 2.1), or with a proof of the key that
//! it is bound to (RFC 9449, section 7.1). A token in the query or in a form is not looked at.

use actix_web::http::header::{AUTHORIZATION, AsHeaderName, HeaderMap};

use super::challenge;
use super::verdict::Shown;
use crate::problem::Problem;
use crate::token::Thumbprint;
use crate::token::dpop::ProofError;

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

/// The one token among the values of the header `Authorization`, or none where there is no such header.
///
/// # Errors
/// 400 `invalid_request` for several headers; 401 for another scheme, or for no token after it.
pub(super) fn credential<'a>(values: &[&'a str], takes_proofs: bool) -> Result<Option<Shown<'a>>, Problem> {
    let value = match values {
        [] => return Ok(None),
        [value] => *value,
        _ => return Err(challenge::several()),
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(Shown { token: token.trim_start_matches(' '), scheme: Scheme::Bearer }))
        }
        Some((scheme, token)) if takes_proofs && scheme.eq_ignore_ascii_case("dpop") => {
            Ok(Some(Shown { token: token.trim_start_matches(' '), scheme: Scheme::Dpop }))
        }
        _ => Err(challenge::missing(takes_proofs)),
    }
}

/// What stands for a header's value that is no text: no scheme, and no proof.
const UNREADABLE: &str = "";

/// The values of a header, as far as they matter: with two, it is refused.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    first: [&'a str; 2],
    count: usize,
}

impl<'a> Values<'a> {
    fn of(headers: &'a HeaderMap, name: impl AsHeaderName) -> Self {
        let mut values = Self { first: [UNREADABLE; 2], count: 0 };
        for (place, value) in values.first.iter_mut().zip(headers.get_all(name)) {
            *place = value.to_str().unwrap_or(UNREADABLE);
            values.count += 1;
        }
        values
    }

    /// The values of `Authorization` and of `DPoP`.
    pub(super) fn of_credentials(headers: &'a HeaderMap) -> (Self, Self) {
        (Self::of(headers, AUTHORIZATION), Self::of(headers, "dpop"))
    }

    pub(super) fn as_slice(&self) -> &[&'a str] {
        &self.first[..self.count]
    }
}

/// The one proof among the values of the header `DPoP`, or none where there is no such header.
///
/// # Errors
/// [`ProofError::Count`] for several, [`ProofError::Malformed`] for one that is no text.
pub(super) fn single_proof<'a>(values: &[&'a str]) -> Result<Option<&'a str>, ProofError> {
    match values {
        [] => Ok(None),
        [UNREADABLE] => Err(ProofError::Malformed),
        [proof] => Ok(Some(proof)),
        _ => Err(ProofError::Count),
    }
}

/// The proof in a request's `DPoP` header (RFC 9449, section 4.1), or none where there is no such header.
///
/// # Errors
/// [`ProofError::Count`] for several, [`ProofError::Malformed`] for one that is no text.
pub fn dpop_proof(headers: &HeaderMap) -> Result<Option<&str>, ProofError> {
    single_proof(Values::of(headers, "dpop").as_slice())
}
