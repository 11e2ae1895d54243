//! The key-value store: one contract, in memory, in SQL and on real Redis servers, alone and many, and the same answers from
//! all.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod contract;
mod equality;

use std::sync::Arc;

use shared::clock::Clock;
use shared::database::Database;
use shared::key_value::{DatabaseKeyValueStore, KeyValueStore, MemoryKeyValueStore, RedisKeyValueStore};
use shared::on_database;
use shared::redis::Redis;
use tempfile::TempDir;

/// A store and the clock that moves it.
struct Subject {
    store: Arc<dyn KeyValueStore>,
    clock: Clock,
    _folder: Option<TempDir>,
}

impl Subject {
    async fn in_memory() -> Option<Self> {
        let clock = Clock::default();
        Some(Self { store: Arc::new(MemoryKeyValueStore::new(clock.clone())), clock, _folder: None })
    }

    async fn on_redis() -> Option<Self> {
        Some(Self::at(&shared::testing::redis().await?))
    }

    async fn on_postgres() -> Option<Self> {
        Some(Self::in_database(with_table(&shared::testing::postgres().await?).await, None))
    }

    async fn on_sqlite() -> Option<Self> {
        let (url, folder) = sqlite();
        Some(Self::in_database(with_table(&url).await, Some(folder)))
    }

    fn in_database(database: Database, folder: Option<TempDir>) -> Self {
        let clock = Clock::default();
        Self { store: Arc::new(DatabaseKeyValueStore::new(database, clock.clone())), clock, _folder: folder }
    }

    fn at(url: &str) -> Self {
        let (redis, clock) = (Redis::open(url).unwrap(), Clock::default());
        Self { store: Arc::new(RedisKeyValueStore::new(redis, clock.clone())), clock, _folder: None }
    }
}

/// The URL of a new file, which lives as long as its folder.
fn sqlite() -> (String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (format!("sqlite:{}", folder.path().join("values.db").display()), folder)
}

/// A database with the table, as its service makes it.
async fn with_table(url: &str) -> Database {
    const STATEMENTS: &str = include_str!("../../../auth-service/migrations/0005_small_values.sql");
    let database = Database::open(url, 8).await.unwrap();
    for statement in STATEMENTS.split_inclusive(';').filter(|statement| statement.contains(';')) {
        on_database!(&database, |pool| sqlx::query(statement).execute(pool).await.map(drop)).unwrap();
    }
    database
}
