//! Memory, Redis and the nodes of a cluster, driven by the same random verbs and moves of the clock, answer the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::cmd;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use shared::clock::{Clock, Timestamp};
use shared::redis::Redis;
use shared::session::{
    Created, EndReason, LimitPolicy, MemorySessionStore, RedisSessionStore, Revoked, Rotation, Session, SessionId,
    SessionLimit, SessionStore, UserId,
};

use crate::in_turn::InTurn;
use crate::{login, look_into};

/// The clock moves in steps of this length, and every limit lies in the middle between two: a slow machine does not
/// change an answer.
const STEP: Duration = Duration::from_secs(100);
const IDLE: Duration = Duration::from_secs(1_050);
const ABSOLUTE: Duration = Duration::from_secs(3_050);
const GRACE: Duration = Duration::from_secs(150);
/// With the feed's margin of a minute: 950 seconds.
const WINDOW: Duration = Duration::from_secs(890);

/// A verb. Users and sessions are numbers; sessions count from the first that began.
#[derive(Debug, Clone)]
enum Verb {
    Create { user: usize, max: u32, refuse: bool },
    Load { session: usize },
    Touch { session: usize },
    Write { session: usize, name: u8, value: Option<u8>, expected: Option<u64> },
    Rotate { session: usize, other_client: bool, presented: u64 },
    End { session: usize },
    EndAll { user: usize, except: Option<usize> },
    List { user: usize },
    Online { size: usize },
    RevokeToken { user: usize, token: u8 },
    Feed,
    Move { steps: u32 },
}

fn verb(users: usize) -> impl Strategy<Value = Verb> {
    let (user, session) = (0..users, 0..12_usize);
    prop_oneof![
        5 => (user.clone(), 1..5_u32, any::<bool>()).prop_map(|(user, max, refuse)| Verb::Create { user, max, refuse }),
        3 => session.clone().prop_map(|session| Verb::Load { session }),
        3 => session.clone().prop_map(|session| Verb::Touch { session }),
        3 => (session.clone(), 0..3_u8, any::<Option<u8>>(), prop::option::of(0..4_u64))
            .prop_map(|(session, name, value, expected)| Verb::Write { session, name, value, expected }),
        6 => (session.clone(), prop::bool::weighted(0.1), 1..6_u64)
            .prop_map(|(session, other_client, presented)| Verb::Rotate { session, other_client, presented }),
        2 => session.clone().prop_map(|session| Verb::End { session }),
        1 => (user.clone(), prop::option::of(session)).prop_map(|(user, except)| Verb::EndAll { user, except }),
        2 => user.clone().prop_map(|user| Verb::List { user }),
        2 => (1..4_usize).prop_map(|size| Verb::Online { size }),
        1 => (user, any::<u8>()).prop_map(|(user, token)| Verb::RevokeToken { user, token }),
        1 => Just(Verb::Feed),
        5 => (1..7_u32).prop_map(|steps| Verb::Move { steps }),
    ]
}

/// One of the two stores, and the names by which its answers are compared.
struct Side {
    store: Arc<dyn SessionStore>,
    users: Vec<UserId>,
    /// In the order in which they began.
    begun: Vec<SessionId>,
    numbers: HashMap<SessionId, usize>,
    /// Ids that never were, for numbers beyond those that began.
    never: Vec<SessionId>,
    started_at: Timestamp,
}

impl Side {
    fn new(store: Arc<dyn SessionStore>, users: &[UserId], started_at: Timestamp) -> Self {
        let never = (0..12).map(|n| SessionId::random_for(users[n % users.len()])).collect();
        Self { store, users: users.to_vec(), begun: Vec::new(), numbers: HashMap::new(), never, started_at }
    }

    fn id(&self, session: usize) -> SessionId {
        self.begun.get(session).copied().unwrap_or_else(|| self.never[session])
    }

    fn name(&self, id: SessionId) -> String {
        self.numbers.get(&id).map_or_else(|| "never".to_owned(), ToString::to_string)
    }

    fn names(&self, ids: &[SessionId]) -> Vec<String> {
        ids.iter().map(|id| self.name(*id)).collect()
    }

    /// Whole steps since the start: the same on both sides, although one is a moment later.
    fn moment(&self, at: Timestamp) -> u128 {
        (at.since(self.started_at) + STEP / 2).as_micros() / STEP.as_micros()
    }

