//! A Redis Cluster of a test's own.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::redis::{PrivateRedis, Role};
use crate::process::{free_port, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
/// Beside its port, a node listens on one that is higher by this, for the other nodes.
const BUS: u16 = 10_000;
const SLOTS: u16 = 16_384;
const PRIMARIES: usize = 3;

/// Three primaries with a replica each, without persistence, on free loopback ports. Its calls block for some
/// milliseconds, forming it for some seconds. Dropping it stops it.
#[derive(Debug)]
pub struct PrivateRedisCluster {
    nodes: Vec<PrivateRedis>,
}

impl PrivateRedisCluster {
    /// Starts the nodes and has them form the cluster. One that is silent for `silence` counts as dead: a second has a
    /// killed one replaced soon, and on a loaded machine also one that is only slow.
    ///
    /// # Errors
    /// Redis is not installed ([`Missing`](super::Missing)), a node does not start, or they do not come together.
    pub fn launch(silence: Duration) -> anyhow::Result<Self> {
        let nodes = (0..PRIMARIES * 2).map(|_| node(silence)).collect::<anyhow::Result<Vec<_>>>()?;
        let cluster = Self { nodes };
        let (primaries, replicas) = cluster.nodes.split_at(PRIMARIES);
        for (number, primary) in primaries.iter().enumerate() {
            let share = |number: usize| number * usize::from(SLOTS) / PRIMARIES;
            let slots: Vec<String> = (share(number)..share(number + 1)).map(|slot| slot.to_string()).collect();
            must(primary, &format!("CLUSTER ADDSLOTS {}", slots.join(" ")))?;
            must(primary, &format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1))?;
        }
        for other in &cluster.nodes[1..] {
            must(&cluster.nodes[0], &format!("CLUSTER MEET 127.0.0.1 {}", other.port()))?;
        }
        for (primary, replica) in primaries.iter().zip(replicas) {
            let follow = format!("CLUSTER REPLICATE {}", id_of(primary)?);
            // As soon as it has heard of its primary.
            let follows = wait_until(PATIENCE, || Ok(replica.ask(&follow)? == "+OK"))?;
            ensure!(follows, "a node does not become a replica");
        }
        cluster.wait_until_whole()?;
        Ok(cluster)
    }

    /// `redis+cluster://` with the addresses of all nodes.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The nodes that live. Which of them are primaries changes.
    pub fn nodes(&self) -> &[PrivateRedis] {
        &self.nodes
    }

    /// The number, among [`PrivateRedisCluster::nodes`], of the primary that holds the slot of `key`.
    ///
    /// # Errors
    /// None holds it.
    pub fn primary_of(&self, key: &str) -> anyhow::Result<usize> {
        let asked = |node: &PrivateRedis| node.ask(&format!("GET {key}"));
        // Another node answers -MOVED, and a replica as well.
        let holds = |node: &PrivateRedis| asked(node).is_ok_and(|answer| answer.starts_with('$'));
        self.nodes.iter().position(holds).with_context(|| format!("no node holds the slot of {key}"))
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// No node answers.
    pub fn slot_of(&self, key: &str) -> anyhow::Result<u16> {
        let answers = self.nodes.iter().filter_map(|node| node.ask(&format!("CLUSTER KEYSLOT {key}")).ok());
        let numbers = answers.filter_map(|answer| answer.strip_prefix(':')?.parse().ok());
        numbers.into_iter().next().context("no node tells the slot")
    }

    /// Kills a node (`SIGKILL`).
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].kill()
    }

    /// Starts a node again; it has lost its data and follows whoever has its slots.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].start()
    }

    /// Freezes a node, or lets it go on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn freeze(&mut self, node: usize, freeze: bool) -> anyhow::Result<()> {
        if freeze { self.nodes[node].freeze() } else { self.nodes[node].thaw() }
    }

    /// The number of the replica that follows this primary.
    ///
    /// # Errors
    /// None does.
    pub fn replica_of(&self, primary: usize) -> anyhow::Result<usize> {
        let follows = format!("master_port:{}\r", self.nodes[primary].port());
        let is_it =
            |node: &PrivateRedis| node.ask_for_text("INFO replication").is_ok_and(|info| info.contains(&follows));
        self.nodes.iter().position(is_it).context("no replica follows it")
    }

    /// Parts a primary from its replica, which is frozen: from now on, what is written is lost when the primary dies.
    /// Answers the replica's number.
    ///
    /// # Errors
    /// It has none, or the system refuses.
    pub fn cut_off(&mut self, primary: usize) -> anyhow::Result<usize> {
        let replica = self.replica_of(primary)?;
        self.freeze(replica, true)?;
        // What is under way to it would be read when it goes on.
        self.nodes[primary].ask("CLIENT KILL TYPE replica")?;
        Ok(replica)
    }

    /// The keys that match a pattern, on whichever primary.
    ///
    /// # Errors
    /// A node does not answer.
    pub fn keys(&self, pattern: &str) -> anyhow::Result<Vec<String>> {
        let keys = self.nodes.iter().map(|node| node.ask_for_list(&format!("KEYS {pattern}")));
        Ok(keys.collect::<anyhow::Result<Vec<_>>>()?.concat())
    }

    /// Begins to move a slot: from now on its owner says ASK for keys that are not with it any more.
    ///
    /// # Errors
    /// A node refuses.
    pub fn begin_to_move(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        must(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", id_of(from)?))?;
        must(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", id_of(to)?))
    }

    /// Moves so many keys of a slot that is on its way; answers how many were left to move.
    ///
    /// # Errors
    /// A node refuses.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, most: usize) -> anyhow::Result<usize> {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let keys = from.ask_for_list(&format!("CLUSTER GETKEYSINSLOT {slot} {most}"))?;
        for key in &keys {
            let answer = from.ask(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port()))?;
            ensure!(matches!(answer.as_str(), "+OK" | "+NOKEY"), "{key} does not move: {answer}");
        }
        Ok(keys.len())
    }

    /// Tells all primaries who owns the slot now: from now on the old owner says MOVED.
    ///
    /// # Errors
    /// A node refuses.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let owner = id_of(&self.nodes[to])?;
        for node in [to, from] {
            must(&self.nodes[node], &format!("CLUSTER SETSLOT {slot} NODE {owner}"))?;
        }
        Ok(())
    }

    /// Removes every key.
    ///
    /// # Errors
    /// A primary does not answer.
    pub fn clear(&self) -> anyhow::Result<()> {
        for node in &self.nodes {
            let answer = node.ask("FLUSHALL")?;
            ensure!(answer == "+OK" || answer.starts_with("-READONLY"), "the cluster cannot be emptied: {answer}");
        }
        Ok(())
    }

    /// Waits until every node knows every other, each slot has an owner, and each replica is up to date.
    ///
    /// # Errors
    /// It does not come to that within a minute.
    pub fn wait_until_whole(&self) -> anyhow::Result<()> {
        let whole = wait_until(PATIENCE, || Ok(self.nodes.iter().all(|node| is_whole(node).unwrap_or(false))))?;
        ensure!(whole, "the cluster is not whole after {PATIENCE:?}");
        Ok(())
    }
}

