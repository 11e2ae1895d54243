//! Sessions that every node holds whole. Owns the cluster: who is a node, what they tell each other, and how a node that
//! joins, comes back or missed something comes to hold the same. No node is special, none is asked by a request, and nothing
//! outlives the last one.
//!
//! A change is made at the node that is asked ([`replica`]), then sent to all others ([`link`], [`callers`]), which merge it
//! ([`merge`]). Who they are is known by gossip ([`membership`]); what is lost on the way is found by comparing digests
//! ([`joining`]).

mod callers;
mod config;
mod connection;
mod digest;
mod expiring;
mod gossip;
mod joining;
mod keys;
mod link;
mod measures;
mod membership;
mod merge;
mod node;
mod replica;
mod stamp;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

pub use self::config::{ClusterWrite, ReplicatedConfig};
pub use self::keys::ClusterKeys;
use self::membership::{Membership, Seeds};
use self::node::{Acknowledgements, Node};
use super::{
    Created, EndReason, FeedPosition, Granted, NewSession, OnlineCursor, OnlinePage, Revocation, Rotation, Session,
    SessionId, SessionLimit, SessionStore, StoreUnavailable, Touched, UserId, Written,
};
use crate::arrival;
use crate::clock::{Clock, Timestamp};
use crate::program;

/// How long a follower waits for a node that is joining.
const JOINING_PATIENCE: Duration = Duration::from_secs(1);

/// A node's sessions, which are those of all nodes. It leaves the cluster when it is dropped.
///
/// Until it has taken the state over, every verb fails. Times are those of the cluster's clock, which follows the node that
/// is ahead. A limit and a compare-and-set hold at one node; two nodes that are asked at the same moment may exceed a limit
/// until they have heard of each other, and then the oldest sessions end (or, where one too many is refused, the newest).
pub struct ReplicatedSessionStore {
    node: Arc<Node>,
    address: SocketAddr,
    _tasks: [AbortOnDropHandle<()>; 3],
}

impl ReplicatedSessionStore {
    /// Listens, and begins to join. `longest_token` is the longest life of an access token: so long a revocation matters.
    ///
    /// # Errors
    /// The TCP or the UDP port is not free.
    pub async fn start(config: &ReplicatedConfig, clock: Clock, longest_token: Duration) -> anyhow::Result<Self> {
        #[cfg(feature = "server")]
        crate::telemetry::describe(measures::METRICS);
        let listening = || format!("CLUSTER_LISTEN: {} cannot be listened at", config.listen);
        let cannot_listen = |error| program::cannot_listen(error, config.listen, "CLUSTER_LISTEN");
        let listener = TcpListener::bind(config.listen).await.map_err(cannot_listen)?;
        let listen = listener.local_addr()?;
        let source = (!listen.ip().is_unspecified()).then(|| listen.ip());
        let own = membership::own_address(config, listen).await;
        let seeds = Seeds::new(config, listen, own);
        let mut id = [0; 8];
        aws_lc_rs::rand::fill(&mut id).context("the system gives random bytes")?;
        let id = u64::from_be_bytes(id);
        let node = Arc::new(Node::new(id, clock, config.keys.clone(), source, config.write, longest_token));
        let membership = Membership::begin(&node, config, listen, own).await.with_context(listening)?;
        tracing::info!(address = %own, "this node is reached by the others there");
        let tasks = [
            tokio::spawn(callers::answer_all(node.clone(), listener)),
            tokio::spawn(membership.tend(node.clone())),
            tokio::spawn(joining::keep_up(node.clone(), seeds)),
        ];
        Ok(Self { node, address: own, _tasks: tasks.map(AbortOnDropHandle::new) })
    }

    /// Where the other nodes reach this one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until this node has the whole state, however long that takes.
    pub async fn joined(&self) {
        // The sender is the node's, which lives as long as this.
        let _ = self.node.standing().wait_for(Option::is_some).await;
    }

    /// How many other nodes are alive and connected, both ways.
    pub fn peers(&self) -> usize {
        let members = self.node.members();
        let is_connected = |id: &&u64| self.node.link(**id).is_some_and(|link| link.is_connected());
        members.keys().filter(is_connected).filter(|id| self.node.is_called_by(**id)).count()
    }

