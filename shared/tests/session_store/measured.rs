//! What a cluster costs, printed: until a change is seen on every node, what joining takes, what a session weighs.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use shared::clock::Clock;
use shared::session::{ClusterWrite, EndReason, SessionStore as _, UserId};

use crate::cluster::{Network, TestNode, nodes};
use crate::{NO_LIMIT, WINDOW, login};

const TIMES: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "what a measurement is for")]
async fn a_change_is_seen_on_every_node_in_a_moment() {
    for count in 2..=5 {
        let network = Network::with(ClusterWrite::Async, WINDOW);
        let nodes = nodes(&network, count, &Clock::default()).await;
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let store = &nodes[0].store;
            let began = Instant::now();
            let shared::session::Created::Begun { session, .. } =
                store.create(login(UserId::random()), NO_LIMIT).await.unwrap()
            else {
                panic!("there is no limit");
            };
            everywhere(&nodes, async |node| node.store.load(session.id).await.unwrap().is_some()).await;
            begun.push(began.elapsed());
            let began = Instant::now();
            store.end(session.id, EndReason::Logout).await.unwrap();
            everywhere(&nodes, async |node| node.store.load(session.id).await.unwrap().is_none()).await;
            ended.push(began.elapsed());
        }
        println!("{count} nodes: a login is everywhere after {}, an end after {}", shown(begun), shown(ended));
    }
}

async fn everywhere(nodes: &[TestNode], is_so: impl AsyncFn(&TestNode) -> bool) {
    for node in nodes {
        while !is_so(node).await {
            tokio::task::yield_now().await;
        }
    }
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("{:?} (median), {:?} (at most)", times[times.len() / 2], times[times.len() - 1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sessions_are_taken_over() {
    take_over(10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute; its figures are in docs/replicated.md"]
async fn a_hundred_thousand_sessions_are_taken_over() {
    take_over(100_000).await;
}

#[expect(clippy::print_stdout, reason = "what a measurement is for")]
async fn take_over(sessions: usize) {
    let (network, clock) = (Network::new(), Clock::default());
    let first = TestNode::begin(&network, 0, &[], clock.clone()).await;
    first.store.joined().await;
    let before = resident();
    for some in (0..sessions).collect::<Vec<_>>().chunks(1_000) {
        join_all(some.iter().map(|_| first.store.create(login(UserId::random()), NO_LIMIT))).await;
    }
    let weight = resident().saturating_sub(before) / sessions;
    let began = Instant::now();
    let second = TestNode::begin(&network, 1, &[0], clock).await;
    second.store.joined().await;
    println!("{sessions} sessions weigh {weight} bytes each, and were taken over in {:?}", began.elapsed());
    assert_eq!(second.store.len(), sessions);
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}
