//! The strategy `sticky`: all-in-one nodes that each have sessions of their own, and a gateway that leads a browser to its node.

use e2e::{Entrance, Person, Service, World};
use reqwest::Method;
use serde_json::json;

use crate::by_cookie::somebody_shops;
use crate::load::NO_THROTTLE;
use crate::world::{eventually, expect};

const NODES: usize = 3;
const OWN: [(Service, &str); 3] = [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")];
const FAILOVERS: &str = "roam_route_failovers_total";

async fn nodes(pin: &str) -> Option<World> {
    // The test is the load balancer in front, and tells whom it speaks for.
    let pinned = [("SESSION_STRATEGY", "sticky"), ("GATEWAY_PIN", pin), ("GATEWAY_TRUSTED_PROXIES", "127.0.0.1")];
    let mut world = World::nodes(NODES, &[&pinned[..], &NO_THROTTLE].concat()).await?;
    world.platform.enter_by(Entrance::Gateway);
    Some(world)
}

/// Which node knows this session.
async fn node_of(world: &World, session: &str) -> usize {
    // With a browser of its own: the nodes tell it who they are.
    let person = world.platform.person();
    let cookie = format!("SESSIONID={session}");
    let mut found = Vec::new();
    for node in 0..NODES {
        let url = format!("{}/auth/me", world.platform.replica(Service::Auth.replica(node)));
        let answer = person.try_send(Method::GET, &url, None, &[("Cookie", &cookie)]).await;
        if answer.is_ok_and(|answer| answer.status == 200) {
            found.push(node);
        }
    }
    assert_eq!(found.len(), 1, "a session is at one node");
    found[0]
}

/// How many requests of other nodes' browsers the nodes that live have counted.
async fn failovers(world: &World, but: usize) -> f64 {
    let person = world.platform.person();
    let mut sum = 0.0;
    for node in (0..NODES).filter(|node| *node != but) {
        let url = format!("{}/metrics", world.platform.replica(Service::Auth.replica(node)));
        let text = expect(200, person.get(&url).await).body;
        let lines = text.as_str().expect("text").lines().filter(|line| line.starts_with(FAILOVERS));
        sum += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    sum
}

#[tokio::test]
async fn a_browser_is_led_to_its_node_by_a_cookie_and_to_another_when_that_dies() {
    let Some(mut world) = nodes("cookie").await else { return };
    // Somebody at each node, and who has shopped at hers.
    let mut people = vec![somebody_shops(&world).await];
    let mut homes = vec![node_of(&world, &people[0].cookies()["SESSIONID"]).await];
    while homes.iter().collect::<std::collections::BTreeSet<_>>().len() < NODES {
        let person = world.platform.customer().await;
        homes.push(node_of(&world, &person.cookies()["SESSIONID"]).await);
        people.push(person);
    }
    for (person, home) in people.iter().zip(&homes) {
        let route = &person.cookies()["ROUTEID"];
        assert!(route.len() == 64 && route.bytes().all(|byte| byte.is_ascii_hexdigit()), "{route}");
        for (one, other) in people.iter().zip(&homes) {
            assert_eq!(one.cookies()["ROUTEID"] == *route, home == other, "a name stands for one node");
        }
        // More often than there are nodes: nobody comes by chance.
        for _ in 0..4 {
            for (service, path) in OWN {
                expect(200, person.get(&person.url(service, path)).await);
            }
        }
    }
    assert_eq!(failovers(&world, NODES).await, 0.0, "nobody was led elsewhere");

    let dead = homes[0];
    world.platform.kill(Service::Auth.replica(dead));
    let mut led_elsewhere = 0.0;
    for (person, home) in people.iter_mut().zip(&homes) {
        if *home != dead {
            expect(200, person.get(&person.url(Service::Cart, "/cart")).await);
            continue;
        }
        let before = person.cookies();
        let asked = expect(401, person.get(&person.url(Service::Auth, "/auth/me")).await);
        assert!(asked.header("set-cookie").contains("ID="), "{:?}", asked.headers);
        led_elsewhere += 1.0;
        let after = person.cookies();
        assert_ne!(after["ROUTEID"], before["ROUTEID"], "a new home");
        assert!(!after.contains_key("SESSIONID"), "its session is lost, and it is told so");
        expect(200, person.log_in().await);
        for _ in 0..4 {
            for (service, path) in OWN {
                expect(200, person.get(&person.url(service, path)).await);
            }
        }
    }
    assert_eq!(failovers(&world, dead).await, led_elsewhere, "each was counted once");
    let paid = expect(200, people[0].orders().await).body;
    assert_eq!(paid["items"][0]["status"], "paid", "what may not be lost is in SQL");

    // It comes back under its name, and nobody who has a home elsewhere is led to it.
    world.platform.restart(Service::Auth.replica(dead)).await;
    for person in &people {
        expect(200, person.me().await);
    }
    world.finish();
}

/// Somebody who comes from an address of their own and keeps the session's cookie alone.
struct Visitor {
    person: Person,
    address: String,
    session: String,
}

impl Visitor {
    async fn signs_in(world: &World, address: String) -> Self {
        let person = world.platform.person();
        expect(201, person.register().await);
        let mut visitor = Self { person, address, session: String::new() };
        visitor.logs_in().await;
        visitor
    }

    async fn logs_in(&mut self) {
        let url = self.person.url(Service::Auth, "/auth/login");
        let body = json!({"email": self.person.credentials.email, "password": self.person.credentials.password});
        let headers = [("X-Forwarded-For", self.address.as_str()), ("Cookie", "")];
        expect(200, self.person.send(Method::POST, &url, Some(&body), &headers).await);
        self.session = self.person.cookies()["SESSIONID"].clone();
    }

    async fn statuses(&self) -> Vec<u16> {
        let cookie = format!("SESSIONID={}", self.session);
        let headers = [("X-Forwarded-For", self.address.as_str()), ("Cookie", &cookie)];
        let mut statuses = Vec::new();
        for (service, path) in OWN {
            statuses.push(self.person.send(Method::GET, &self.person.url(service, path), None, &headers).await.status);
        }
        statuses
    }
}

#[tokio::test]
async fn a_client_is_led_to_its_node_by_its_address_and_to_another_when_that_dies() {
    let Some(mut world) = nodes("address").await else { return };
    let mut visitors = Vec::new();
    let mut homes = Vec::new();
    for number in 1..=9 {
        let visitor = Visitor::signs_in(&world, format!("198.51.100.{number}")).await;
        homes.push(node_of(&world, &visitor.session).await);
        visitors.push(visitor);
    }
    for visitor in &visitors {
        for _ in 0..3 {
            assert_eq!(visitor.statuses().await, [200; 3], "{} is at one node for all services", visitor.address);
        }
    }
    let dead = homes[0];
    assert!(homes.iter().any(|home| *home != dead), "addresses of one network go to several nodes: {homes:?}");
    world.platform.kill(Service::Auth.replica(dead));
    for (visitor, home) in visitors.iter_mut().zip(&homes) {
        if *home != dead {
            assert_eq!(visitor.statuses().await, [200; 3], "{} was elsewhere", visitor.address);
            continue;
        }
        assert_eq!(visitor.statuses().await, [401; 3], "{} is asked to sign in", visitor.address);
        visitor.logs_in().await;
        eventually(200, async || visitor.statuses().await.into_iter().max().unwrap_or_default()).await;
        assert_eq!(visitor.statuses().await, [200; 3], "{} has a new home", visitor.address);
    }
    world.finish();
}
