//! Changes of several nodes, merged in any order, more than once, and some of them never.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use proptest::prelude::*;

use std::time::Duration;

use super::replica::Replica;
use super::wire::Change;
use crate::clock::Clock;
use crate::session::{Created, LimitPolicy, NewSession, Session, SessionId, SessionLimit, UserId};

const NODES: usize = 3;
const USERS: usize = 2;
const CLIENTS: [&str; 2] = ["web", "other"];

#[derive(Debug, Clone)]
struct Step {
    node: usize,
    verb: u8,
    session: usize,
    user: usize,
    detail: u8,
    /// Where it is put among what is to be delivered, for each node; how often; and whether at all.
    places: [u16; NODES],
    twice: bool,
    lost: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let what = (0..NODES, 0..9_u8, 0..6_usize, 0..USERS, any::<u8>());
    let how = (any::<[u16; NODES]>(), any::<bool>(), prop::bool::weighted(0.2));
    (what, how).prop_map(|((node, verb, session, user, detail), (places, twice, lost))| Step {
        node,
        verb,
        session,
        user,
        detail,
        places,
        twice,
        lost,
    })
}

fn login(user: UserId) -> NewSession {
    NewSession {
        user,
        client: CLIENTS[0].to_owned(),
        roles: vec!["customer".to_owned()],
        amr: vec!["pwd".to_owned()],
        device: "Firefox".to_owned(),
        address: "192.0.2.7".to_owned(),
        attributes: [("first".to_owned(), "1".to_owned())].into(),
        idle: Duration::from_secs(1_000),
        absolute: Duration::from_secs(10_000),
    }
}

struct World {
    nodes: Vec<Replica>,
    users: Vec<UserId>,
    begun: Vec<SessionId>,
    ended: Vec<SessionId>,
    /// What each node is still to be told.
    waiting: Vec<Vec<Change>>,
}

impl World {
    fn new() -> Self {
        let clock = Clock::default();
        let window = Duration::from_secs(300);
        Self {
            nodes: (0..NODES).map(|node| Replica::new(clock.clone(), node as u64, window)).collect(),
            users: (0..USERS).map(|_| UserId::random()).collect(),
            begun: Vec::new(),
            ended: Vec::new(),
            waiting: vec![Vec::new(); NODES],
        }
    }

    fn act(&mut self, step: &Step) {
        let user = self.users[step.user];
        let id = self.begun.get(step.session).copied().unwrap_or_else(|| SessionId::random_for(user));
        let node = &mut self.nodes[step.node];
        let client = CLIENTS[usize::from(step.detail & 1)];
        match step.verb {
            0 | 1 => {
                let policy = if step.detail & 1 == 0 { LimitPolicy::EndOldest } else { LimitPolicy::Refuse };
                let limit = SessionLimit { max: 3, policy };
                if let Created::Begun { session, ended } = node.create(login(user), limit) {
                    self.begun.push(session.id);
                    self.ended.extend(ended);
                }
            }
            2 => {
                node.touch(id);
            }
            3 => {
                let value = (step.detail & 2 == 0).then(|| step.detail.to_string());
                node.write(id, &[(["first", "second"][usize::from(step.detail & 1)].to_owned(), value)], None);
            }
            4 => drop(node.rotate(id, client, u64::from(step.detail % 3) + 1, Duration::from_secs(10))),
            5 => drop(node.grant(id, client)),
            6 => node.end_grant(id, client),
            7 => {
                node.end(id);
                self.ended.push(id);
            }
            _ => self.ended.extend(node.end_all(user, None)),
        }
    }

    /// What was changed at a node waits for the others, at any place among what waits already.
    fn send(&mut self, step: &Step) {
        let changes = self.nodes[step.node].take_outbox();
        for (node, waiting) in self.waiting.iter_mut().enumerate().filter(|(node, _)| *node != step.node) {
            for change in changes.iter().filter(|_| !step.lost) {
                for _ in 0..=usize::from(step.twice) {
                    let place = usize::from(step.places[node]) % (waiting.len() + 1);
                    waiting.insert(place, change.clone());
                }
            }
        }
    }

    fn deliver(&mut self, node: usize, most: usize) {
        let arriving: Vec<_> = {
            let waiting = &mut self.waiting[node];
            let most = most.min(waiting.len());
            waiting.drain(..most).collect()
        };
        for change in arriving {
            self.nodes[node].merge(change);
        }
    }

    /// Compares digests until all are the same, as nodes do. Answers whether they become so.
    fn heal(&mut self) -> bool {
        for _ in 0..10 {
            for (to, from) in
                (0..NODES).flat_map(|to| (0..NODES).map(move |from| (to, from))).filter(|(to, from)| to != from)
            {
                let theirs = self.nodes[from].digest.buckets().to_vec();
                for number in self.nodes[to].digest.differing(&theirs) {
                    let (entries, more) = self.nodes[from].page(number, 0);
                    assert!(!more);
                    for change in entries {
                        self.nodes[to].merge(change);
                    }
                }
            }
            let first = self.nodes[0].digest.buckets().to_vec();
            if self.nodes.iter().all(|node| node.digest.differing(&first).is_empty()) {
                return true;
            }
        }
        false
    }

    fn live(&self, node: usize) -> Vec<Session> {
        self.users.iter().flat_map(|user| self.nodes[node].table.list(*user)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_in_any_order_twice_or_lost_leave_all_nodes_with_the_same(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.act(step);
            world.send(step);
            world.deliver(step.user % NODES, usize::from(step.detail % 4));
        }
        for node in 0..NODES {
            world.deliver(node, usize::MAX);
        }
        prop_assert!(world.heal(), "the digests still differ");
        let expected = world.live(0);
        for node in 1..NODES {
            prop_assert_eq!(&world.live(node), &expected, "node {} holds something else", node);
        }
        for id in &world.ended {
            prop_assert!(expected.iter().all(|session| session.id != *id), "{} lives again", id);
        }
        for user in &world.users {
            prop_assert!(world.nodes[0].table.list(*user).len() <= 3, "the limit is exceeded");
        }
    }
}

#[test]
fn the_digest_of_a_node_that_forgot_all_is_that_of_a_new_one() {
    let clock = Clock::default();
    let mut node = Replica::new(clock.clone(), 1, Duration::from_secs(300));
    let user = UserId::random();
    let limit = SessionLimit { max: 2, policy: LimitPolicy::EndOldest };
    let ids: Vec<_> = (0..4).map(|_| node.create(login(user), limit)).collect();
    let Created::Begun { session, .. } = ids.last().unwrap() else { panic!("the oldest end") };
    node.rotate(session.id, CLIENTS[0], 1, Duration::ZERO);
    node.end_grant(session.id, CLIENTS[0]);
    node.revoke_token(7);
    node.end_all(user, None);
    assert!(node.digest.buckets().iter().any(|bucket| *bucket != 0));
    clock.advance(Duration::from_secs(40 * 86_400));
    node.prune();
    assert!(node.digest.buckets().iter().all(|bucket| *bucket == 0), "something is left in the digest");
}
