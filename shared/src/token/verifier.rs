//! Tells whether an access token is good, and remembers it for as long as it is. Refuses what it does not understand;
//! touches no network, but for a key that is not known.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::header::Header;
use super::remembered::{Remembered, RememberedTokens};
use super::{AccessClaims, KeySet, PublishedKey, SharedSecret, TokenError, VerifiedToken, present, read_object};
use crate::clock::{Clock, Timestamp};

/// The largest token that is looked at: 8 KiB.
const MAX_TOKEN: usize = 8 * 1024;
/// How far the issuer's clock may be ahead of this one. A token's expiry has no such grace: its revocation is forgotten
/// when it expires.
const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// The longest life of a token where none is set.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Verifies access tokens (RFC 9068) of one issuer for one service.
pub struct Verifier {
    keys: KeySet,
    issuer: String,
    audience: String,
    clock: Clock,
    longest_life: Duration,
    /// Where there is one, it alone signs access tokens, and no published key does.
    shared_secret: Option<SharedSecret>,
    remembered: RememberedTokens,
}

impl Verifier {
    /// A verifier for the tokens that `issuer` (compared byte for byte) writes for `audience`, by the keys in `keys`.
    pub fn new(keys: KeySet, issuer: String, audience: String, clock: Clock) -> Self {
        let remembered = RememberedTokens::new();
        Self { keys, issuer, audience, clock, longest_life: LONGEST_LIFE, shared_secret: None, remembered }
    }

    /// Refuses tokens that live longer than this, instead of 24 hours.
    pub fn with_longest_life(self, longest_life: Duration) -> Self {
        Self { longest_life, ..self }
    }

    /// Takes tokens that this secret signed, where there is one, and then no others: with two ways to sign, a key of one
    /// could be taken for the other's.
    pub fn with_shared_secret(self, shared_secret: Option<SharedSecret>) -> Self {
        Self { shared_secret, ..self }
    }

    /// Whether it can tell good tokens from others yet.
    pub fn has_keys(&self) -> bool {
        self.shared_secret.is_some() || self.keys.has_keys()
    }

    /// The service that its tokens are for.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// What a good token says. A key id that is not known makes the key set be read again, within limits.
    ///
    /// # Errors
    /// Why the token is refused.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        match self.verify_now(token) {
            Err(TokenError::UnknownKey) if self.keys.refresh_for_unknown_kid().await => self.verify_now(token),
            verdict => verdict,
        }
    }

    /// What a good token says, by the keys that are known now.
    ///
    /// # Errors
    /// Why the token is refused; [`TokenError::UnknownKey`] may change when the key set is read again.
    pub fn verify_now(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let now = self.clock.now();
        if let Some(known) = self.remembered.get(token) {
            return if known.token.expires_at() > now { Ok(known.token) } else { Err(TokenError::Expired) };
        }
        let (payload, key) = self.read_signed(token)?;
        let claims = self.read_claims(&payload, now, Some(&self.audience))?;
        let verified = VerifiedToken::read(claims)?;
        self.remembered.insert(token, Remembered { token: verified.clone(), key }, now);
        Ok(verified)
    }

    /// What a good token says, whichever service it is for: introspection. It is not remembered, for it may be refused here.
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn verify_any_audience(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (payload, _) = self.read_signed(token)?;
        VerifiedToken::read(self.read_claims(&payload, self.clock.now(), None)?)
    }

    /// The payload under a good signature, and whose it is, unless it is the shared secret's.
    fn read_signed(&self, token: &str) -> Result<(Vec<u8>, Option<Arc<PublishedKey>>), TokenError> {
        if let Some(secret) = &self.shared_secret {
            return Ok((secret.open(token)?, None));
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
        let header = Header::read(&decode(header)?).ok_or(TokenError::Malformed)?;
        let payload = decode(payload)?;
        let Some(key) = self.keys.find(&header.key_id) else {
            return Err(if self.has_keys() { TokenError::UnknownKey } else { TokenError::KeysUnavailable });
        };
        // The key decides on the algorithm; the token may only agree.
        if key.algorithm() != header.algorithm || !key.verifies(message.as_bytes(), signature) {
            return Err(TokenError::BadSignature);
        }
        Ok((payload, Some(key)))
    }

    fn read_claims(
        &self,
        payload: &[u8],
        now: Timestamp,
        audience: Option<&String>,
    ) -> Result<AccessClaims, TokenError> {
        let claims: AccessClaims = read_object(payload).ok_or(TokenError::Malformed)?;
        let NotBefore { nbf } = read_object(payload).ok_or(TokenError::Malformed)?;
        if claims.iss != self.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if audience.is_some_and(|audience| !claims.aud.contains(audience)) {
            return Err(TokenError::WrongAudience);
        }
        let begins = [claims.iat, claims.auth_time.unwrap_or(0), nbf.unwrap_or(0)];
        if begins.iter().any(|moment| *moment < 0) || claims.exp <= claims.iat {
            return Err(TokenError::Malformed);
        }
        if Timestamp::from_seconds(claims.exp) <= now {
            return Err(TokenError::Expired);
        }
        if begins.iter().any(|moment| Timestamp::from_seconds(*moment) > now + CLOCK_SKEW) {
            return Err(TokenError::NotYetValid);
        }
        let life = Timestamp::from_seconds(claims.exp).since(Timestamp::from_seconds(claims.iat));
        // Both are whole seconds, rounded down.
        if life >= self.longest_life + Duration::from_secs(1) {
            return Err(TokenError::LivesTooLong);
        }
        Ok(claims)
    }
}

/// The one claim that an access token of ours never has, and that is honoured all the same (RFC 7519, section 4.1.5).
#[derive(Deserialize)]
struct NotBefore {
    #[serde(default, deserialize_with = "present")]
    nbf: Option<i64>,
}
