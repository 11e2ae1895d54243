//! A PostgreSQL with a standby, of a test's own.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::SqlSession;
use super::postgres::PrivatePostgres;
use crate::process::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);

/// Beside the usual ones, on both. What the primary confirms is with the standby, unless nobody is told to wait for it.
const SETTINGS: [&str; 5] = [
    "wal_level=replica",
    "max_wal_senders=8",
    "hot_standby=on",
    "synchronous_commit=on",
    "wal_receiver_status_interval=1s",
];

/// Two servers on free loopback ports, of which the second follows the first. What the first confirms, the second has.
/// Dropping it stops both.
#[derive(Debug)]
pub struct PrivatePostgresPair {
    servers: [PrivatePostgres; 2],
}

impl PrivatePostgresPair {
    /// Starts a primary, copies it (`pg_basebackup`) and starts the copy as its standby.
    ///
    /// # Errors
    /// PostgreSQL is not installed ([`Missing`](super::Missing)), one does not start, or the standby does not follow.
    pub fn launch() -> anyhow::Result<Self> {
        let primary = PrivatePostgres::launch_as(&[&SETTINGS[..], &["synchronous_standby_names=*"]].concat())?;
        let standby = primary.copy(&SETTINGS)?;
        let pair = Self { servers: [primary, standby] };
        let follows = wait_until(PATIENCE, || pair.is_synchronous())?;
        ensure!(follows, "the standby does not follow");
        Ok(pair)
    }

    /// `postgres://postgres@HOST:PORT,HOST:PORT/postgres`, of both.
    pub fn url(&self) -> String {
        let [one, other] = &self.servers;
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", one.port(), other.port())
    }

    /// The ports of the first and the second.
    pub fn ports(&self) -> [u16; 2] {
        self.servers.each_ref().map(PrivatePostgres::port)
    }

    /// Kills the first as a crash would.
    ///
    /// # Errors
    /// It does not stop.
    pub fn kill_primary(&mut self) -> anyhow::Result<()> {
        self.servers[0].kill()
    }

    /// Starts the first again, as if nothing had happened: it believes that it is the primary.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_former_primary(&mut self) -> anyhow::Result<()> {
        self.servers[0].start()
    }

    /// Stops the second: the first waits for it with every commit.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop_standby(&mut self) -> anyhow::Result<()> {
        self.servers[1].stop()
    }

    /// Starts the second again.
    ///
    /// # Errors
    /// It does not start, or does not follow.
    pub fn start_standby(&mut self) -> anyhow::Result<()> {
        self.servers[1].start()?;
        let follows = wait_until(PATIENCE, || self.is_synchronous())?;
        ensure!(follows, "the standby does not follow");
        Ok(())
    }

    /// Makes the second a primary (`pg_promote`), and waits until it is one.
    ///
    /// # Errors
    /// It does not become one.
    pub fn promote(&self) -> anyhow::Result<()> {
        let promoted = self.session(1)?.execute("SELECT pg_promote(true, 60)")?;
        ensure!(promoted == ["t"], "it is not promoted");
        Ok(())
    }

    /// A session with the first (0) or the second (1).
    ///
    /// # Errors
    /// It does not answer.
    pub fn session(&self, server: usize) -> anyhow::Result<SqlSession> {
        self.servers[server].session()
    }

    /// As [`PrivatePostgresPair::session`], in another database.
    ///
    /// # Errors
    /// As there, or there is no such database.
    pub fn session_in(&self, server: usize, database: &str) -> anyhow::Result<SqlSession> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.servers[server].port()));
        SqlSession::begin(address, "postgres", database)
    }

    fn is_synchronous(&self) -> anyhow::Result<bool> {
        Ok(self.session(0)?.execute("SELECT sync_state FROM pg_stat_replication")? == ["sync"])
    }
}

/// Runs `pg_basebackup`.
pub(super) fn copy(mut command: Command, from: u16) -> anyhow::Result<()> {
    command.args(["-h", "127.0.0.1", "-p", &from.to_string(), "-U", "postgres", "--write-recovery-conf"]);
    command.args(["--wal-method=stream", "--checkpoint=fast", "--no-sync", "--no-password"]).stdin(Stdio::null());
    let copied = command.output().context("pg_basebackup cannot be started")?;
    ensure!(copied.status.success(), "pg_basebackup failed: {}", String::from_utf8_lossy(&copied.stderr));
    Ok(())
}
