//! A Redis of a test's own.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use super::folder::Folder;
use super::postgres::{log_file, write_private};
use super::programs::redis_server;
use super::unprivileged::Owner;
use crate::process::{Process, free_port, mortal, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// What it is among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// What keeps data, with these settings beside the usual ones: each a name and its values.
    Server(Vec<String>),
    /// What watches others: it begins with this configuration, and writes into it what it finds out.
    Sentinel(String),
}

/// A Redis server on a free loopback port. Its calls block for some milliseconds. Dropping it stops it.
#[derive(Debug)]
pub struct PrivateRedis {
    program: PathBuf,
    owner: Owner,
    port: u16,
    keeps: bool,
    password: Option<String>,
    role: Role,
    process: Option<Process>,
    // Declared last: the server is gone before its folder is.
    folder: Folder,
}

impl Role {
    fn alone() -> Self {
        Self::Server(Vec::new())
    }
}

impl PrivateRedis {
    /// One that keeps its data in memory only: a stop loses all of it.
    ///
    /// # Errors
    /// Redis is not installed ([`Missing`](super::Missing)) or does not start; the error holds what it said.
    pub fn launch() -> anyhow::Result<Self> {
        Self::launch_with(false)
    }

    /// One that writes each change to its append-only file before it answers: a stop, or a kill, loses nothing.
    ///
    /// # Errors
    /// As [`PrivateRedis::launch`].
    pub fn launch_durable() -> anyhow::Result<Self> {
        Self::launch_with(true)
    }

    /// A durable one, whose files stay in `folder`, which is made where it is missing. It asks for this password.
    ///
    /// # Errors
    /// As [`PrivateRedis::launch`].
    pub fn launch_kept(folder: &Path, password: &str) -> anyhow::Result<Self> {
        let owner = Owner::unprivileged()?;
        Self::launch_in(
            Folder::kept(folder, owner)?,
            owner,
            true,
            Some(password.to_owned()),
            free_port()?,
            Role::alone(),
        )
    }

    /// One that keeps its data in memory, on this port, with a part to play among others.
    pub(super) fn launch_as(role: Role, port: u16) -> anyhow::Result<Self> {
        let owner = Owner::unprivileged()?;
        Self::launch_in(Folder::temporary("redis", owner)?, owner, false, None, port, role)
    }

    fn launch_with(keeps: bool) -> anyhow::Result<Self> {
        let owner = Owner::unprivileged()?;
        Self::launch_in(Folder::temporary("redis", owner)?, owner, keeps, None, free_port()?, Role::alone())
    }

    fn launch_in(
        folder: Folder,
        owner: Owner,
        keeps: bool,
        password: Option<String>,
        port: u16,
        role: Role,
    ) -> anyhow::Result<Self> {
        let program = redis_server()?;
        let mut server = Self { program, owner, port, keeps, password, role, process: None, folder };
        server.start()?;
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:PORT`, without the password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again, on the same port. One that runs is left alone.
    ///
    /// # Errors
    /// It does not start; the error holds what it said.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let mut command = mortal(&self.program, "KILL");
        match &self.role {
            Role::Server(more) => self.add_settings(&mut command, more)?,
            Role::Sentinel(begins_with) => {
                let file = self.folder.path().join("sentinel.conf");
                if !file.exists() {
                    write_private(&file, begins_with)?;
                    self.owner.give(&file)?;
                }
                command.arg(file).arg("--sentinel");
            }
        }
        command.current_dir(self.folder.path());
        self.owner.runs(&mut command);
        let log = log_file(&self.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = Process::start("Redis", command)?;
        let answers = wait_until(PATIENCE, || {
            ensure!(process.ended()?.is_none(), "Redis ended at once:\n{}", self.said());
            Ok(self.ask("PING").is_ok_and(|answer| answer == "+PONG"))
        })?;
        ensure!(answers, "Redis does not answer after {PATIENCE:?}:\n{}", self.said());
        self.process = Some(process);
        Ok(())
    }

    fn add_settings(&self, command: &mut Command, more: &[String]) -> anyhow::Result<()> {
        if let Some(password) = &self.password {
            // In a file: everybody on this machine may read a command line.
            let file = self.folder.path().join("redis.conf");
            write_private(&file, &format!("requirepass {password}\n"))?;
            self.owner.give(&file)?;
            command.arg(file);
        }
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
        command.args(["--save", "", "--appendonly", if self.keeps { "yes" } else { "no" }, "--appendfsync", "always"]);
        command.args(["--maxmemory-policy", "noeviction", "--databases", "5000", "--dir"]).arg(self.folder.path());
        command.args(more);
        Ok(())
    }

    /// Stops it as an operator does.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.stop(Signal::TERM, PATIENCE).map(drop)
    }

    /// Kills it: connections break, nothing is finished.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        Ok(process.kill()?)
    }

    /// Freezes it: it keeps its connections and answers nobody, as a machine that hangs.
    ///
    /// # Errors
    /// The system refuses.
    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.signal(Signal::STOP))
    }

    /// Lets it go on after [`PrivateRedis::freeze`].
    ///
    /// # Errors
    /// The system refuses.
    pub fn thaw(&mut self) -> anyhow::Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.signal(Signal::CONT))
    }

    /// Sends one command in Redis' inline form and answers the first line: `ask("DBSIZE")` is `:0`.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(&self, command: &str) -> anyhow::Result<String> {
        ask(&mut self.connect()?, command)
    }

    /// Sends one command whose answer is a text, as [`PrivateRedis::ask`], and answers all of it.
    ///
    /// # Errors
    /// It does not answer, or not with a text.
    pub fn ask_for_text(&self, command: &str) -> anyhow::Result<String> {
        let mut stream = self.connect()?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        text(&mut stream)
    }

    /// Sends one command whose answer is a list of texts, as [`PrivateRedis::ask`].
    pub(super) fn ask_for_list(&self, command: &str) -> anyhow::Result<Vec<String>> {
        let mut stream = self.connect()?;
        let length = ask(&mut stream, command)?;
        let length: usize = length.strip_prefix('*').and_then(|length| length.parse().ok()).context(length)?;
        (0..length).map(|_| text(&mut stream)).collect()
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        if let Some(password) = &self.password {
            let answer = ask(&mut stream, &format!("AUTH {password}"))?;
            ensure!(answer == "+OK", "Redis refuses the password: {answer}");
        }
        Ok(stream)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

fn ask(stream: &mut TcpStream, command: &str) -> anyhow::Result<String> {
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    line(stream)
}

fn line(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") {
        match stream.read(&mut byte) {
            Ok(1) => line.push(byte[0]),
            Ok(_) => break,
            // A child of another test has ended; a read with a time limit does not go on by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// A bulk string.
fn text(stream: &mut TcpStream) -> anyhow::Result<String> {
    let length = line(stream)?;
    let length: usize = length.strip_prefix('$').and_then(|length| length.parse().ok()).context(length)?;
    let mut text = vec![0; length + 2];
    stream.read_exact(&mut text)?;
    text.truncate(length);
    Ok(String::from_utf8(text)?)
}
