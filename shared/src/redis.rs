//! The connections to Redis: one server, the master of sentinels, or a cluster. Owns how they are found, made, shared and
//! thrown away; knows no key.
//!
//! Commands of all callers share one multiplexed connection to each server, which is kept: a checkout from a pool for each
//! would cost a round trip more. Only a blocking read takes a connection of its own.

mod address;
mod cluster;
mod machine;
mod request;
mod sentinel;
mod slot;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use deadpool_redis::Connection;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Cmd, FromRedisValue, Pipeline, ScriptInvocation, cmd};
use futures_util::FutureExt as _;
use futures_util::future::{join_all, select_ok};
use tokio::time::timeout;

use self::address::Address;
use self::cluster::Cluster;
use self::machine::{Home, Machine, Source};
use self::request::{Request, no_answer};
pub(crate) use self::slot::Slot;
use crate::calls;
use crate::program::Fault;
use crate::session::StoreUnavailable;

/// How long a call takes at the most, a new connection included.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many keys are written to find a primary of a cluster that takes writes: their slots are spread over all.
const PROBES: usize = 16;
const PROBE_LIFE: Duration = Duration::from_secs(1);

/// The start of every script on Redis: the store's time. The first argument is how far the clock was moved.
pub(crate) const NOW: &str = include_str!("redis/now.lua");

/// One Redis. A copy shares its connections.
#[derive(Clone)]
pub struct Redis(Deployment);

#[derive(Clone)]
enum Deployment {
    Machine(Machine),
    Cluster(Cluster),
}

impl Redis {
    /// Takes one of
    /// - `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`: one server;
    /// - `redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT],…[/DATABASE]?master=NAME`: the master that these sentinels name.
    ///   The login is the master's; the sentinels' own, if they ask for one, is
    ///   `&sentinel_username=USER&sentinel_password=PASSWORD`;
    /// - `redis+cluster://[[USER]:PASSWORD@]HOST[:PORT],…`: the cluster to which these nodes belong.
    ///
    /// `rediss…` in place of `redis…` is the same with TLS, to sentinels and nodes alike. Does not connect.
    ///
    /// # Errors
    /// The URL cannot be read. The message does not repeat it: it may hold a password.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        let home = Home::here();
        Ok(Self(match Address::read(url)? {
            Address::Server(info) => {
                let name = info.addr().to_string();
                Deployment::Machine(Machine::new(Source::Server(info), name, home))
            }
            Address::Sentinels(sentinels) => {
                let name = sentinels.name.clone();
                Deployment::Machine(Machine::new(Source::Master(sentinels), name, home))
            }
            Address::Cluster(seeds) => Deployment::Cluster(Cluster::new(seeds, home)),
        }))
    }

    /// The connection that all commands share.
    ///
    /// # Errors
    /// There is none, and Redis did not answer within a second; at once when it did not answer a moment ago. A cluster has
    /// no single one.
    pub async fn shared(&self) -> Result<MultiplexedConnection, StoreUnavailable> {
        match &self.0 {
            Deployment::Machine(machine) => machine.shared().await,
            Deployment::Cluster(_) => Err(StoreUnavailable("a cluster has no single connection".to_owned())),
        }
    }

    /// One write proves that Redis is there and takes writes: one whose memory is full (`maxmemory`) or that is a replica
    /// still answers questions. Of a cluster one primary's will do: what the others hold is unavailable, and a replica of
    /// the service that is taken out for it could not serve the rest.
    ///
    /// # Errors
    /// Redis does not answer, or refuses to write.
    pub async fn ping(&self) -> Result<(), StoreUnavailable> {
        let count = match &self.0 {
            Deployment::Machine(_) => 1,
            Deployment::Cluster(_) => PROBES,
        };
        let probes = (0..count).map(|number| {
            let probe = async move {
                let key = format!("roam:probe:{number}");
                let mut write = cmd("SET");
                write.arg(&key).arg("").arg("PX").arg(PROBE_LIFE.as_secs() * 1_000);
                self.send::<()>(Slot::of(&key), &Request::Command(&write)).await
            };
            probe.boxed()
        });
        measured("SET", async { select_ok(probes).await.map(|((), _)| ()) }).await
    }

    /// Refuses a Redis that may drop keys when its memory is full: it would lose revocations and sessions. Asks the master,
    /// or each primary.
    ///
    /// # Errors
    /// `maxmemory-policy` is not `noeviction`, or Redis does not answer.
    pub async fn check_eviction_policy(&self) -> anyhow::Result<()> {
        let masters = in_time(self.masters()).await.with_context(|| away(&self.name()))?;
        for checked in join_all(masters.iter().map(check_eviction_policy)).await {
            checked?;
        }
        Ok(())
    }

    pub(crate) async fn query<T: FromRedisValue>(&self, slot: Slot, command: &Cmd) -> Result<T, StoreUnavailable> {
        self.call(slot, Request::Command(command)).await
    }

    /// All keys of `pipeline` have the same slot.
    pub(crate) async fn pipeline<T: FromRedisValue>(
        &self,
        slot: Slot,
        pipeline: &Pipeline,
    ) -> Result<T, StoreUnavailable> {
        self.call(slot, Request::Pipeline(pipeline)).await
    }

    /// Runs a script; Redis is told its text when it does not know it.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        slot: Slot,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreUnavailable> {
        self.call(slot, Request::Script(script)).await
    }

    async fn call<T: FromRedisValue>(&self, slot: Slot, request: Request<'_>) -> Result<T, StoreUnavailable> {
        measured(request.name(), self.send(slot, &request)).await
    }

    async fn send<T: FromRedisValue>(&self, slot: Slot, request: &Request<'_>) -> Result<T, StoreUnavailable> {
        match &self.0 {
            Deployment::Machine(machine) => machine.send(request, false).await.map_err(StoreUnavailable::from),
            Deployment::Cluster(cluster) => cluster.send(slot, request).await,
        }
    }

    /// A connection of the caller's own, which waits for an answer as long as it takes, and a number that is another when
    /// another server may be behind it. It goes back when it is dropped, unless it broke. None on a cluster, where no
    /// read takes keys of several slots.
    pub(crate) async fn blocking(&self) -> Result<Option<(Connection, u64)>, StoreUnavailable> {
        match &self.0 {
            Deployment::Machine(machine) => machine.blocking().await.map(Some),
            Deployment::Cluster(_) => Ok(None),
        }
    }

    /// A query that is not measured, for it is made all the time.
    pub(crate) async fn poll<T: FromRedisValue>(&self, slot: Slot, command: &Cmd) -> Result<T, StoreUnavailable> {
        in_time(self.send(slot, &Request::Command(command))).await
    }

    /// A number that is another when a slot of a cluster has changed hands.
    pub(crate) async fn layout(&self) -> Result<u64, StoreUnavailable> {
        match &self.0 {
            Deployment::Machine(_) => Ok(0),
            Deployment::Cluster(cluster) => in_time(cluster.version()).await,
        }
    }

    async fn masters(&self) -> Result<Vec<Machine>, StoreUnavailable> {
        match &self.0 {
            Deployment::Machine(machine) => Ok(vec![machine.clone()]),
            Deployment::Cluster(cluster) => cluster.primaries().await,
        }
    }

    fn name(&self) -> String {
        match &self.0 {
            Deployment::Machine(machine) => machine.name().to_owned(),
            Deployment::Cluster(cluster) => cluster.name(),
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({})", self.name())
    }
}

