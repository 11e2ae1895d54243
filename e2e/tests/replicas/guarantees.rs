//! What each strategy promises, as its processes say at their start, held against what they do.

use std::process::Command;

use e2e::{Entrance, Person, Platform, Service, World};
use reqwest::Method;
use serde_json::json;

use crate::load::NO_THROTTLE;
use crate::world::{eventually, expect};

const COOKIE_KEY: (&str, &str) = ("COOKIE_KEY", "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g=");

/// `Guarantees` of `shared::authentication::strategy`, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Guarantees {
    any_node: bool,
    survives_a_node: bool,
    survives_a_restart: bool,
    revokes_at_once: bool,
    lists_sessions: bool,
}

/// What all processes of the platform declare.
fn declared(platform: &Platform) -> Guarantees {
    let output = platform.output();
    let texts: Vec<&str> = output.split("Guarantees { ").skip(1).filter_map(|rest| rest.split(" }").next()).collect();
    assert!(texts.len() >= 6, "three services on two nodes say it, and {} do", texts.len());
    assert!(texts.iter().all(|text| *text == texts[0]), "they do not agree: {texts:?}");
    let says = |name: &str| {
        let value = texts[0].split(", ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix(": "));
        value.expect("it is declared").parse().expect("true or false")
    };
    Guarantees {
        any_node: says("any_node"),
        survives_a_node: says("survives_a_node"),
        survives_a_restart: says("survives_a_restart"),
        revokes_at_once: says("revokes_at_once"),
        lists_sessions: says("lists_sessions"),
    }
}

/// A login, with what it gave.
struct Login {
    person: Person,
    cookies: String,
}

impl Login {
    async fn at(platform: &Platform, node: usize) -> Self {
        let mut person = platform.person();
        expect(201, person.register().await);
        let url = format!("{}/auth/login", platform.replica(Service::Auth.replica(node)));
        let body = json!({"email": person.credentials.email, "password": person.credentials.password});
        let answer = expect(200, person.post(&url, &body).await);
        person.access_token = answer.body["access_token"].as_str().map(str::to_owned);
        let pairs: Vec<String> = person.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        Self { person, cookies: pairs.join("; ") }
    }

    async fn send(&self, platform: &Platform, node: usize, method: Method, path: &str) -> u16 {
        let url = format!("{}{path}", platform.replica(Service::Auth.replica(node)));
        self.person.send(method, &url, None, &[("Cookie", &self.cookies)]).await.status
    }

    /// Whether a node takes it; any other answer than yes and no is none.
    async fn is_taken(&self, platform: &Platform, node: usize) -> bool {
        let mut verdicts = Vec::new();
        for (service, path) in [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")] {
            let url = format!("{}{path}", platform.replica(service.replica(node)));
            verdicts.push(self.person.send(Method::GET, &url, None, &[("Cookie", &self.cookies)]).await.status);
        }
        match verdicts[..] {
            [200, 200, 200] => true,
            [401, 401, 401] => false,
            _ => panic!("the services of node {node} answer {verdicts:?}"),
        }
    }
}

fn kill_node(world: &mut World, node: usize) {
    let is_one_process = world.redis.is_none();
    for service in if is_one_process { &Service::ALL[..1] } else { &Service::ALL[..] } {
        world.platform.kill(service.replica(node));
    }
}

async fn restart_node(world: &mut World, node: usize) {
    let is_one_process = world.redis.is_none();
    for service in if is_one_process { &Service::ALL[..1] } else { &Service::ALL[..] } {
        world.platform.restart(service.replica(node)).await;
    }
}

/// What two nodes do.
async fn observed(world: &mut World) -> Guarantees {
    world.platform.enter_by(Entrance::Replicas);
    let login = Login::at(&world.platform, 0).await;
    assert!(login.is_taken(&world.platform, 0).await, "the node that signed her in does not know her");
    let any_node = login.is_taken(&world.platform, 1).await;
    let lists_sessions = match login.send(&world.platform, 0, Method::GET, "/auth/sessions").await {
        200 => true,
        409 => false,
        other => panic!("/auth/sessions answers {other}"),
    };

    let ends = Login::at(&world.platform, 0).await;
    expect_left(ends.send(&world.platform, 0, Method::POST, "/auth/logout").await);
    let is_refused = async |node| !ends.is_taken(&world.platform, node).await;
    let revokes_at_once = if declared(&world.platform).revokes_at_once {
        for (service, path) in [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")] {
            for node in 0..2 {
                let url = format!("{}{path}", world.platform.replica(service.replica(node)));
                let ask =
                    || async { ends.person.send(Method::GET, &url, None, &[("Cookie", &ends.cookies)]).await.status };
                eventually(401, ask).await;
            }
        }
        true
    } else {
        is_refused(0).await || is_refused(1).await
    };

    kill_node(world, 0);
    let survives_a_node = login.is_taken(&world.platform, 1).await;
    restart_node(world, 0).await;

    let login = Login::at(&world.platform, 1).await;
    world.platform.restart_all().await;
    let survives_a_restart = login.is_taken(&world.platform, 1).await;
    Guarantees { any_node, survives_a_node, survives_a_restart, revokes_at_once, lists_sessions }
}

fn expect_left(status: u16) {
    assert_eq!(status, 204, "the logout is refused");
}

macro_rules! strategies {
    ($($name:ident: $place:ident $settings:expr;)*) => {
        /// Those that are held against what they promise here.
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[tokio::test]
            async fn $name() {
                let settings = [&[("SESSION_STRATEGY", stringify!($name))][..], &$settings, &NO_THROTTLE].concat();
                let Some(mut world) = strategies!(@$place &settings) else { return };
                let declared = declared(&world.platform);
                assert_eq!(observed(&mut world).await, declared, "what it does, and what it says");
                world.finish();
            }
        )*
    };
    (@nodes $settings:expr) => { World::nodes(2, $settings).await };
    (@services $settings:expr) => { World::replicated($settings).await };
}

strategies! {
    sticky: nodes [];
    replicated: nodes [];
    redis: services [];
    jwt: services [("JWT_DENY_LIST", "feed")];
    cookie: services [COOKIE_KEY];
    hybrid: services [];
}

#[test]
fn no_strategy_is_left_out() {
    let mut asked = Command::new(e2e::program("all-in-one"));
    let said = asked.env_clear().env("SESSION_STRATEGY", "another").output().expect("it runs");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let names = said.split("expected one of ").nth(1).and_then(|rest| rest.split(", found").next());
    assert_eq!(names, Some(&*TESTED.join(", ")), "{said}");
}
