//! An instrument of `cargo xtask bench`: drives the session store on Redis by itself, and prints JSON.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use deadpool_redis::redis::{Value, cmd};
use futures_util::future::try_join_all;
use serde_json::json;
use shared::clock::Clock;
use shared::redis::Redis;
use shared::session::{
    Created, LimitPolicy, NewSession, RedisSessionStore, Rotation, SessionId, SessionLimit, SessionStore, UserId,
};

const CLIENT: &str = "platform";
const TOKEN_LIFE: Duration = Duration::from_secs(300);
const GRACE: Duration = Duration::from_secs(10);
/// A generation whose successor is the same number to a script, which counts in floating point: so the same call
/// rotates, and writes, any number of times.
const ENDLESS: u64 = 1 << 53;
const WARM_UP: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = match words[..] {
        ["begin", url] => begin(url).await?,
        ["rotate", url, session, tasks, seconds] => {
            rotate(url, session.parse()?, tasks.parse()?, Duration::from_secs_f64(seconds.parse()?)).await?
        }
        ["revoke", url, count] => revoke(url, count.parse()?).await?,
        _ => bail!("expected: begin URL | rotate URL SESSION TASKS SECONDS | revoke URL COUNT"),
    };
    #[expect(clippy::print_stdout, reason = "printing is what it is for")]
    {
        println!("{told}");
    }
    Ok(())
}

fn store(url: &str) -> anyhow::Result<RedisSessionStore> {
    Ok(RedisSessionStore::new(Redis::open(url)?, Clock::default(), TOKEN_LIFE))
}

/// Begins a session, and tells it together with the command that a rotation of it sends, as Redis saw it.
async fn begin(url: &str) -> anyhow::Result<serde_json::Value> {
    let store = store(url)?;
    let new = NewSession {
        user: UserId::random(),
        client: CLIENT.to_owned(),
        roles: vec!["user".to_owned()],
        amr: vec!["pwd".to_owned()],
        device: "Firefox on Linux".to_owned(),
        address: "203.0.113.7".to_owned(),
        attributes: Default::default(),
        idle: Duration::from_secs(7 * 86_400),
        absolute: Duration::from_secs(30 * 86_400),
    };
    let limit = SessionLimit { max: 50, policy: LimitPolicy::EndOldest };
    let Created::Begun { session, .. } = store.create(new, limit).await? else { bail!("no session has begun") };
    // Twice: the first makes the script known.
    rotate_once(&store, session.id).await?;
    let mut redis = Redis::open(url)?.shared().await?;
    let slower_than = |micros: u32| {
        let mut set = cmd("CONFIG");
        set.arg("SET").arg("slowlog-log-slower-than").arg(micros);
        set
    };
    slower_than(0).exec_async(&mut redis).await?;
    rotate_once(&store, session.id).await?;
    slower_than(1_000_000).exec_async(&mut redis).await?;
    let log: Vec<Value> = cmd("SLOWLOG").arg("GET").arg(16).query_async(&mut redis).await?;
    let command = log.iter().filter_map(command).find(|words| words.first().is_some_and(|word| word == "EVALSHA"));
    Ok(json!({ "session": session.id, "command": command.context("Redis saw no script")? }))
}

/// The words of an entry of the slow log: its fourth field.
fn command(entry: &Value) -> Option<Vec<String>> {
    let Value::Array(fields) = entry else { return None };
    deadpool_redis::redis::from_redis_value_ref(fields.get(3)?).ok()
}

async fn rotate_once(store: &RedisSessionStore, session: SessionId) -> anyhow::Result<()> {
    let rotation = store.rotate(session, CLIENT, ENDLESS, GRACE).await?;
    ensure!(matches!(rotation, Rotation::Rotated { generation: ENDLESS, .. }), "not rotated: {rotation:?}");
    Ok(())
}

/// Rotates for some time, so many tasks at once.
async fn rotate(url: &str, session: SessionId, tasks: usize, counted: Duration) -> anyhow::Result<serde_json::Value> {
    let store = Arc::new(store(url)?);
    let counted_from = Instant::now() + WARM_UP;
    let end = counted_from + counted;
    let all = (0..tasks).map(|_| {
        let store = store.clone();
        async move { tokio::spawn(async move { rotate_until(&store, session, counted_from, end).await }).await? }
    });
    let mut latencies = try_join_all(all).await?.concat();
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).map(|latency| f64::from(*latency) / 1e3);
    let (p50, p99) = (at(50), at(99));
    Ok(json!({ "rotations": latencies.len(), "seconds": counted.as_secs_f64(), "p50_ms": p50, "p99_ms": p99 }))
}

/// Answers the latencies in microseconds of those that are counted.
async fn rotate_until(
    store: &RedisSessionStore,
    session: SessionId,
    counted_from: Instant,
    end: Instant,
) -> anyhow::Result<Vec<u32>> {
    let mut latencies = Vec::new();
    loop {
        let asked_at = Instant::now();
        rotate_once(store, session).await?;
        let answered_at = Instant::now();
        if answered_at >= end {
            return Ok(latencies);
        }
        if answered_at >= counted_from {
            latencies.push(u32::try_from((answered_at - asked_at).as_micros())?);
        }
    }
}

/// Announces the end of so many tokens that nobody has.
async fn revoke(url: &str, count: u128) -> anyhow::Result<serde_json::Value> {
    const AT_ONCE: u128 = 500;
    let store = store(url)?;
    let mut announced = 0;
    while announced < count {
        let until = count.min(announced + AT_ONCE);
        try_join_all((announced..until).map(|token| store.revoke_token(UserId::random(), token))).await?;
        announced = until;
    }
    Ok(json!({ "revoked": u64::try_from(announced)? }))
}