    /// How many sessions live.
    pub fn len(&self) -> usize {
        self.node.look(|replica| replica.table.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn change<T>(&self, verb: impl FnOnce(&mut replica::Replica) -> T) -> Result<T, StoreUnavailable> {
        arrival::before_an_effect()?;
        self.note(verb).await
    }

    /// A change that is no request's purpose.
    async fn note<T>(&self, verb: impl FnOnce(&mut replica::Replica) -> T) -> Result<T, StoreUnavailable> {
        self.node.ready()?;
        let (answer, acknowledgements): (T, Acknowledgements) = self.node.change(verb);
        acknowledgements.arrive().await;
        Ok(answer)
    }

    fn look<T>(&self, question: impl FnOnce(&mut replica::Replica) -> T) -> Result<T, StoreUnavailable> {
        self.node.ready()?;
        Ok(self.node.look(question))
    }
}

impl Drop for ReplicatedSessionStore {
    fn drop(&mut self) {
        // Each link's task holds the node, and the node its links.
        self.node.leave();
    }
}

#[async_trait]
impl SessionStore for ReplicatedSessionStore {
    async fn create(&self, new: NewSession, limit: SessionLimit) -> Result<Created, StoreUnavailable> {
        self.change(|replica| replica.create(new, limit)).await
    }

    async fn load(&self, id: SessionId) -> Result<Option<Session>, StoreUnavailable> {
        self.look(|replica| replica.table.get(id).cloned())
    }

    async fn touch(&self, id: SessionId) -> Result<Touched, StoreUnavailable> {
        self.note(|replica| replica.touch(id)).await
    }

    async fn write(
        &self,
        id: SessionId,
        changes: &[(String, Option<String>)],
        expected: Option<u64>,
    ) -> Result<Written, StoreUnavailable> {
        self.change(|replica| replica.write(id, changes, expected)).await
    }

    async fn rotate(
        &self,
        id: SessionId,
        client: &str,
        presented: u64,
        grace: Duration,
    ) -> Result<Rotation, StoreUnavailable> {
        self.change(|replica| replica.rotate(id, client, presented, grace)).await
    }

    async fn grant(&self, id: SessionId, client: &str) -> Result<Granted, StoreUnavailable> {
        self.change(|replica| replica.grant(id, client)).await
    }

    async fn end_grant(&self, id: SessionId, client: &str) -> Result<(), StoreUnavailable> {
        self.change(|replica| replica.end_grant(id, client)).await
    }

    async fn end(&self, id: SessionId, _reason: EndReason) -> Result<Option<Session>, StoreUnavailable> {
        self.change(|replica| replica.end(id)).await
    }

    async fn end_all(
        &self,
        user: UserId,
        except: Option<SessionId>,
        _reason: EndReason,
    ) -> Result<Vec<SessionId>, StoreUnavailable> {
        self.change(|replica| replica.end_all(user, except)).await
    }

    async fn list(&self, user: UserId) -> Result<Vec<Session>, StoreUnavailable> {
        self.look(|replica| replica.table.list(user))
    }

    async fn online(&self, after: Option<OnlineCursor>, limit: usize) -> Result<OnlinePage, StoreUnavailable> {
        self.look(|replica| replica.table.online(after, limit))
    }

    async fn revoke_token(&self, _user: UserId, token_id: u128) -> Result<(), StoreUnavailable> {
        self.change(|replica| replica.revoke_token(token_id)).await
    }

    fn feed_start(&self) -> FeedPosition {
        FeedPosition::default()
    }

    /// What all nodes announced. At a node that is joining it waits a moment for that, and fails.
    async fn follow(&self, position: &FeedPosition) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable> {
        // What is missing is told below.
        let _ = timeout(JOINING_PATIENCE, self.joined()).await;
        self.node.ready()?;
        Ok(self.node.follow(position).await)
    }

    /// Since the first of the nodes that handed the state on to each other began.
    fn remembers_since(&self) -> Option<Timestamp> {
        Some(self.node.remembers_since())
    }

    async fn ping(&self) -> Result<(), StoreUnavailable> {
        self.node.ready()
    }
}
