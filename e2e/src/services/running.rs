//! One process of the platform: its environment, its output, its end.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use super::{Replica, Service};
use crate::probe;
use crate::process::{Process, mortal};

/// How long a stop may take: longer than a service waits for requests under way.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// What a process gets of this process's environment; a developer's own `DATABASE_URL` or `REDIS_URL` stays outside.
const INHERITED: [&str; 7] =
    ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"];

/// A process that serves one service, or several. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    name: String,
    program: PathBuf,
    listeners: Vec<(Service, u16)>,
    environment: BTreeMap<String, String>,
    output: PathBuf,
    process: Option<Process>,
}

/// How a process that starts is doing.
#[derive(Debug)]
pub enum Look {
    Ready,
    /// What `/readyz` says, or that nobody answers.
    NotYet(String),
    Ended(ExitStatus),
}

impl Running {
    /// Nothing starts yet. `name` is what errors call it; in `settings`, a later value wins; its output is appended to
    /// the file `output`.
    pub fn new(
        name: String,
        program: PathBuf,
        listeners: Vec<(Service, u16)>,
        settings: Vec<(&str, String)>,
        output: PathBuf,
    ) -> Self {
        let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        Self { name, program, listeners, environment: inherited.chain(settings).collect(), output, process: None }
    }

    /// One replica of a service, which is a process of its own.
    pub fn replica(
        replica: Replica,
        program: PathBuf,
        port: u16,
        settings: Vec<(&str, String)>,
        folder_of_output: &Path,
    ) -> Self {
        let name = format!("{}-{}", replica.service.program(), replica.number + 1);
        let output = folder_of_output.join(format!("{name}.log"));
        Self::new(name, program, vec![(replica.service, port)], settings, output)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port on which it serves `service`, if it does.
    pub fn port_of(&self, service: Service) -> Option<u16> {
        self.listeners.iter().find(|(served, _)| *served == service).map(|(_, port)| *port)
    }

    /// A setting, as its next start is told.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// Changes a setting, for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Starts it; see [`Running::look`] for when it is ready.
    ///
    /// # Errors
    /// The program cannot be started, or its output cannot be kept.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        let output = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.output);
        let output = output.with_context(|| format!("{} cannot be written", self.output.display()))?;
        let mut command = mortal(&self.program, "KILL");
        command.env_clear().envs(&self.environment).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        self.process = Some(Process::start(&self.name, command)?);
        Ok(())
    }

    /// Its program with its settings, for a subcommand.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(&self.environment);
        command
    }

    /// Asks once whether all that it serves is ready.
    ///
    /// # Errors
    /// The system does not tell whether it runs.
    pub fn look(&mut self) -> anyhow::Result<Look> {
        if let Some(status) = self.ended()? {
            return Ok(Look::Ended(status));
        }
        for (_, port) in &self.listeners {
            match probe::get(*port, "/readyz") {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => return Ok(Look::NotYet(answer.body)),
                Err(error) => return Ok(Look::NotYet(error.to_string())),
            }
        }
        Ok(Look::Ready)
    }

    /// The system's number of its process, while it was started and not stopped.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// How it ended, if it was started and has ended by itself.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.as_mut().map(Process::ended).transpose()?.flatten())
    }

    /// Sends it a signal. One that does not run is left alone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.signal(signal))
    }

    /// Asks it to stop as an operator does (`SIGTERM`), and does not wait. One that does not run is left alone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn ask_to_stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Stops it as an operator does (`SIGTERM`), and waits for its end. One that does not run is left alone.
    ///
    /// # Errors
    /// It does not end with status 0 in time.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let status = process.stop(Signal::TERM, STOP_PATIENCE)?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// Kills it (`SIGKILL`).
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().with_context(|| format!("{} does not run", self.name))?;
        Ok(process.kill()?)
    }

    /// Everything it printed, of all its starts.
    pub fn output(&self) -> String {
        std::fs::read(&self.output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Takes a text out of the output of a process that has ended: a secret that it shows on purpose, once, to whoever
    /// started it. All else is searched for secrets.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn take_from_output(&self, shown: &str) -> anyhow::Result<()> {
        std::fs::write(&self.output, self.output().replace(shown, "(shown once)"))
            .with_context(|| format!("{} cannot be written", self.output.display()))
    }

    /// The end of what it printed, for the reader of an error.
    pub fn tail(&self) -> String {
        const LINES: usize = 60;
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(LINES)..].join("\n");
        format!("--- the end of the output of {}\n{tail}\n---", self.name)
    }
}
