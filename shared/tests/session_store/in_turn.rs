//! A cluster as one store: each verb is asked of the next node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use shared::clock::{Clock, Timestamp};
use shared::session::{
    ClusterWrite, Created, EndReason, FeedPosition, Granted, NewSession, OnlineCursor, OnlinePage, Revocation,
    Rotation, Session, SessionId, SessionLimit, SessionStore, StoreUnavailable, Touched, UserId, Written,
};

use crate::cluster::{Network, TestNode, nodes};

pub(crate) struct InTurn {
    nodes: Vec<TestNode>,
    next: AtomicUsize,
}

impl InTurn {
    /// `window` is the longest life of an access token.
    pub(crate) async fn of(count: usize, clock: &Clock, window: Duration) -> Arc<dyn SessionStore> {
        let network = Network::with(ClusterWrite::Sync, window);
        Arc::new(Self { nodes: nodes(&network, count, clock).await, next: AtomicUsize::new(0) })
    }

    fn node(&self) -> &dyn SessionStore {
        &self.nodes[self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len()].store
    }
}

type Answer<T> = Result<T, StoreUnavailable>;

#[async_trait]
impl SessionStore for InTurn {
    async fn create(&self, new: NewSession, limit: SessionLimit) -> Answer<Created> {
        self.node().create(new, limit).await
    }

    async fn load(&self, id: SessionId) -> Answer<Option<Session>> {
        self.node().load(id).await
    }

    async fn touch(&self, id: SessionId) -> Answer<Touched> {
        self.node().touch(id).await
    }

    async fn write(
        &self,
        id: SessionId,
        changes: &[(String, Option<String>)],
        expected: Option<u64>,
    ) -> Answer<Written> {
        self.node().write(id, changes, expected).await
    }

    async fn rotate(&self, id: SessionId, client: &str, presented: u64, grace: Duration) -> Answer<Rotation> {
        self.node().rotate(id, client, presented, grace).await
    }

    async fn grant(&self, id: SessionId, client: &str) -> Answer<Granted> {
        self.node().grant(id, client).await
    }

    async fn end_grant(&self, id: SessionId, client: &str) -> Answer<()> {
        self.node().end_grant(id, client).await
    }

    async fn end(&self, id: SessionId, reason: EndReason) -> Answer<Option<Session>> {
        self.node().end(id, reason).await
    }

    async fn end_all(&self, user: UserId, except: Option<SessionId>, reason: EndReason) -> Answer<Vec<SessionId>> {
        self.node().end_all(user, except, reason).await
    }

    async fn list(&self, user: UserId) -> Answer<Vec<Session>> {
        self.node().list(user).await
    }

    async fn online(&self, after: Option<OnlineCursor>, limit: usize) -> Answer<OnlinePage> {
        self.node().online(after, limit).await
    }

    async fn revoke_token(&self, user: UserId, token_id: u128) -> Answer<()> {
        self.node().revoke_token(user, token_id).await
    }

    fn feed_start(&self) -> FeedPosition {
        self.nodes[0].store.feed_start()
    }

    /// A position is one node's.
    async fn follow(&self, position: &FeedPosition) -> Answer<(Vec<Revocation>, FeedPosition)> {
        self.nodes[0].store.follow(position).await
    }

    fn remembers_since(&self) -> Option<Timestamp> {
        self.nodes[0].store.remembers_since()
    }

    async fn ping(&self) -> Answer<()> {
        self.node().ping().await
    }
}
