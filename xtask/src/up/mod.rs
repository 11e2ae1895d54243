//! `cargo xtask up`: the platform as a team runs it, as processes on this machine: two replicas of each service behind the
//! gateway, on a PostgreSQL and a Redis of its own. Owns starting it, staying with it, and leaving nothing behind.

mod accounts;
mod data;
mod environment;
mod processes;
mod welcome;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use self::data::Data;
use self::environment::Environment;
use self::processes::Processes;
use crate::children::{Interruption, Stopped, cargo, run as run_child, target_folder, workspace};
use crate::needs;
use crate::screen::Screen;

/// How often what runs is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Starts everything on this machine: PostgreSQL, Redis, two replicas of each service, and the gateway.
///
/// Finds or installs the servers, builds the services, and stays until Ctrl-C; then all of it is gone but the data, with
/// which the next start goes on. The services get their settings of the environment (`LOG_FILTER`, `SESSION_STRATEGY`, …), but
/// for those that this decides: addresses, stores and secrets. It says which it passes on and which it ignores.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the gateway listens: http://auth.shop.localhost:PORT.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Replicas of each service.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    replicas: u8,
    /// Where accounts, orders, keys and logs are kept; by default `data/up` in the workspace.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Builds and runs the services with optimisations.
    #[arg(long)]
    release: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let screen = Screen::open();
    let mut interruption = Interruption::watch()?;
    let mut processes = Processes::default();
    let stayed = stay(&arguments, &mut processes, &screen, &mut interruption).await;
    screen.step("stopping");
    let stopped = processes.stop();
    match stayed {
        Err(error) if !error.is::<Stopped>() => Err(error),
        _ => stopped.map(|()| screen.line("all of it has stopped")),
    }
}

/// Starts everything, and stays until the developer stops it.
async fn stay(
    arguments: &Arguments,
    processes: &mut Processes,
    screen: &Screen,
    interruption: &mut Interruption,
) -> anyhow::Result<()> {
    ensure_free(arguments.port)?;
    needs::meet(&needs::SERVERS, screen, interruption).await?;
    let folder = arguments.data.clone().unwrap_or_else(|| workspace().join("data/up"));
    let data = Data::open(&folder)?;
    let programs = build(arguments.release, screen, interruption).await?;
    let environment = Environment::read(&programs)?;

    screen.step("starting PostgreSQL and Redis");
    processes.start_stores(&data)?;
    interruption.check().await?;
    screen.step("starting the services");
    let replicas = usize::from(arguments.replicas);
    let passed = processes.prepare(&data, &programs, (arguments.port, replicas), &environment)?;
    tell(screen, &passed, &environment);
    let new = accounts::make_first(&data, processes)?;
    interruption.check().await?;
    processes.start_services(screen, interruption).await?;
    screen.step("starting the gateway");
    processes.start_gateway(&data, &environment)?;
    interruption.check().await?;

    screen.line(&welcome::welcome(processes, &data, &new)?);
    accounts::were_shown(&data)?;
    screen.step("the platform runs; Ctrl-C stops it");
    loop {
        tokio::select! {
            () = interruption.wait() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        processes.replace_ended(screen)?;
    }
}

/// Says which settings of the environment have an effect, and which have none.
fn tell(screen: &Screen, passed: &BTreeSet<String>, environment: &Environment) {
    let list = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(", ");
    if !passed.is_empty() {
        screen.line(&format!("from the environment: {}", list(&mut passed.iter().map(String::as_str))));
    }
    let ignored = environment.ignored(passed);
    if !ignored.is_empty() {
        let names = list(&mut ignored.into_iter());
        screen.line(&format!("in the environment, and ignored, for `up` decides them or does not need them: {names}"));
    }
}

/// Builds the services, and answers the folder of their programs.
async fn build(release: bool, screen: &Screen, interruption: &mut Interruption) -> anyhow::Result<PathBuf> {
    if let Some(built) = std::env::var_os(e2e::PROGRAMS_VARIABLE).filter(|folder| !folder.is_empty()) {
        return Ok(built.into());
    }
    let profile = if release { "release" } else { "debug" };
    screen.step(&format!("building the services ({profile}; the first time takes minutes)"));
    let mut arguments = vec!["build", "--workspace", "--bins"];
    arguments.extend(release.then_some("--release"));
    let built = run_child(cargo(&arguments), interruption, |line| screen.line(line)).await?;
    ensure!(built.success(), "the services cannot be built");
    Ok(target_folder()?.join(profile))
}

/// Whoever tries it may have something else on the port: say so before anything is made.
fn ensure_free(port: u16) -> anyhow::Result<()> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let other = if port == 8080 { 8090 } else { 8080 };
    free.map(drop).with_context(|| format!("nothing can listen on port {port}; name another one: --port {other}"))
}
