//! What an operator does: more replicas, a death, a new version, a stop and a start.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::containers::{COMPOSE_VARIABLE, docker};
use e2e::{Containers, Service};
use serde_json::Value;

use crate::World;
use crate::load::{Load, Requests};
use crate::world::expect;

const PATIENCE: Duration = Duration::from_secs(120);

fn containers(world: &World) -> Containers {
    world.platform.containers().expect("containers").clone()
}

/// How often each replica of the cart service was asked for a cart since it started, by the gateway's log.
fn asked(containers: &Containers) -> BTreeMap<String, usize> {
    let gateway = containers.of("gateway").swap_remove(0);
    let requests = |replica: &Value| {
        let log = docker(&["logs", "--since", &started(replica), &gateway]);
        let networks = replica["NetworkSettings"]["Networks"].as_object().expect("networks");
        let own = networks.values().filter_map(|network| network["IPAddress"].as_str());
        let upstreams: Vec<String> = own.map(|address| format!("{address}:8082\"")).collect();
        let is_its = |line: &&str| {
            line.contains(r#""path":"/cart""#) && upstreams.iter().any(|upstream| line.contains(upstream.as_str()))
        };
        log.lines().filter(is_its).count()
    };
    let replicas = containers.inspect(&containers.of("cart-service"));
    replicas.iter().map(|replica| (replica["Name"].to_string(), requests(replica))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_replica_gets_its_share_and_the_death_of_one_is_not_noticed() {
    let Some(world) = World::in_containers().await else { return };
    let containers = containers(&world);
    let ada = world.platform.customer().await;
    expect(200, ada.cart().await);

    containers.compose(&["up", "--detach", "--no-build", "--no-recreate", "--scale", "cart-service=3"]);
    containers.serve().await;
    let replicas = containers.of("cart-service");
    assert_eq!(replicas.len(), 3);
    let started = Instant::now();
    while asked(&containers).values().any(|requests| *requests == 0) {
        assert!(started.elapsed() < PATIENCE, "a replica is never asked: {:?}", asked(&containers));
        for _ in 0..6 {
            expect(200, ada.cart().await);
        }
    }

    let load = Load::begin(&world, 4, Requests::Idempotent).await;
    docker(&["kill", &replicas[0]]);
    load.goes_on(300).await;
    load.end_without_failure().await;
    docker(&["start", &replicas[0]]);
    containers.compose(&["up", "--detach", "--no-build", "--no-recreate", "--scale", "cart-service=2"]);
    containers.serve().await;
    assert_eq!(containers.of("cart-service").len(), 2);
    expect(200, ada.cart().await);
    world.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_every_replica_is_replaced() {
    let Some(world) = World::in_containers().await else { return };
    let containers = containers(&world);
    let replicas = |service: &str| containers.of(service);
    let before: Vec<String> = Service::ALL.iter().flat_map(|service| replicas(service.program())).collect();
    // What the old ones printed goes with them.
    containers.keep_output();
    let load = Load::begin(&world, 4, Requests::All).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut roll = Command::new(root.join("deploy/roll"));
    roll.args(Service::ALL.map(Service::program)).env("COMPOSE", std::env::var(COMPOSE_VARIABLE).expect("set"));
    let output = tokio::task::spawn_blocking(move || roll.output()).await.expect("no panic").expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    load.goes_on(100).await;
    let answered = load.end_without_failure().await;
    assert!(output.status.success(), "deploy/roll: {said}");
    assert!(answered > 300, "{answered} requests are no load");
    for service in Service::ALL {
        let now = replicas(service.program());
        assert!(now.len() == 2 && now.iter().all(|id| !before.contains(id)), "{service:?}: {now:?} after {before:?}");
    }
    world.finish();
}

/// When a container was started, as Docker writes it: RFC 3339 in UTC, which sorts as text.
fn started(container: &Value) -> String {
    container["State"]["StartedAt"].as_str().expect("a time").to_owned()
}

/// When a container first printed a line with this text in its present run. That begins after the end of the run before: the
/// time of a start is taken only when the program may have printed much already.
fn said(container: &Value, text: &str) -> String {
    let ended = container["State"]["FinishedAt"].as_str().expect("a time");
    let mut command = Command::new("docker");
    command.args(["logs", "--timestamps", "--since", ended, container["Id"].as_str().expect("an id")]);
    let output = command.output().expect("docker starts");
    let lines = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let line = lines.lines().find(|line| line.contains(text));
    let line = line.unwrap_or_else(|| panic!("{} does not say {text:?}:\n{lines}", container["Name"]));
    line.split(' ').next().expect("a time").to_owned()
}

#[tokio::test]
async fn everything_stopped_and_started_again_starts_in_its_order_and_has_kept_its_data() {
    let Some(world) = World::in_containers().await else { return };
    let containers = containers(&world);
    let product = world.product(5).await;
    let mut ada = world.platform.customer().await;
    expect(200, ada.add_to_cart(&product, 1).await);
    let order = expect(201, ada.place_order("kept").await).body;
    expect(200, ada.add_to_cart(&product, 2).await);
    let secret = || containers.compose(&["run", "--rm", "-T", "secrets", "show", "master_key"]);
    let (keys, key) = (ada.get(&ada.url(Service::Auth, "/.well-known/jwks.json")).await.body, secret());

    containers.compose(&["stop", "--timeout", "60"]);
    containers.compose(&["up", "--detach", "--no-build"]);
    containers.serve().await;

    assert!(secret() == key, "the secrets were made anew");
    // Another test may have had a key made that this replica did not know yet: those that it knew are there.
    let after = ada.get(&ada.url(Service::Auth, "/.well-known/jwks.json")).await.body;
    let (before, after) = (keys["keys"].as_array().expect("keys"), after["keys"].as_array().expect("keys"));
    assert!(!before.is_empty() && before.iter().all(|key| after.contains(key)), "{before:?} became {after:?}");
    // The session goes on, too: Redis has kept it.
    expect(200, ada.refresh().await);
    assert_eq!(expect(200, ada.cart().await).body["lines"][0]["quantity"], 2);
    assert_eq!(expect(200, ada.orders().await).body["items"][0]["id"], order["id"]);

    let of = |service: &str| containers.inspect(&containers.of(service));
    let ended = containers.inspect(&containers.all());
    let ended = ended.iter().find(|container| container["Config"]["Labels"]["com.docker.compose.service"] == "secrets");
    let secrets = ended.expect("what makes the secrets")["State"]["FinishedAt"].as_str().expect("a time").to_owned();
    let mut stores = Vec::new();
    for (store, ready) in [("postgres", "ready to accept connections"), ("redis", "Ready to accept connections")] {
        let container = of(store).swap_remove(0);
        assert!(secrets < started(&container), "{store} started before its secrets were there");
        stores.push(said(&container, ready));
    }
    let mut listening = Vec::new();
    for service in Service::ALL {
        let replicas = of(service.program());
        assert_eq!(replicas.len(), 2);
        for replica in replicas {
            assert!(
                stores.iter().all(|ready| *ready < started(&replica)),
                "{service:?} started before its stores were ready"
            );
            listening.push(said(&replica, "listening"));
        }
    }
    let gateway = started(&of("gateway")[0]);
    assert!(listening.iter().all(|service| *service < gateway), "the gateway started before the services listened");
    world.finish();
}
