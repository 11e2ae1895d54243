//! The proof that a caller has a key (DPoP, RFC 9449): so that a token which is bound to that key is worth nothing to whoever
//! steals it. Owns what a good proof is; holds no request, and decides nothing about the token. Rules, and a memory of the
//! proofs that were seen.

mod seen;
mod target;

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};

pub use self::seen::SeenProofs;
use self::target::is_same_target;
use super::jwk::Jwk;
use super::{Algorithm, KeyFault, Thumbprint, present, read_object};
use crate::clock::Timestamp;

/// The algorithms that a proof may be signed with, as a challenge and the issuer's metadata name them.
pub const ALGORITHMS: [&str; 3] = [Algorithm::EdDsa.as_str(), Algorithm::Es256.as_str(), Algorithm::Rs256.as_str()];

/// The largest proof that is looked at: 4 KiB.
const MAX_PROOF: usize = 4 * 1024;
/// The longest `jti`, in bytes.
const MAX_ID: usize = 256;
/// How old a proof may be.
const MAX_AGE: Duration = Duration::from_secs(60);
/// How far the caller's clock may be ahead of this one.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// The request that a proof has to be for.
#[derive(Debug, Clone, Copy)]
pub struct ProvenRequest<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// The request's absolute URL, as the service knows itself: never made from what the request says of it.
    pub url: &'a str,
    /// The access token that is sent with it; none at the token endpoint.
    pub access_token: Option<&'a str>,
}

/// A good proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The key that the caller has: a token's `cnf.jkt`.
    pub key: Thumbprint,
    /// The `jti`, by which a second use is known: see [`SeenProofs`].
    pub id: String,
    /// The `nonce`, where there is one (RFC 9449, section 8).
    pub nonce: Option<String>,
}

/// Why a proof is refused. The text is safe to show: it never quotes the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("a request has exactly one DPoP header")]
    Count,
    #[error("the DPoP proof is malformed")]
    Malformed,
    #[error("the DPoP proof's typ is not dpop+jwt")]
    Type,
    #[error("the DPoP proof's alg is none of EdDSA, ES256, RS256")]
    Algorithm,
    #[error("the DPoP proof's key is refused: {0}")]
    Key(KeyFault),
    #[error("the DPoP proof's signature is wrong")]
    BadSignature,
    #[error("the DPoP proof is for another method")]
    Method,
    #[error("the DPoP proof is for another URL")]
    Target,
    #[error("the DPoP proof is too old, or from the future")]
    Time,
    #[error("the DPoP proof is for another access token")]
    AccessToken,
    #[error("the DPoP proof is by another key than the access token is bound to")]
    WrongKey,
    #[error("the DPoP proof was used before")]
    Replayed,
    /// More proofs than can be remembered: nothing can be said of a new one.
    #[error("too many DPoP proofs at the moment")]
    TooMany,
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: Jwk,
    /// Extensions that must be understood: we know none (RFC 7515, section 4.1.11).
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: NumericDate,
    #[serde(default, deserialize_with = "present")]
    ath: Option<String>,
    #[serde(default, deserialize_with = "present")]
    nonce: Option<String>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<NumericDate>,
}

/// Seconds, perhaps with a fraction (RFC 7519, section 2); none before 1970.
struct NumericDate(Timestamp);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)?;
        Ok(Self(Timestamp::from_seconds(0) + seconds))
    }
}

/// Checks that a proof is good for a request, now (RFC 9449, section 4.3). `is_recent` knows a nonce that was made a moment ago: a
/// proof with one is new, whatever its caller's clock says. What is left to the caller: that it was not used before
/// ([`SeenProofs::remember`]), and that its key is the one that matters.
///
/// # Errors
/// Why it is refused; with [`ProofError::Time`] a nonce may be offered (section 8).
pub fn check(
    proof: &str,
    request: ProvenRequest<'_>,
    now: Timestamp,
    is_recent: impl FnOnce(&str) -> bool,
) -> Result<Proof, ProofError> {
    let (claims, key) = read_signed(proof)?;
    let is_id = (1..=MAX_ID).contains(&claims.jti.len()) && !claims.jti.chars().any(char::is_control);
    if !is_id {
        return Err(ProofError::Malformed);
    }
    if claims.htm != request.method {
        return Err(ProofError::Method);
    }
    if !is_same_target(&claims.htu, request.url) {
        return Err(ProofError::Target);
    }
    if !is_timely(&claims, now) && !claims.nonce.as_deref().is_some_and(is_recent) {
        return Err(ProofError::Time);
    }
    let token_hash = request.access_token.map(|token| URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())));
    if token_hash.is_some() && claims.ath != token_hash {
        return Err(ProofError::AccessToken);
    }
    Ok(Proof { key, id: claims.jti, nonce: claims.nonce })
}

/// The claims under a signature of the key in the proof's own header, and the name of that key.
fn read_signed(proof: &str) -> Result<(Claims, Thumbprint), ProofError> {
    if proof.len() > MAX_PROOF {
        return Err(ProofError::Malformed);
    }
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| ProofError::Malformed);
    let (message, signature) = proof.rsplit_once('.').ok_or(ProofError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(ProofError::Malformed)?;
    let header: Header = read_object(&decode(header)?).ok_or(ProofError::Malformed)?;
    let payload = decode(payload)?;
    if !header.typ.eq_ignore_ascii_case("dpop+jwt") {
        return Err(ProofError::Type);
    }
    if header.crit.is_some() {
        return Err(ProofError::Malformed);
    }
    let algorithm = Algorithm::from_name(&header.alg).ok_or(ProofError::Algorithm)?;
    header.jwk.is_public().map_err(ProofError::Key)?;
    if header.jwk.text("alg").is_some_and(|alg| alg != header.alg) {
        return Err(ProofError::Key(KeyFault::Algorithm));
    }
    let (_, key) = header.jwk.verification_key(algorithm).map_err(ProofError::Key)?;
    if !algorithm.verifies(&key, message.as_bytes(), signature) {
        return Err(ProofError::BadSignature);
    }
    let claims = read_object(&payload).ok_or(ProofError::Malformed)?;
    Ok((claims, header.jwk.thumbprint(algorithm)))
}

fn is_timely(claims: &Claims, now: Timestamp) -> bool {
    let mut begins = [Some(&claims.iat), claims.nbf.as_ref()].into_iter().flatten();
    // In whole seconds, rounded down.
    let is_fresh = now.since(claims.iat.0) < MAX_AGE + Duration::from_secs(1);
    let has_ended = claims.exp.as_ref().is_some_and(|exp| exp.0 <= now);
    begins.all(|moment| moment.0 <= now + CLOCK_SKEW) && is_fresh && !has_ended
}
