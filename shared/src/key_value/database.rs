//! Small values in SQL, for processes that share a database and no Redis. Owns the questions to the table `small_values`, one
//! statement for each verb; the owner of the database makes the table (`auth-service/migrations/0005_small_values.sql`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::{Count, Key, KeyValueStore, MOST_AT_ONCE};
use crate::clock::{Clock, Timestamp};
use crate::database::Database;
use crate::on_database;
use crate::session::StoreUnavailable;

/// Every so many writes, so many are deleted of what has expired: more than were written, so that nothing is left over, and
/// few enough that the write that happens to do it is not late.
const PRUNE_EVERY: u64 = 256;
const PRUNED: i64 = 1_024;

/// Small values in a database. Times are those of the process that asks: clocks are kept by NTP.
pub struct DatabaseKeyValueStore {
    database: Database,
    clock: Clock,
    writes: AtomicU64,
}

impl DatabaseKeyValueStore {
    pub fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock, writes: AtomicU64::new(0) }
    }

    /// Counts a write, and deletes what has expired when it is time.
    async fn written(&self, now: Timestamp) {
        if !self.writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(PRUNE_EVERY) {
            return;
        }
        let pruned = self.delete_expired(now, PRUNED).await;
        if let Err(error) = pruned {
            // Another process does it at the same time, or a later write will.
            tracing::debug!(%error, "small values that have expired are deleted later");
        }
    }

    async fn delete_expired(&self, now: Timestamp, limit: i64) -> Result<u64, sqlx::Error> {
        on_database!(&self.database, |pool| {
            sqlx::query(
                "DELETE FROM small_values WHERE ends_at <= $1
                 AND key IN (SELECT key FROM small_values WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2)",
            )
            .bind(now)
            .bind(limit)
            .execute(pool)
            .await
            .map(|done| done.rows_affected())
        })
    }
}

fn value_key(key: &Key) -> String {
    format!("v:{key}")
}

fn counter_key(key: &Key) -> String {
    format!("n:{key}")
}

fn unavailable(error: sqlx::Error) -> StoreUnavailable {
    StoreUnavailable(error.to_string())
}

#[async_trait]
impl KeyValueStore for DatabaseKeyValueStore {
    async fn put(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<(), StoreUnavailable> {
        let now = self.clock.now();
        let put = on_database!(&self.database, |pool| {
            sqlx::query(
                "INSERT INTO small_values (key, content, count, ends_at) VALUES ($1, $2, 0, $3)
                 ON CONFLICT (key) DO UPDATE SET content = excluded.content, ends_at = excluded.ends_at",
            )
            .bind(value_key(key))
            .bind(value)
            .bind(now + ttl)
            .execute(pool)
            .await
            .map(drop)
        });
        put.map_err(unavailable)?;
        self.written(now).await;
        Ok(())
    }

    async fn claim(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<bool, StoreUnavailable> {
        let now = self.clock.now();
        let claimed = on_database!(&self.database, |pool| {
            sqlx::query(
                "INSERT INTO small_values (key, content, count, ends_at) VALUES ($1, $2, 0, $3)
                 ON CONFLICT (key) DO UPDATE SET content = excluded.content, ends_at = excluded.ends_at
                 WHERE small_values.ends_at <= $4",
            )
            .bind(value_key(key))
            .bind(value)
            .bind(now + ttl)
            .bind(now)
            .execute(pool)
            .await
            .map(|done| done.rows_affected() == 1)
        });
        let claimed = claimed.map_err(unavailable)?;
        self.written(now).await;
        Ok(claimed)
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        let found = on_database!(&self.database, |pool| {
            sqlx::query_scalar("SELECT content FROM small_values WHERE key = $1 AND ends_at > $2")
                .bind(value_key(key))
                .bind(self.clock.now())
                .fetch_optional(pool)
                .await
        });
        found.map_err(unavailable)
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        let taken = on_database!(&self.database, |pool| {
            sqlx::query_as("DELETE FROM small_values WHERE key = $1 RETURNING content, ends_at")
                .bind(value_key(key))
                .fetch_optional(pool)
                .await
        });
        let taken: Option<(Vec<u8>, Timestamp)> = taken.map_err(unavailable)?;
        let now = self.clock.now();
        Ok(taken.filter(|(_, ends_at)| *ends_at > now).map(|(content, _)| content))
    }

    async fn count_by(&self, key: &Key, amount: u64, window: Duration) -> Result<Count, StoreUnavailable> {
        let now = self.clock.now();
        let counted = on_database!(&self.database, |pool| {
            sqlx::query_as(
                "INSERT INTO small_values (key, content, count, ends_at) VALUES ($1, $2, $5, $3)
                 ON CONFLICT (key) DO UPDATE SET
                     count = CASE WHEN small_values.ends_at <= $4 THEN excluded.count ELSE small_values.count + excluded.count END,
                     ends_at = CASE WHEN small_values.ends_at <= $4 THEN excluded.ends_at ELSE small_values.ends_at END
                 RETURNING count, ends_at",
            )
            .bind(counter_key(key))
            .bind(Vec::<u8>::new())
            .bind(now + window)
            .bind(now)
            .bind(i64::try_from(amount.min(MOST_AT_ONCE)).unwrap_or(i64::MAX))
            .fetch_one(pool)
            .await
        });
        let (count, ends_at): (i64, Timestamp) = counted.map_err(unavailable)?;
        self.written(now).await;
        Ok(Count { count: u64::try_from(count).unwrap_or(u64::MAX), ends_in: ends_at.since(now) })
    }

    async fn uncount(&self, key: &Key) -> Result<(), StoreUnavailable> {
        let uncounted = on_database!(&self.database, |pool| {
            sqlx::query("UPDATE small_values SET count = count - 1 WHERE key = $1 AND count > 0 AND ends_at > $2")
                .bind(counter_key(key))
                .bind(self.clock.now())
                .execute(pool)
                .await
                .map(drop)
        });
        uncounted.map_err(unavailable)?;
        let gone = on_database!(&self.database, |pool| {
            sqlx::query("DELETE FROM small_values WHERE key = $1 AND count = 0")
                .bind(counter_key(key))
                .execute(pool)
                .await
                .map(drop)
        });
        gone.map_err(unavailable)
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreUnavailable> {
        let removed = on_database!(&self.database, |pool| {
            sqlx::query("DELETE FROM small_values WHERE key IN ($1, $2)")
                .bind(value_key(key))
                .bind(counter_key(key))
                .execute(pool)
                .await
                .map(drop)
        });
        removed.map_err(unavailable)
    }

    async fn forget_expired(&self, limit: i64) -> Result<u64, StoreUnavailable> {
        self.delete_expired(self.clock.now(), limit).await.map_err(unavailable)
    }
}
