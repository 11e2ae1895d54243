//! One SQL text for PostgreSQL and SQLite. Owns opening, migrating and transactions; knows no table.
//!
//! A query is written once and runs on either:
//! ```ignore
//! on_database!(database, |pool| sqlx::query_as("SELECT id, name FROM products WHERE id = $1").bind(id).fetch_optional(pool).await)
//! ```
//! The rules of the shared text: `$1`, `RETURNING`, `ON CONFLICT`, `UUID`, `BIGINT`, `TEXT`, `BYTEA`, `BOOLEAN`; times are
//! [`Timestamp`](crate::clock::Timestamp)s that are bound, never `now()`.

mod alone;
mod clock_watch;
mod hosts;
mod measured;
mod primary;
mod sqlite;
mod turns;
mod write_probe;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Postgres, Sqlite};
use tracing::Span;

pub use self::alone::Alone;
pub use self::clock_watch::ClockWatch;
use self::hosts::Hosts;
pub use self::measured::Measured;
pub use self::primary::Primary;
pub use self::sqlite::{Open, SqliteFile, while_open};
pub use self::turns::Turn;
pub use self::write_probe::WriteProbe;
use crate::calls;
use crate::config::{ConnectionUrl, Setting as _};
use crate::program::Fault;

/// How long a query waits for a connection, a lock or the disk before it fails as unavailable.
const PATIENCE: Duration = Duration::from_secs(5);

/// The setting that names a database, for messages to an operator.
const SETTING: &str = "DATABASE_URL (at the all-in-one AUTH_DATABASE_URL, CART_DATABASE_URL or ORDER_DATABASE_URL)";

/// How long a server that has a query may be silent. It gives up by itself before; one that does not answer even then
/// hangs, is cut off, or waits for a standby that is away.
const SILENCE: Duration = Duration::from_secs(8);

/// One service's database. A copy shares the pool.
#[derive(Clone, Debug)]
pub enum Database {
    Postgres(Primary),
    Sqlite(SqliteFile),
}

/// A transaction that is rolled back unless it is committed, with its span in the trace.
pub enum Transaction {
    Postgres(sqlx::Transaction<'static, Postgres>, Span),
    /// With whether SQLite still has it, and the turn to write, which is given up after it.
    Sqlite(sqlx::Transaction<'static, Sqlite>, Span, Open, Turn),
}

/// Runs one expression on the pool of whichever database it is.
#[macro_export]
macro_rules! on_database {
    ($database:expr, |$pool:ident| $query:expr) => {
        match $database {
            $crate::database::Database::Postgres(primary) => {
                let pool = primary.pool();
                let $pool = $crate::database::Measured::new(&pool);
                $query
            }
            $crate::database::Database::Sqlite(file) => {
                let $pool = file.measured();
                $query
            }
        }
    };
}

/// Runs one expression on the connection of a transaction (`&mut Transaction`).
#[macro_export]
macro_rules! in_transaction {
    ($transaction:expr, |$connection:ident| $query:expr) => {
        match $transaction {
            $crate::database::Transaction::Postgres(transaction, _) => {
                let $connection = &mut **transaction;
                $crate::database::in_time(async { $query }).await
            }
            $crate::database::Transaction::Sqlite(transaction, _, open, _) => {
                let $connection = &mut **transaction;
                $crate::database::while_open(open, async { $query }).await
            }
        }
    };
}

impl Database {
    /// Opens `postgres://…` or `sqlite:PATH` (the file is made when it is missing).
    ///
    /// `postgres://[USER[:PASSWORD]@]HOST[:PORT],HOST[:PORT],…/NAME` names a primary and its standbys: the one that takes
    /// writes is used, and the next one after a promotion.
    ///
    /// # Errors
    /// The URL cannot be read, or the database (of several, one that takes writes) does not answer within 5 seconds.
    pub async fn open(url: &str, max_connections: u32) -> anyhow::Result<Self> {
        match url.split(':').next() {
            Some("postgres" | "postgresql") => Self::open_postgres(url, max_connections).await,
            Some("sqlite") => {
                // The cause could quote a part of the URL.
                let options = SqliteConnectOptions::from_str(url).ok();
                let options =
                    options.context("a SQLite URL is sqlite:PATH, with mode, cache or immutable behind a ?")?;
                Self::open_sqlite(options, max_connections).await
            }
            _ => anyhow::bail!("a database URL starts with postgres:// or sqlite:"),
        }
    }

    /// Opens the SQLite file at `path`, and makes it when it is missing.
    ///
    /// # Errors
    /// The folder is missing or not writable, or the file is no database.
    pub async fn open_file(path: &Path) -> anyhow::Result<Self> {
        Self::open_sqlite(SqliteConnectOptions::new().filename(path), 8).await
    }

    async fn open_postgres(url: &str, max_connections: u32) -> anyhow::Result<Self> {
        let hosts = Hosts::read(url)?;
        Ok(Self::Postgres(Primary::open(hosts, max_connections).await?))
    }

    async fn open_sqlite(options: SqliteConnectOptions, max_connections: u32) -> anyhow::Result<Self> {
        let file = ConnectionUrl::shown(&format!("sqlite:{}", options.get_filename().display()));
        let fault = || {
            let next = format!("make its folder, and let this user write there; the file is named by {SETTING}");
            Fault::new(format!("{file} cannot be used"), next)
        };
        Ok(Self::Sqlite(SqliteFile::open(options, max_connections).await.with_context(fault)?))
    }

    /// Brings the tables up to the newest migration; replicas that start together take turns.
    ///
    /// A migration that ran and is not known here is no error: while a new release is rolled out, a replica of the one
    /// before starts (or starts again) beside it. So each migration must leave the tables usable for the release before.
    ///
    /// # Errors
    /// A migration fails, or one that already ran has changed since.
    pub async fn migrate(&self, migrator: &Migrator) -> anyhow::Result<()> {
        let mut migrator = Migrator::with_migrations(migrator.iter().cloned().collect());
        migrator.set_ignore_missing(true);
        match self {
            Self::Postgres(primary) => {
                let mut connection = primary.pool().acquire().await?;
                // For a query, a lock that is not free in seconds is a fault; here another replica is at work.
                for setting in ["SET statement_timeout = '10min'", "SET lock_timeout = '10min'"] {
                    sqlx::query(setting).execute(&mut *connection).await?;
                }
                // Not given back to the pool: it has these settings and, after a failure, still the lock.
                let mut connection = connection.detach();
                let migrated = migrator.run(&mut connection).await;
                connection.close().await?;
                migrated?;
            }
            Self::Sqlite(file) => migrator.run(file.pool()).await?,
        }
        Ok(())
    }

    /// Begins a transaction. On SQLite it takes the write lock at once, so a read before a write cannot deadlock; writers
    /// get it in the order in which they came.
    ///
    /// # Errors
    /// No connection or lock was free in time, or it is too late for the request that this is done for: nothing was changed.
    pub async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        measured::before_an_effect()?;
        Ok(match self {
            Self::Postgres(primary) => {
                let span = calls::transaction_span("postgresql");
                Transaction::Postgres(measured::waited(primary.pool().begin()).await?, span)
            }
            Self::Sqlite(file) => {
                let span = calls::transaction_span("sqlite");
                let (begun, turn) = measured::waited(file.begin()).await?;
                Transaction::Sqlite(begun, span, Open::default(), turn)
            }
        })
    }

    /// Asks the database for an answer; [`WriteProbe`] tells whether it takes writes.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        on_database!(self, |pool| sqlx::query("SELECT 1").execute(pool).await.map(|_| ()))
    }

