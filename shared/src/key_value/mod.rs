//! Small values that expire: one-time codes, throttles, idempotency. Owns few atomic verbs, with a time to live on every
//! write; never holds what may not be lost.

mod budget;
#[cfg(feature = "database")]
mod database;
mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

#[cfg(feature = "server")]
pub(crate) use self::budget::LIMITS as BUDGET_LIMITS;
pub use self::budget::{Budget, BudgetLimits, ENTRY_COST, Payer};
#[cfg(feature = "database")]
pub use self::database::DatabaseKeyValueStore;
pub use self::memory::MemoryKeyValueStore;
#[cfg(feature = "redis")]
pub use self::redis::RedisKeyValueStore;
use crate::session::StoreUnavailable;

/// A key: what it is for, and for whom. Several users' keys never meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// `purpose` is a word of ours, `subject` anything (a user's input too: it is hashed).
    pub fn new(purpose: &'static str, subject: &[u8]) -> Self {
        use base64::Engine as _;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, subject);
        let subject = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest.as_ref());
        Self(format!("{purpose}:{subject}"))
    }

    /// What it is for.
    pub fn purpose(&self) -> &str {
        self.0.split_once(':').map_or("", |(purpose, _)| purpose)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The most that is added to a counter at once: what is more counts as this. Redis counts exactly up to 2^53.
const MOST_AT_ONCE: u64 = 1 << 32;

/// What [`KeyValueStore::count`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How much was counted for the key in this window, this time included.
    pub count: u64,
    /// When the window ends.
    pub ends_in: Duration,
}

/// Where small values live. Each verb is atomic and one round trip. A key that expired is absent, to the millisecond. A
/// key may have a value and a counter, which do not meet.
#[async_trait]
pub trait KeyValueStore: Send + Sync + 'static {
    /// Sets a value, or replaces it with its time to live.
    async fn put(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<(), StoreUnavailable>;

    /// Sets a value if the key is absent, and answers whether it did: one of many wins.
    async fn claim(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<bool, StoreUnavailable>;

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable>;

    /// Gets a value and removes it: one of many gets it.
    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable>;

    /// Adds one to a counter that starts at nought and ends `window` after its first count.
    async fn count(&self, key: &Key, window: Duration) -> Result<Count, StoreUnavailable> {
        self.count_by(key, 1, window).await
    }

    /// Adds `amount` to such a counter; more than 2^32 counts as 2^32. Nought begins the window, too.
    async fn count_by(&self, key: &Key, amount: u64, window: Duration) -> Result<Count, StoreUnavailable>;

    /// Takes one back from a counter. Its window ends when it did; at nought the counter is gone, and an absent one stays absent.
    async fn uncount(&self, key: &Key) -> Result<(), StoreUnavailable>;

    /// Removes a value and a counter. An absent one is no error.
    async fn remove(&self, key: &Key) -> Result<(), StoreUnavailable>;

    /// Whether values can be written: readiness. A store in memory always takes them; of one in a database, the database's
    /// own check tells.
    async fn ping(&self) -> Result<(), StoreUnavailable> {
        Ok(())
    }

    /// Deletes at most `limit` of what has expired, and answers how many, where the store does not do so by itself.
    async fn forget_expired(&self, _limit: i64) -> Result<u64, StoreUnavailable> {
        Ok(0)
    }
}
