//! The settings of a node. Touches no network.

use std::net::SocketAddr;

use super::keys::ClusterKeys;
use crate::config::{Setting, Settings, quoted};

/// `CLUSTER_WRITE`: when a change is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterWrite {
    /// When all nodes that are connected have made it.
    Sync,
    /// When this node has made it.
    Async,
}

impl Setting for ClusterWrite {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "sync" => Ok(Self::Sync),
            "async" => Ok(Self::Async),
            _ => Err(format!("expected sync or async, found {text:?}")),
        }
    }
}

/// What a node of a cluster needs to know.
#[derive(Debug, Clone)]
pub struct ReplicatedConfig {
    /// Where it listens, with TCP for changes and UDP for the membership.
    pub listen: SocketAddr,
    /// Where the others reach it, if not where it listens.
    pub advertise: Option<SocketAddr>,
    /// `host:port` of nodes, of which one at least is alive when this one starts. A name may stand for many addresses, and
    /// for this node too.
    pub seeds: Vec<String>,
    pub keys: ClusterKeys,
    pub write: ClusterWrite,
}

impl ReplicatedConfig {
    /// Reads `CLUSTER_LISTEN`, `CLUSTER_ADVERTISE`, `CLUSTER_SEEDS`, `CLUSTER_KEY` and `CLUSTER_WRITE`. Mistakes are kept in
    /// `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        let meaning = "where this node of the cluster listens, with TCP and UDP, for the other nodes alone";
        let listen = settings.required("CLUSTER_LISTEN", "0.0.0.0:7946", meaning);
        let meaning = "where the other nodes reach this one; by default where it listens, and for 0.0.0.0 the address \
                       from which it reaches the first seed";
        let advertise = settings.optional("CLUSTER_ADVERTISE", meaning);
        let meaning = "the nodes, as host:port with commas between; this one may be among them";
        let seeds: Vec<String> = settings.optional("CLUSTER_SEEDS", meaning).unwrap_or_default();
        if let Some(seed) = seeds.iter().find(|seed| !names_a_port(seed)) {
            settings.mistake(format!("CLUSTER_SEEDS: expected host:port, found {}", quoted(seed)));
        }
        let meaning = "the key that all nodes share: 32 random bytes in base64; several with commas, the first seals";
        let example = "$(openssl rand -base64 32)";
        let keys = settings.required("CLUSTER_KEY", example, meaning);
        let meaning = "when a change is answered: sync (all nodes have it) or async (this one has it)";
        let write = settings.or("CLUSTER_WRITE", "sync", meaning);
        Self { listen, advertise, seeds, keys, write }
    }
}

fn names_a_port(seed: &str) -> bool {
    seed.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn every_mistake_of_a_nodes_settings_is_named_and_no_key_is_shown() {
        let pairs =
            [("CLUSTER_LISTEN", "7946"), ("CLUSTER_SEEDS", "one"), ("CLUSTER_KEY", "hunter2"), ("CLUSTER_WRITE", "x")];
        let mut settings = settings(&pairs);
        ReplicatedConfig::read(&mut settings);
        let text = settings.finish().expect_err("four mistakes").to_string();
        for (name, _) in pairs {
            assert!(text.contains(name), "{name} is missing from: {text}");
        }
        assert!(!text.contains("hunter2") && !settings.describe().contains("hunter2"));
    }

    #[test]
    fn a_node_needs_an_address_and_a_key() {
        let mut settings = settings(&[]);
        ReplicatedConfig::read(&mut settings);
        let text = settings.finish().expect_err("two mistakes").to_string();
        assert!(text.contains("CLUSTER_LISTEN is not set") && text.contains("CLUSTER_KEY is not set"), "{text}");
    }
}
