//! `cargo xtask faults`: random faults by a seed, while honest clients shop. Owns building the platform and showing how the run
//! goes; the run itself is `e2e/tests/faults`.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};

use anyhow::{bail, ensure};

use crate::children::{Interruption, cargo, run as run_child, target_folder};
use crate::needs;
use crate::screen::Screen;

/// Plagues the platform with random faults, and checks that honest clients lose nothing.
///
/// Two replicas of each service run behind the gateway, with a PostgreSQL and a Redis of their own. Replicas are killed,
/// restarted and paused, the stores are killed, stopped and frozen, connections break. Fails where an invariant is broken,
/// and names it. The plan follows from the seed. Linux only.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Repeats the faults of an earlier run; by default a new seed is drawn, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the faults go on.
    #[arg(long, default_value_t = 15, conflicts_with = "seconds")]
    minutes: u64,
    /// The same in seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// How many clients shop.
    #[arg(long, default_value_t = 8)]
    clients: u64,
    /// Leaves out a kind of fault; may be given again. The others stay as they are.
    #[arg(long, value_name = "KIND", value_parser = ["kill", "restart", "pause", "redis", "postgres", "hang", "drop"])]
    without: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    ensure!(cfg!(target_os = "linux"), "the run reads /proc: it runs on Linux only");
    let screen = Screen::open();
    let mut interruption = Interruption::watch()?;
    needs::meet(&needs::SERVERS, &screen, &mut interruption).await?;

    screen.step("building the platform");
    let build = cargo(&["build", "--workspace", "--bins"]);
    let built = run_child(build, &mut interruption, |line| screen.line(line)).await?;
    ensure!(built.success(), "the programs cannot be built");

    let seed = arguments.seed.unwrap_or_else(|| RandomState::new().hash_one(std::process::id()) % 1_000_000);
    let seconds = arguments.seconds.unwrap_or(arguments.minutes * 60);
    let output = target_folder()?.join("faults");
    if output.exists() {
        fs::remove_dir_all(&output)?;
    }
    fs::create_dir_all(&output)?;
    screen.step(&format!("{seconds} seconds of faults, seed {seed}"));
    let mut command = cargo(&["test", "--package", "e2e", "--test", "faults", "--", "--exact", "--nocapture"]);
    command.arg("honest_clients_lose_nothing_whatever_goes_wrong");
    command.env("ROAM_FAULTS_SEED", seed.to_string()).env("ROAM_FAULTS_SECONDS", seconds.to_string());
    command.env("ROAM_FAULTS_CLIENTS", arguments.clients.to_string());
    command.env("ROAM_FAULTS_WITHOUT", arguments.without.join(","));
    command.env("ROAM_REQUIRE_SERVERS", "1").env("RUST_BACKTRACE", "0");
    command.env(e2e::PROGRAMS_VARIABLE, target_folder()?.join("debug")).env(e2e::OUTPUT_VARIABLE, &output);
    let status = run_child(command, &mut interruption, |line| screen.line(line)).await?;
    screen.line(&format!("what the services printed is in {}", output.display()));
    if !status.success() {
        bail!("an invariant is broken; the same faults again: cargo xtask faults --seed {seed} --seconds {seconds}");
    }
    Ok(())
}
