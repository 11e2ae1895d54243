//! Sessions on a Cluster and under Sentinel: one story, and a primary killed in the middle of it.

use std::time::{Duration, Instant};

use e2e::servers::{PrivateRedisCluster, PrivateSentinels, redis_cluster_for_test, sentinels_for_test};
use e2e::world::{eventually, expect};
use e2e::{Answer, Person, Service, World};

use crate::{NO_THROTTLE, OUTAGE, report};

enum Deployment {
    Cluster(PrivateRedisCluster),
    Sentinels(PrivateSentinels),
}

impl Deployment {
    fn url(&self) -> String {
        match self {
            Self::Cluster(cluster) => cluster.url(),
            Self::Sentinels(sentinels) => sentinels.url(),
        }
    }

    /// The server that has this session.
    fn primary_of(&self, session: &str) -> anyhow::Result<usize> {
        match self {
            Self::Cluster(cluster) => {
                let key = cluster.keys(&format!("*{session}"))?.pop().unwrap_or_default();
                let tag = key.split_inclusive('}').next().and_then(|start| start.find('{').map(|at| &start[at..]));
                cluster.primary_of(tag.unwrap_or_default())
            }
            Self::Sentinels(sentinels) => sentinels.master(),
        }
    }

    fn kill(&mut self, server: usize) -> anyhow::Result<()> {
        match self {
            Self::Cluster(cluster) => cluster.kill(server),
            Self::Sentinels(sentinels) => sentinels.kill(server),
        }
    }

    fn start_again(&mut self, server: usize) -> anyhow::Result<()> {
        match self {
            Self::Cluster(cluster) => cluster.start(server).and_then(|()| cluster.wait_until_whole()),
            Self::Sentinels(sentinels) => sentinels.start(server).and_then(|()| sentinels.wait_until_whole()),
        }
    }
}

/// Puts something into the cart, orders it, pays for it.
async fn shops(person: &Person, product: &str, key: &str) {
    expect(200, person.add_to_cart(product, 1).await);
    let order = expect(201, person.place_order_patiently(key).await).body;
    let (order, started) = (order["id"].as_str().expect("an id"), Instant::now());
    // The replicas find the new primary each for itself: the order service's may be the last one.
    while !is_done(&person.pay(order).await) {
        assert!(started.elapsed() < OUTAGE, "no payment for {OUTAGE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn leaves_everywhere(person: &Person) {
    expect(204, person.log_out().await);
    for (service, path) in [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")] {
        eventually(401, || async { person.get(&person.url(service, path)).await.status }).await;
    }
}

/// What could not be done is a 503 that says when to come back.
fn is_done(answer: &Answer) -> bool {
    if answer.status == 503 {
        assert!(answer.header("retry-after").parse::<u64>().is_ok(), "a Retry-After in seconds: {}", answer.body);
        return false;
    }
    assert_eq!(answer.status, 200, "{}", answer.body);
    true
}

async fn a_story_with_a_failover_in_the_middle(mut deployment: Deployment, name: &str) -> anyhow::Result<()> {
    let Some(world) = World::on_redis(&deployment.url(), &NO_THROTTLE).await else { return Ok(()) };
    let product = world.product(10).await;
    let (mut ada, ben) = (world.platform.customer().await, world.platform.customer().await);
    shops(&ada, &product, "before").await;
    leaves_everywhere(&ben).await;
    let mut used = ada.clone();
    expect(200, ada.refresh().await);
    expect(200, ada.refresh().await);
    let primary = deployment.primary_of(ada.session_id.as_deref().expect("a session"))?;
    // What was written so far is with the replica.
    tokio::time::sleep(Duration::from_millis(300)).await;

    deployment.kill(primary)?;
    let killed = Instant::now();
    let mut refused = 0;
    while !is_done(&ada.refresh().await) {
        refused += 1;
        // Nobody is asked who she is.
        expect(200, ada.cart().await);
        assert!(killed.elapsed() < OUTAGE, "no refresh for {OUTAGE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    report(&format!(
        "{name}: a refresh succeeds {:?} after its primary was killed; {refused} got 503",
        killed.elapsed()
    ));
    assert!(refused > 0, "nobody noticed that a primary was killed");
    // Every other part of the store is back as well.
    let started = Instant::now();
    while !is_done(&ada.other_device().log_in().await) {
        assert!(started.elapsed() < OUTAGE, "no login for {OUTAGE:?}");
    }

    expect(401, ben.present(ben.refresh_token.as_deref().expect("a token")).await);
    shops(&ada, &product, "after").await;
    deployment.start_again(primary)?;
    shops(&ada, &product, "whole-again").await;
    // A used token is theft, and ends the session everywhere.
    expect(401, used.refresh().await);
    eventually(401, || async { ada.cart().await.status }).await;
    expect(200, ada.log_in().await);
    leaves_everywhere(&ada).await;
    world.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_story_on_a_cluster_with_a_failover_in_the_middle() -> anyhow::Result<()> {
    let Some(cluster) = redis_cluster_for_test() else { return Ok(()) };
    a_story_with_a_failover_in_the_middle(Deployment::Cluster(cluster), "Cluster").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_story_under_sentinels_with_a_failover_in_the_middle() -> anyhow::Result<()> {
    let Some(sentinels) = sentinels_for_test() else { return Ok(()) };
    a_story_with_a_failover_in_the_middle(Deployment::Sentinels(sentinels), "Sentinel").await
}
