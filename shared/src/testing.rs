//! Databases and Redis of their own for tests, and requests that have waited. The servers are real ones, named by
//! `TEST_POSTGRES_URL` and `TEST_REDIS_URL`, which `cargo xtask test` sets. Without them a test is left out, aloud; with `ROAM_REQUIRE_SERVERS=1` it fails instead.

use std::time::Duration;

/// Does `work` as a request does that may change something, and that arrived so long ago.
pub async fn late<T>(waited: Duration, work: impl Future<Output = T>) -> T {
    let arrival = crate::arrival::Arrival::ago(waited);
    let cause = crate::calls::Cause::new("a test".into(), tracing::Span::none());
    let cause = crate::calls::Cause { arrival: Some(std::sync::Arc::new(arrival)), ..cause };
    crate::calls::because_of(cause, work).await
}

pub mod flood;
#[cfg(feature = "database")]
pub mod tables;

/// The URL of a fresh, empty PostgreSQL database, or `None` where no server is at hand.
///
/// # Panics
/// The server named does not answer, or none is named and one is required.
#[cfg(feature = "database")]
pub async fn postgres() -> Option<String> {
    let server = server("TEST_POSTGRES_URL", "PostgreSQL")?;
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let pool = sqlx::PgPool::connect(&server).await.expect("TEST_POSTGRES_URL answers");
    let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(statement).execute(&pool).await.expect("a database is made");
    pool.close().await;
    let mut url = url::Url::parse(&server).expect("TEST_POSTGRES_URL is a URL");
    url.set_path(&name);
    Some(url.into())
}

/// The clock of one PostgreSQL database, as its connections see it: a test sets it.
#[cfg(feature = "database")]
pub struct PostgresClock(sqlx::PgPool);

#[cfg(feature = "database")]
impl PostgresClock {
    /// Of a database of [`postgres`] to which no connection is open yet.
    ///
    /// # Panics
    /// The server does not answer.
    pub async fn of(url: &str) -> Self {
        let clock = Self(sqlx::PgPool::connect(url).await.expect("the database answers"));
        let name = url.rsplit('/').next().unwrap_or_default();
        clock.run("CREATE SCHEMA clock".to_owned()).await;
        clock.is_ahead(0).await;
        clock.run(format!("ALTER DATABASE {name} SET search_path = clock, pg_catalog, public")).await;
        clock
    }

    /// From now on it is so far ahead of the machine's.
    ///
    /// # Panics
    /// The server does not answer.
    pub async fn is_ahead(&self, seconds: i64) {
        self.run(format!(
            "CREATE OR REPLACE FUNCTION clock.clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE SQL VOLATILE \
             AS $$ SELECT pg_catalog.clock_timestamp() + {seconds} * INTERVAL '1 second' $$"
        ))
        .await;
    }

    async fn run(&self, statement: String) {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&self.0).await.expect("the statement is good");
    }
}

/// The URL of an empty logical Redis database that no other test has, or `None` where no server is at hand.
///
/// # Panics
/// The server named does not answer, or none is named and one is required.
#[cfg(feature = "redis")]
pub async fn redis() -> Option<String> {
    use deadpool_redis::redis;
    let server = server("TEST_REDIS_URL", "Redis")?;
    let client = redis::Client::open(server.as_str()).expect("TEST_REDIS_URL is a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("TEST_REDIS_URL answers");
    let taken: redis::RedisResult<u32> = redis::cmd("INCR").arg("test:databases").query_async(&mut connection).await;
    let number = taken.expect("Redis counts the databases given out");
    let mut url = url::Url::parse(&server).expect("TEST_REDIS_URL is a URL");
    url.set_path(&format!("/{number}"));
    Some(url.into())
}

#[cfg(any(feature = "database", feature = "redis"))]
fn server(variable: &str, name: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(std::env::var_os("ROAM_REQUIRE_SERVERS").is_none(), "{variable} is not set, and {name} is required");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        use std::io::Write as _;
        // Not println: the output of a test that passes is kept from sight, and this line is for the reader.
        let _ = writeln!(std::io::stderr(), "left to `cargo xtask test`: {test} on {name}");
    }
    url
}
