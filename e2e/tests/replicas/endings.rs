//! An ended session stays ended: at every node, under each strategy, and after Redis was emptied and all services restarted.

use std::time::Duration;

use e2e::{Answer, Credentials, Entrance, Person, Platform, Service, World};
use reqwest::Method;
use serde_json::json;

use crate::load::NO_THROTTLE;
use crate::world::{eventually, expect};

const NODES: usize = 2;
const OWN: [(Service, &str); 3] = [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")];
const COOKIE_KEY: (&str, &str) = ("COOKIE_KEY", "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g=");

/// A login at one node, with a copy of what it gave.
struct Kept {
    person: Person,
    cookies: String,
}

impl Kept {
    async fn at(platform: &Platform, node: usize, credentials: Option<&Credentials>) -> Self {
        let mut person = match credentials {
            Some(known) => platform.person_with(known),
            None => {
                let person = platform.person();
                expect(201, person.register().await);
                person
            }
        };
        let url = format!("{}/auth/login", platform.replica(Service::Auth.replica(node)));
        let body = json!({"email": person.credentials.email, "password": person.credentials.password});
        let answer = expect(200, person.post(&url, &body).await);
        person.access_token = answer.body["access_token"].as_str().map(str::to_owned);
        let pairs: Vec<String> = person.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        Self { person, cookies: pairs.join("; ") }
    }

    async fn send(&self, platform: &Platform, (service, node): (Service, usize), method: Method, path: &str) -> Answer {
        let url = format!("{}{path}", platform.replica(service.replica(node)));
        self.person.send(method, &url, None, &[("Cookie", &self.cookies)]).await
    }

    async fn is_refused_everywhere(&self, platform: &Platform) {
        for (service, path) in OWN {
            for node in 0..NODES {
                let ask = || async { self.send(platform, (service, node), Method::GET, path).await.status };
                eventually(401, ask).await;
            }
        }
    }
}

/// Ends sessions at the other node than theirs where that can be, and holds all services against it.
async fn stays_ended(world: &mut World) {
    world.platform.enter_by(Entrance::Replicas);
    let platform = &world.platform;
    let (locked, promoted, left) =
        (Kept::at(platform, 0, None).await, Kept::at(platform, 0, None).await, Kept::at(platform, 0, None).await);
    let admin = Kept::at(platform, 1, Some(platform.admin())).await;
    let me = expect(200, locked.send(platform, (Service::Auth, 0), Method::GET, "/auth/me").await).body;
    let lock = format!("/admin/users/{}/lock", me["id"].as_str().expect("an id"));
    expect(200, admin.send(platform, (Service::Auth, 1), Method::POST, &lock).await);
    let me = expect(200, promoted.send(platform, (Service::Auth, 0), Method::GET, "/auth/me").await).body;
    let roles = format!("/admin/users/{}/roles", me["id"].as_str().expect("an id"));
    let url = format!("{}{roles}", platform.replica(Service::Auth.replica(1)));
    let body = json!({"roles": ["user", "auditor"]});
    expect(200, admin.person.send(Method::PUT, &url, Some(&body), &[("Cookie", &admin.cookies)]).await);
    expect(204, left.send(platform, (Service::Auth, 0), Method::POST, "/auth/logout").await);
    for kept in [&locked, &promoted, &left] {
        kept.is_refused_everywhere(platform).await;
    }

    if let Some(redis) = &world.redis {
        redis.ask("FLUSHALL").expect("Redis forgets");
    }
    world.platform.restart_all().await;
    for kept in [&locked, &promoted, &left] {
        for (service, path) in OWN {
            for node in 0..NODES {
                let status = kept.send(&world.platform, (service, node), Method::GET, path).await.status;
                assert_eq!(status, 401, "{path} at node {node} takes it again");
            }
        }
    }
}

/// Longer than the shortest pause that counts.
const PAUSE: Duration = Duration::from_millis(2_500);

/// Locks an account at one node while another stands still, which then wakes: of those that share no store, each must ask the
/// others before it trusts what it remembers.
async fn stays_ended_at_a_node_that_wakes(world: &mut World) {
    world.platform.enter_by(Entrance::Replicas);
    let paused = Service::Auth.replica(0);
    let (locked, living) = (Kept::at(&world.platform, 0, None).await, Kept::at(&world.platform, 0, None).await);
    let admin = Kept::at(&world.platform, 1, Some(world.platform.admin())).await;
    let me = expect(200, locked.send(&world.platform, (Service::Auth, 0), Method::GET, "/auth/me").await).body;
    let lock = format!("/admin/users/{}/lock", me["id"].as_str().expect("an id"));
    world.platform.pause(paused);
    expect(200, admin.send(&world.platform, (Service::Auth, 1), Method::POST, &lock).await);
    let asked = |(service, path): (Service, &'static str)| {
        let url = format!("{}{path}", world.platform.replica(service.replica(0)));
        let (person, cookies) = (locked.person.clone(), locked.cookies.clone());
        tokio::spawn(async move { person.send(Method::GET, &url, None, &[("Cookie", &cookies)]).await.status })
    };
    let lying: Vec<_> = (0..4).flat_map(|_| OWN.map(asked)).collect();
    tokio::time::sleep(PAUSE).await;
    world.platform.resume(paused);
    for (service, path) in OWN {
        let ask = || async {
            let status = locked.send(&world.platform, (service, 0), Method::GET, path).await.status;
            assert!([401, 503].contains(&status), "{path} answers {status} to an ended session");
            status
        };
        eventually(401, ask).await;
    }
    for answer in lying {
        let status = answer.await.expect("an answer");
        assert!([401, 503].contains(&status), "a request that lay there is answered {status}");
    }
    let goes_on = || async { living.send(&world.platform, (Service::Auth, 0), Method::GET, "/auth/me").await.status };
    eventually(200, goes_on).await;
}

#[tokio::test]
async fn hf2_a_sticky_node_that_wakes_takes_no_session_that_ended_while_it_stood_still() {
    let settings = [&[("SESSION_STRATEGY", "sticky")][..], &NO_THROTTLE].concat();
    let Some(mut world) = World::nodes(NODES, &settings).await else { return };
    stays_ended_at_a_node_that_wakes(&mut world).await;
    world.finish();
}

#[tokio::test]
async fn hf2_a_replicated_node_that_wakes_takes_no_session_that_ended_while_it_stood_still() {
    let settings = [&[("SESSION_STRATEGY", "replicated")][..], &NO_THROTTLE].concat();
    let Some(mut world) = World::nodes(NODES, &settings).await else { return };
    stays_ended_at_a_node_that_wakes(&mut world).await;
    world.finish();
}

macro_rules! strategies {
    ($($name:ident: $place:ident $settings:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let settings = [&$settings[..], &NO_THROTTLE].concat();
            let Some(mut world) = strategies!(@$place &settings) else { return };
            stays_ended(&mut world).await;
            world.finish();
        }
    )*};
    (@nodes $settings:expr) => { World::nodes(NODES, $settings).await };
    (@services $settings:expr) => { World::replicated($settings).await };
}

strategies! {
    sticky: nodes [("SESSION_STRATEGY", "sticky")];
    replicated: nodes [("SESSION_STRATEGY", "replicated")];
    redis: services [("SESSION_STRATEGY", "redis")];
    jwt_with_the_feed: services [("SESSION_STRATEGY", "jwt"), ("JWT_DENY_LIST", "feed")];
    jwt_with_a_list: services [("SESSION_STRATEGY", "jwt"), ("JWT_DENY_LIST", "redis")];
    cookie: services [("SESSION_STRATEGY", "cookie"), COOKIE_KEY];
    hybrid: services [("SESSION_STRATEGY", "hybrid")];
}
