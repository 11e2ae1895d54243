//! What a caller is told who is refused: the challenges of RFC 6750 (section 3), RFC 9449 (section 7.1) and RFC 9470.

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, SET_COOKIE, WWW_AUTHENTICATE};

use super::credential::Scheme;
use crate::problem::Problem;
use crate::session::StoreUnavailable;
use crate::token::TokenError;
use crate::token::dpop::{self, ProofError};

/// Offers a nonce for the next proof (RFC 9449, section 8.1).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Why the verdict refuses a token. The text is safe to show: it never quotes the token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Token(TokenError),
    #[error(transparent)]
    Proof(ProofError),
    /// The token lacks this word of scope.
    #[error("the access token lacks the scope {0:?}")]
    Scope(String),
    /// Whether it was taken back is not known.
    #[error(transparent)]
    Unavailable(StoreUnavailable),
}

impl Refusal {
    /// One word for a metric's label.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Token(error) => error.as_str(),
            Self::Proof(_) => "bad_proof",
            Self::Scope(_) => "insufficient_scope",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// Whether the token was taken back, or its session has ended.
    pub const fn is_revoked(&self) -> bool {
        matches!(self, Self::Token(TokenError::Revoked))
    }

    /// Whether nothing could be said of the token: a 503, and no word against its holder.
    pub const fn is_unavailable(&self) -> bool {
        match self {
            Self::Token(error) => error.is_ours(),
            Self::Proof(error) => matches!(error, ProofError::TooMany),
            Self::Scope(_) => false,
            Self::Unavailable(_) => true,
        }
    }

    /// The answer to the caller that sent the token in this scheme.
    pub(super) fn problem(self, sent: Scheme) -> Problem {
        match self {
            Self::Token(error) => refused(error, sent),
            Self::Proof(error) => proof_refused(error),
            Self::Scope(word) => scope_needed(&word, sent),
            Self::Unavailable(error) => error.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        refusal.problem(Scheme::Bearer)
    }
}

/// A challenge of one scheme. Parameters are constants and words without quotes.
fn challenge(scheme: Scheme, parameters: &str) -> String {
    match scheme {
        Scheme::Bearer => format!("Bearer {parameters}"),
        Scheme::Dpop => format!("DPoP {parameters}, algs=\"{}\"", dpop::ALGORITHMS.join(" ")),
    }
}

/// 400 `invalid_request`: two credentials, of which one could be anybody's.
pub(super) fn several() -> Problem {
    let detail = "a request has one Authorization header";
    let challenge = challenge(Scheme::Bearer, &format!("error=\"invalid_request\", error_description=\"{detail}\""));
    Problem::bad_request("invalid_request", detail).header(WWW_AUTHENTICATE, challenge)
}

/// 401 without an error: nothing was sent that could be a token (RFC 6750, section 3.1).
pub(super) fn missing(takes_proofs: bool) -> Problem {
    let detail = "send an access token as a Bearer token";
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "authentication_required", detail);
    let problem = problem.header(WWW_AUTHENTICATE, "Bearer");
    if takes_proofs {
        problem.header(WWW_AUTHENTICATE, format!("DPoP algs=\"{}\"", dpop::ALGORITHMS.join(" ")))
    } else {
        problem
    }
}

/// 401 `session_ended`: the browser forgets the cookie, and comes as a guest the next time.
pub(super) fn session_ended(forgotten: &[Cookie<'_>]) -> Problem {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "session_ended", "the session has ended; sign in again");
    let problem = problem.header(WWW_AUTHENTICATE, "Bearer");
    forgotten.iter().fold(problem, |problem, cookie| problem.header(SET_COOKIE, cookie.to_string()))
}

/// 401 `invalid_token` (RFC 6750, section 3.1), or 503 while nothing can be said of any token: it fails closed.
pub(super) fn refused(error: TokenError, sent: Scheme) -> Problem {
    if error.is_ours() {
        return cannot_tell(error);
    }
    let parameters = format!("error=\"invalid_token\", error_description=\"{error}\"");
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", error.to_string())
        .header(WWW_AUTHENTICATE, challenge(sent, &parameters))
}

/// 503: whether a token is good cannot be said here at the moment.
pub(crate) fn cannot_tell(error: TokenError) -> Problem {
    let what = match error {
        TokenError::Misconfigured => return Problem::misconfigured("misconfigured_platform", error),
        TokenError::ClockInDoubt => return Problem::misconfigured("misconfigured_clock", error),
        TokenError::RevocationsUnknown => "the revocation feed",
        _ => "the issuer's key set",
    };
    Problem::unavailable(what, error)
}

/// 401 `invalid_dpop_proof` (RFC 9449, section 7.1), or 503 while no more can be remembered.
fn proof_refused(error: ProofError) -> Problem {
    if error == ProofError::TooMany {
        return Problem::unavailable("the memory of DPoP proofs", error);
    }
    let parameters = format!("error=\"invalid_dpop_proof\", error_description=\"{error}\"");
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_dpop_proof", error.to_string())
        .header(WWW_AUTHENTICATE, challenge(Scheme::Dpop, &parameters))
}

/// 401 `use_dpop_nonce` with a nonce (RFC 9449, section 9): by its own time the proof is too old or from the future, and with the
/// nonce it is new.
pub(super) fn nonce_needed(nonce: &str) -> Problem {
    let detail = ProofError::Time;
    let parameters = format!("error=\"use_dpop_nonce\", error_description=\"{detail}; send the nonce\"");
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "use_dpop_nonce",
        format!("{detail}; send the nonce in the header DPoP-Nonce"),
    )
    .header(WWW_AUTHENTICATE, challenge(Scheme::Dpop, &parameters))
    .header(DPOP_NONCE, nonce.to_owned())
}

/// 403 `insufficient_scope` (RFC 6750, section 3.1), with the scope that is needed.
pub(super) fn scope_needed(scope: &str, sent: Scheme) -> Problem {
    let challenge = challenge(sent, &format!("error=\"insufficient_scope\", scope=\"{scope}\""));
    Problem::forbidden("insufficient_scope", format!("this needs the scope {scope:?}"))
        .header(WWW_AUTHENTICATE, challenge)
}

/// 401 `insufficient_user_authentication` (RFC 9470, section 3): sign in again, at most `max_age` seconds ago.
pub(super) fn login_too_old(max_age: u64, sent: Scheme) -> Problem {
    let detail = "the login is too old for this; sign in again";
    let parameters =
        format!("error=\"insufficient_user_authentication\", error_description=\"{detail}\", max_age=\"{max_age}\"");
    Problem::new(StatusCode::UNAUTHORIZED, "insufficient_user_authentication", detail)
        .header(WWW_AUTHENTICATE, challenge(sent, &parameters))
}
