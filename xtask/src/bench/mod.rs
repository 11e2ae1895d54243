//! `cargo xtask bench`: how fast the platform is, in ratios. What is measured has a partner that does the same without
//! what we add; both are measured in turns on the same machine, so that what else it does wears on both alike.

mod comparison;
mod report;
mod rows;
mod stage;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use self::rows::{Bench, Row};
use crate::children::{Interruption, cargo, run as run_child, target_folder};
use crate::measuring::{self, machine};
use crate::screen::Screen;

/// The instruments: examples of the crates whose parts they use alone.
const OPEN_CART: &str = "cart_without_authentication";
const SESSIONS_ON_REDIS: &str = "sessions_on_redis";
const PURE_ARGON2: &str = "pure_argon2";

/// Measures how fast the platform is, each figure beside a partner's from the same minutes.
///
/// Builds the services as they are released, starts them with a PostgreSQL and a Redis of their own, measures, prints a
/// table, and leaves it with all figures in target/bench. Takes about 10 minutes after the build, and wants the machine
/// for itself. Linux only.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Two minutes instead of ten: fewer and shorter rounds, more noise.
    #[arg(long)]
    quick: bool,
    /// Only this row; may be given again for others.
    #[arg(long = "row", value_name = "ROW")]
    rows: Vec<Row>,
    /// Fails where a target is missed.
    #[arg(long)]
    require: bool,
}

/// How long everything takes.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rounds: usize,
    warm_up: Duration,
    counted: Duration,
    /// Of a window with logins, of which there are only some dozens a second.
    counted_of_logins: Duration,
}

impl Plan {
    const QUICK: Self = Self {
        rounds: 3,
        warm_up: Duration::from_millis(300),
        counted: Duration::from_millis(1_500),
        counted_of_logins: Duration::from_secs(4),
    };
    const FULL: Self = Self {
        rounds: 9,
        warm_up: Duration::from_millis(500),
        counted: Duration::from_secs(4),
        counted_of_logins: Duration::from_secs(8),
    };
}

pub(crate) async fn run(Arguments { quick, rows, require }: Arguments) -> anyhow::Result<()> {
    ensure!(cfg!(target_os = "linux"), "the bench reads /proc and keeps processes to cores: it runs on Linux only");
    let screen = Arc::new(Screen::open());
    let mut interruption = Interruption::watch()?;
    screen.step("building the services as they are released");
    let built = run_child(cargo(&BUILD), &mut interruption, |line| screen.line(line)).await?;
    ensure!(built.success(), "the programs cannot be built");

    let started = Instant::now();
    let plan = if quick { Plan::QUICK } else { Plan::FULL };
    let target = target_folder()?;
    let results = target.join("bench");
    let about = json!({ "machine": machine::describe(), "rounds": plan.rounds, "quick": quick });
    let (programs, output) = (target.join("release"), results.join("services"));
    let on_thread = screen.clone();
    let measured = measuring::on_a_thread(&mut interruption, move |halt| {
        rows::measure(&Bench { plan, wanted: rows, screen: &on_thread, halt, programs, output })
    })
    .await?;

    let tables = report::markdown(&measured);
    fs::write(results.join("bench.json"), format!("{:#}\n", report::json(&measured, about)))?;
    fs::write(results.join("bench.md"), &tables)?;
    for line in tables.lines() {
        screen.line(line);
    }
    let seconds = started.elapsed().as_secs();
    let written = results.display();
    screen.line(&format!("\nmeasured in {} min {:02} s; written to {written}", seconds / 60, seconds % 60));
    ensure!(!require || report::all_reached(&measured), "a target is missed");
    Ok(())
}

const BUILD: [&str; 12] = [
    "build",
    "--release",
    "--package",
    "shared",
    "--package",
    "auth-service",
    "--package",
    "cart-service",
    "--bins",
    "--examples",
    "--features",
    "cart-service/measurement",
];
