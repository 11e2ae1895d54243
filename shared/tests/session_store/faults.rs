//! A cluster in trouble: nodes that join, die and come back, a network that is cut, clocks that differ, strangers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use shared::clock::Clock;
use shared::session::{
    Created, EndReason, LimitPolicy, Revocations, Rotation, Session, SessionId, SessionLimit, SessionStore as _,
    UserId, Written,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::{KEY, Network, OTHER_KEY, TestNode, connected, nodes, until};
use crate::{CLIENT, NO_LIMIT, WINDOW, login};

const GRACE: Duration = Duration::from_secs(10);

async fn begin(node: &TestNode, user: UserId) -> Session {
    begin_within(node, user, NO_LIMIT).await
}

async fn begin_within(node: &TestNode, user: UserId, limit: SessionLimit) -> Session {
    match node.store.create(login(user), limit).await.unwrap() {
        Created::Begun { session, .. } => session,
        Created::LimitReached => panic!("the limit is reached"),
    }
}

async fn lives(node: &TestNode, id: SessionId) -> bool {
    node.store.load(id).await.unwrap().is_some()
}

/// Reads all that a node's feed has to tell now.
async fn hear(node: &TestNode, revocations: &Revocations) {
    let (entries, _) = node.store.follow(&node.store.feed_start()).await.unwrap();
    for entry in &entries {
        revocations.apply(entry);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_the_same_on_two_to_five_nodes() {
    for count in 2..=5 {
        let nodes = nodes(&Network::new(), count, &Clock::default()).await;
        for at in 0..count {
            let session = begin(&nodes[at], UserId::random()).await;
            let elsewhere = &nodes[(at + 1) % count].store;
            let change = [("cart".to_owned(), Some("7".to_owned()))];
            assert_eq!(elsewhere.write(session.id, &change, Some(0)).await.unwrap(), Written::Version(1));
            let rotated = elsewhere.rotate(session.id, CLIENT, 1, GRACE).await.unwrap();
            assert!(matches!(rotated, Rotation::Rotated { generation: 2, .. }));
            let expected = elsewhere.load(session.id).await.unwrap();
            for node in &nodes {
                assert_eq!(node.store.load(session.id).await.unwrap(), expected);
            }
            elsewhere.end(session.id, EndReason::Logout).await.unwrap();
            for node in &nodes {
                assert!(!lives(node, session.id).await);
                let revocations = Revocations::new(WINDOW, node.clock.clone());
                hear(node, &revocations).await;
                assert!(revocations.is_revoked(session.id, 0));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_under_load_has_everything_before_it_is_ready() {
    let (network, clock) = (Network::new(), Clock::default());
    let old: Arc<Vec<_>> = Arc::new(nodes(&network, 2, &clock).await);
    let user = UserId::random();
    let (live, gone) = (Arc::new(Mutex::new(HashSet::new())), Arc::new(Mutex::new(HashSet::new())));
    let mut load = tokio::task::JoinSet::new();
    for worker in 0..4 {
        let (old, live, gone) = (old.clone(), live.clone(), gone.clone());
        load.spawn(async move {
            loop {
                let kept = begin(&old[worker % 2], user).await;
                live.lock().insert(kept.id);
                let ends = begin(&old[worker % 2], user).await;
                old[(worker + 1) % 2].store.end(ends.id, EndReason::Logout).await.unwrap();
                gone.lock().insert(ends.id);
            }
        });
    }
    until("there are some sessions", async || live.lock().len() > 200).await;
    let new = TestNode::begin(&network, 2, &[0], clock).await;
    assert!(new.store.ping().await.is_err(), "it is ready before it has anything");
    assert!(new.store.load(SessionId::random_for(user)).await.is_err(), "it answers before it has anything");
    let mut known = (HashSet::new(), HashSet::new());
    until("the node is ready", async || {
        known = (live.lock().clone(), gone.lock().clone());
        new.store.ping().await.is_ok()
    })
    .await;
    for id in &known.0 {
        assert!(lives(&new, *id).await, "{id} of {} is missing", known.0.len());
    }
    for id in &known.1 {
        assert!(!lives(&new, *id).await, "{id} of {} lives again", known.1.len());
    }
    assert_eq!(new.store.remembers_since(), old[0].store.remembers_since());
    load.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_of_two_nodes_may_be_lost() {
    for lost in 0..2 {
        let mut nodes = nodes(&Network::new(), 2, &Clock::default()).await;
        let user = UserId::random();
        let sessions = [begin(&nodes[0], user).await, begin(&nodes[1], user).await];
        drop(nodes.remove(lost));
        let left = &nodes[0];
        for session in &sessions {
            assert!(lives(left, session.id).await);
        }
        begin(left, user).await;
        left.store.end(sessions[0].id, EndReason::Logout).await.unwrap();
        assert_eq!(left.store.list(user).await.unwrap().len(), 2);
        left.store.ping().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_takes_over_what_it_missed() {
    let (network, clock) = (Network::new(), Clock::default());
    let mut nodes = nodes(&network, 2, &clock).await;
    let user = UserId::random();
    let (stays, ends) = (begin(&nodes[0], user).await, begin(&nodes[0], user).await);
    drop(nodes.remove(0));
    nodes[0].store.end(ends.id, EndReason::Logout).await.unwrap();
    let later = begin(&nodes[0], user).await;
    let back = TestNode::begin(&network, 0, &[1], clock).await;
    back.store.joined().await;
    assert_eq!(back.store.list(user).await.unwrap(), nodes[0].store.list(user).await.unwrap());
    assert!(lives(&back, stays.id).await && lives(&back, later.id).await && !lives(&back, ends.id).await);
    assert_eq!(back.store.remembers_since(), nodes[0].store.remembers_since());
    let revocations = Revocations::new(WINDOW, back.clock.clone());
    hear(&back, &revocations).await;
    assert!(revocations.is_revoked(ends.id, 0), "a newcomer's feed tells what ended before it came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_heals_and_what_ended_stays_ended() {
    let network = Network::new();
    let nodes = nodes(&network, 3, &Clock::default()).await;
    let user = UserId::random();
    let (ends, stays) = (begin(&nodes[0], user).await, begin(&nodes[1], user).await);
    network.part(&[0], &[1, 2]);
    // Each side waits for the other once, and then no longer.
    nodes[0].store.end(ends.id, EndReason::EndedByAdministrator).await.unwrap();
    let here = begin(&nodes[0], user).await;
    let there = begin(&nodes[1], user).await;
    let rotated = nodes[1].store.rotate(ends.id, CLIENT, 1, GRACE).await.unwrap();
    assert!(matches!(rotated, Rotation::Rotated { generation: 2, .. }), "the other side does not know yet");
    assert!(lives(&nodes[2], ends.id).await && !lives(&nodes[2], here.id).await);
    network.heal();
    until("all hold the same", async || {
        let lists = [&nodes[0], &nodes[1], &nodes[2]].map(async |node| node.store.list(user).await.unwrap());
        let [first, second, third] = futures_util::future::join_all(lists).await.try_into().unwrap();
        first == second && second == third && first.len() == 3
    })
    .await;
    for node in &nodes {
        assert!(!lives(node, ends.id).await);
        assert!(lives(node, stays.id).await && lives(node, here.id).await && lives(node, there.id).await);
    }
    connected(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_arrives_late_is_announced_anew_on_both_sides() {
    let (network, clock) = (Network::new(), Clock::default());
    let nodes = nodes(&network, 2, &clock).await;
    let session = begin(&nodes[0], UserId::random()).await;
    network.part(&[0], &[1]);
    nodes[0].store.end(session.id, EndReason::Logout).await.unwrap();
    // Longer than a token lives: the first announcement is forgotten. Tokens were issued on the other side meanwhile.
    clock.advance(WINDOW * 2);
    network.heal();
    for node in &nodes {
        let heard = async || {
            let revocations = Revocations::new(WINDOW, node.clock.clone());
            hear(node, &revocations).await;
            revocations.is_revoked(session.id, 0)
        };
        until("the end is announced", heard).await;
        assert!(!lives(node, session.id).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_all_ends_what_had_begun_on_the_other_side_of_a_partition() {
    let network = Network::new();
    let nodes = nodes(&network, 2, &Clock::default()).await;
    let user = UserId::random();
    network.part(&[0], &[1]);
    let unknown = begin(&nodes[1], user).await;
    let spared = begin(&nodes[0], user).await;
    nodes[0].store.end_all(user, Some(spared.id), EndReason::PasswordChanged).await.unwrap();
    network.heal();
    until("the other side has heard", async || !lives(&nodes[1], unknown.id).await).await;
    until("the spared session is known", async || lives(&nodes[1], spared.id).await).await;
    let later = begin(&nodes[1], user).await;
    assert!(lives(&nodes[0], later.id).await, "what begins after it lives");
    assert!(!lives(&nodes[0], unknown.id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_two_sides_exceeded_holds_again() {
    for (policy, expected) in [(LimitPolicy::EndOldest, [2, 3]), (LimitPolicy::Refuse, [0, 1])] {
        let network = Network::new();
        let nodes = nodes(&network, 2, &Clock::default()).await;
        let (user, limit) = (UserId::random(), SessionLimit { max: 2, policy });
        network.part(&[0], &[1]);
        let mut begun = Vec::new();
        for at in [0, 1, 0, 1] {
            begun.push(begin_within(&nodes[at], user, limit).await.id);
        }
        network.heal();
        let expected: HashSet<_> = expected.into_iter().map(|at: usize| begun[at]).collect();
        for node in &nodes {
            let left = async || -> HashSet<_> {
                node.store.list(user).await.unwrap().iter().map(|session| session.id).collect()
            };
            until("the limit holds", async || left().await == expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_a_minute_apart_agree_on_what_came_last() {
    let network = Network::new();
    let mut nodes = nodes(&network, 1, &Clock::default()).await;
    let ahead = Clock::default();
    ahead.advance(Duration::from_secs(60));
    nodes.push(TestNode::begin(&network, 1, &[0], ahead).await);
    nodes[1].store.joined().await;
    connected(&nodes).await;
    let session = begin(&nodes[1], UserId::random()).await;
    let write = async |node: &TestNode, value: &str| {
        let change = [("cart".to_owned(), Some(value.to_owned()))];
        assert!(matches!(node.store.write(session.id, &change, None).await.unwrap(), Written::Version(_)));
    };
    for round in 0..10 {
        for at in [1, 0] {
            let value = format!("{round} at {at}");
            write(&nodes[at], &value).await;
            for node in &nodes {
                assert_eq!(node.store.load(session.id).await.unwrap().unwrap().attributes["cart"], value);
            }
        }
    }
    let second = begin(&nodes[0], session.user).await;
    assert!(second.created_at > session.created_at, "the later login is the later one");
    nodes[0].store.end(session.id, EndReason::Logout).await.unwrap();
    assert!(!lives(&nodes[1], session.id).await && lives(&nodes[1], second.id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_come_twice_and_in_disorder_keep_the_nodes_together() {
    let network = Network::new();
    network.make_messy();
    let nodes = nodes(&network, 3, &Clock::default()).await;
    for round in 0..50 {
        let session = begin(&nodes[round % 3], UserId::random()).await;
        assert!(lives(&nodes[(round + 1) % 3], session.id).await);
        nodes[(round + 2) % 3].store.end(session.id, EndReason::Logout).await.unwrap();
        assert!(!lives(&nodes[round % 3], session.id).await);
    }
    connected(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_only_not_heard_of_still_gets_every_change() {
    let network = Network::new();
    let nodes = nodes(&network, 2, &Clock::default()).await;
    network.lose_packets(true);
    until("each takes the other for dead", async || nodes.iter().all(|node| node.store.peers() == 0)).await;
    for at in [0, 1, 0] {
        let session = begin(&nodes[at], UserId::random()).await;
        assert!(lives(&nodes[1 - at], session.id).await, "the connection was there, and was not used");
        nodes[1 - at].store.end(session.id, EndReason::Logout).await.unwrap();
        assert!(!lives(&nodes[at], session.id).await);
    }
    network.lose_packets(false);
    connected(&nodes).await;
    let session = begin(&nodes[0], UserId::random()).await;
    assert!(lives(&nodes[1], session.id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_key_is_no_node_and_never_ready() {
    let (network, clock) = (Network::new(), Clock::default());
    let first = TestNode::begin(&network, 0, &[], clock.clone()).await;
    first.store.joined().await;
    begin(&first, UserId::random()).await;
    let stranger = TestNode::begin_with(&network, 1, &[0], clock, OTHER_KEY).await;
    until("the stranger says what is wrong", async || {
        stranger.store.ping().await.is_err_and(|error| error.to_string().contains("CLUSTER_KEY"))
    })
    .await;
    assert_eq!((first.store.peers(), stranger.store.peers(), stranger.store.len()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_node_by_node() {
    let (network, clock) = (Network::new(), Clock::default());
    let rings = [KEY.to_owned(), format!("{KEY},{OTHER_KEY}"), format!("{OTHER_KEY},{KEY}")];
    let mut nodes = Vec::new();
    // An older key seals until every node opens the new one.
    for (at, ring) in rings.iter().take(2).enumerate() {
        let seeds: &[usize] = if at == 0 { &[] } else { &[0] };
        nodes.push(TestNode::begin_with(&network, at, seeds, clock.clone(), ring).await);
        nodes[at].store.joined().await;
    }
    connected(&nodes).await;
    let session = begin(&nodes[0], UserId::random()).await;
    drop(nodes.remove(0));
    // The first comes back with the new one in front; the second opens both.
    nodes.push(TestNode::begin_with(&network, 0, &[1], clock, &rings[2]).await);
    nodes[1].store.joined().await;
    connected_of(&nodes).await;
    assert!(lives(&nodes[1], session.id).await);
}

/// As `connected`, where dead nodes may be in between.
async fn connected_of(nodes: &[TestNode]) {
    until("the nodes are connected", async || nodes.iter().all(|node| node.store.peers() >= nodes.len() - 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_at_the_port_gets_nothing_and_does_no_harm() {
    let network = Network::new();
    let nodes = nodes(&network, 2, &Clock::default()).await;
    let session = begin(&nodes[0], UserId::random()).await;
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0], &[0xff; 4_096], &[0, 48, 1, 2, 3]] {
        let mut stream = TcpStream::connect(network.listens(0)).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        // It is hung up on, with or without a reset.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{said:?} was answered");
    }
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for packet in [&b""[..], b"junk", &[1; 600]] {
        socket.send_to(packet, network.listens(0)).await.unwrap();
    }
    nodes[1].store.end(session.id, EndReason::Logout).await.unwrap();
    assert!(!lives(&nodes[0], session.id).await);
    connected(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_begin_at_once_become_one_cluster() {
    let (network, clock) = (Network::new(), Clock::default());
    let mut nodes = Vec::new();
    for at in 0..3 {
        nodes.push(TestNode::begin(&network, at, &[0, 1, 2], clock.clone()).await);
    }
    for node in &nodes {
        node.store.joined().await;
    }
    connected(&nodes).await;
    let session = begin(&nodes[0], UserId::random()).await;
    assert!(lives(&nodes[1], session.id).await && lives(&nodes[2], session.id).await);
    assert_eq!(nodes[1].store.remembers_since(), nodes[0].store.remembers_since());
}
