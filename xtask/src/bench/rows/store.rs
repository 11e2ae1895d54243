//! The refresh's step in the session store, beside redis-benchmark with the very same command: what our client costs.

use anyhow::{Context as _, ensure};
use e2e::servers::program;
use serde_json::Value;

use super::{Bench, CLIENTS, Comparison, Sample, Target};
use crate::bench::SESSIONS_ON_REDIS;
use crate::bench::stage::Stage;
use crate::measuring::machine::Cores;

pub(super) fn measure(bench: &Bench<'_>, stage: &Stage) -> anyhow::Result<Comparison> {
    let redis_benchmark =
        program("redis-benchmark", "redis-benchmark ").context("redis-benchmark is missing (package redis-tools)")?;
    let redis = stage.redis.url();
    // The store tells what it sends: keys and scripts are its own affair.
    let (rotation, _) = stage.instrument(Cores::First, SESSIONS_ON_REDIS, &["begin", &redis])?;
    let session = rotation["session"].as_str().context("a session has begun")?.to_owned();
    let command: Vec<String> = serde_json::from_value(rotation["command"].clone())?;

    let per_second = |count: u64| {
        let (clients, port) = (CLIENTS.to_string(), stage.redis.port().to_string());
        let fixed = ["-h", "127.0.0.1", "-p", &port, "-c", &clients, "-P", "1", "--csv", "-n", &count.to_string()];
        let arguments: Vec<String> =
            fixed.into_iter().map(str::to_owned).chain(command.iter().cloned()).collect::<Vec<_>>();
        let before = calls(stage)?;
        let (text, cpu_seconds) = stage.tool(Cores::First, &redis_benchmark, &arguments)?;
        ensure!(calls(stage)? >= before + count, "redis-benchmark sent less than it was told to");
        read(&text, count, cpu_seconds)
    };
    // It takes a number of requests, not a time.
    let rate = per_second(20_000)?.per_second;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "thousands to some millions")]
    let count = (rate * bench.plan.counted.as_secs_f64()).max(1_000.0) as u64;

    let (tasks, seconds) = (CLIENTS.to_string(), bench.plan.counted.as_secs_f64().to_string());
    let ours = || {
        let arguments = ["rotate", &redis, &session, &tasks, &seconds];
        let (told, cpu_seconds) = stage.instrument(Cores::First, SESSIONS_ON_REDIS, &arguments)?;
        sample(&told, cpu_seconds)
    };
    let names = ("the refresh's step in the session store", "redis-benchmark with the same command");
    bench.in_turns(names, Target::Share(1.0), ours, || per_second(count))
}

fn sample(told: &Value, cpu_seconds: f64) -> anyhow::Result<Sample> {
    let figure = |name: &str| told[name].as_f64().with_context(|| format!("{told} has no {name}"));
    let count = figure("rotations")?;
    Ok(Sample {
        per_second: count / figure("seconds")?,
        p50_ms: figure("p50_ms")?,
        p99_ms: figure("p99_ms")?,
        cpu_us: Some(cpu_seconds * 1e6 / count),
    })
}

/// How often Redis has run a script by its digest.
fn calls(stage: &Stage) -> anyhow::Result<u64> {
    let redis_cli = program("redis-cli", "redis-cli ").context("redis-cli is missing (package redis-tools)")?;
    let arguments = ["-p", &stage.redis.port().to_string(), "INFO", "commandstats"].map(str::to_owned);
    let (stats, _) = stage.tool(Cores::Others, &redis_cli, &arguments)?;
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
    calls.context("Redis does not tell how often it ran a script")
}

/// `redis-benchmark --csv`: a line of names, and one of figures.
#[expect(clippy::cast_precision_loss, reason = "counts of some millions")]
fn read(csv: &str, count: u64, cpu_seconds: f64) -> anyhow::Result<Sample> {
    // From the right: the first field is the command itself, which may hold anything.
    let fields = |line: &'_ str| line.rsplit("\",\"").map(|field| field.trim_matches('"').to_owned()).collect();
    let mut lines = csv.lines().map(fields);
    let lines: Option<(Vec<String>, Vec<String>)> = lines.next().zip(lines.next_back());
    let (names, figures) = lines.with_context(|| format!("redis-benchmark printed {csv:?}"))?;
    let figure = |name: &str| {
        let at = names.iter().position(|known| *known == name);
        let found = at.and_then(|at| figures.get(at)?.parse::<f64>().ok());
        found.with_context(|| format!("redis-benchmark tells no {name}: {csv:?}"))
    };
    Ok(Sample {
        per_second: figure("rps")?,
        p50_ms: figure("p50_latency_ms")?,
        p99_ms: figure("p99_latency_ms")?,
        cpu_us: Some(cpu_seconds * 1e6 / count as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_redis_benchmark_are_read() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"EVALSHA a,b \",\"33783.79\",\"1.2\",\"0.3\",\"1.1\",\"2.0\",\"2.5\",\"9.0\"\n";
        let sample = read(csv, 1_000, 0.01).expect("they are");
        assert_eq!((sample.per_second, sample.p50_ms, sample.p99_ms, sample.cpu_us), (33783.79, 1.1, 2.5, Some(10.0)));
        assert!(read("Error from server: NOSCRIPT\n", 1_000, 0.01).is_err());
    }
}
