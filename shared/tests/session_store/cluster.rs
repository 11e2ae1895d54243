//! A cluster of the test's own: nodes at loopback addresses of theirs, and between them a network that can be cut and that
//! may repeat and reorder packets.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shared::clock::Clock;
use shared::session::{ClusterKeys, ClusterWrite, ReplicatedConfig, ReplicatedSessionStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::WINDOW;

pub(crate) const KEY: &str = "IyXbwLh1AqGFbYDl4n+H9dTXyXtYdQm2tMXHnu5sKbY=";
pub(crate) const OTHER_KEY: &str = "bkWbtYd1AqGFbYDl4n+H9dTXyXtYdQm2tMXHnu5sKbY=";

/// Long enough for a slow machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until something is so. Answers how long that took.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "it never came true that {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    began.elapsed()
}

/// The network between the nodes. Each is reached at port 7947 of its own address, and listens behind that at 7946.
pub(crate) struct Network {
    base: [u8; 2],
    cut: watch::Sender<HashSet<(IpAddr, IpAddr)>>,
    /// Packets come twice, and some after the next one.
    is_messy: AtomicBool,
    /// No packet comes at all; connections are as they were.
    loses_packets: AtomicBool,
    pub(crate) write: ClusterWrite,
    /// The longest life of an access token.
    window: Duration,
}

impl Network {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(ClusterWrite::Sync, WINDOW)
    }

    pub(crate) fn with(write: ClusterWrite, window: Duration) -> Arc<Self> {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        // Another process of these tests has other addresses.
        let number = std::process::id() * 61 + NETWORKS.fetch_add(1, Ordering::Relaxed);
        let base = [u8::try_from(16 + number / 250 % 200).unwrap(), u8::try_from(number % 250).unwrap()];
        Arc::new(Self {
            base,
            cut: watch::Sender::default(),
            is_messy: AtomicBool::new(false),
            loses_packets: AtomicBool::new(false),
            write,
            window,
        })
    }

    fn ip(&self, node: usize) -> IpAddr {
        Ipv4Addr::new(127, self.base[0], self.base[1], u8::try_from(node + 1).unwrap()).into()
    }

    pub(crate) fn listens(&self, node: usize) -> SocketAddr {
        SocketAddr::new(self.ip(node), 7946)
    }

    pub(crate) fn reached(&self, node: usize) -> SocketAddr {
        SocketAddr::new(self.ip(node), 7947)
    }

    pub(crate) fn make_messy(&self) {
        self.is_messy.store(true, Ordering::Relaxed);
    }

    pub(crate) fn lose_packets(&self, all: bool) {
        self.loses_packets.store(all, Ordering::Relaxed);
    }

    /// Nothing passes any more between one of `these` and one of `those`.
    pub(crate) fn part(&self, these: &[usize], those: &[usize]) {
        let pairs = these.iter().flat_map(|one| those.iter().map(|other| (self.ip(*one), self.ip(*other))));
        let both: Vec<_> = pairs.flat_map(|(one, other)| [(one, other), (other, one)]).collect();
        self.cut.send_modify(|cut| cut.extend(both));
    }

    pub(crate) fn heal(&self) {
        self.cut.send_modify(HashSet::clear);
    }

    fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.cut.borrow().contains(&(from, to))
    }

    async fn whole(&self, from: IpAddr, to: IpAddr) {
        self.cut.subscribe().wait_for(|cut| !cut.contains(&(from, to))).await.unwrap();
    }

    /// The way to one node, for as long as the tasks live.
    async fn lay(self: &Arc<Self>, node: usize) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let address = self.reached(node);
        let (mut listener, mut socket) = (None, None);
        // One that was here before may not have gone quite yet.
        until("the node's address is free", async || {
            listener = TcpListener::bind(address).await.ok();
            socket = UdpSocket::bind(address).await.ok();
            listener.is_some() && socket.is_some()
        })
        .await;
        let (listener, socket) = (listener.unwrap(), socket.unwrap());
        let (network, to) = (self.clone(), self.listens(node));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, from)) = listener.accept().await {
                connections.spawn(network.clone().connect(stream, from.ip(), to));
            }
        });
        tasks.spawn(self.clone().packets(Arc::new(socket), to));
        tasks
    }

    async fn connect(self: Arc<Self>, caller: TcpStream, from: IpAddr, to: SocketAddr) {
        // A cut swallows what is sent: nobody is told. When it heals, what was lost has broken the connection.
        self.whole(from, to.ip()).await;
        let Ok(called) = TcpStream::connect(to).await else { return };
        let ((read, write), (read_back, write_back)) = (caller.into_split(), called.into_split());
        tokio::join!(self.pass(read, write_back, from, to.ip()), self.pass(read_back, write, to.ip(), from));
    }

    async fn pass(&self, mut read: OwnedReadHalf, mut write: OwnedWriteHalf, from: IpAddr, to: IpAddr) {
        let mut some = vec![0; 65_536];
        while let Ok(length @ 1..) = read.read(&mut some).await {
            if self.is_cut(from, to) {
                return self.whole(from, to).await;
            }
            if write.write_all(&some[..length]).await.is_err() {
                return;
            }
        }
    }

    async fn packets(self: Arc<Self>, socket: Arc<UdpSocket>, to: SocketAddr) {
        let mut ways = HashMap::new();
        let mut backwards = JoinSet::new();
        let (mut packet, mut held) = (vec![0; 65_536], None::<Vec<u8>>);
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            if self.is_cut(from.ip(), to.ip()) || self.loses_packets.load(Ordering::Relaxed) {
                continue;
            }
            if let Entry::Vacant(unknown) = ways.entry(from) {
                let way = Arc::new(UdpSocket::bind((to.ip(), 0)).await.unwrap());
                unknown.insert(way.clone());
                backwards.spawn(self.clone().packets_back(way, socket.clone(), from, to));
            }
            let mut sent = vec![packet[..length].to_vec()];
            if self.is_messy.load(Ordering::Relaxed) {
                sent.push(packet[..length].to_vec());
                held = match held.take() {
                    Some(earlier) => {
                        sent.push(earlier);
                        None
                    }
                    None => sent.pop(),
                };
            }
            for packet in sent {
                let _ = ways[&from].send_to(&packet, to).await;
            }
        }
    }

    async fn packets_back(
        self: Arc<Self>,
        way: Arc<UdpSocket>,
        socket: Arc<UdpSocket>,
        from: SocketAddr,
        to: SocketAddr,
    ) {
        let mut packet = vec![0; 65_536];
        while let Ok((length, _)) = way.recv_from(&mut packet).await {
            if !self.is_cut(to.ip(), from.ip()) && !self.loses_packets.load(Ordering::Relaxed) {
                let _ = socket.send_to(&packet[..length], from).await;
            }
        }
    }
}

