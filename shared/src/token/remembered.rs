//! Tokens whose signature was checked a moment ago. Owns the memory of them and its bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::VerifiedToken;
use super::published_key::PublishedKey;
use crate::clock::Timestamp;

/// About so much memory all of them take at most, in bytes: 8,000 tokens of a login.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// What one takes beside its text: its claims in their own types, and the cache's own. Measured: a token of 666 bytes takes 1.95 KB.
const BESIDE_THE_TEXT: u64 = 640;
/// How many are expected: for the size of the table alone.
const EXPECTED: usize = 8_000;
/// How often those that have expired are forgotten.
const SWEEP: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) token: VerifiedToken,
    /// None where the shared secret signed it, which stays as long as the process.
    pub(super) key: Option<Arc<PublishedKey>>,
}

impl Remembered {
    /// Whether the key that signed it is still published.
    fn is_good_still(&self) -> bool {
        !self.key.as_ref().is_some_and(|key| key.is_withdrawn())
    }
}

/// By the whole text, compared byte for byte under a randomly keyed hash: no two tokens can be taken for each other.
pub(super) struct RememberedTokens {
    tokens: Cache<Box<str>, Remembered, ByMemory, ahash::RandomState>,
    /// When expired ones were forgotten last, in microseconds.
    swept_at: AtomicI64,
}

#[derive(Clone)]
struct ByMemory;

impl Weighter<Box<str>, Remembered> for ByMemory {
    fn weight(&self, text: &Box<str>, _remembered: &Remembered) -> u64 {
        // The text, and once more what of it stands in the claims.
        text.len() as u64 * 2 + BESIDE_THE_TEXT
    }
}

impl RememberedTokens {
    pub(super) fn new() -> Self {
        let hasher = ahash::RandomState::new();
        let tokens = Cache::with(EXPECTED, MOST_BYTES, ByMemory, hasher, Default::default());
        Self { tokens, swept_at: AtomicI64::new(0) }
    }

    /// What is known of a token whose key is still published. It may have expired.
    pub(super) fn get(&self, text: &str) -> Option<Remembered> {
        self.tokens.get(text).filter(Remembered::is_good_still)
    }

    /// Remembers a token. Once a minute, those that have expired by `now` are forgotten.
    pub(super) fn insert(&self, text: &str, remembered: Remembered, now: Timestamp) {
        let (last, micros) = (self.swept_at.load(Ordering::Relaxed), now.micros());
        let is_due = last.saturating_add(SWEEP.as_micros() as i64) <= micros;
        if is_due && self.swept_at.compare_exchange(last, micros, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.tokens.retain(|_, known| known.token.expires_at() > now);
        }
        self.tokens.insert(text.into(), remembered);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::ClientToken;
    use super::*;

    fn expiring_at(seconds: i64) -> Remembered {
        let token = ClientToken {
            client_id: "shop".to_owned(),
            scope: BTreeSet::new(),
            bound_to: None,
            token_id: 1,
            issued_at: Timestamp::from_seconds(0),
            expires_at: Timestamp::from_seconds(seconds),
        };
        Remembered { token: VerifiedToken::Client(Arc::new(token)), key: None }
    }

    #[test]
    fn what_has_expired_is_forgotten_with_the_next_token_after_a_minute() {
        let tokens = RememberedTokens::new();
        let at = Timestamp::from_seconds;
        tokens.insert("first", expiring_at(300), at(100));
        tokens.insert("second", expiring_at(1_000), at(110));
        tokens.insert("third", expiring_at(1_000), at(350));
        assert!(tokens.get("first").is_none() && tokens.get("second").is_some() && tokens.get("third").is_some());
    }

    #[test]
    fn however_many_tokens_come_their_memory_has_a_bound() {
        let tokens = RememberedTokens::new();
        let padding = "t".repeat(660);
        for number in 0..30_000 {
            tokens.insert(&format!("{number:06}{padding}"), expiring_at(1_000), Timestamp::from_seconds(100));
        }
        assert!(tokens.tokens.weight() <= MOST_BYTES, "{}", tokens.tokens.weight());
        assert!(tokens.tokens.len() > 6_000, "{}", tokens.tokens.len());
    }
}
