//! A store in memory that tells how much it holds.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use shared::clock::Clock;
use shared::key_value::{Count, ENTRY_COST, Key, KeyValueStore, MemoryKeyValueStore};
use shared::session::StoreUnavailable;

/// Counts what was written and not removed, whether it has expired or not.
pub(crate) struct Weighed {
    inner: MemoryKeyValueStore,
    held: Mutex<HashMap<(Kind, Key), usize>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Value,
    Counter,
}

impl Weighed {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { inner: MemoryKeyValueStore::new(clock.clone()), held: Mutex::default() }
    }

    pub(crate) fn entries(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    /// With what each entry costs beside its own bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.held.lock().unwrap().values().map(|bytes| bytes + ENTRY_COST).sum()
    }

    fn note(&self, kind: Kind, key: &Key, bytes: usize) {
        self.held.lock().unwrap().insert((kind, key.clone()), bytes);
    }

    fn forget(&self, kind: Kind, key: &Key) {
        self.held.lock().unwrap().remove(&(kind, key.clone()));
    }
}

#[async_trait]
impl KeyValueStore for Weighed {
    async fn put(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<(), StoreUnavailable> {
        self.note(Kind::Value, key, value.len());
        self.inner.put(key, value, ttl).await
    }

    async fn claim(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<bool, StoreUnavailable> {
        let claimed = self.inner.claim(key, value, ttl).await?;
        if claimed {
            self.note(Kind::Value, key, value.len());
        }
        Ok(claimed)
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        self.inner.get(key).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        self.forget(Kind::Value, key);
        self.inner.take(key).await
    }

    async fn count_by(&self, key: &Key, amount: u64, window: Duration) -> Result<Count, StoreUnavailable> {
        self.note(Kind::Counter, key, 8);
        self.inner.count_by(key, amount, window).await
    }

    async fn uncount(&self, key: &Key) -> Result<(), StoreUnavailable> {
        self.inner.uncount(key).await
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreUnavailable> {
        self.forget(Kind::Value, key);
        self.forget(Kind::Counter, key);
        self.inner.remove(key).await
    }
}
