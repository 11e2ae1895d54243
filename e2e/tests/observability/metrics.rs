//! Metrics: the names in `docs/observability.md` are those that a running platform shows, with their types; dashboards and
//! alerts ask for no others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use e2e::world::{eventually, expect};
use e2e::{Person, Service, World, secrets};

/// By name: its type.
type Types = BTreeMap<String, String>;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The rows of the tables in the documentation: `| \`roam_…\` | type | …`.
fn documented() -> Types {
    let page = std::fs::read_to_string(repository().join("docs/observability.md")).expect("the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `roam_")?.split_once("` | "));
    rows.filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        .filter_map(|(name, rest)| Some((format!("roam_{name}"), rest.split_once(" |")?.0.to_owned())))
        .filter(|(_, kind)| ["counter", "gauge", "histogram"].contains(&kind.as_str()))
        .collect()
}

async fn scrape(person: &Person, service: Service) -> String {
    let answer = expect(200, person.get(&person.url(service, "/metrics")).await);
    answer.body.as_str().expect("text").to_owned()
}

/// `# TYPE name type`
fn shown(text: &str) -> Types {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE roam_"));
    types
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| (format!("roam_{name}"), kind.to_owned()))
        .collect()
}

/// The values of a metric, summed over its labels.
fn sum(text: &str, name: &str) -> f64 {
    let values =
        text.lines().filter(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Signs in and out, shops, and does what is refused.
async fn journey(world: &World) -> Person {
    let product = world.product(5).await;
    let mut ada = world.platform.person();
    expect(201, ada.register().await);
    expect(200, ada.add_to_cart(&product, 1).await);
    expect(200, ada.log_in().await);
    expect(200, ada.cart().await);
    let order = expect(201, ada.place_order("one").await).body;
    expect(200, ada.pay(order["id"].as_str().expect("an id")).await);
    expect(200, ada.refresh().await);
    assert_eq!(ada.present("garbage-0123456789").await.status, 401);
    let mut mallory = ada.other_device();
    mallory.credentials.password = format!("Wrong-{}", uuid::Uuid::new_v4());
    secrets::remember(&mallory.credentials.password);
    expect(401, mallory.log_in().await);
    expect(204, ada.log_out().await);
    for (service, path) in [(Service::Cart, "/cart"), (Service::Orders, "/orders")] {
        eventually(401, || async { ada.get(&ada.url(service, path)).await.status }).await;
    }
    ada
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let Some(world) = World::split(&[]).await else { return };
    let ada = journey(&world).await;
    let mut all = String::new();
    for service in Service::ALL {
        all += &scrape(&ada, service).await;
    }
    assert_eq!(documented(), shown(&all));
    for name in shown(&all).keys() {
        let help = all.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        assert!(help.is_some_and(|help| help.len() > 10), "{name} has no help text");
    }
    for secret in secrets::secrets() {
        assert!(!all.contains(&secret), "a secret stands in the metrics");
    }
    assert!(!all.contains(&ada.credentials.email), "an address stands in the metrics");

    // What was done was counted.
    for (sample, least) in [
        ("roam_logins_total{outcome=\"signed_in\"}", 1.0),
        ("roam_logins_total{outcome=\"wrong_password\"}", 1.0),
        ("roam_refreshes_total{outcome=\"rotated\"}", 1.0),
        ("roam_refreshes_total{outcome=\"malformed\"}", 1.0),
        ("roam_refreshes_total{outcome=\"stolen\"}", 0.0),
        ("roam_sessions_ended_total{reason=\"logout\"}", 1.0),
        ("roam_orders_total{outcome=\"placed\"}", 1.0),
        ("roam_payments_total{outcome=\"paid\"}", 1.0),
        ("roam_guest_carts_total{outcome=\"merged\"}", 1.0),
        ("roam_checkouts_total{outcome=\"confirmed\"}", 1.0),
    ] {
        let line = all.lines().find(|line| line.starts_with(sample)).unwrap_or_else(|| panic!("{sample} is missing"));
        let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number");
        assert!(value >= least, "{line}");
    }
    for name in [
        "roam_revocation_lag_seconds_count",
        "roam_hash_wait_seconds_count",
        "roam_hash_seconds_count",
        "roam_database_pool_wait_seconds_count",
        "roam_database_call_seconds_count",
        "roam_redis_call_seconds_count",
        "roam_cart_call_seconds_count",
        "roam_key_set_reads_total",
    ] {
        assert!(sum(&all, name) >= 1.0, "{name} counted nothing:\n{all}");
    }
    world.finish();
}

#[tokio::test]
async fn in_one_process_requests_and_waits_are_told_apart_by_service() {
    let world = World::all_in_one(&[]).await;
    let ada = journey(&world).await;
    let all = scrape(&ada, Service::Auth).await;
    for service in ["auth-service", "cart-service", "order-service"] {
        for sample in [
            format!("roam_build_info{{service=\"{service}\",version="),
            format!("roam_database_pool_wait_seconds_count{{service=\"{service}\"}}"),
            format!("roam_database_call_seconds_count{{service=\"{service}\"}}"),
            format!("roam_http_requests_total{{service=\"{service}\",status=\"200\"}}"),
        ] {
            assert!(all.contains(&sample), "{sample} is missing:\n{all}");
        }
    }
    assert!(!all.contains("all-in-one"), "somebody waited in nobody's name:\n{all}");
    world.finish();
}

#[test]
fn dashboards_and_alerts_ask_for_documented_metrics() {
    let known = documented();
    let mut asked = BTreeSet::new();
    let mut folders = vec![repository().join("deploy/observability")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a text");
            let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
            asked.extend(text.split(|char| !is_name(char)).filter(|word| word.starts_with("roam_")).map(str::to_owned));
        }
    }
    assert!(asked.len() > 5, "the dashboards were not found");
    for name in asked {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
        assert!(known.contains_key(base), "{name} is asked for and not documented");
    }
}