fn node(silence: Duration) -> anyhow::Result<PrivateRedis> {
    let silence = silence.as_millis().to_string();
    let free = |port: u16| port.checked_add(BUS).is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok());
    let port = std::iter::repeat_with(free_port).take(50).find(|port| port.as_ref().is_ok_and(|port| free(*port)));
    let port = port.context("no two free ports with 10,000 between them")??;
    let settings =
        ["--cluster-enabled", "yes", "--cluster-node-timeout", silence.as_str(), "--cluster-announce-ip", "127.0.0.1"];
    let more = ["--databases", "1", "--repl-diskless-sync-delay", "0", "--cluster-allow-replica-migration", "no"];
    PrivateRedis::launch_as(Role::Server(settings.iter().chain(&more).map(ToString::to_string).collect()), port)
}

fn is_whole(node: &PrivateRedis) -> anyhow::Result<bool> {
    let info = node.ask_for_text("CLUSTER INFO")?;
    let lines = ["cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:6"];
    if !lines.iter().all(|line| info.lines().any(|said| said == *line)) {
        return Ok(false);
    }
    let replication = node.ask_for_text("INFO replication")?;
    let said = |line: &str| replication.lines().any(|said| said == line);
    Ok(said("master_link_status:up") || (said("role:master") && said("connected_slaves:1")))
}

fn id_of(node: &PrivateRedis) -> anyhow::Result<String> {
    node.ask_for_text("CLUSTER MYID")
}

fn must(node: &PrivateRedis, command: &str) -> anyhow::Result<()> {
    let answer = node.ask(command)?;
    let shown: String = command.chars().take(60).collect();
    ensure!(answer == "+OK", "{shown}: {answer}");
    Ok(())
}
