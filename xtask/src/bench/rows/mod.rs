//! The rows of the table: what is measured, beside what. One file for each; all of them measure in turns.

mod cart;
mod cheap;
mod login;
mod refresh;
mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::comparison::{Comparison, Target};
use super::stage::{Listener, Stage};
use super::{Plan, report};
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
    /// Empty: all.
    pub(super) wanted: Vec<Row>,
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

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Row {
    Cart,
    Store,
    Refresh,
    Login,
    Cheap,
}

impl Row {
    /// Where the measured process has the first core for itself: what it takes is its own.
    const APART: [Self; 3] = [Self::Cart, Self::Store, Self::Refresh];
    /// Where it has all cores, for hashing takes them, its own as its partner's.
    const TOGETHER: [Self; 2] = [Self::Login, Self::Cheap];
}

/// Measures the rows that are wanted.
///
/// # Errors
/// Something could not be measured, or the bench was halted.
pub(super) fn measure(bench: &Bench<'_>) -> anyhow::Result<Measured> {
    let mut measured = Measured { comparisons: Vec::new(), resident_mb: 0.0 };
    let words = "setting up: PostgreSQL, Redis, the services on a core of their own";
    bench.rows(&Row::APART, (Cores::First, Cores::Others), ("apart", words), &mut measured)?;
    bench.rows(
        &Row::TOGETHER,
        (Cores::All, Cores::All),
        ("together", "setting up: all on all cores"),
        &mut measured,
    )?;
    Ok(measured)
}

impl Bench<'_> {
    /// Measures those of `rows` that are wanted, on one stage: the services on the first `Cores`, all else on the second.
    fn rows(
        &self,
        rows: &[Row],
        (of_services, of_others): (Cores, Cores),
        (output, words): (&str, &str),
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        let mut wanted = rows.iter().filter(|row| self.wanted.is_empty() || self.wanted.contains(row)).peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        of_others.take()?;
        self.screen.step(words);
        let mut stage = self.stage(of_services, output)?;
        let auth = stage.auth()?;
        let people = stage.register(auth, login::CLIENTS.max(CLIENTS / 4))?;
        for row in wanted {
            let comparison = match row {
                Row::Cart => cart::measure(self, &mut stage, auth, &people)?,
                Row::Store => store::measure(self, &stage)?,
                Row::Refresh => refresh::measure(self, &stage, auth, &people)?,
                Row::Login => login::measure(self, &stage, auth, &people)?,
                Row::Cheap => cheap::measure(self, &stage, auth, &people)?,
            };
            self.screen.line(&report::line(&comparison));
            measured.comparisons.push(comparison);
        }
        measured.resident_mb = measured.resident_mb.max(machine::peak_resident_mb(auth.pid)?);
        Ok(())
    }

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