    fn shown(&self, session: &Session) -> String {
        let clients: Vec<_> =
            session.clients.iter().map(|(name, at)| (name, at.generation, self.moment(at.rotated_at))).collect();
        format!(
            "{} of {:?} {:?} {:?} v{} {:?} {clients:?} created {} seen {} expires {}",
            self.name(session.id),
            self.users.iter().position(|user| *user == session.user),
            session.roles,
            session.device,
            session.version,
            session.attributes,
            self.moment(session.created_at),
            self.moment(session.last_seen_at),
            self.moment(session.expires_at),
        )
    }

    fn all_shown(&self, sessions: &[Session]) -> Vec<String> {
        sessions.iter().map(|session| self.shown(session)).collect()
    }

    /// Does it and tells what came of it.
    async fn act(&mut self, verb: &Verb) -> String {
        let store = self.store.clone();
        match *verb {
            Verb::Create { user, max, refuse } => {
                let mut new = login(self.users[user]);
                (new.idle, new.absolute) = (IDLE, ABSOLUTE);
                let policy = if refuse { LimitPolicy::Refuse } else { LimitPolicy::EndOldest };
                match store.create(new, SessionLimit { max, policy }).await.unwrap() {
                    Created::LimitReached => "limit reached".to_owned(),
                    Created::Begun { session, ended } => {
                        self.numbers.insert(session.id, self.begun.len());
                        self.begun.push(session.id);
                        format!("{} and {:?} ended", self.shown(&session), self.names(&ended))
                    }
                }
            }
            Verb::Load { session } => {
                format!("{:?}", store.load(self.id(session)).await.unwrap().map(|session| self.shown(&session)))
            }
            Verb::Touch { session } => format!("{:?}", store.touch(self.id(session)).await.unwrap()),
            Verb::Write { session, name, value, expected } => {
                let changes = [(format!("name {name}"), value.map(|value| value.to_string()))];
                format!("{:?}", store.write(self.id(session), &changes, expected).await.unwrap())
            }
            Verb::Rotate { session, other_client, presented } => {
                let client = if other_client { "other" } else { crate::CLIENT };
                match store.rotate(self.id(session), client, presented, GRACE).await.unwrap() {
                    Rotation::Rotated { session, generation } => {
                        format!("rotated to {generation} {}", self.shown(&session))
                    }
                    Rotation::Repeated { session, generation } => {
                        format!("repeated {generation} {}", self.shown(&session))
                    }
                    Rotation::Stolen { session } => format!("stolen {}", self.shown(&session)),
                    Rotation::StolenFromClient { session } => format!("stolen from client {}", self.shown(&session)),
                    Rotation::Late => "late".to_owned(),
                    Rotation::Gone => "gone".to_owned(),
                }
            }
            Verb::End { session } => {
                let was = store.end(self.id(session), EndReason::Logout).await.unwrap();
                format!("{:?}", was.map(|session| self.shown(&session)))
            }
            Verb::EndAll { user, except } => {
                let except = except.map(|session| self.id(session));
                let ended = store.end_all(self.users[user], except, EndReason::AccountLocked).await.unwrap();
                format!("{:?}", self.names(&ended))
            }
            Verb::List { user } => format!("{:?}", self.all_shown(&store.list(self.users[user]).await.unwrap())),
            Verb::Online { size } => {
                let (mut pages, mut after) = (Vec::new(), None);
                loop {
                    let page = store.online(after, size).await.unwrap();
                    pages.push(self.all_shown(&page.sessions));
                    assert!(pages.len() <= self.begun.len() + 1, "the pages go on and on");
                    after = page.next;
                    if after.is_none() {
                        break format!("{pages:?}");
                    }
                }
            }
            Verb::RevokeToken { user, token } => {
                store.revoke_token(self.users[user], u128::from(token)).await.unwrap();
                String::new()
            }
            Verb::Feed => self.feed().await,
            Verb::Move { .. } => String::new(),
        }
    }

    /// What the feed tells a newcomer: in order for each partition.
    async fn feed(&self) -> String {
        let mut told: HashMap<u8, Vec<String>> = HashMap::new();
        let mut tokens = Vec::new();
        let (entries, position) = self.store.follow(&self.store.feed_start()).await.unwrap();
        assert!(position.is_at_end());
        for entry in entries {
            let at = self.moment(entry.at);
            match entry.revoked {
                Revoked::Session(id) => {
                    told.entry(id.partition()).or_default().push(format!("{} at {at}", self.name(id)));
                }
                Revoked::Token(id) => tokens.push((id, at)),
            }
        }
        tokens.sort_unstable();
        let mut told: Vec<_> = told.into_iter().collect();
        told.sort_unstable();
        format!("{told:?} {tokens:?}")
    }
}

