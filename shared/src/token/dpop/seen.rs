//! The proofs that this process has seen, so that each is good once. Owns the memory of them, and its bound.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use ahash::RandomState;
use parking_lot::Mutex;

use super::{CLOCK_SKEW, MAX_AGE, Proof, ProofError};
use crate::clock::{Clock, Timestamp};

/// How long a proof can be good, from the moment that it is first.
const KEEP: Duration = Duration::from_secs(MAX_AGE.as_secs() + CLOCK_SKEW.as_secs() + 2);
/// How many proofs are remembered at most in one such time: about 30 bytes each.
const MAX_SEEN: usize = 500_000;
/// One key may have a 32nd of what is free. The more keys flood, the less each may have, and there is always room for
/// the next one: a key that floods alone ends at a 33rd of all, some 15,000 proofs in 92 seconds; with 1,000 others, each
/// at some 480 (dynamic thresholds: Choudhury and Hahne, 1998).
const SHARE: usize = 32;

/// The proofs that were seen, while they could be used again. Each process has its own memory: within a minute, a proof
/// that was stolen with its request could be used once more at another replica.
pub struct SeenProofs {
    clock: Clock,
    most: usize,
    hasher: RandomState,
    seen: Mutex<Generations>,
}

/// Two generations, each of which takes proofs for as long as one matters; then the older one is dropped whole.
struct Generations {
    current: HashSet<u64>,
    /// How many of the current ones are of one key.
    of_key: HashMap<u64, usize>,
    previous: HashSet<u64>,
    began_at: Timestamp,
}

impl SeenProofs {
    pub fn new(clock: Clock) -> Self {
        Self::at_most(MAX_SEEN, clock)
    }

    fn at_most(most: usize, clock: Clock) -> Self {
        let (current, of_key, previous) = (HashSet::new(), HashMap::new(), HashSet::new());
        let generations = Generations { current, of_key, previous, began_at: clock.now() };
        Self { clock, most, hasher: RandomState::new(), seen: Mutex::new(generations) }
    }

    /// Remembers a good proof. To be called when everything else about the request is good: so strangers take no room.
    ///
    /// # Errors
    /// [`ProofError::Replayed`] for one that is known, [`ProofError::TooMany`] where it could not be remembered, for its key
    /// has sent too many: it fails closed.
    pub fn remember(&self, proof: &Proof) -> Result<(), ProofError> {
        // By a randomly keyed hash: nobody can make two proofs collide, and by chance it would refuse one in 10^13.
        let (name, key) = (self.hasher.hash_one((proof.key, &proof.id)), self.hasher.hash_one(proof.key));
        let now = self.clock.now();
        let mut seen = self.seen.lock();
        seen.sweep(now);
        if seen.current.contains(&name) || seen.previous.contains(&name) {
            return Err(ProofError::Replayed);
        }
        let free = self.most.saturating_sub(seen.current.len());
        let of_key = seen.of_key.get(&key).copied().unwrap_or(0);
        if free == 0 || of_key >= (free / SHARE).max(1) {
            return Err(ProofError::TooMany);
        }
        seen.of_key.insert(key, of_key + 1);
        seen.current.insert(name);
        Ok(())
    }
}

impl Generations {
    fn sweep(&mut self, now: Timestamp) {
        let age = now.since(self.began_at);
        if age >= KEEP {
            let last = std::mem::take(&mut self.current);
            self.of_key.clear();
            self.previous = if age < KEEP * 2 { last } else { HashSet::new() };
            self.began_at = now;
        }
    }
}

impl fmt::Debug for SeenProofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenProofs").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Thumbprint;
    use super::*;

    fn proof(key: u8, id: &str) -> Proof {
        Proof { key: Thumbprint([key; 32]), id: id.to_owned(), nonce: None }
    }

    #[test]
    fn a_proof_is_good_once_for_as_long_as_it_could_be_used_again() {
        let clock = Clock::default();
        let seen = SeenProofs::new(clock.clone());
        for offset in [0, 45, 89, 90] {
            clock.advance(Duration::from_secs(offset));
            let id = format!("{offset}");
            assert_eq!(seen.remember(&proof(1, &id)), Ok(()));
            assert_eq!(seen.remember(&proof(2, &id)), Ok(()), "another key's proof is another");
            for _ in 0..9 {
                clock.advance(Duration::from_secs(10));
                assert_eq!(seen.remember(&proof(1, &id)), Err(ProofError::Replayed), "{offset}");
            }
        }
    }

    #[test]
    fn the_memory_is_bounded_and_empties_with_time() {
        let clock = Clock::default();
        let seen = SeenProofs::at_most(3, clock.clone());
        for key in 1..=3 {
            assert_eq!(seen.remember(&proof(key, "a")), Ok(()));
        }
        assert_eq!(seen.remember(&proof(4, "a")), Err(ProofError::TooMany));
        assert_eq!(seen.remember(&proof(1, "a")), Err(ProofError::Replayed), "what is known stays known");
        clock.advance(KEEP);
        assert_eq!(seen.remember(&proof(4, "a")), Ok(()));
        clock.advance(KEEP * 2);
        seen.remember(&proof(1, "e")).expect("room");
        let held = seen.seen.lock();
        assert_eq!((held.current.len(), held.of_key.len(), held.previous.len()), (1, 1, 0));
    }

    /// How many proofs a key gets remembered before it is refused.
    fn flood(seen: &SeenProofs, key: u8) -> usize {
        let mut ids = 0_u32..;
        std::iter::from_fn(|| seen.remember(&proof(key, &ids.next()?.to_string())).ok()).count()
    }

    #[test]
    fn a_key_that_floods_is_refused_first_and_there_is_room_for_every_other() {
        const MOST: usize = 33_000;
        let clock = Clock::default();
        let seen = SeenProofs::at_most(MOST, clock.clone());
        assert_eq!(flood(&seen, 0), MOST / 33);
        for key in 1..100 {
            let got = flood(&seen, key);
            assert!(got > 40, "after {key} keys that flood, the next one has room for {got}");
        }
        for id in 0..10 {
            seen.remember(&proof(200, &id.to_string())).expect("room for a key that sends little");
        }
        assert_eq!(seen.remember(&proof(0, "another")), Err(ProofError::TooMany), "who floods goes on being refused");
        clock.advance(KEEP);
        assert_eq!(seen.remember(&proof(0, "another")), Ok(()), "and no longer than that");
    }
}
