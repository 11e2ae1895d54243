//! The proofs that this process has seen, so that each is good once. Owns the memory of them, and its bound.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use ahash::RandomState;
use parking_lot::Mutex;

use super::{CLOCK_SKEW, MAX_AGE, Proof, ProofError};
use crate::clock::{Clock, Timestamp};

/// How long a proof can be good, from the moment that it is first.
const KEEP: Duration = Duration::from_secs(MAX_AGE.as_secs() + CLOCK_SKEW.as_secs() + 2);
/// How many proofs are remembered at most in one such time: eight bytes each.
const MAX_SEEN: usize = 500_000;

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
    previous: HashSet<u64>,
    began_at: Timestamp,
}

impl SeenProofs {
    pub fn new(clock: Clock) -> Self {
        Self::at_most(MAX_SEEN, clock)
    }

    fn at_most(most: usize, clock: Clock) -> Self {
        let generations = Generations { current: HashSet::new(), previous: HashSet::new(), began_at: clock.now() };
        Self { clock, most, hasher: RandomState::new(), seen: Mutex::new(generations) }
    }

    /// Remembers a good proof.
    ///
    /// # Errors
    /// [`ProofError::Replayed`] for one that is known, [`ProofError::TooMany`] where it could not be remembered: it fails
    /// closed.
    pub fn remember(&self, proof: &Proof) -> Result<(), ProofError> {
        // By a randomly keyed hash: nobody can make two proofs collide, and by chance it would refuse one in 10^13.
        let name = self.hasher.hash_one((proof.key, &proof.id));
        let now = self.clock.now();
        let mut seen = self.seen.lock();
        seen.sweep(now);
        if seen.current.contains(&name) || seen.previous.contains(&name) {
            return Err(ProofError::Replayed);
        }
        if seen.current.len() >= self.most {
            return Err(ProofError::TooMany);
        }
        seen.current.insert(name);
        Ok(())
    }
}

impl Generations {
    fn sweep(&mut self, now: Timestamp) {
        let age = now.since(self.began_at);
        if age >= KEEP {
            let last = std::mem::take(&mut self.current);
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
        for id in ["a", "b", "c"] {
            assert_eq!(seen.remember(&proof(1, id)), Ok(()));
        }
        assert_eq!(seen.remember(&proof(1, "d")), Err(ProofError::TooMany));
        assert_eq!(seen.remember(&proof(1, "a")), Err(ProofError::Replayed), "what is known stays known");
        clock.advance(KEEP);
        assert_eq!(seen.remember(&proof(1, "d")), Ok(()));
        clock.advance(KEEP * 2);
        seen.remember(&proof(1, "e")).expect("room");
        let held = seen.seen.lock();
        assert_eq!((held.current.len(), held.previous.len()), (1, 0));
    }
}