/// A node, and the way to it.
pub(crate) struct TestNode {
    pub(crate) store: ReplicatedSessionStore,
    pub(crate) clock: Clock,
    _way: JoinSet<()>,
}

impl TestNode {
    /// Starts one that is told of `seeds`, and does not wait for it.
    pub(crate) async fn begin(network: &Arc<Network>, node: usize, seeds: &[usize], clock: Clock) -> Self {
        Self::begin_with(network, node, seeds, clock, KEY).await
    }

    pub(crate) async fn begin_with(
        network: &Arc<Network>,
        node: usize,
        seeds: &[usize],
        clock: Clock,
        keys: &str,
    ) -> Self {
        let config = ReplicatedConfig {
            listen: network.listens(node),
            advertise: Some(network.reached(node)),
            seeds: seeds.iter().map(|seed| network.reached(*seed).to_string()).collect(),
            keys: ClusterKeys::parse(keys).unwrap(),
            write: network.write,
        };
        let way = network.lay(node).await;
        let mut store = None;
        until("the node listens", async || {
            store = ReplicatedSessionStore::start(&config, clock.clone(), network.window).await.ok();
            store.is_some()
        })
        .await;
        Self { store: store.unwrap(), clock, _way: way }
    }
}

/// `count` nodes that all have the state and are connected with each other.
pub(crate) async fn nodes(network: &Arc<Network>, count: usize, clock: &Clock) -> Vec<TestNode> {
    let mut nodes = Vec::new();
    for node in 0..count {
        nodes.push(TestNode::begin(network, node, if node == 0 { &[] } else { &[0] }, clock.clone()).await);
        nodes[node].store.joined().await;
    }
    connected(&nodes).await;
    nodes
}

pub(crate) async fn connected(nodes: &[TestNode]) {
    let all = async || nodes.iter().all(|node| node.store.peers() == nodes.len() - 1);
    until("all nodes are connected", all).await;
}
