//! That one process alone works with a database, where what several would have to share is in a process's memory. The place
//! is held by the database itself (PostgreSQL: an advisory lock of a session) or by the file (SQLite), and is free as soon as
//! the process is gone.

use std::fs::File;
use std::time::Duration;

use sqlx::{Connection as _, Postgres};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{Database, Primary};

/// How long a start waits for the process before it, which may be about to end.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);
/// How often the session is asked whether it is still there: with it, the place is lost.
const ASK: Duration = Duration::from_secs(5);

/// Two numbers, for locks of one number are turns of transactions. "roam", "one ".
const TAKE: &str = "SELECT pg_try_advisory_lock(1919902061, 1869505824)";
/// A machine that vanished closes no connection: the server notices within half a minute.
const NOTICE: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

type Session = sqlx::pool::PoolConnection<Postgres>;

/// The place of the only process, until it is dropped.
#[derive(Debug)]
pub struct Alone {
    _held: Held,
}

#[derive(Debug)]
enum Held {
    Postgres(#[expect(dead_code, reason = "dropping it lets the place go")] AbortOnDropHandle<()>),
    Sqlite(#[expect(dead_code, reason = "closing it lets the place go")] File),
}

impl Database {
    /// Takes the place of the only process, and waits ten seconds for the one before. Nothing where another one keeps it. The
    /// database keeps one connection for it.
    ///
    /// # Errors
    /// The database does not answer, or its file cannot be locked.
    pub async fn alone(&self) -> anyhow::Result<Option<Alone>> {
        let started = Instant::now();
        loop {
            if let Some(held) = self.try_to_be_alone().await? {
                return Ok(Some(Alone { _held: held }));
            }
            if started.elapsed() > PATIENCE {
                return Ok(None);
            }
            sleep(LOOK).await;
        }
    }

    async fn try_to_be_alone(&self) -> anyhow::Result<Option<Held>> {
        match self {
            Self::Postgres(primary) => {
                let session = take(primary).await?;
                Ok(session.map(|session| {
                    Held::Postgres(AbortOnDropHandle::new(tokio::spawn(keep(primary.clone(), session))))
                }))
            }
            Self::Sqlite(file) => {
                let options = file.pool().connect_options();
                // SQLite's own locks are of another kind, and are not touched by this.
                let file = File::open(options.get_filename())?;
                match file.try_lock() {
                    Ok(()) => Ok(Some(Held::Sqlite(file))),
                    Err(std::fs::TryLockError::WouldBlock) => Ok(None),
                    Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
                }
            }
        }
    }
}

/// A session that holds the place, or nothing where another one does.
async fn take(primary: &Primary) -> Result<Option<Session>, sqlx::Error> {
    let mut session = primary.pool().acquire().await?;
    // Not given back: the place goes with the connection.
    session.close_on_drop();
    sqlx::raw_sql(NOTICE).execute(&mut *session).await?;
    let is_taken: bool = sqlx::query_scalar(TAKE).fetch_one(&mut *session).await?;
    Ok(is_taken.then_some(session))
}

/// Takes the place again when the session was lost, at the next primary, too.
async fn keep(primary: Primary, session: Session) {
    let mut held = Some(session);
    loop {
        sleep(ASK).await;
        if let Some(session) = &mut held
            && session.ping().await.is_ok()
        {
            continue;
        }
        held = match take(&primary).await {
            Ok(None) => {
                tracing::error!(
                    "another process has taken the place of the only one: stop one of them, or set REDIS_URL"
                );
                None
            }
            Ok(session) => session,
            Err(error) => {
                tracing::debug!(%error, "the place of the only process is taken again later");
                None
            }
        };
    }
}
