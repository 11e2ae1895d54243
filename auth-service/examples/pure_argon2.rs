//! An instrument of `cargo xtask bench`: the rate at which this machine computes the auth service's password hash and
//! nothing else, on as many threads, each with its own reused memory, at the same priority. Prints JSON.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use argon2::{Algorithm, Argon2, Block, Version};
use auth_service::password::{HASH_PARAMS, HASHING_NICENESS};
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [threads, seconds] = &arguments[..] else { anyhow::bail!("expected: THREADS SECONDS") };
    let (threads, counted): (usize, _) = (threads.parse()?, Duration::from_secs_f64(seconds.parse()?));
    let end = Instant::now() + counted;
    let hashing: Vec<_> = (0..threads).map(|_| thread::spawn(move || hash_until(end))).collect();
    let mut times = Vec::new();
    let mut finished = 0.0;
    for thread in hashing {
        let (own, part) = thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        times.extend(own);
        finished += part;
    }
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).map(|seconds| seconds * 1e3);
    let (p50, p99) = (at(50), at(99));
    #[expect(clippy::print_stdout, reason = "printing is what it is for")]
    {
        println!("{}", json!({ "hashes": finished, "seconds": counted.as_secs_f64(), "p50_ms": p50, "p99_ms": p99 }));
    }
    Ok(())
}

/// The time that each hash took, and how many there were up to the end: the last one counts by its part.
fn hash_until(end: Instant) -> anyhow::Result<(Vec<f64>, f64)> {
    // Where it is refused, it is to the service too.
    let _ = rustix::process::nice(HASHING_NICENESS);
    let mut memory = vec![Block::new(); HASH_PARAMS.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, HASH_PARAMS);
    let mut output = [0; 32];
    let (mut times, mut finished) = (Vec::new(), 0.0);
    loop {
        let begun = Instant::now();
        let done = argon2.hash_password_into_with_memory(
            b"a sentence that nobody knows",
            b"a salt of sixteen",
            &mut output,
            memory.as_mut_slice(),
        );
        done.map_err(anyhow::Error::msg).context("argon2")?;
        let seconds = begun.elapsed().as_secs_f64();
        times.push(seconds);
        let late = Instant::now().saturating_duration_since(end).as_secs_f64();
        finished += 1.0 - (late / seconds).min(1.0);
        if late > 0.0 {
            return Ok((times, finished));
        }
    }
}
