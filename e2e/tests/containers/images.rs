//! What the images and containers may do, as Docker tells it.

use e2e::containers::{docker, logs};
use e2e::secrets;
use serde_json::Value;

use crate::World;

const OURS: [&str; 4] = ["auth-service", "cart-service", "order-service", "gateway"];
const STORES: [&str; 2] = ["postgres", "redis"];
/// What an image of ours may add to the one that it is made from.
const MOST_ADDED_MB: u64 = 40;

fn container(world: &World, service: &str) -> Value {
    let containers = world.platform.containers().expect("containers");
    containers.inspect(&containers.of(service)).swap_remove(0)
}

fn image(of: &Value) -> Value {
    let id = of["Image"].as_str().expect("an image");
    let images: Vec<Value> = serde_json::from_str(&docker(&["image", "inspect", id])).expect("JSON");
    images.into_iter().next().expect("it is there")
}

#[tokio::test]
async fn nothing_runs_with_rights_that_it_does_not_need() {
    let Some(world) = World::in_containers().await else { return };
    for service in OURS.into_iter().chain(STORES) {
        let container = container(&world, service);
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{service}");
        assert_eq!(host["Privileged"], false, "{service}");
        assert!(host["SecurityOpt"].to_string().contains("no-new-privileges"), "{service}: {}", host["SecurityOpt"]);
        assert!(host["Memory"].as_u64() > Some(0) && host["PidsLimit"].as_u64() > Some(0), "{service} has no limits");
        let id = container["Id"].as_str().expect("an id");
        // The stores begin as root and drop it; so does nobody of ours.
        let users = docker(&["top", id, "-eo", "pid,uid,args"]);
        let as_root: Vec<&str> = users.lines().filter(|line| line.split_whitespace().nth(1) == Some("0")).collect();
        assert!(as_root.is_empty(), "{service} runs as root: {as_root:?}");
        if OURS.contains(&service) {
            assert_eq!(image(&container)["Config"]["User"], "10001:10001", "{service}");
            assert_eq!(host["CapAdd"], Value::Null, "{service}");
        }
    }
    let shell = |service: &str, script: &str| {
        let id = container(&world, service)["Id"].as_str().expect("an id").to_owned();
        docker(&["exec", &id, "bash", "-c", &format!("{script} && echo done || echo refused")])
    };
    for service in OURS {
        for place in ["/written", "/usr/local/bin/healthy", "/run/secrets/written"] {
            let said = shell(service, &format!("echo x 2>/dev/null >>{place}"));
            assert_eq!(said.trim(), "refused", "{service} wrote {place}");
        }
    }
    world.finish();
}

#[tokio::test]
async fn the_images_are_small_and_hold_no_secret() {
    let Some(world) = World::in_containers().await else { return };
    let size = |image: &Value| image["Size"].as_u64().expect("a size") / 1_000_000;
    let base = |tag: &str| -> Vec<Value> { serde_json::from_str(&docker(&["image", "inspect", tag])).expect("JSON") };
    let known = secrets::secrets();
    for service in OURS {
        let image = image(&container(&world, service));
        let from = base(if service == "gateway" { "nginx:stable" } else { "debian:bookworm-slim" }).swap_remove(0);
        let added = size(&image) - size(&from);
        assert!(added < MOST_ADDED_MB, "{service} adds {added} MB");
        assert!(image["Config"]["Healthcheck"]["Test"].is_array(), "{service} has no health check");
        let id = image["Id"].as_str().expect("an id");
        let told = docker(&["history", "--no-trunc", id]) + &image.to_string();
        assert_eq!(secrets::lines_with_a_secret(&told, &known), [0; 0], "a secret stands in the image of {service}");
    }
    world.finish();
}

#[tokio::test]
async fn a_container_tells_no_secret_in_its_environment_and_the_gateway_alone_is_reached() {
    let Some(world) = World::in_containers().await else { return };
    let containers = world.platform.containers().expect("containers");
    let show = ["run", "--rm", "-T", "secrets", "show"];
    let mut known: Vec<String> = Vec::new();
    for name in ["postgres_password", "redis_password", "master_key", "checkout_secret", "admin_password"] {
        let secret = containers.compose(&[&show[..], &[name]].concat()).trim().to_owned();
        assert!(secret.len() >= 44, "{name} is short");
        secrets::remember(&secret);
        known.push(secret);
    }
    for container in containers.inspect(&containers.all()) {
        let name = container["Name"].as_str().expect("a name");
        let told = container.to_string();
        let found = known.iter().filter(|secret| told.contains(secret.as_str())).count();
        assert_eq!(found, 0, "{name} tells secrets to whoever may inspect it");
        let published = container["HostConfig"]["PortBindings"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(published, usize::from(name.contains("gateway")), "{name} publishes {published} ports");
        let networks = container["NetworkSettings"]["Networks"].as_object().expect("networks");
        // "none" is the absence of one, although the engine does not call it internal.
        for (_, network) in networks.iter().filter(|(network, _)| *network != "none") {
            let id = network["NetworkID"].as_str().expect("an id");
            let internal = docker(&["network", "inspect", "--format", "{{.Internal}}", id]);
            assert!(internal.trim() == "true" || name.contains("gateway"), "{name} has a way out");
        }
    }
    let gateway = container(&world, "gateway");
    let networks = gateway["NetworkSettings"]["Networks"].to_string();
    assert!(!networks.contains("_data\""), "the gateway has a way to the stores: {networks}");
    // What a start says of itself holds no secret either.
    let said = logs(
        containers
            .inspect(&containers.all())
            .iter()
            .find(|found| found["Name"].to_string().contains("secrets"))
            .expect("what made the secrets")["Id"]
            .as_str()
            .expect("an id"),
    );
    assert!(said.contains("made master_key"), "{said}");
    assert_eq!(secrets::lines_with_a_secret(&said, &known), [0; 0]);
    world.finish();
}
