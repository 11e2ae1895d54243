//! Who is a node, and who of them is alive (chitchat: gossip, and a failure detector that learns the pace of each node).
//! Owns where this node is reached; knows no session.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, spawn_chitchat};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::config::ReplicatedConfig;
use super::gossip::SealedPackets;
use super::node::{Member, Node};

const GOSSIP_EVERY: Duration = Duration::from_millis(200);
/// A node is dead when it was silent for so many of its usual pauses: from 4 to 8 seconds.
const MOST_PAUSES: f64 = 40.0;
/// So long a node that is dead may come back under its old name.
const REMEMBER_DEAD: Duration = Duration::from_secs(3_600);
/// How long a seed may take to take a connection.
const SEED_PATIENCE: Duration = Duration::from_secs(1);
const JOINED: &str = "joined";

/// The part in the gossip. It ends when this is dropped.
pub(super) struct Membership(ChitchatHandle);

impl Membership {
    /// # Errors
    /// The UDP port is not free.
    pub(super) async fn begin(
        node: &Node,
        config: &ReplicatedConfig,
        listen: SocketAddr,
        own: SocketAddr,
    ) -> anyhow::Result<Self> {
        let pace = FailureDetectorConfig::new(MOST_PAUSES, 100, Duration::from_secs(2), GOSSIP_EVERY, REMEMBER_DEAD);
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(format!("{:016x}", node.id), 0, own),
            cluster_id: "roam".to_owned(),
            gossip_interval: GOSSIP_EVERY,
            listen_addr: listen,
            seed_nodes: config.seeds.clone(),
            failure_detector_config: pace,
            marked_for_deletion_grace_period: REMEMBER_DEAD,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let packets = SealedPackets(node.keys.clone());
        Ok(Self(spawn_chitchat(config, Vec::new(), &packets).await?))
    }

    /// Tells the node who is alive, for ever, and the others when the node is ready.
    pub(super) async fn tend(self, node: Arc<Node>) {
        let mut live = self.0.chitchat().lock().await.live_nodes_watcher();
        let mut standing = node.standing();
        let mut is_told = false;
        loop {
            let members = members_of(&node, &live.borrow_and_update());
            if members != node.members() {
                tracing::info!(nodes = members.len() + 1, "the nodes that are alive have changed");
                node.set_members(members);
            }
            if node.is_joined() && !is_told {
                self.0.with_chitchat(|chitchat| chitchat.self_node_state().set(JOINED, "true")).await;
                is_told = true;
            }
            tokio::select! {
                changed = live.changed() => if changed.is_err() { return },
                changed = standing.changed(), if !is_told => if changed.is_err() { return },
            }
        }
    }
}

fn members_of(node: &Node, live: &BTreeMap<ChitchatId, NodeState>) -> BTreeMap<u64, Member> {
    let members = live.iter().filter_map(|(id, state)| {
        let name = u64::from_str_radix(&id.node_id, 16).ok()?;
        Some((name, Member { address: id.gossip_advertise_addr, joined: state.get(JOINED).is_some() }))
    });
    members.filter(|(id, _)| *id != node.id).collect()
}

/// Where the other nodes reach this one.
pub(super) async fn own_address(config: &ReplicatedConfig, listen: SocketAddr) -> SocketAddr {
    if let Some(told) = config.advertise {
        return told;
    }
    if !listen.ip().is_unspecified() {
        return listen;
    }
    for seed in &config.seeds {
        for address in resolve(seed).await {
            if let Some(ip) = reached_from(address).await {
                return SocketAddr::new(ip, listen.port());
            }
        }
    }
    let loopback = if listen.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
    SocketAddr::new(loopback, listen.port())
}

/// The nodes that the settings name.
pub(super) struct Seeds {
    names: Vec<String>,
    /// Where this node listens and is reached.
    own: [SocketAddr; 2],
}

impl Seeds {
    pub(super) fn new(config: &ReplicatedConfig, listen: SocketAddr, own: SocketAddr) -> Self {
        Self { names: config.seeds.clone(), own: [listen, own] }
    }

    /// Whether any node beside this one is named. A name that stands for nothing yet may be one.
    pub(super) async fn name_others(&self) -> bool {
        for name in &self.names {
            let addresses = resolve(name).await;
            if addresses.is_empty() || addresses.iter().any(|address| !self.own.contains(address)) {
                return true;
            }
        }
        false
    }

    /// A seed beside this node at which something listens.
    pub(super) async fn listening(&self) -> Option<SocketAddr> {
        for name in &self.names {
            for address in resolve(name).await {
                let dialled = timeout(SEED_PATIENCE, TcpStream::connect(address));
                if !self.own.contains(&address) && matches!(dialled.await, Ok(Ok(_))) {
                    return Some(address);
                }
            }
        }
        None
    }
}

async fn resolve(seed: &str) -> Vec<SocketAddr> {
    lookup_host(seed).await.map(Iterator::collect).unwrap_or_default()
}

/// The address that this machine has towards another one. Sends nothing.
async fn reached_from(to: SocketAddr) -> Option<IpAddr> {
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(to).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}
