//! The session store and the revocation feed: one contract, in memory, on nodes that hold all of it, and on real Redis
//! servers, alone and many, and what happens when they are away.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cluster;
mod contract;
mod deployments;
mod equality;
mod faults;
mod in_turn;
mod measured;
mod on_redis;
mod outage;
mod private_redis;
mod revocations;
mod sealed;

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis as raw;
use in_turn::InTurn;
use shared::clock::Clock;
use shared::redis::Redis;
use shared::session::{
    AttributeKeys, Created, LimitPolicy, MemorySessionStore, NewSession, RedisSessionStore, Revocation, Revoked,
    Session, SessionId, SessionLimit, SessionStore, UserId,
};
use shared::token::PLATFORM_CLIENT;

/// The longest life of an access token in these tests.
const WINDOW: Duration = Duration::from_secs(300);
const IDLE: Duration = Duration::from_secs(1_000);
const ABSOLUTE: Duration = Duration::from_secs(10_000);
const NO_LIMIT: SessionLimit = SessionLimit { max: u32::MAX, policy: LimitPolicy::Refuse };
const CLIENT: &str = PLATFORM_CLIENT;

/// A store and the clock that moves it.
struct Subject {
    store: Arc<dyn SessionStore>,
    clock: Clock,
}

impl Subject {
    async fn in_memory() -> Option<Self> {
        let clock = Clock::default();
        Some(Self { store: Arc::new(MemorySessionStore::new(clock.clone(), WINDOW)), clock })
    }

    async fn on_redis() -> Option<Self> {
        Some(Self::at(&shared::testing::redis().await?))
    }

    async fn sealed_on_redis() -> Option<Self> {
        Some(Self::sealed_at(&shared::testing::redis().await?, sealed::keys(&[1])))
    }

    async fn on_nodes(count: usize) -> Self {
        let clock = Clock::default();
        Self { store: InTurn::of(count, &clock, WINDOW).await, clock }
    }

    fn at(url: &str) -> Self {
        Self::made_of(url, |store| store)
    }

    /// Seals attributes.
    fn sealed_at(url: &str, keys: AttributeKeys) -> Self {
        Self::made_of(url, |store| store.sealing_attributes(keys))
    }

    fn made_of(url: &str, change: impl FnOnce(RedisSessionStore) -> RedisSessionStore) -> Self {
        let clock = Clock::default();
        let store = RedisSessionStore::new(Redis::open(url).unwrap(), clock.clone(), WINDOW);
        Self { store: Arc::new(change(store)), clock }
    }

    async fn begin(&self, user: UserId) -> Session {
        let (session, ended) = self.begin_within(user, NO_LIMIT).await.unwrap();
        assert!(ended.is_empty());
        session
    }

    /// The new session and those that ended for it, or none where the limit refused it.
    async fn begin_within(&self, user: UserId, limit: SessionLimit) -> Option<(Session, Vec<SessionId>)> {
        match self.store.create(login(user), limit).await.unwrap() {
            Created::Begun { session, ended } => Some((session, ended)),
            Created::LimitReached => None,
        }
    }

    /// All that the feed has to tell a newcomer.
    async fn announced(&self) -> Vec<Revocation> {
        let (mut all, mut position) = (Vec::new(), self.store.feed_start());
        loop {
            let (entries, next) = self.store.follow(&position).await.unwrap();
            all.extend(entries);
            position = next;
            if position.is_at_end() {
                return all;
            }
        }
    }

    async fn ended_by_the_feed(&self) -> Vec<SessionId> {
        self.announced().await.iter().filter_map(|entry| session_of(entry.revoked)).collect()
    }
}

fn session_of(revoked: Revoked) -> Option<SessionId> {
    match revoked {
        Revoked::Session(id) => Some(id),
        Revoked::Token(_) => None,
    }
}

fn login(user: UserId) -> NewSession {
    NewSession {
        user,
        client: CLIENT.to_owned(),
        roles: vec!["customer".to_owned(), "a \"quoted\" role".to_owned()],
        amr: vec!["pwd".to_owned()],
        device: "Firefox on Debian".to_owned(),
        address: "192.0.2.7".to_owned(),
        attributes: Default::default(),
        idle: IDLE,
        absolute: ABSOLUTE,
    }
}

/// A plain connection, to look at what the store wrote or to spoil it.
async fn look_into(url: &str) -> raw::aio::MultiplexedConnection {
    raw::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}
