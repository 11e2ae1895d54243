//! A Redis with a replica, and three sentinels that watch it, of a test's own.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::redis::{PrivateRedis, Role};
use crate::process::{free_port, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
/// What the sentinels call the master.
const MASTER: &str = "main";

/// Two servers without persistence and three sentinels, on free loopback ports. Its calls block for some milliseconds.
/// Dropping it stops it.
#[derive(Debug)]
pub struct PrivateSentinels {
    // Declared first: whoever would call a stop a failure is gone first.
    sentinels: Vec<PrivateRedis>,
    servers: Vec<PrivateRedis>,
}

impl PrivateSentinels {
    /// Starts all five and waits until they know of each other. A master that is silent for `silence` counts as dead.
    ///
    /// # Errors
    /// Redis is not installed ([`Missing`](super::Missing)), one does not start, or they do not come together.
    pub fn launch(silence: Duration) -> anyhow::Result<Self> {
        let server = |more: &[&str]| {
            let settings = [&["--repl-diskless-sync-delay", "0"], more].concat();
            let settings = settings.iter().map(ToString::to_string).collect();
            PrivateRedis::launch_as(Role::Server(settings), free_port()?)
        };
        let master = server(&[])?;
        let replica = server(&["--replicaof", "127.0.0.1", &master.port().to_string()])?;
        let sentinel = || {
            let port = free_port()?;
            PrivateRedis::launch_as(Role::Sentinel(configuration(port, master.port(), silence)), port)
        };
        let sentinels = (0..3).map(|_| sentinel()).collect::<anyhow::Result<Vec<_>>>()?;
        let pair = Self { sentinels, servers: vec![master, replica] };
        pair.wait_until_whole()?;
        Ok(pair)
    }

    /// `redis+sentinel://` with the addresses of the three.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+sentinel://{}/0?master={MASTER}", hosts.join(","))
    }

    /// The two servers. Which of them is the master changes.
    pub fn servers(&self) -> &[PrivateRedis] {
        &self.servers
    }

    /// The number of the server that is the master now.
    ///
    /// # Errors
    /// None says so.
    pub fn master(&self) -> anyhow::Result<usize> {
        let is_master = |node: &PrivateRedis| role(node).is_ok_and(|role| role.starts_with("role:master"));
        self.servers.iter().position(is_master).context("no server is the master")
    }

    /// Kills a server (`SIGKILL`).
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self, server: usize) -> anyhow::Result<()> {
        self.servers[server].kill()
    }

    /// Starts a server again: it believes to be what it was, until the sentinels tell it better.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&mut self, server: usize) -> anyhow::Result<()> {
        self.servers[server].start()
    }

    /// Freezes a server, or lets it go on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn freeze(&mut self, server: usize, freeze: bool) -> anyhow::Result<()> {
        if freeze { self.servers[server].freeze() } else { self.servers[server].thaw() }
    }

    /// Parts the master from its replica, as [`PrivateRedisCluster::cut_off`](super::PrivateRedisCluster::cut_off).
    ///
    /// # Errors
    /// The system refuses.
    pub fn cut_off(&mut self, master: usize) -> anyhow::Result<usize> {
        let replica = 1 - master;
        self.freeze(replica, true)?;
        self.servers[master].ask("CLIENT KILL TYPE replica")?;
        Ok(replica)
    }

    /// Removes every key.
    ///
    /// # Errors
    /// There is no master, or it does not answer.
    pub fn clear(&self) -> anyhow::Result<()> {
        let answer = self.servers[self.master()?].ask("FLUSHALL")?;
        ensure!(answer == "+OK", "the master cannot be emptied: {answer}");
        Ok(())
    }

    /// Waits until there is one master with an up-to-date replica, and each sentinel knows the other two and both servers.
    ///
    /// # Errors
    /// It does not come to that within a minute.
    pub fn wait_until_whole(&self) -> anyhow::Result<()> {
        let whole = wait_until(PATIENCE, || Ok(self.is_whole().unwrap_or(false)))?;
        ensure!(whole, "the sentinels do not agree after {PATIENCE:?}");
        Ok(())
    }

    fn is_whole(&self) -> anyhow::Result<bool> {
        let mut roles: Vec<String> = self.servers.iter().map(role).collect::<anyhow::Result<_>>()?;
        roles.sort_unstable();
        let knows = |sentinel: &PrivateRedis| -> anyhow::Result<bool> {
            let said = sentinel.ask_for_text("INFO sentinel")?;
            Ok(said.contains("status=ok") && said.contains("slaves=1,sentinels=3"))
        };
        let all_know = self.sentinels.iter().map(knows).collect::<anyhow::Result<Vec<_>>>()?.into_iter().all(|it| it);
        Ok(all_know && roles == ["role:master with 1", "role:slave up"])
    }
}

/// `role:master with 1`, `role:slave up`, `role:slave down`.
fn role(node: &PrivateRedis) -> anyhow::Result<String> {
    let said = node.ask_for_text("INFO replication")?;
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    Ok(match field("role:").as_str() {
        "master" => format!("role:master with {}", field("connected_slaves:")),
        other => format!("role:{other} {}", field("master_link_status:")),
    })
}

fn configuration(port: u16, master: u16, silence: Duration) -> String {
    let silence = silence.as_millis();
    format!(
        "port {port}\n\
         bind 127.0.0.1\n\
         sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {MASTER} {silence}\n\
         sentinel failover-timeout {MASTER} 3000\n"
    )
}