    pub async fn close(&self) {
        match self {
            Self::Postgres(primary) => primary.close().await,
            Self::Sqlite(file) => file.pool().close().await,
        }
    }
}

impl Transaction {
    /// Waits until no other transaction has this turn, and keeps it to the end of this one. What is counted and then written
    /// under one turn is counted and written by one at a time. Two subjects may share a turn by accident: they wait longer.
    ///
    /// # Errors
    /// The turn was not free in time, or the database does not answer.
    pub async fn take_turn(&mut self, of: uuid::Uuid) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(transaction, _) => {
                let (high, low) = of.as_u64_pair();
                let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind((high ^ low).cast_signed());
                in_time(lock.execute(&mut **transaction)).await.map(drop)
            }
            // A transaction of SQLite begins with the only lock that there is.
            Self::Sqlite(..) => Ok(()),
        }
    }

    /// # Errors
    /// The database did not confirm; nothing may be assumed of what it kept.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let (outcome, span) = match self {
            Self::Postgres(transaction, span) => (in_time(transaction.commit()).await, span),
            Self::Sqlite(transaction, span, mut open, turn) => {
                let outcome = while_open(&mut open, transaction.commit()).await;
                drop(turn);
                (outcome, span)
            }
        };
        outcome.inspect_err(|error| calls::failed(&span, &measured::kind(error)))
    }
}

/// Waits for an answer, but not for ever: a machine that vanished closes no connection.
///
/// # Errors
/// What the query answers, or nothing for 8 seconds: whether it was carried out is not known.
pub async fn in_time<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(SILENCE, query)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

/// Whether the database, not the query, is at fault: away, full, read-only, too busy, or asking for another try.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        // A connection that SQLite and sqlx see in different states. It is closed, and the next one is another.
        sqlx::Error::BeginFailed | sqlx::Error::InvalidSavePointStatement => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // PostgreSQL: connection, credentials, resources (a full disk is 53100), operator, system; deadlock,
            // serialization, lock, closed database, read-only (25006), a transaction that the server ended because this process
            // stood still (25P03, 25P04).
            ["08", "28", "53", "57", "58"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                || matches!(&*code, "40001" | "40P01" | "55000" | "55P03" | "25006" | "25P03" | "25P04" | "3D000")
                || code.parse().is_ok_and(sqlite::is_unavailable)
        }),
        _ => false,
    }
}

/// Whether a row with the same unique value is there already.
pub fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}
