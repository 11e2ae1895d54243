//! One Redis server. Owns the connection that all commands share and those for blocking reads: how they are made, kept and
//! thrown away.
//!
//! Nothing connects before it must, and a server that is away is asked again by one caller at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::{MultiplexedConnection, SendError};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, ProtocolVersion,
    PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind,
};
use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::address::Sentinels;
use super::request::{Failure, Request, no_answer};
use super::{PATIENCE, sentinel};
use crate::session::StoreUnavailable;

/// How long an answer may take before the connection counts as broken: less than [`PATIENCE`], so that a call that
/// waits in vain also has the connection replaced.
const ANSWER: Duration = Duration::from_millis(800);

/// How long a call waits for a new connection after an attempt that failed: what is known to be away is not waited for.
const DOUBT: Duration = Duration::from_millis(250);

/// After a failure the next attempt is made no earlier than this; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often the sentinels are asked whether the master is still the one that is used: a master that was cut off from
/// them, and not from us, would go on to answer.
const LOOK: Duration = Duration::from_secs(2);

/// How many blocking reads may wait at once.
const BLOCKING_READS: usize = 256;

/// Where the tasks of connections live: the first runtime that is seen, which is the main one. The runtime of a single
/// HTTP worker would take them along when it stops.
#[derive(Clone, Default)]
pub(super) struct Home(Arc<OnceLock<Handle>>);

impl Home {
    /// The runtime that this is called in, if it is called in one.
    pub(super) fn here() -> Self {
        Self(Arc::new(Handle::try_current().map_or_else(|_| OnceLock::new(), OnceLock::from)))
    }

    pub(super) fn runtime(&self) -> &Handle {
        self.0.get_or_init(Handle::current)
    }
}

/// Which server it is.
pub(super) enum Source {
    Server(ConnectionInfo),
    /// The master, whichever it is when a connection is made.
    Master(Sentinels),
}

/// A copy shares its connections.
#[derive(Clone)]
pub(super) struct Machine(Arc<Inner>);

struct Inner {
    source: Source,
    name: String,
    config: AsyncConnectionConfig,
    home: Home,
    kept: Arc<Mutex<Kept>>,
    /// Whether there were failures since the last answer: a look that costs no lock.
    in_trouble: AtomicBool,
}

/// A connection and its number, by which whoever saw it fail says which one is to go.
type Numbered = (MultiplexedConnection, u64);

type Attempt = Shared<BoxFuture<'static, Result<Numbered, StoreUnavailable>>>;

/// The one connection that all commands share, or why there is none.
#[derive(Default)]
struct Kept {
    connection: Option<MultiplexedConnection>,
    /// Connections to the same server, for blocking reads.
    blocking: Option<Pool>,
    server: Option<ConnectionAddr>,
    /// When the sentinels are asked next, where there are any.
    look: Option<Instant>,
    /// The attempt to make one, for all who wait for it.
    attempt: Option<Attempt>,
    /// How many were made.
    made: u64,
    /// The attempts and connections that failed since the last answer.
    failures: u32,
    /// Until when no other attempt is made, and why.
    pause: Option<(Instant, StoreUnavailable)>,
}

impl Kept {
    fn failed(&mut self, error: &StoreUnavailable) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.pause = Some((Instant::now() + pause, error.clone()));
        self.failures = self.failures.saturating_add(1);
    }
}

