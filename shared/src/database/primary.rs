//! The PostgreSQL that takes the writes, whichever it is now. Owns the pool of connections to it, and looks for the next
//! one after a promotion.
//!
//! Each primary has a pool of its own: what is in doubt with the one before, a machine that vanished with queries under
//! way, takes no connection from those to the next.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::bail;
use parking_lot::RwLock;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::sleep;

use super::PATIENCE;
use super::hosts::{Host, Hosts, Questions, Writable};

/// How often each of several hosts is asked whether it takes writes.
const LOOK: Duration = Duration::from_millis(500);

/// A copy shares the connections.
#[derive(Debug, Clone)]
pub struct Primary(Arc<RwLock<PgPool>>);

impl Primary {
    pub(super) async fn open(hosts: Hosts, max_connections: u32) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(max_connections).acquire_timeout(PATIENCE);
        if let [host] = hosts.all() {
            return Ok(Self(Arc::new(RwLock::new(pool.connect_with(host.options.clone()).await?))));
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
                Err(why) if started.elapsed() > PATIENCE => bail!("no PostgreSQL takes writes: {why}"),
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
