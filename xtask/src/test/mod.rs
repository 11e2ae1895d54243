//! `cargo xtask test`: everything that the tests need, then every test, then a search of all output for secrets. With
//! `--compose`, the tests of the containers, and only these.

mod compose;
mod leaks;
pub(crate) mod node;
mod python;
mod schemathesis;
mod tally;

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use e2e::servers::{PrivatePostgres, PrivateRedis};
use tempfile::TempDir;

use self::tally::Tally;
use crate::children::{Interruption, cargo, run as run_child, target_folder};
use crate::needs;
use crate::screen::Screen;

/// How many tests may fail for a reason of their own.
const MOST_FLAKY: usize = 3;
/// What the end-to-end tests start.
const PROGRAMS: [&str; 5] = ["auth-service", "cart-service", "order-service", "all-in-one", "xtask"];

/// Runs every test, with a PostgreSQL and a Redis of their own.
///
/// Finds or installs the servers, starts them on free ports, builds the programs, runs all tests and documentation tests,
/// stops the servers, and searches everything that was printed for secrets.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What `cargo test` is told beside: a filter, or such as `--test journeys`.
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
    /// Only this package.
    #[arg(short, long, conflicts_with = "compose")]
    package: Option<String>,
    /// Builds the images, brings them up by Compose, runs the tests of the containers, and takes them down.
    ///
    /// Needs a Docker engine and Compose (1.29 or 2). Other containers, also those of `docker compose up` in this folder, are
    /// not touched.
    #[arg(long)]
    compose: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let screen = Screen::open();
    let mut interruption = Interruption::watch()?;
    let (results, outcome) = if arguments.compose {
        compose::run(&arguments.filter, &screen, &mut interruption).await?
    } else {
        with_servers(&arguments, &screen, &mut interruption).await?
    };
    screen.step("searching the output for secrets");
    let search = leaks::search(&results)?;
    let seconds = started.elapsed().as_secs();
    screen.line(&format!("{} in {} min {:02} s; {search}", outcome.tally, seconds / 60, seconds % 60));
    screen.line(&format!("the whole output is in {}", results.folder.display()));
    let everything = arguments.package.is_none() && arguments.filter.is_empty();
    judge(&outcome, &search, everything)
}

/// How the tests went.
pub(crate) struct Outcome {
    passed: bool,
    tally: Tally,
    /// What else was not as it should be.
    faults: Vec<String>,
}

/// On PostgreSQL, Redis and nginx as processes of this machine.
async fn with_servers(
    arguments: &Arguments,
    screen: &Screen,
    interruption: &mut Interruption,
) -> anyhow::Result<(Results, Outcome)> {
    needs::meet(needs::SERVERS.iter().chain(&needs::TOOLS), screen, interruption).await?;

    let schemathesis = schemathesis::find(&target_folder()?, screen, interruption).await?;
    let node_clients = node::install(&node::CLIENTS, &target_folder()?, screen, interruption).await?;
    let python_clients = python::install_clients(&target_folder()?, screen, interruption).await?;
    let node_browser = node::install(&node::BROWSER, &target_folder()?, screen, interruption).await?;

    screen.step("starting PostgreSQL and Redis");
    let (postgres, redis) = (PrivatePostgres::launch()?, PrivateRedis::launch()?);
    let results = Results::open("xtask-test")?;

    screen.step("building the programs");
    let build = cargo(&["build", "--workspace", "--bins"]);
    let built = run_child(build, interruption, |line| screen.line(line)).await?;
    ensure!(built.success(), "the programs cannot be built");
    let programs = results.keep_programs()?;

    screen.step("building the tests");
    let command = || {
        let mut command = test_command(arguments);
        command.env("TEST_POSTGRES_URL", postgres.url()).env("TEST_REDIS_URL", redis.url());
        command.env("TEST_SCHEMATHESIS", &schemathesis).env("TEST_NODE_CLIENTS", &node_clients);
        command.env("TEST_PYTHON_CLIENTS", &python_clients).env("TEST_BROWSER_JOURNEYS", &node_browser);
        command.env("ROAM_REQUIRE_SERVERS", "1").env(e2e::PROGRAMS_VARIABLE, &programs);
        command
    };
    let outcome = run_tests(command, &results, screen, interruption).await?;
    Ok((results, outcome))
}

