//! The load: reads of the cart by many clients, each as soon as it has its answer, in rounds that the strategies take by
//! turns.

use std::time::Duration;

use super::client::Device;
use super::nodes::Nodes;
use super::redis::RedisWork;
use super::stage::Stage;
use crate::measuring::load::{self, Pace, Repeated, Window};
use crate::measuring::statistics::{Sample, Spread};

/// One window of one strategy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    sample: Sample,
    redis_cpu_us: f64,
    redis_commands: f64,
}

/// The medians of all windows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) node_cpu_us: f64,
    pub(super) redis_cpu_us: f64,
    pub(super) redis_commands: f64,
}

const WARM_UP: Duration = Duration::from_millis(500);

/// # Errors
/// A request fails, or the measuring was halted.
pub(super) fn measure(stage: &Stage, nodes: &Nodes, devices: &[Device], counted: Duration) -> anyhow::Result<Round> {
    let gateway = stage.gateway(nodes)?;
    let mut reads = Repeated(devices.iter().map(|device| device.read_of_the_cart(stage)).collect());
    let window = Window { clients: devices.len(), pace: Pace::Closed, warm_up: WARM_UP, counted };
    let mut work = Vec::new();
    let mut cpu = || {
        work.push(RedisWork::of(&stage.redis)?);
        nodes.cpu_seconds()
    };
    let sample = load::send(stage.port(), window, &mut reads, &mut cpu, &stage.halt)?;
    drop(gateway);
    let requests = sample.per_second * counted.as_secs_f64();
    let [before, after] = [work.first(), work.last()].map(|work| work.copied().unwrap_or_default());
    Ok(Round {
        sample,
        redis_cpu_us: (after.cpu_seconds - before.cpu_seconds) * 1e6 / requests,
        redis_commands: (after.commands - before.commands) / requests,
    })
}

pub(super) fn medians(rounds: &[Round]) -> Speed {
    let median = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure)).map_or(0.0, |spread| spread.median);
    Speed {
        per_second: median(|round| round.sample.per_second),
        p50_ms: median(|round| round.sample.p50_ms),
        p99_ms: median(|round| round.sample.p99_ms),
        node_cpu_us: median(|round| round.sample.cpu_us.unwrap_or_default()),
        redis_cpu_us: median(|round| round.redis_cpu_us),
        redis_commands: median(|round| round.redis_commands),
    }
}
