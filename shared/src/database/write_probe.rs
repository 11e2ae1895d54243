//! Whether a database takes writes: readiness. Owns one small write that leaves nothing behind, and how often it is made.
//!
//! Reading proves nothing of writing: a full disk and a read-only server answer `SELECT`. A write that is rolled back
//! proves little more, because SQLite touches its log only at the commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Error, Row as _};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Database, Measured};
use crate::calls;

/// How long an outcome is good: callers of `/readyz`, however many, cause one write in that time.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// How long a caller waits for the write.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A write to SQLite that waits for longer than others may have the lock is no queue any more.
const LONGEST_QUEUE: Duration = Duration::from_secs(15);

/// One page of SQLite's log, committed: it needs the same room as any write, and the next checkpoint takes it back. The
/// number is the application's own, and used for nothing else.
const SQLITE: &str = "PRAGMA user_version = 1";

/// Three questions in one transaction. Whether the server takes writes; whether the disk of the data has room, for a sort
/// beyond `work_mem` writes a file and removes it (what PostgreSQL's log needs lies there already, so a small row tells
/// nothing of a full disk); whether a commit is confirmed, for a message in the log must be, and is part of no table.
const POSTGRES: &str = "SELECT current_setting('transaction_read_only') = 'on', set_config('work_mem', '64kB', true);
    SELECT count(*) FROM (SELECT number FROM generate_series(1, 8192) AS number ORDER BY number DESC OFFSET 0) AS sorted;
    SELECT pg_logical_emit_message(true, 'roam', 'ready')";

/// Asks one database whether it takes writes. A copy shares the outcome.
#[derive(Debug, Clone)]
pub struct WriteProbe {
    database: Database,
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a write is under way.
    writes: bool,
    /// When the last one ended, and how.
    last: Option<(Instant, Result<(), &'static str>)>,
}

impl State {
    fn last_within(&self, span: Duration) -> Option<Result<(), &'static str>> {
        self.last.filter(|(when, _)| when.elapsed() < span).map(|(_, outcome)| outcome)
    }
}

impl WriteProbe {
    pub fn new(database: Database) -> Self {
        Self { database, state: Arc::default() }
    }

    /// Writes, unless that was done within the last second, and answers how it went.
    ///
    /// # Errors
    /// What is wrong, in words for anybody; the cause is in the log.
    pub async fn ask(&self) -> Result<(), &'static str> {
        let mut state = self.state.subscribe();
        let known = state.borrow_and_update().last_within(GOOD_FOR);
        if let Some(known) = known {
            return known;
        }
        let begins = self.state.send_if_modified(|state| !std::mem::replace(&mut state.writes, true));
        if begins {
            // A caller who hangs up does not stop the write: the next caller finds it under way.
            let probe = self.clone();
            tokio::spawn(calls::in_service(calls::service(), async move {
                let outcome = probe.database.write_something().await.map_err(|error| reason(&error));
                probe.state.send_replace(State { writes: false, last: Some((Instant::now(), outcome)) });
            }));
        }
        let ended = timeout(PATIENCE, state.wait_for(|state| !state.writes)).await;
        if let Ok(Ok(state)) = &ended {
            return state.last_within(LONGEST_QUEUE).unwrap_or(Err("no answer in time"));
        }
        drop(ended);
        match &self.database {
            // Writers of one file take turns. That others are at it shows that it takes writes.
            Database::Sqlite(_) => self.state.borrow().last_within(LONGEST_QUEUE).unwrap_or(Err("no answer in time")),
            Database::Postgres(_) => Err("no answer in time"),
        }
    }
}

fn reason(error: &Error) -> &'static str {
    tracing::warn!(%error, "the database takes no writes");
    // A caller who reaches the port need not know where the database is.
    match error {
        Error::Database(_) | Error::Configuration(_) => "it takes no writes",
        _ => "it does not answer",
    }
}

impl Database {
    /// Commits a write that leaves nothing behind.
    ///
    /// # Errors
    /// The database does not answer, or takes no writes.
    async fn write_something(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(file) => sqlx::query(SQLITE).execute(file.measured()).await.map(drop),
            Self::Postgres(primary) => {
                let pool = primary.pool();
                let rows = match sqlx::raw_sql(POSTGRES).fetch_all(Measured::new(&pool)).await {
                    Err(error) if allows_no_files(&error) => return Ok(()),
                    rows => rows?,
                };
                let first = rows.first().ok_or(Error::RowNotFound)?;
                if first.try_get(0)? { Err(Error::Configuration("the server is read-only".into())) } else { Ok(()) }
            }
        }
    }
}

/// Whether the server's settings forbid the sort's file (`temp_file_limit`), which says nothing of its disk.
fn allows_no_files(error: &Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "53400")
}
