//! The keys that clients publish themselves (`jwks_uri`), kept for a while. Owns when they are read again: once for many
//! who wait, and rarely, whatever assertions name.

use std::sync::Arc;
use std::time::Duration;

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
/// At how many addresses at most keys are kept.
const MAX_ADDRESSES: usize = 1000;

/// Keys by address.
pub struct RemoteKeys {
    fetch: Arc<Fetch>,
    clock: Clock,
    known: Cache<(String, Reach), Arc<Mutex<Known>>>,
}

#[derive(Default)]
struct Known {
    keys: Option<(Arc<PublicKeys>, Timestamp)>,
    tried_at: Option<Timestamp>,
}

impl Known {
    /// The keys, if they were read less than `age` ago.
    fn younger_than(&self, age: Duration, now: Timestamp) -> Option<Arc<PublicKeys>> {
        self.keys.as_ref().filter(|(_, read_at)| now.since(*read_at) < age).map(|(keys, _)| keys.clone())
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
        let entry =
            self.known.get_or_insert_with(&(address.to_string(), reach), || Ok::<_, ()>(Arc::default())).ok()?;
        // Whoever comes while a read is under way waits for it here.
        let mut known = entry.lock_owned().await;
        let now = self.clock.now();
        if let Some(keys) = known.younger_than(FRESH, now).filter(|keys| keys.knows(alg, key_id)) {
            return Some(keys);
        }
        if known.tried_at.is_some_and(|tried_at| now.since(tried_at) < COOL_DOWN) {
            return known.younger_than(STALE, now);
        }
        let (fetch, address) = (self.fetch.clone(), address.clone());
        // A caller who goes away must not take the read along, and leave the others with the cool-down.
        let reading = tokio::spawn(async move {
            known.tried_at = Some(now);
            let read = fetch.json(&address, reach).await.ok().map(PublicKeys::read);
            match read {
                Some(Ok(keys)) => known.keys = Some((Arc::new(keys), now)),
                Some(Err(cause)) => tracing::warn!(%address, %cause, "a client's keys are refused"),
                None => {}
            }
            known.younger_than(STALE, now)
        });
        reading.await.ok().flatten()
    }
}
