//! Logins, beside the pure rate of the password hash: what the service adds to it.

use anyhow::Context as _;

use super::{Bench, Comparison, Listener, Sample, Target};
use crate::bench::PURE_ARGON2;
use crate::bench::stage::{Person, Stage};
use crate::measuring::load::Repeated;
use crate::measuring::machine::{Cores, machine_cores};

/// Enough that every hashing thread always has a next one; fewer than may wait.
pub(super) const CLIENTS: usize = 16;

pub(super) fn measure(
    bench: &Bench<'_>,
    stage: &Stage,
    auth: Listener,
    people: &[Person],
) -> anyhow::Result<Comparison> {
    let counted = bench.plan.counted_of_logins;
    let mut logins = Repeated(people.iter().map(Person::login).collect());
    // As many as the service has by default.
    let (threads, seconds) = (machine_cores().to_string(), counted.as_secs_f64().to_string());
    let pure = || {
        let (told, cpu_seconds) = stage.instrument(Cores::All, PURE_ARGON2, &[&threads, &seconds])?;
        let figure = |name: &str| told[name].as_f64().with_context(|| format!("{told} has no {name}"));
        Ok(Sample {
            per_second: figure("hashes")? / figure("seconds")?,
            p50_ms: figure("p50_ms")?,
            p99_ms: figure("p99_ms")?,
            cpu_us: Some(cpu_seconds * 1e6 / figure("hashes")?),
        })
    };
    let names = ("POST /auth/login", "argon2 alone, as many threads");
    bench.in_turns(names, Target::Share(0.9), || bench.full_load(auth, CLIENTS, counted, &mut logins), pure)
}