/// Of a Redis that does not answer, or refuses to.
fn away(name: &str) -> Fault {
    let next = "start it, or correct its address and its password in REDIS_URL";
    Fault::new(format!("Redis at {name} does not answer as it should"), next)
}

async fn check_eviction_policy(master: &Machine) -> anyhow::Result<()> {
    let name = master.name();
    ask::<()>(master, &cmd("PING")).await.with_context(|| away(name))?;
    // Managed services forbid CONFIG, and INFO tells the same.
    let asked = ask::<HashMap<String, String>>(master, cmd("CONFIG").arg("GET").arg("maxmemory-policy")).await;
    let policy = match asked.ok().and_then(|mut settings| settings.remove("maxmemory-policy")) {
        Some(policy) => Some(policy),
        None => {
            let memory: String = ask(master, cmd("INFO").arg("memory")).await.unwrap_or_default();
            memory.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::to_owned)
        }
    };
    match policy.as_deref() {
        Some("noeviction") => {}
        Some(policy) => {
            let why = "it drops sessions and revocations when the memory is full";
            let fault = format!("Redis at {name} has maxmemory-policy {policy}");
            return Err(anyhow::Error::msg(why).context(Fault::new(fault, "set maxmemory-policy noeviction there")));
        }
        None => tracing::warn!(
            redis = name,
            "maxmemory-policy cannot be read; make sure that it is noeviction, for another one loses revocations"
        ),
    }
    Ok(())
}

async fn ask<T: FromRedisValue>(master: &Machine, command: &Cmd) -> Result<T, StoreUnavailable> {
    in_time(async { Ok(master.send(&Request::Command(command), false).await?) }).await
}

/// Makes a call within [`PATIENCE`], and measures it.
async fn measured<T>(
    name: &str,
    call: impl Future<Output = Result<T, StoreUnavailable>>,
) -> Result<T, StoreUnavailable> {
    let (started, span) = (Instant::now(), calls::redis_span(name));
    let answer = in_time(call).await;
    let outcome = if answer.is_ok() { "answered" } else { "failed" };
    metrics::histogram!("roam_redis_call_seconds", "service" => calls::service(), "outcome" => outcome)
        .record(started.elapsed().as_secs_f64());
    answer.inspect_err(|_| calls::failed(&span, "unavailable"))
}

async fn in_time<T>(call: impl Future<Output = Result<T, StoreUnavailable>>) -> Result<T, StoreUnavailable> {
    timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(no_answer(PATIENCE)))
}
