//! SQLite's own ways: how a file is opened, which connection the pool may give out again, and transactions that SQLite ends by
//! itself.
//!
//! A full disk, a failed read or write, a lack of memory make SQLite roll back by itself
//! (<https://www.sqlite.org/lang_transaction.html>, section 3). sqlx does not hear of it: it counts a transaction that is
//! gone, its own rollback fails, and each `BEGIN` on that connection fails from then on.

use sqlx::pool::PoolConnectionMetadata;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Error, Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::measured::before_an_effect;
use super::turns::{Turn, Turns};
use super::{Measured, PATIENCE, in_time};

/// One file, and whose turn it is to write to it. A copy shares both.
#[derive(Debug, Clone)]
pub struct SqliteFile {
    pool: SqlitePool,
    turns: Turns,
}

impl SqliteFile {
    pub(super) async fn open(options: SqliteConnectOptions, max_connections: u32) -> Result<Self, Error> {
        Ok(Self { pool: open(options, max_connections).await?, turns: Turns::default() })
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// The pool, whose writes take turns.
    pub fn measured(&self) -> Measured<'_, Sqlite> {
        Measured::in_turn(&self.pool, &self.turns)
    }

    /// A transaction that may write. Its connection is taken after the turn: a writer that waits keeps none from readers.
    pub(super) async fn begin(&self) -> Result<(Transaction<'static, Sqlite>, Turn), Error> {
        let turn = self.turns.take().await?;
        before_an_effect()?;
        Ok((self.pool.begin_with("BEGIN IMMEDIATE").await?, turn))
    }
}

/// Opens the pool of one file. A connection whose transaction is still counted is closed instead of given out again.
async fn open(options: SqliteConnectOptions, max_connections: u32) -> Result<SqlitePool, Error> {
    let options = options
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(PATIENCE * 2)
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(PATIENCE * 2)
        .after_release(|connection, _| Box::pin(has_ended_its_transactions(connection)))
        .before_acquire(|connection, _: PoolConnectionMetadata| {
            let is_clean = !connection.is_in_transaction();
            Box::pin(async move { Ok(is_clean) })
        })
        .connect_with(options)
        .await
}

async fn has_ended_its_transactions(connection: &mut SqliteConnection) -> Result<bool, Error> {
    // The rollback of a transaction that was dropped is queued before this.
    connection.ping().await?;
    let is_clean = !connection.is_in_transaction();
    if !is_clean {
        tracing::warn!("a SQLite connection is closed: SQLite has ended its transaction by itself");
    }
    Ok(is_clean)
}

/// Whether a transaction may still be used. What SQLite has rolled back by itself may not: the next statement would be
/// carried out and committed alone.
#[derive(Debug, Default)]
pub struct Open {
    ended: bool,
}

/// Runs one step of a transaction, unless an earlier one met a fault after which SQLite may have rolled back.
///
/// # Errors
/// Those of the step; an earlier fault of the database; nothing for 8 seconds.
pub async fn while_open<T>(open: &mut Open, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    if open.ended {
        return Err(Error::Protocol("the transaction has ended with an earlier fault".to_owned()));
    }
    let outcome = in_time(step).await;
    open.ended = outcome.as_ref().is_err_and(super::is_unavailable);
    outcome
}

/// Whether a result code (<https://www.sqlite.org/rescode.html>), plain or extended, is the file's or the machine's fault.
pub(super) fn is_unavailable(code: u32) -> bool {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const NO_MEMORY: u32 = 7;
    const READ_ONLY: u32 = 8;
    const INTERRUPTED: u32 = 9;
    const INPUT_OUTPUT: u32 = 10;
    const FULL: u32 = 13;
    // A log or an index of it that cannot be made, on a full disk for example.
    const CANNOT_OPEN: u32 = 14;
    let is_sqlite = code < 10_000;
    is_sqlite
        && matches!(
            code & 0xff,
            BUSY | LOCKED | NO_MEMORY | READ_ONLY | INTERRUPTED | INPUT_OUTPUT | FULL | CANNOT_OPEN
        )
}
