//! The keys that clients publish themselves (`jwks_uri`), kept for a while. Owns when they are read again: once for many
//! who wait, and rarely, whatever assertions name.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use quick_cache::sync::Cache;
use shared::clock::{Clock, Timestamp};
use tokio::sync::Mutex;

use super::fetch::{Fetch, Reach};
use super::public_keys::{AssertionAlg, PublicKeys};
use super::{Client, WebAddress};

/// How long keys are taken without another look.
const FRESH: Duration = Duration::from_secs(600);
/// How long they are taken while they cannot be read again.
const STALE: Duration = Duration::from_secs(3600);
/// Between two reads at one address: unknown key ids and failures make no more.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// Between a read that found keys and the next one for an unknown key id: a client signs with the key that it has just published.
const EARLY: Duration = Duration::from_secs(2);
/// How many such reads follow one another.
const MOST_EARLY: u32 = 5;
/// At how many addresses at most keys are kept.
const MAX_ADDRESSES: usize = 1000;

/// Keys by address.
pub struct RemoteKeys {
    fetch: Arc<Fetch>,
    clock: Clock,
    known: Cache<(String, Reach), Arc<Known>>,
}

#[derive(Default)]
struct Known {
    keys: RwLock<Option<(Arc<PublicKeys>, Timestamp)>>,
    /// Held while a read is under way.
    reads: Arc<Mutex<Reads>>,
}

/// The reads at one address.
#[derive(Default)]
struct Reads {
    last: Option<Timestamp>,
    /// Whether the last one found keys.
    found: bool,
    /// How many followed one another sooner than the cool-down allows.
    early: u32,
}

impl Reads {
    /// Whether another may begin, which is counted.
    fn begin(&mut self, now: Timestamp) -> bool {
        let waited = self.last.map_or(COOL_DOWN, |last| now.since(last));
        if waited < COOL_DOWN {
            if !self.found || waited < EARLY || self.early >= MOST_EARLY {
                return false;
            }
            self.early += 1;
        } else {
            self.early = 0;
        }
        (self.last, self.found) = (Some(now), false);
        true
    }
}

impl Known {
    /// The keys, if they were read less than `age` ago.
    fn younger_than(&self, age: Duration, now: Timestamp) -> Option<Arc<PublicKeys>> {
        self.keys.read().as_ref().filter(|(_, read_at)| now.since(*read_at) < age).map(|(keys, _)| keys.clone())
    }
}

impl RemoteKeys {
    pub fn new(fetch: Arc<Fetch>, clock: Clock) -> Self {
        Self { fetch, clock, known: Cache::new(MAX_ADDRESSES) }
    }

    /// The keys of a client: those that it registered, or those at the address that it registered, read again if none fits
    /// the assertion. Nothing where there are none to be had.
    pub async fn of(&self, client: &Client, alg: AssertionAlg, key_id: Option<&str>) -> Option<Arc<PublicKeys>> {
        match (&client.metadata.jwks, &client.metadata.jwks_uri) {
            (Some(keys), _) => Some(Arc::new(keys.clone())),
            (None, Some(address)) => {
                let reach = if client.registered_itself() { Reach::Public } else { Reach::Anywhere };
                self.at(address, reach, alg, key_id).await
            }
            (None, None) => None,
        }
    }

    async fn at(
        &self,
        address: &WebAddress,
        reach: Reach,
        alg: AssertionAlg,
        key_id: Option<&str>,
    ) -> Option<Arc<PublicKeys>> {
        let known =
            self.known.get_or_insert_with(&(address.to_string(), reach), || Ok::<_, ()>(Arc::default())).ok()?;
        let fitting = || known.younger_than(FRESH, self.clock.now()).filter(|keys| keys.knows(alg, key_id));
        // Without the lock: an assertion with an invented key id holds up no other.
        if let Some(keys) = fitting() {
            return Some(keys);
        }
        let mut reads = known.reads.clone().lock_owned().await;
        // The read that was waited for may have brought them.
        if let Some(keys) = fitting() {
            return Some(keys);
        }
        let now = self.clock.now();
        if !reads.begin(now) {
            return known.younger_than(STALE, now);
        }
        let (fetch, address) = (self.fetch.clone(), address.clone());
        // A caller that goes away must not take the read along, and leave the others with the cool-down.
        let reading = tokio::spawn(async move {
            let read = fetch.json(&address, reach).await.ok().map(PublicKeys::read);
            reads.found = matches!(read, Some(Ok(_)));
            match read {
                Some(Ok(keys)) => *known.keys.write() = Some((Arc::new(keys), now)),
                Some(Err(cause)) => tracing::warn!(%address, %cause, "a client's keys are refused"),
                None => {}
            }
            known.younger_than(STALE, now)
        });
        reading.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_just_published_is_looked_for_in_seconds_a_few_times() {
        let (mut reads, began) = (Reads { found: true, ..Reads::default() }, Timestamp::from_seconds(1_000));
        let mut times = Vec::new();
        for second in 0..100 {
            if reads.begin(began + Duration::from_secs(second)) {
                reads.found = true;
                times.push(second);
            }
        }
        assert_eq!(times, [0, 2, 4, 6, 8, 10, 40, 42, 44, 46, 48, 50, 80, 82, 84, 86, 88, 90]);
    }

    #[test]
    fn after_a_failure_the_next_read_waits_for_the_cool_down() {
        let (mut reads, began) = (Reads::default(), Timestamp::from_seconds(1_000));
        assert!(reads.begin(began));
        assert!(!reads.begin(began + COOL_DOWN - Duration::from_secs(1)));
        assert!(reads.begin(began + COOL_DOWN));
    }
}
