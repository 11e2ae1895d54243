//! What the provider says of a sign-in: the ID token, checked as OpenID Connect Core 3.1.3.7 demands. Rules but for the key
//! set, which may be read again.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::signed::{self, Audience, Refused, read_object};
use crate::clock::Timestamp;
use crate::token::{Algorithm, KeySet};

/// How far two clocks may differ.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// How old a token may be that answers a request of just now.
const OLDEST: Duration = Duration::from_secs(600);

/// What is expected of it.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// That of the sign-in; none after a refresh.
    pub(super) nonce: Option<&'a str>,
    /// How recent the login has to be, in seconds.
    pub(super) max_age: Option<u64>,
    pub(super) access_token: &'a str,
    pub(super) now: Timestamp,
}

/// What it says.
#[derive(Debug, Deserialize)]
pub(super) struct IdToken {
    pub(super) sub: String,
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    auth_time: Option<i64>,
    nonce: Option<String>,
    at_hash: Option<String>,
}

/// # Errors
/// Why it is refused.
pub(super) async fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<IdToken, Refused> {
    // An access token or a logout token of the same keys must not pass for an ID token.
    let of_type = |typ: Option<&str>| typ.is_none_or(|typ| typ.eq_ignore_ascii_case("jwt"));
    let (payload, algorithm) = signed::payload(token, keys, of_type).await?;
    let claims: Claims = read_object(&payload).ok_or(Refused::Malformed)?;
    claims.check(expected, algorithm)?;
    read_object(&payload).filter(|token: &IdToken| !token.sub.is_empty()).ok_or(Refused::Malformed)
}

impl Claims {
    fn check(&self, expected: &Expected<'_>, algorithm: Algorithm) -> Result<(), Refused> {
        if self.iss != expected.issuer {
            return Err(Refused::Issuer);
        }
        if !self.aud.is_for(expected.client_id, self.azp.as_deref()) {
            return Err(Refused::Audience);
        }
        let (at, now) = (Timestamp::from_seconds, expected.now);
        let begins = [Some(self.iat), self.nbf].into_iter().flatten();
        let began = begins.into_iter().all(|moment| at(moment) <= now + CLOCK_SKEW);
        if now >= at(self.exp) + CLOCK_SKEW || !began || now.since(at(self.iat)) > OLDEST {
            return Err(Refused::Time);
        }
        // After a refresh it has the first one's nonce, or none (OpenID Connect Core 12.2): there is nothing to compare.
        if let Some(nonce) = expected.nonce {
            let told = self.nonce.as_deref().unwrap_or_default();
            verify_slices_are_equal(told.as_bytes(), nonce.as_bytes()).map_err(|_| Refused::Nonce)?;
        }
        if let Some(hash) = &self.at_hash
            && *hash != access_token_hash(expected.access_token, algorithm)
        {
            return Err(Refused::AccessTokenHash);
        }
        if let Some(max_age) = expected.max_age {
            let since = self.auth_time.map(|auth_time| now.since(at(auth_time)));
            if since.is_none_or(|since| since > Duration::from_secs(max_age) + CLOCK_SKEW) {
                return Err(Refused::LoginTooOld);
            }
        }
        Ok(())
    }
}

/// The left half of the access token's hash, by the hash of the signature (OpenID Connect Core 3.1.3.6). Ed25519 signs
/// with SHA-512.
fn access_token_hash(access_token: &str, algorithm: Algorithm) -> String {
    let hash = match algorithm {
        Algorithm::EdDsa => digest(&SHA512, access_token.as_bytes()),
        Algorithm::Es256 | Algorithm::Rs256 => digest(&SHA256, access_token.as_bytes()),
    };
    let hash = hash.as_ref();
    URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_an_access_token_is_that_of_the_standards_example() {
        let access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(access_token_hash(access_token, Algorithm::Rs256), "77QmUPtjPfzWtF2AnpK9RQ");
        assert_eq!(access_token_hash(access_token, Algorithm::EdDsa).len(), 43);
    }
}
