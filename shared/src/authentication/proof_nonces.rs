//! Nonces for the proofs of a key (DPoP, RFC 9449, sections 8 and 9): a caller whose clock is wrong shows by one that its proof is
//! new. Owns their text and for how long one is good; nothing is kept of them.

use std::time::Duration;

use super::CookieKeys;
use crate::clock::Timestamp;

/// As long as a proof is good by its own time, so that [`SeenProofs`](crate::token::dpop::SeenProofs) remembers either for long
/// enough.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// How far the clocks of two replicas may be apart.
const CLOCK_SKEW: Duration = Duration::from_secs(30);
const CONTEXT: &str = "nonce of a DPoP proof";

/// Makes nonces and knows them again: the time, sealed. Replicas with the same keys take each other's.
#[derive(Debug, Clone)]
pub struct ProofNonces(CookieKeys);

impl ProofNonces {
    pub fn new(keys: CookieKeys) -> Self {
        Self(keys)
    }

    /// Those of one process, which no other takes: its callers may be asked once more.
    pub fn of_this_process() -> Self {
        Self(CookieKeys::random())
    }

    /// A new one, as base64url.
    pub fn make(&self, now: Timestamp) -> String {
        self.0.seal(CONTEXT, &now.micros().to_be_bytes())
    }

    /// Whether it was made here within the last minute.
    pub fn is_recent(&self, nonce: &str, now: Timestamp) -> bool {
        let made = self.0.open(CONTEXT, nonce).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
        made.map(Timestamp::from_micros).is_some_and(|made| made <= now + CLOCK_SKEW && now.since(made) < GOOD_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

    #[test]
    fn a_nonce_is_good_for_a_minute_at_every_replica_with_the_same_keys_and_nowhere_else() {
        let keys = CookieKeys::random();
        let (one, other) = (ProofNonces::new(keys.clone()), ProofNonces::new(keys.clone()));
        let nonce = one.make(NOW);
        assert!(one.is_recent(&nonce, NOW) && other.is_recent(&nonce, NOW + Duration::from_secs(59)));
        assert!(other.is_recent(&nonce, NOW - Duration::from_secs(20)), "its clock is behind");
        assert!(!one.is_recent(&nonce, NOW + Duration::from_secs(60)));
        assert!(!one.is_recent(&nonce, NOW - Duration::from_secs(31)), "it is from the future");
        assert!(!ProofNonces::of_this_process().is_recent(&nonce, NOW));
        for odd in ["", "x", &nonce[1..], &keys.seal("another cookie", &NOW.micros().to_be_bytes())] {
            assert!(!one.is_recent(odd, NOW), "{odd}");
        }
    }
}
