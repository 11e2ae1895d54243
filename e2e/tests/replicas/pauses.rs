//! Replicas that stand still for a while (SIGSTOP) and wake, and replicas that start while Redis is away, while people go on
//! at the others. The attacks HF1, HF2, HF4 and HF5 on real processes.

use std::time::{Duration, Instant};

use e2e::{Answer, Entrance, Person, Replica, Service};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::World;
use crate::world::{at_once, eventually, expect};

/// Longer than the shortest pause that counts.
const PAUSE: Duration = Duration::from_millis(2_500);
const SHORT_GRACE: [(&str, &str); 1] = [("REFRESH_GRACE", "4s")];
const PAST_THE_GRACE: Duration = Duration::from_secs(5);
/// How long a client waits before it turns to another replica.
const CLIENTS_PATIENCE: Duration = Duration::from_secs(3);
/// How many refresh at the gateway.
const PEOPLE: usize = 8;
/// What a replica may take until it knows all again.
const PATIENCE: Duration = Duration::from_secs(20);

const ORDINARY: [(Service, &str); 3] =
    [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")];

async fn past_the_gateway(settings: &[(&str, &str)]) -> Option<World> {
    let mut world = World::replicated(settings).await?;
    world.platform.enter_by(Entrance::Replicas);
    Some(world)
}

fn at(world: &World, replica: Replica, path: &str) -> String {
    format!("{}{path}", world.platform.replica(replica))
}

/// Logs out at the auth service's other replica: the answer confirms that the session has ended everywhere.
async fn log_out_elsewhere(world: &World, person: &Person) {
    let url = at(world, Service::Auth.replica(1), "/auth/logout");
    // Redis may have come back only a moment ago.
    eventually(204, || async { person.send(Method::POST, &url, None, &[]).await.status }).await;
}

/// Asks with an ended session until it is refused: it must never be taken.
async fn is_never_taken(person: &Person, url: &str) {
    let begun = Instant::now();
    loop {
        let answer = person.get(url).await;
        assert!([401, 503].contains(&answer.status), "{url} answers {} to an ended session", answer.status);
        if answer.status == 401 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{url} still does not know");
    }
}

/// How many requests a replica did not carry out because they came too late.
async fn late_requests(world: &World, replica: Replica) -> u64 {
    let metrics = world.platform.person().get(&at(world, replica, "/metrics")).await.body;
    let lines = metrics.as_str().expect("metrics").lines();
    let counts = lines.filter(|line| line.starts_with("roam_late_requests_total{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

async fn until_late(world: &World, replica: Replica, before: u64) {
    let begun = Instant::now();
    while late_requests(world, replica).await <= before {
        assert!(begun.elapsed() < PATIENCE, "no request was refused as too late");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Refreshes as a client does that keeps to the contract: after a 503, again.
async fn refresh_patiently(person: &mut Person) {
    let begun = Instant::now();
    loop {
        let answer = person.refresh().await;
        if answer.status == 200 {
            return;
        }
        may_be_repeated(&answer);
        assert!(begun.elapsed() < PATIENCE, "still 503");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn may_be_repeated(answer: &Answer) {
    // The gateway says 502 or 504 while the replica stands still that it chose; a refresh may be repeated then, too.
    assert!((502..=504).contains(&answer.status) && answer.code() == "unavailable", "{}", answer.body);
    assert!(answer.header("retry-after").parse::<u64>().is_ok(), "a Retry-After in seconds");
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

/// Two customers for each ordinary request: nobody signs in at a replica that has just woken, or while Redis comes back.
async fn pairs(world: &World) -> Vec<(Person, Person)> {
    let mut pairs = Vec::new();
    for _ in ORDINARY {
        pairs.push((world.platform.customer().await, world.platform.customer().await));
    }
    pairs
}

#[tokio::test]
async fn hf2_a_replica_that_wakes_takes_no_session_that_ended_while_it_stood_still() {
    let Some(mut world) = past_the_gateway(&[]).await else { return };
    for ((service, path), (ada, bob)) in ORDINARY.into_iter().zip(pairs(&world).await) {
        let replica = service.replica(0);
        let url = at(&world, replica, path);
        expect(200, ada.get(&url).await);
        world.platform.pause(replica);
        log_out_elsewhere(&world, &ada).await;
        // Some lie in its sockets when it wakes, others come right after.
        let lying = at_once(20, |_| ada.get(&url));
        let wake = async {
            tokio::time::sleep(PAUSE).await;
            world.platform.resume(replica);
            is_never_taken(&ada, &url).await;
        };
        let (lying, ()) = tokio::join!(lying, wake);
        for answer in lying {
            assert!([401, 503].contains(&answer.status), "{url} answers {} to an ended session", answer.status);
        }
        eventually(200, || async { bob.get(&url).await.status }).await;
    }
    world.finish();
}

#[tokio::test]
async fn hf2_a_replica_that_wakes_while_redis_is_away_waits_for_it() {
    let Some(mut world) = past_the_gateway(&[]).await else { return };
    for ((service, path), (ada, bob)) in ORDINARY.into_iter().zip(pairs(&world).await) {
        let replica = service.replica(0);
        let url = at(&world, replica, path);
        expect(200, ada.get(&url).await);
        world.platform.pause(replica);
        log_out_elsewhere(&world, &ada).await;
        tokio::time::sleep(PAUSE).await;
        world.redis.as_mut().expect("a Redis").freeze().expect("it freezes");
        world.platform.resume(replica);
        let begun = Instant::now();
        while begun.elapsed() < PAUSE {
            // The end may have been told just before the pause.
            let ended = ada.get(&url).await.status;
            assert!([401, 503].contains(&ended), "{url} answers {ended} to an ended session");
            assert_eq!(bob.get(&url).await.status, 503, "{url}: whether a session has ended cannot be known");
        }
        world.redis.as_mut().expect("a Redis").thaw().expect("it thaws");
        is_never_taken(&ada, &url).await;
        eventually(200, || async { bob.get(&url).await.status }).await;
    }
    world.finish();
}

#[tokio::test]
async fn hf1_a_replica_that_starts_while_redis_is_away_takes_no_session_before_it_knows_which_have_ended() {
    let Some(mut world) = past_the_gateway(&[]).await else { return };
    let product = world.product(5).await;
    let (ada, bob) = (world.platform.customer().await, world.platform.customer().await);
    for (service, path) in [(Service::Cart, "/cart"), (Service::Orders, "/orders")] {
        expect(200, ada.get(&at(&world, service.replica(0), path)).await);
        for number in 0..2 {
            world.platform.kill(service.replica(number));
        }
    }
    log_out_elsewhere(&world, &ada).await;
    world.redis.as_mut().expect("a Redis").freeze().expect("it freezes");
    for service in [Service::Cart, Service::Orders] {
        for number in 0..2 {
            world.platform.launch(service.replica(number));
        }
    }
    let status = |url: String| {
        let ada = ada.clone();
        async move { ada.try_send(Method::GET, &url, None, &[]).await.map_or(0, |answer| answer.status) }
    };
    for (service, path) in [(Service::Cart, "/cart"), (Service::Orders, "/orders")] {
        for number in 0..2 {
            let replica = service.replica(number);
            eventually(503, || status(at(&world, replica, "/readyz"))).await;
            for person in [&ada, &bob] {
                assert_eq!(person.get(&at(&world, replica, path)).await.status, 503);
            }
        }
    }
    for number in 0..2 {
        let (items, line) =
            (at(&world, Service::Cart.replica(number), "/cart/items"), json!({"product_id": product, "quantity": 1}));
        assert_eq!(ada.post(&items, &line).await.status, 503);
        let orders = at(&world, Service::Orders.replica(number), "/orders");
        assert_eq!(ada.send(Method::POST, &orders, None, &[("Idempotency-Key", "ended")]).await.status, 503);
    }
    world.redis.as_mut().expect("a Redis").thaw().expect("it thaws");
    for (service, path) in [(Service::Cart, "/cart"), (Service::Orders, "/orders")] {
        for number in 0..2 {
            let url = at(&world, service.replica(number), path);
            is_never_taken(&ada, &url).await;
            eventually(200, || async { bob.get(&url).await.status }).await;
        }
    }
    world.finish();
}

#[tokio::test]
async fn hf4_a_refresh_that_lay_at_a_paused_replica_signs_nobody_out() {
    let Some(mut world) = past_the_gateway(&SHORT_GRACE).await else { return };
    let [paused, other] = [0, 1].map(|number| Service::Auth.replica(number));
    let [lies_at, goes_on_at] = [paused, other].map(|replica| at(&world, replica, "/auth/refresh"));
    let before = late_requests(&world, paused).await;
    let (ada, bob) = (world.platform.customer().await, world.platform.customer().await);
    let body = |token: &str| json!({"refresh_token": token});
    let refreshed = async |person: &Person, token: &str| {
        let answer = expect(200, person.post(&goes_on_at, &body(token)).await);
        answer.body["refresh_token"].as_str().expect("a refresh token").to_owned()
    };
    world.platform.pause(paused);
    let first = ada.refresh_token.clone().expect("a refresh token");
    // Ada gives up and repeats it elsewhere; the token is used twice more before the first replica wakes.
    timeout(CLIENTS_PATIENCE, ada.post(&lies_at, &body(&first))).await.expect_err("the replica stands still");
    let mut adas = refreshed(&ada, &first).await;
    adas = refreshed(&ada, &adas).await;
    // Bob's client repeats it without hanging up.
    let bobs_first = bob.refresh_token.clone().expect("a refresh token");
    let bobs = async {
        let next = refreshed(&bob, &bobs_first).await;
        let next = refreshed(&bob, &next).await;
        tokio::time::sleep(PAST_THE_GRACE).await;
        world.platform.resume(paused);
        next
    };
    let bobs_body = body(&bobs_first);
    let (lay, bobs) = tokio::join!(bob.post(&lies_at, &bobs_body), bobs);
    may_be_repeated(&lay);
    // Bob's is told as too late; Ada's connection may be over before her request is read.
    until_late(&world, paused, before).await;
    for (person, token) in [(&ada, &adas), (&bob, &bobs)] {
        let next = refreshed(person, token).await;
        eventually(200, || async { person.post(&lies_at, &body(&next)).await.status }).await;
    }
    let metrics = ada.get(&at(&world, paused, "/metrics")).await.body;
    let metrics = metrics.as_str().expect("metrics");
    assert!(metrics.contains("roam_refreshes_total{outcome=\"stolen\"} 0"), "{metrics}");
    world.finish();
}

#[tokio::test]
async fn hf4_a_refresh_that_lay_at_a_paused_replica_signs_nobody_out_behind_the_gateway() {
    let Some(mut world) = World::replicated(&SHORT_GRACE).await else { return };
    world.platform.enter_by(Entrance::Gateway);
    let paused = Service::Auth.replica(0);
    let before = late_requests(&world, paused).await;
    let mut people = Vec::new();
    for _ in 0..PEOPLE {
        people.push(world.platform.customer().await);
    }
    world.platform.pause(paused);
    // At once, so that the gateway has no time to find out that one of the two replicas does not answer.
    let refreshes = people.iter_mut().map(async |person| {
        let (begun, mut gave_up) = (Instant::now(), 0);
        loop {
            assert!(begun.elapsed() < PATIENCE * 2, "the gateway leads to the other replica as well");
            match timeout(CLIENTS_PATIENCE, person.refresh()).await {
                Err(_) => gave_up += 1,
                Ok(answer) if answer.status == 200 => return gave_up,
                Ok(_) => {}
            }
        }
    });
    let gave_up: usize = join_all(refreshes).await.into_iter().sum();
    assert!(gave_up > 0, "no request went to the replica that stands still");
    for person in &mut people {
        refresh_patiently(person).await;
    }
    tokio::time::sleep(PAST_THE_GRACE).await;
    world.platform.resume(paused);
    until_late(&world, paused, before).await;
    for person in &mut people {
        eventually(200, || async { person.me().await.status }).await;
        refresh_patiently(person).await;
    }
    world.finish();
}

#[tokio::test]
async fn hf4_what_lay_at_a_paused_replica_is_not_put_into_the_cart_a_second_time() {
    let Some(mut world) = past_the_gateway(&[]).await else { return };
    let product = world.product(5).await;
    let ada = world.platform.customer().await;
    let [paused, other] = [0, 1].map(|number| Service::Cart.replica(number));
    let before = late_requests(&world, paused).await;
    let line = json!({"product_id": product, "quantity": 1});
    world.platform.pause(paused);
    let lies_at = at(&world, paused, "/cart/items");
    timeout(CLIENTS_PATIENCE, ada.post(&lies_at, &line)).await.expect_err("the replica stands still");
    let added = ada.post(&at(&world, other, "/cart/items"), &line).await;
    assert!(added.status < 300, "{}", added.body);
    tokio::time::sleep(PAUSE).await;
    world.platform.resume(paused);
    until_late(&world, paused, before).await;
    let cart = expect(200, ada.get(&at(&world, other, "/cart")).await).body;
    assert_eq!(cart["lines"][0]["quantity"], 1, "{cart}");
    world.finish();
}

#[tokio::test]
async fn hf5_complete_requests_that_lay_at_a_paused_replica_are_answered_or_may_be_repeated() {
    let Some(mut world) = past_the_gateway(&[]).await else { return };
    let paused = Service::Cart.replica(0);
    let ada = world.platform.customer().await;
    let (products, items) = (at(&world, paused, "/products"), at(&world, paused, "/cart/items"));
    let line = json!({"product_id": world.product(5).await, "quantity": 1});
    world.platform.pause(paused);
    let wake = async {
        // Longer than any head may take.
        tokio::time::sleep(Duration::from_secs(12)).await;
        world.platform.resume(paused);
    };
    let reads = at_once(10, |_| ada.get(&products));
    let writes = at_once(10, |_| ada.post(&items, &line));
    let (reads, writes, ()) = tokio::join!(reads, writes, wake);
    reads.into_iter().for_each(|answer| drop(expect(200, answer)));
    writes.iter().for_each(may_be_repeated);
    world.finish();
}
