//! A sign-in that is under way: what this service must remember until the browser comes back. Rules only.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::cookies::LOGIN_AGE;
use super::random_text;
use crate::clock::Timestamp;
use crate::return_to::ReturnTo;

/// Sealed into a cookie that is named after the `state`.
#[derive(Serialize, Deserialize)]
pub(super) struct PendingLogin {
    /// The PKCE code verifier (RFC 7636, section 4.1).
    pub(super) verifier: String,
    pub(super) nonce: String,
    return_to: String,
    /// How recent a login was asked for, in seconds.
    pub(super) max_age: Option<u64>,
    begun_at: i64,
}

impl PendingLogin {
    pub(super) fn begin(return_to: &ReturnTo, max_age: Option<u64>, now: Timestamp) -> Self {
        Self {
            verifier: random_text::<32>(),
            nonce: random_text::<16>(),
            return_to: return_to.to_string(),
            max_age,
            begun_at: now.seconds(),
        }
    }

    /// What the cookie holds, unless it took too long.
    pub(super) fn read(bytes: &[u8], now: Timestamp) -> Option<Self> {
        let pending: Self = serde_json::from_slice(bytes).ok()?;
        let age = now.since(Timestamp::from_seconds(pending.begun_at));
        (age <= LOGIN_AGE + Duration::from_secs(1)).then_some(pending)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The PKCE code challenge, by S256.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }

    pub(super) fn return_to(&self) -> ReturnTo {
        self.return_to.parse().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_comes_back_within_ten_minutes_and_is_like_no_other() {
        let now = Timestamp::from_seconds(1_795_230_000);
        let place = "/o/7".parse::<ReturnTo>().expect("a place");
        let pending = PendingLogin::begin(&place, Some(900), now);
        let bytes = pending.to_bytes();
        let read = PendingLogin::read(&bytes, now + Duration::from_secs(600)).expect("in time");
        assert_eq!((read.return_to(), read.max_age, &read.nonce), (place.clone(), Some(900), &pending.nonce));
        assert!(PendingLogin::read(&bytes, now + Duration::from_secs(660)).is_none());
        let other = PendingLogin::begin(&place, None, now);
        assert!(other.nonce != pending.nonce && other.verifier != pending.verifier);
        assert_eq!((pending.verifier.len(), pending.challenge().len()), (43, 43));
    }

    #[test]
    fn the_challenge_is_that_of_the_standards_example() {
        let mut pending = PendingLogin::begin(&ReturnTo::default(), None, Timestamp::default());
        pending.verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        assert_eq!(pending.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
