//! A PostgreSQL of a test's own.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use super::folder::Folder;
use super::programs::postgres_folder;
use super::sql::SqlSession;
use super::unprivileged::Owner;
use crate::process::{Process, free_port, mortal, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

const SETTINGS: [&str; 11] = [
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_connections=400",
    "shared_buffers=64MB",
    "dynamic_shared_memory_type=mmap",
    "max_parallel_workers_per_gather=0",
    "jit=off",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "timezone=UTC",
    "lc_messages=C",
];

/// What makes it quicker where its data may be lost with the machine.
const FORGETFUL: [&str; 3] = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/// A PostgreSQL server on a free loopback port. Its calls block for about a second. Dropping it stops it.
#[derive(Debug)]
pub struct PrivatePostgres {
    programs: PathBuf,
    owner: Owner,
    port: u16,
    /// Of `postgres`; without one, it trusts whoever connects.
    password: Option<String>,
    /// Settings beside the usual ones.
    more: Vec<String>,
    process: Option<Process>,
    // Declared last: the server is gone before its folder is.
    folder: Folder,
}

impl PrivatePostgres {
    /// Makes a new, empty server and starts it. It trusts whoever connects as `postgres`, and its data is removed when it
    /// is dropped.
    ///
    /// # Errors
    /// PostgreSQL is not installed ([`Missing`](super::Missing)) or does not start; the error holds what it said.
    pub fn launch() -> anyhow::Result<Self> {
        let owner = Owner::unprivileged()?;
        Self::launch_in(Folder::temporary("postgres", owner)?, owner, None, &[])
    }

    /// As [`PrivatePostgres::launch`]; what it confirms is with the system, so that a kill of it loses nothing.
    ///
    /// # Errors
    /// As [`PrivatePostgres::launch`].
    pub fn launch_durable() -> anyhow::Result<Self> {
        Self::launch_as(&["synchronous_commit=on"])
    }

    /// As [`PrivatePostgres::launch`], with more settings.
    pub(super) fn launch_as(more: &[&str]) -> anyhow::Result<Self> {
        let owner = Owner::unprivileged()?;
        Self::launch_in(Folder::temporary("postgres", owner)?, owner, None, more)
    }

    /// A standby of this one, with settings beside the usual ones.
    pub(super) fn copy(&self, more: &[&str]) -> anyhow::Result<Self> {
        let (owner, folder) = (self.owner, Folder::temporary("postgres", self.owner)?);
        let mut command = Command::new(self.programs.join("pg_basebackup"));
        command.arg("-D").arg(folder.path().join("data")).current_dir(folder.path());
        owner.runs(&mut command);
        super::pair::copy(command, self.port)?;
        Self::launch_in(folder, owner, None, more)
    }

    /// Starts the server whose data is in `folder`, which is made where it is missing; it asks for a password, `postgres`'
    /// own being this one from the first start on. Its data stays.
    ///
    /// # Errors
    /// As [`PrivatePostgres::launch`], or the data was made by another version of PostgreSQL.
    pub fn launch_kept(folder: &Path, password: &str) -> anyhow::Result<Self> {
        let owner = Owner::unprivileged()?;
        Self::launch_in(Folder::kept(folder, owner)?, owner, Some(password.to_owned()), &[])
    }

    fn launch_in(folder: Folder, owner: Owner, password: Option<String>, more: &[&str]) -> anyhow::Result<Self> {
        let programs = postgres_folder()?;
        let more = more.iter().map(ToString::to_string).collect();
        let mut server = Self { programs, owner, port: free_port()?, password, more, process: None, folder };
        if !server.data().join("PG_VERSION").exists() {
            server.initialise()?;
        }
        server.start()?;
        Ok(server)
    }

    fn initialise(&self) -> anyhow::Result<()> {
        // What an interrupted first start left is no database.
        if self.data().exists() {
            std::fs::remove_dir_all(self.data())?;
        }
        let mut initdb = Command::new(self.programs.join("initdb"));
        initdb.args(["--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"]);
        initdb.arg(self.data()).current_dir(self.folder.path()).env_remove("PGDATA");
        let password_file = self.folder.path().join("password");
        match &self.password {
            Some(password) => {
                write_private(&password_file, password)?;
                self.owner.give(&password_file)?;
                // It is kept as a hash, and sent in clear: nobody but root hears what is said on this machine.
                initdb.args(["--auth-local=reject", "--auth-host=password", "--pwfile"]).arg(&password_file);
            }
            None => drop(initdb.arg("--auth=trust")),
        }
        self.owner.runs(&mut initdb);
        let made = initdb.output().context("initdb cannot be started");
        if self.password.is_some() {
            std::fs::remove_file(&password_file)?;
        }
        let made = made?;
        ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`, without the password.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// A session as `postgres`, in the database of the same name.
    ///
    /// # Errors
    /// It does not answer.
    pub fn session(&self) -> anyhow::Result<SqlSession> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        SqlSession::begin_with(address, "postgres", "postgres", self.password.as_deref())
    }

    /// Starts it again, on the same port and with the same data. One that runs is left alone.
    ///
    /// # Errors
    /// It does not start; the error holds what it said.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        // Asked to stop at once (INT) if we die: a killed one would leave its shared memory behind.
        let mut command = mortal(&self.programs.join("postgres"), "INT");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let forgetful: &[&str] = if matches!(self.folder, Folder::Temporary(_)) { &FORGETFUL } else { &[] };
        // Of a setting that is given twice, the last one counts.
        let settings = SETTINGS.iter().chain(forgetful).copied().chain(self.more.iter().map(String::as_str));
        command.args(settings.flat_map(|setting| ["-c", setting]));
        command.current_dir(self.folder.path());
        self.owner.runs(&mut command);
        let log = log_file(&self.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = Process::start("PostgreSQL", command)?;
        let answers = wait_until(PATIENCE, || {
            ensure!(process.ended()?.is_none(), "PostgreSQL ended at once:\n{}", self.said());
            Ok(self.session().is_ok())
        })?;
        ensure!(answers, "PostgreSQL does not answer after {PATIENCE:?}:\n{}", self.said());
        self.process = Some(process);
        Ok(())
    }

    /// Stops it: connections are closed, the data stays.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let status = process.stop(Signal::INT, PATIENCE)?;
        ensure!(status.success(), "PostgreSQL stopped with {status}:\n{}", self.said());
        Ok(())
    }

    /// Stops it as a crash would (`SIGQUIT`, its "immediate" stop): nothing is finished, and the next start recovers.
    ///
    /// # Errors
    /// It does not stop.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.stop(Signal::QUIT, PATIENCE).map(drop)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // A stop that fails ends in the kill of the process's own drop.
        let _ = self.kill();
    }
}

pub(super) fn log_file(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("{} cannot be written", path.display()))
}

/// Writes a file that its owner alone may read.
pub(super) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be written", path.display());
    if path.exists() {
        std::fs::remove_file(path).with_context(cannot)?;
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).with_context(cannot)?;
    file.write_all(text.as_bytes()).with_context(cannot)
}
