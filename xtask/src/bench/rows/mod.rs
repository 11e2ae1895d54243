//! The rows of the table: what is measured, beside what. One file for each; all of them measure in turns.

mod cart;
mod cheap;
mod login;
mod refresh;
mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Plan;
use super::comparison::{Comparison, Target};
use super::stage::{Listener, Stage};
use crate::measuring::Halt;
use crate::measuring::load::{self, Conversation, Pace, Window};
use crate::measuring::machine::{self, Cores};
use crate::measuring::statistics::Sample;
use crate::screen::Screen;

/// So many clients ask at once, as in the figures of the design.
const CLIENTS: usize = 64;

/// What all rows work with.
pub(super) struct Bench<'a> {
    pub(super) plan: Plan,
    pub(super) screen: &'a Screen,
    pub(super) halt: &'a Halt,
    /// The folder with the built programs.
    pub(super) programs: PathBuf,
    /// Where the services' output goes.
    pub(super) output: PathBuf,
}

/// All that was measured.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) comparisons: Vec<Comparison>,
    /// The most memory that the auth service ever had, in MB.
    pub(super) resident_mb: f64,
}

/// Measures every row.
///
/// # Errors
/// Something could not be measured, or the bench was halted.
pub(super) fn measure(bench: &Bench<'_>) -> anyhow::Result<Measured> {
    // The measured process alone on the first core: what it takes is its own.
    Cores::Others.take()?;
    bench.screen.step("setting up: PostgreSQL, Redis, the services on a core of their own");
    let mut stage = bench.stage(Cores::First, "apart")?;
    let auth = stage.auth()?;
    let people = stage.register(auth, CLIENTS / 4)?;
    let cart = cart::measure(bench, &mut stage, auth, &people)?;
    let store = store::measure(bench, &stage)?;
    let refresh = refresh::measure(bench, &stage, auth, &people)?;
    let mut resident_mb = machine::peak_resident_mb(auth.pid)?;
    drop(stage);

    // Hashing takes all cores, of the auth service as of its partner.
    Cores::All.take()?;
    bench.screen.step("setting up: all on all cores");
    let mut stage = bench.stage(Cores::All, "together")?;
    let auth = stage.auth()?;
    let people = stage.register(auth, login::CLIENTS)?;
    let login = login::measure(bench, &stage, auth, &people)?;
    let cheap = cheap::measure(bench, &stage, auth, &people)?;
    resident_mb = resident_mb.max(machine::peak_resident_mb(auth.pid)?);
    Ok(Measured { comparisons: vec![cart, store, refresh, login, cheap], resident_mb })
}

impl Bench<'_> {
    fn stage(&self, cores: Cores, output: &str) -> anyhow::Result<Stage> {
        Stage::set_up(cores, &self.programs, &self.output.join(Path::new(output)), self.halt)
    }

    /// Measures ours and its partner in turns, and each of them first in every other round.
    fn in_turns(
        &self,
        (ours, partner): (&'static str, &'static str),
        target: Target,
        mut measure_ours: impl FnMut() -> anyhow::Result<Sample>,
        mut measure_partner: impl FnMut() -> anyhow::Result<Sample>,
    ) -> anyhow::Result<Comparison> {
        self.screen.step(&format!("measuring: {ours}, beside {partner}"));
        let mut rounds = Vec::new();
        for round in 1..=self.plan.rounds {
            self.screen.progress(format!("measuring: {ours}, beside {partner}: round {round} of {}", self.plan.rounds));
            rounds.push(if round % 2 == 1 {
                let sample = measure_ours()?;
                (sample, measure_partner()?)
            } else {
                let sample = measure_partner()?;
                (measure_ours()?, sample)
            });
        }
        Ok(Comparison { ours, partner, target, rounds })
    }

    /// A window of the whole load that a listener takes.
    fn full_load(
        &self,
        listener: Listener,
        clients: usize,
        counted: Duration,
        conversation: &mut dyn Conversation,
    ) -> anyhow::Result<Sample> {
        let window = Window { clients, pace: Pace::Closed, warm_up: self.plan.warm_up, counted };
        let mut cpu = || machine::cpu_seconds(listener.pid);
        load::send(listener.port, window, conversation, &mut cpu, self.halt)
    }
}
