//! The key-value store: one contract, in memory and on real Redis servers, alone and many, and the same answers from both.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod contract;
mod equality;

use std::sync::Arc;

use shared::clock::Clock;
use shared::key_value::{KeyValueStore, MemoryKeyValueStore, RedisKeyValueStore};
use shared::redis::Redis;

/// A store and the clock that moves it.
struct Subject {
    store: Arc<dyn KeyValueStore>,
    clock: Clock,
}

impl Subject {
    async fn in_memory() -> Option<Self> {
        let clock = Clock::default();
        Some(Self { store: Arc::new(MemoryKeyValueStore::new(clock.clone())), clock })
    }

    async fn on_redis() -> Option<Self> {
        Some(Self::at(&shared::testing::redis().await?))
    }

    fn at(url: &str) -> Self {
        let (redis, clock) = (Redis::open(url).unwrap(), Clock::default());
        Self { store: Arc::new(RedisKeyValueStore::new(redis, clock.clone())), clock }
    }
}
