//! `cargo xtask compare`: the ways to share a session between servers, side by side on this machine: what each costs, what
//! each loses, what each can do. Owns `docs/strategies.md`; recommends nothing.

mod abilities;
mod client;
mod faults;
pub(crate) mod figures;
mod judge;
mod kicks;
mod measure;
mod memory;
mod nodes;
pub(crate) mod page;
mod plots;
mod redis;
pub(crate) mod rows;
mod speed;
mod stage;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use self::figures::{Figures, Taken};
use self::measure::Run;
use crate::children::{Interruption, cargo, run as run_child, target_folder, workspace};
use crate::choose;
use crate::measuring::{self, machine};
use crate::needs;
use crate::screen::Screen;

/// Compares the ways to share a session between servers: speed, cost, faults, abilities.
///
/// Builds the platform as it is released, runs each strategy on 1, 2, 3 and 5 nodes behind the gateway, with a PostgreSQL and
/// a Redis of their own, prints the tables, and writes docs/strategies.md. Takes about ten minutes after the build, and
/// wants the machine for itself. Fails where a strategy does otherwise than it declares. Linux only.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Some minutes, on one and two nodes, as built for development: shows that each strategy does what it
    /// declares, and nothing of speed. Writes to target/compare only.
    #[arg(long)]
    quick: bool,
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Plan {
    quick: bool,
    nodes: &'static [usize],
    rounds: usize,
    counted: Duration,
    /// Also the sessions that each fault meets.
    clients: usize,
    kicks: usize,
    /// For the memory.
    sessions: usize,
}

impl Plan {
    const QUICK: Self = Self {
        quick: true,
        nodes: &[1, 2],
        rounds: 1,
        counted: Duration::from_secs(1),
        clients: 10,
        kicks: 3,
        sessions: 60,
    };
    const FULL: Self = Self {
        quick: false,
        nodes: &[1, 2, 3, 5],
        rounds: 3,
        counted: Duration::from_secs(2),
        clients: 24,
        kicks: 20,
        sessions: 600,
    };
}

pub(crate) async fn run(Arguments { quick }: Arguments) -> anyhow::Result<()> {
    ensure!(cfg!(target_os = "linux"), "the comparison reads /proc: it runs on Linux only");
    let screen = Arc::new(Screen::open());
    let mut interruption = Interruption::watch()?;
    needs::meet(&needs::SERVERS, &screen, &mut interruption).await?;
    let (step, profile) = if quick { ("", "debug") } else { (" as it is released", "release") };
    screen.step(&format!("building the platform{step}"));
    let build: &[&str] = if quick {
        // As the tests build it: nothing is built twice.
        &["build", "--workspace", "--bins"]
    } else {
        &["build", "--release", "--package", "all-in-one"]
    };
    let built = run_child(cargo(build), &mut interruption, |line| screen.line(line)).await?;
    ensure!(built.success(), "the program cannot be built");

    let started = Instant::now();
    let plan = if quick { Plan::QUICK } else { Plan::FULL };
    let results = target_folder()?.join("compare");
    let (programs, output) = (target_folder()?.join(profile), results.join("output"));
    let (taken, on_thread) = (taken(plan)?, screen.clone());
    let figures = measuring::on_a_thread(&mut interruption, move |halt| {
        measure::measure(Run { plan, screen: &on_thread, halt, programs, output, taken })
    })
    .await?;

    for line in page::tables(&figures).lines().filter(|line| !line.starts_with("![")) {
        screen.line(line);
    }
    let docs = if quick { results } else { workspace().join("docs") };
    write(&figures, &docs)?;
    if !quick {
        choose::write_page(&figures)?;
    }
    let seconds = started.elapsed().as_secs();
    let written = docs.join("strategies.md");
    screen.line(&format!("\nmeasured in {} min {:02} s; written to {}", seconds / 60, seconds % 60, written.display()));
    let faults = judge::faults(&figures);
    if !faults.is_empty() {
        bail!("not as declared:\n{}", faults.join("\n"));
    }
    Ok(())
}

fn taken(plan: Plan) -> anyhow::Result<Taken> {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().context("date cannot be started")?;
    Ok(Taken {
        date: String::from_utf8(date.stdout)?.trim().to_owned(),
        quick: plan.quick,
        rounds: plan.rounds,
        window: plan.counted.as_secs_f64(),
        clients: plan.clients,
        kicks: plan.kicks,
        machine: machine::describe(),
    })
}

fn write(figures: &Figures, docs: &Path) -> anyhow::Result<()> {
    let pictures = docs.join("strategies");
    fs::create_dir_all(&pictures)?;
    fs::write(docs.join("strategies.json"), format!("{}\n", serde_json::to_string_pretty(figures)?))?;
    fs::write(docs.join("strategies.md"), page::page(figures))?;
    for (name, svg) in page::pictures(figures) {
        fs::write(pictures.join(name).with_extension("svg"), svg)?;
    }
    Ok(())
}