/// Copies the files of a folder, and none of the folders in it.
fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Runs `cargo test`. What fails is run once more by itself: what passes then is flaky, which is told by name and is a bug to
/// find, but says nothing of the change at hand. More than [`MOST_FLAKY`] failures are no accident.
async fn run_tests(
    command: impl Fn() -> Command,
    results: &Results,
    screen: &Screen,
    interruption: &mut Interruption,
) -> anyhow::Result<Outcome> {
    let mut outcome = run_once(command(), results, screen, interruption).await?;
    if !(1..=MOST_FLAKY).contains(&outcome.tally.failed.len()) {
        return Ok(outcome);
    }
    screen.step("running what failed once more");
    let mut again = command();
    again.args(["--", "--exact"]).args(&outcome.tally.failed);
    let second = run_once(again, results, screen, interruption).await?;
    outcome.passed = second.passed && outcome.tally.second(&second.tally);
    Ok(outcome)
}

/// Runs `cargo test`, counts what it prints and keeps it.
async fn run_once(
    mut command: Command,
    results: &Results,
    screen: &Screen,
    interruption: &mut Interruption,
) -> anyhow::Result<Outcome> {
    // What a stopped test could not remove goes with this folder.
    command.env("TMPDIR", results.temporary.path());
    command.env(e2e::OUTPUT_VARIABLE, results.services()).env(e2e::secrets::FILE_VARIABLE, results.secrets());
    let mut tally = Tally::default();
    let mut log = results.log()?;
    let mut unwritten = None;
    let status = run_child(command, interruption, |line| {
        tally.read(line);
        if let Err(error) = writeln!(log, "{line}") {
            unwritten = Some(error);
        }
        show(screen, line, &tally);
    })
    .await?;
    unwritten.map_or(Ok(()), Err).context("the output of the tests could not be kept")?;
    Ok(Outcome { passed: status.success(), tally, faults: Vec::new() })
}

fn judge(Outcome { passed, tally, faults }: &Outcome, search: &leaks::Search, everything: bool) -> anyhow::Result<()> {
    let mut faults = [search.places.as_slice(), faults].concat();
    if !passed {
        faults.push("tests failed or could not be run".to_owned());
    }
    faults.extend(tally.left.iter().map(|test| format!("left out although the servers are there: {test}")));
    if everything && search.secrets == 0 {
        faults.push("no test met a secret: the search of the output proves nothing".to_owned());
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

fn test_command(arguments: &Arguments) -> Command {
    let mut command = cargo(&["test", "--no-fail-fast"]);
    match &arguments.package {
        Some(package) => command.args(["--package", package]),
        None => command.arg("--workspace"),
    };
    command.args(&arguments.filter);
    command
}

/// On a terminal, a test that passes is only counted.
fn show(screen: &Screen, line: &str, tally: &Tally) {
    if screen.is_terminal() {
        screen.progress(format!("testing: {tally}"));
        if line.is_empty() || tally::is_passed(line) {
            return;
        }
    }
    screen.line(line);
}

/// Where what the tests print is kept, beside cargo's own results.
pub(crate) struct Results {
    folder: PathBuf,
    /// Removed at the end, as the other one: what it holds should stand nowhere.
    secrets: TempDir,
    /// The tests' own temporary files. Servers of other users work in it.
    temporary: TempDir,
}

impl Results {
    /// `name` is the folder's, in cargo's own.
    fn open(name: &str) -> anyhow::Result<Self> {
        let folder = target_folder()?.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be emptied", folder.display()))?;
        }
        fs::create_dir_all(folder.join("services"))?;
        let passable = Permissions::from_mode(0o711);
        let temporary = tempfile::Builder::new().prefix("roam-tests-").permissions(passable).tempdir()?;
        Ok(Self { folder, secrets: tempfile::tempdir()?, temporary })
    }

    /// Copies the programs to a folder of this run's own: a build beside it (of another checkout, by an editor) puts other
    /// programs where they were, and the tests would ask those.
    fn keep_programs(&self) -> anyhow::Result<PathBuf> {
        let folder = self.temporary.path().join("programs");
        fs::create_dir(&folder)?;
        for name in PROGRAMS {
            let built = target_folder()?.join("debug").join(name);
            fs::copy(&built, folder.join(name)).with_context(|| format!("{} cannot be copied", built.display()))?;
        }
        Ok(folder)
    }

    fn log(&self) -> anyhow::Result<File> {
        Ok(File::options().create(true).append(true).open(self.folder.join("tests.log"))?)
    }

    fn services(&self) -> PathBuf {
        self.folder.join("services")
    }

    fn secrets(&self) -> PathBuf {
        self.secrets.path().join("secrets")
    }

    /// Every file with output.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() { collect(&path, files)? } else { files.push(path) }
            }
            Ok(())
        }
        let mut files = Vec::new();
        collect(&self.folder, &mut files)?;
        files.sort();
        Ok(files)
    }
}