impl Machine {
    /// `name` is what logs and errors call it. Does not connect.
    pub(super) fn new(source: Source, name: String, home: Home) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let forgetful = Arc::downgrade(&kept);
        let forget_the_closed = move |push: PushInfo| -> Result<(), SendError> {
            if push.kind == PushKind::Disconnection
                && let Some(kept) = forgetful.upgrade()
            {
                kept.lock().connection = None;
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(ANSWER))
            .set_pipeline_buffer_size(1_000)
            .set_push_sender(forget_the_closed);
        Self(Arc::new(Inner { source, name, config, home, kept, in_trouble: AtomicBool::new(false) }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) async fn shared(&self) -> Result<MultiplexedConnection, StoreUnavailable> {
        self.kept().await.map(|(connection, _)| connection)
    }

    /// A connection of the caller's own, which waits for an answer as long as it takes, and a number that changes when
    /// another server may be behind it. It goes back when it is dropped, unless it broke.
    pub(super) async fn blocking(&self) -> Result<(Connection, u64), StoreUnavailable> {
        self.kept().await?;
        let (pool, number) = {
            let kept = self.0.kept.lock();
            (kept.blocking.clone(), kept.made)
        };
        let pool = pool.ok_or_else(|| no_answer(PATIENCE))?;
        let made = self.0.home.runtime().spawn(async move { pool.get().await }).await;
        let made = made.map_err(|error| StoreUnavailable(error.to_string())).and_then(|made| {
            made.map_err(|error| match error {
                PoolError::Backend(error) => StoreUnavailable(error.to_string()),
                other => StoreUnavailable(other.to_string()),
            })
        });
        // A process that only follows has nobody else to find out.
        made.map(|connection| (connection, number)).inspect_err(|error| self.lose(number, error))
    }

    pub(super) async fn send<T: FromRedisValue>(&self, request: &Request<'_>, asking: bool) -> Result<T, Failure> {
        let (mut connection, number) = self.kept().await.map_err(Failure::Unavailable)?;
        self.settle(number, request.send(&mut connection, asking).await)
    }

    async fn kept(&self) -> Result<Numbered, StoreUnavailable> {
        let (attempt, patience) = {
            let mut kept = self.0.kept.lock();
            if let Some(connection) = &kept.connection {
                let found = (connection.clone(), kept.made);
                if kept.look.is_some_and(|at| at <= Instant::now()) {
                    self.look_for_another_master(&mut kept);
                }
                return Ok(found);
            }
            if let Some((_, error)) = kept.pause.as_ref().filter(|(until, _)| Instant::now() < *until) {
                return Err(error.clone());
            }
            let under_way = kept.attempt.take().filter(|attempt| attempt.peek().is_none());
            let attempt = under_way.unwrap_or_else(|| self.attempt());
            kept.attempt = Some(attempt.clone());
            (attempt, if kept.failures == 0 { PATIENCE } else { DOUBT })
        };
        timeout(patience, attempt).await.unwrap_or_else(|_| Err(no_answer(patience)))
    }

    /// Begins to connect, on the main runtime: whoever waits may give up, the attempt goes on.
    fn attempt(&self) -> Attempt {
        let machine = self.clone();
        let task = self.0.home.runtime().spawn(async move { machine.connect().await });
        async { task.await.unwrap_or_else(|error| Err(StoreUnavailable(error.to_string()))) }.boxed().shared()
    }

    async fn connect(&self) -> Result<Numbered, StoreUnavailable> {
        let outcome = timeout(PATIENCE, self.reach()).await.unwrap_or_else(|_| Err(no_answer(PATIENCE)));
        let mut kept = self.0.kept.lock();
        match outcome {
            Ok((connection, info, blocking)) => {
                if kept.server.as_ref().is_some_and(|server| server != info.addr()) {
                    tracing::info!(redis = self.0.name, master = %info.addr(), "another server is the master now");
                }
                kept.connection = Some(connection.clone());
                kept.blocking = Some(blocking);
                kept.server = Some(info.addr().clone());
                kept.look = matches!(self.0.source, Source::Master(_)).then(|| Instant::now() + LOOK);
                kept.made += 1;
                Ok((connection, kept.made))
            }
            Err(error) => {
                self.failed(&mut kept, &error);
                Err(error)
            }
        }
    }

    async fn reach(&self) -> Result<(MultiplexedConnection, ConnectionInfo, Pool), StoreUnavailable> {
        let failed = |error: RedisError| StoreUnavailable(error.to_string());
        let info = match &self.0.source {
            Source::Server(info) => info.clone(),
            Source::Master(sentinels) => sentinels.find_master().await?,
        };
        // RESP3 tells at once that the server closed the connection: no call has to find out.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.clone().set_redis_settings(settings)).map_err(failed)?;
        let mut connection =
            client.get_multiplexed_async_connection_with_config(&self.0.config).await.map_err(failed)?;
        if matches!(self.0.source, Source::Master(_)) {
            sentinel::must_be_master(&mut connection).await?;
        }
        let blocking = pool_of_readers(info.clone()).map_err(|error| StoreUnavailable(error.to_string()))?;
        Ok((connection, info, blocking))
    }

    /// Asks the sentinels in the background.
    fn look_for_another_master(&self, kept: &mut Kept) {
        kept.look = Some(Instant::now() + LOOK);
        let machine = self.clone();
        self.0.home.runtime().spawn(async move {
            let Source::Master(sentinels) = &machine.0.source else { return };
            // Sentinels that are away are no reason to leave a master that answers.
            let Ok(master) = sentinels.find_master().await else { return };
            let mut kept = machine.0.kept.lock();
            if kept.server.as_ref().is_some_and(|server| server != master.addr()) {
                kept.connection = None;
            }
        });
    }

    /// Throws the connection away if the outcome says that another one may do better.
    fn settle<T>(&self, number: u64, outcome: RedisResult<T>) -> Result<T, Failure> {
        match outcome {
            Ok(answer) => {
                if self.0.in_trouble.load(Ordering::Relaxed) {
                    self.recovered();
                }
                Ok(answer)
            }
            Err(cause) => {
                if is_the_connections_fault(&cause) {
                    self.lose(number, &StoreUnavailable(cause.to_string()));
                }
                Err(cause.into())
            }
        }
    }

    fn lose(&self, number: u64, error: &StoreUnavailable) {
        let mut kept = self.0.kept.lock();
        if kept.made == number && kept.connection.take().is_some() {
            self.failed(&mut kept, error);
        }
    }

    fn failed(&self, kept: &mut Kept, error: &StoreUnavailable) {
        if !self.0.in_trouble.swap(true, Ordering::Relaxed) {
            tracing::warn!(redis = self.0.name, %error, "Redis does not answer");
        }
        kept.failed(error);
    }

    /// Only an answer proves that Redis is back: a replica and one that loads its data take connections, too.
    fn recovered(&self) {
        let mut kept = self.0.kept.lock();
        (kept.failures, kept.pause) = (0, None);
        if self.0.in_trouble.swap(false, Ordering::Relaxed) {
            tracing::info!(redis = self.0.name, "Redis answers again");
        }
    }
}

fn pool_of_readers(info: ConnectionInfo) -> anyhow::Result<Pool> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(None);
    let pool = Pool::builder(Manager::new_with_config(info, config)?)
        .max_size(BLOCKING_READS)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(PATIENCE))
        .create_timeout(Some(PATIENCE))
        // A reader that was dropped in the middle may have left a read that still waits.
        .recycle_timeout(Some(PATIENCE * 2));
    Ok(pool.build()?)
}

/// Broken, too slow, or no longer (not yet) a master that has loaded its data.
fn is_the_connections_fault(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    matches!(error.kind(), ErrorKind::Server(ReadOnly | BusyLoading | MasterDown))
        || error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
}