/// Runs random verbs on both stores, and compares every answer.
fn compare(url: &str, users: usize, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let redis = runtime.block_on(async { Redis::open(url).unwrap() });
    let raw = runtime.block_on(look_into(url));
    let verbs = prop::collection::vec(verb(users), 1..60);
    let outcome = TestRunner::new(config).run(&verbs, |verbs| {
        runtime.block_on(async {
            let () = cmd("FLUSHDB").query_async(&mut raw.clone()).await.unwrap();
            let clock = Clock::default();
            let users: Vec<_> = (0..users).map(|_| UserId::random()).collect();
            let memory = MemorySessionStore::new(clock.clone(), WINDOW);
            let mut memory = Side::new(Arc::new(memory), &users, clock.now());
            let redis = RedisSessionStore::new(redis.clone(), clock.clone(), WINDOW);
            let mut redis = Side::new(Arc::new(redis), &users, clock.now());
            for verb in &verbs {
                if let Verb::Move { steps } = verb {
                    clock.advance(STEP * *steps);
                }
                let (expected, answer) = (memory.act(verb).await, redis.act(verb).await);
                prop_assert_eq!(expected, answer, "memory and Redis differ at {:?}", verb);
            }
            prop_assert_eq!(memory.feed().await, redis.feed().await, "the feeds differ");
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

async fn compare_on_redis(users: usize) {
    if let Some(url) = shared::testing::redis().await {
        tokio::task::spawn_blocking(move || compare(&url, users, 48)).await.unwrap();
    }
}

#[tokio::test]
async fn memory_and_redis_answer_the_same_for_one_user() {
    compare_on_redis(1).await;
}

#[tokio::test]
async fn memory_and_redis_answer_the_same_for_three_users() {
    compare_on_redis(3).await;
}

/// After this, nothing that was is known any more.
const ALL_FORGOTTEN: Duration = Duration::from_secs(40 * 86_400);

/// The same against the nodes of a cluster that are asked in turn, and against the Redis at `redis`.
async fn compare_on_nodes(count: usize, users: usize, cases: u32, redis: Option<String>) {
    let clock = Clock::default();
    let nodes = InTurn::of(count, &clock, WINDOW).await;
    let compare = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let redis =
            redis.as_ref().map(|url| runtime.block_on(async { (Redis::open(url).unwrap(), look_into(url).await) }));
        let verbs = prop::collection::vec(verb(users), 1..60);
        TestRunner::new(config).run(&verbs, |verbs| {
            runtime.block_on(async {
                clock.advance(ALL_FORGOTTEN);
                let users: Vec<_> = (0..users).map(|_| UserId::random()).collect();
                let side = |store: Arc<dyn SessionStore>| Side::new(store, &users, clock.now());
                let mut memory = side(Arc::new(MemorySessionStore::new(clock.clone(), WINDOW)));
                let mut others = vec![("the nodes", side(nodes.clone()))];
                if let Some((redis, raw)) = &redis {
                    let () = cmd("FLUSHDB").query_async(&mut raw.clone()).await.unwrap();
                    let store = RedisSessionStore::new(redis.clone(), clock.clone(), WINDOW);
                    others.push(("Redis", side(Arc::new(store))));
                }
                for verb in &verbs {
                    if let Verb::Move { steps } = verb {
                        clock.advance(STEP * *steps);
                    }
                    let expected = memory.act(verb).await;
                    for (name, other) in &mut others {
                        prop_assert_eq!(&expected, &other.act(verb).await, "memory and {} differ at {:?}", name, verb);
                    }
                }
                let expected = memory.feed().await;
                for (name, other) in &others {
                    prop_assert_eq!(&expected, &other.feed().await, "memory and {} feed otherwise", name);
                }
                Ok(())
            })
        })
    };
    if let Err(failure) = tokio::task::spawn_blocking(compare).await.unwrap() {
        panic!("{failure}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_one_node_answer_the_same() {
    compare_on_nodes(1, 2, 48, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_three_nodes_in_turn_answer_the_same() {
    compare_on_nodes(3, 3, 32, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_two_nodes_in_turn_and_redis_answer_the_same() {
    compare_on_nodes(2, 1, 48, shared::testing::redis().await).await;
}
