//! The PostgreSQL that takes the writes, whichever it is now. Owns the pool of connections to it, and looks for the next
//! one after a promotion.
//!
//! Each primary has a pool of its own: what is in doubt with the one before, a machine that vanished with queries under
//! way, takes no connection from those to the next.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use sqlx::postgres::PgPoolOptions;
use sqlx::{ConnectOptions as _, Connection as _, Error, PgPool};
use tokio::time::{sleep, timeout};

use super::hosts::{Host, Hosts, Questions, Writable};
use super::{PATIENCE, SETTING};
use crate::program::Fault;

/// How often each of several hosts is asked whether it takes writes.
const LOOK: Duration = Duration::from_millis(500);

/// A copy shares the connections.
#[derive(Debug, Clone)]
pub struct Primary(Arc<RwLock<PgPool>>);

impl Primary {
    pub(super) async fn open(hosts: Hosts, max_connections: u32) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(max_connections).acquire_timeout(PATIENCE);
        if let [host] = hosts.all() {
            // A pool would only say that it has waited.
            answers(host).await.map_err(|error| explained(host, error))?;
            return Ok(Self(Arc::new(RwLock::new(pool.connect_lazy_with(host.options.clone())))));
        }
        let mut watch = Watch { questions: Questions::of(&hosts), hosts, pool, used: None };
        let found = watch.find_first().await?;
        let primary = Self(Arc::new(RwLock::new(watch.take(found))));
        tokio::spawn(watch.follow(Arc::downgrade(&primary.0)));
        Ok(primary)
    }

    /// The connections to the primary. After a promotion they are others: it is not to be kept for long.
    pub fn pool(&self) -> PgPool {
        self.0.read().clone()
    }

    pub(super) async fn close(&self) {
        self.pool().close().await;
    }
}

/// Connects once, and again for a while to a server that is not there yet: it may be starting, too.
async fn answers(host: &Host) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        let silent = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        let connecting = timeout(PATIENCE.saturating_sub(started.elapsed()), host.options.connect());
        match connecting.await.unwrap_or_else(|_| silent()) {
            Ok(connection) => return connection.close().await,
            Err(error) if !is_away(&error) || started.elapsed() + LOOK > PATIENCE => return Err(error),
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// Whether there is no server, or one that is starting or stopping (57P).
fn is_away(error: &Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(error, Error::Io(_)) || code.is_some_and(|code| code.starts_with("57P"))
}

/// What an operator does about a server that cannot be used.
fn explained(host: &Host, error: Error) -> anyhow::Error {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
    let (fault, next) = match &*code {
        _ if is_away(&error) => ("does not answer", "start it, or correct its address in"),
        code if code.starts_with("28") => ("refuses the login", "correct the user and the password in"),
        "3D000" => ("does not have the database", "create it, or correct its name in"),
        _ => ("cannot be used", "see the cause; it is named by"),
    };
    let fault = Fault::new(format!("PostgreSQL at {host} {fault}"), format!("{next} {SETTING}"));
    anyhow::Error::from(error).context(fault)
}

/// Looks for the primary among several hosts.
struct Watch {
    hosts: Hosts,
    questions: Questions,
    pool: PgPoolOptions,
    used: Option<Writable>,
}

impl Watch {
    async fn find_first(&mut self) -> anyhow::Result<Writable> {
        let started = Instant::now();
        loop {
            match self.questions.ask(&self.hosts).await {
                Ok(found) => return Ok(found),
                Err(why) if started.elapsed() > PATIENCE => {
                    let next = format!("start the primary, or correct the addresses and the login in {SETTING}");
                    return Err(anyhow::Error::msg(why).context(Fault::new("no PostgreSQL takes writes", next)));
                }
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    /// A pool of connections to this host.
    fn take(&mut self, found: Writable) -> PgPool {
        self.used = Some(found);
        self.pool.clone().connect_lazy_with(self.host(found).options.clone())
    }

    fn host(&self, found: Writable) -> &Host {
        &self.hosts.all()[found.host]
    }

    /// Looks until nobody has the database any more. A former primary that comes back as one is not believed as long as
    /// the next one, with its later timeline, was seen.
    async fn follow(mut self, primary: Weak<RwLock<PgPool>>) {
        let mut in_trouble = false;
        loop {
            sleep(LOOK).await;
            let Some(primary) = primary.upgrade().filter(|primary| !primary.read().is_closed()) else { return };
            match self.questions.ask(&self.hosts).await {
                Ok(found) if self.used == Some(found) => in_trouble = false,
                Ok(found) if self.used.is_some_and(|used| found.timeline < used.timeline) => {
                    if !std::mem::replace(&mut in_trouble, true) {
                        tracing::error!(host = %self.host(found), "a former PostgreSQL primary takes writes; it is not used");
                    }
                }
                Ok(found) => {
                    in_trouble = false;
                    if self.used.is_some_and(|used| used.host == found.host) {
                        self.used = Some(found);
                        continue;
                    }
                    tracing::info!(host = %self.host(found), timeline = found.timeline, "another PostgreSQL takes the writes now");
                    let next = self.take(found);
                    let before = std::mem::replace(&mut *primary.write(), next);
                    // Whoever is about to connect to the former one gets to the next; who waits for a connection is told.
                    before.set_connect_options(self.host(found).options.clone());
                    tokio::spawn(async move { before.close().await });
                }
                Err(why) => {
                    if !std::mem::replace(&mut in_trouble, true) {
                        tracing::warn!(hosts = self.hosts.names(), why, "no PostgreSQL takes writes");
                    }
                }
            }
        }
    }
}
