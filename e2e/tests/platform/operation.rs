//! What an operator does: stop, configure, and the subcommands.

use std::process::Command;

use e2e::Service;

use crate::World;
use crate::world::{eventually, expect};

#[tokio::test]
async fn a_stop_ends_with_status_0_and_the_next_start_works() {
    let mut world = World::all_in_one(&[]).await;
    world.platform.stop();
    world.platform.restart_all().await;
    expect(200, world.platform.person().products().await);
    world.finish();
}

#[tokio::test]
async fn a_split_service_refuses_to_start_without_urls_and_names_every_mistake() {
    for (program, names) in [
        ("auth-service", ["DATABASE_URL", "REDIS_URL", "MASTER_KEY"]),
        ("cart-service", ["DATABASE_URL", "REDIS_URL", "CHECKOUT_SECRET"]),
        ("order-service", ["DATABASE_URL", "REDIS_URL", "CHECKOUT_SECRET"]),
    ] {
        let output = Command::new(e2e::program(program)).env_clear().output().expect("the program starts");
        assert!(!output.status.success(), "{program} started without settings");
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        for name in names {
            assert!(text.contains(name), "{program} does not name {name}:\n{text}");
        }
    }
}

#[tokio::test]
async fn config_lists_every_setting_with_its_meaning() {
    for program in ["auth-service", "cart-service", "order-service", "all-in-one"] {
        let output =
            Command::new(e2e::program(program)).arg("config").env_clear().output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("ACCESS_TOKEN_TTL") && text.contains("default"), "{program} config prints:\n{text}");
    }
}

#[test]
fn config_prints_no_secret_in_whatever_form_a_setting_holds_it() {
    let databases = [
        "postgres://shop:hunter2@one,two:5433/shop",
        "postgres://one,two/shop?user=shop&password=hunter2",
        "postgres://one/shop?pass%77ord=hunter2",
        "postgres://shop:1/hunter2@one/shop",
        "postgres:shop:hunter2@one/shop",
        "host=one user=shop password=hunter2",
    ];
    let stores = [
        "redis://:hunter2@cache/0",
        "redis+sentinel://:hunter2@one,two/0?master=main&sentinel_password=hunter2",
        "rediss+cluster://shop:hunter2@one:7000,two:7000",
        "redis://:1/hunter2@cache/0",
        "hunter2@cache",
    ];
    let addresses =
        ["http://ada:hunter2@localhost:8082", "http://localhost:8082/?key=hunter2", "ada:hunter2@localhost"];
    let secrets = ["FIRST_CLIENTS", "CHECKOUT_SECRET", "MASTER_KEY", "COOKIE_KEY", "OIDC_CLIENT_SECRET"];
    let more = ["ADMIN_PASSWORD", "DEMO_PASSWORD", "SHOP_CLIENT_SECRET", "SESSION_ATTRIBUTE_KEY", "CLUSTER_KEY"];
    for turn in 0..databases.len() {
        let mut given = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector/hunter2")];
        for name in ["DATABASE_URL", "AUTH_DATABASE_URL", "CART_DATABASE_URL", "ORDER_DATABASE_URL"] {
            given.push((name, databases[turn]));
        }
        given.push(("REDIS_URL", stores[turn % stores.len()]));
        for name in ["ISSUER", "ISSUER_INTERNAL_URL", "JWKS_URL", "CART_URL", "PUBLIC_URL", "SHOP_URL", "ORDERS_URL"] {
            given.push((name, addresses[turn % addresses.len()]));
        }
        given.extend([("COOKIE_ORIGINS", addresses[0]), ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")]);
        given.push(("JWT_HS256_SECRET", "hunter2"));
        given.extend(secrets.iter().chain(&more).map(|name| (*name, r#"[{"client_secret":"hunter2"}]"#)));
        // The secret, where the file's name belongs.
        given.push(("ORDERS_CLIENT_SECRET_FILE", "hunter2"));
        for program in ["auth-service", "cart-service", "order-service", "all-in-one"] {
            let mut command = Command::new(e2e::program(program));
            let output = command.arg("config").env_clear().envs(given.iter().copied()).output();
            let output = output.expect("the program starts");
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(text.contains("ACCESS_TOKEN_TTL"), "{program} config prints:\n{text}");
            let lines: Vec<_> = text.lines().filter(|line| line.contains("hunter2")).collect();
            assert!(lines.is_empty(), "{program} prints a secret:\n{}", lines.join("\n"));
        }
    }
}

#[tokio::test]
async fn the_subcommands_of_auth_work_beside_the_running_service() {
    let Some(world) = World::split(&[]).await else { return };
    let run = |arguments: &[&str]| {
        let mut command = world.platform.command(Service::Auth);
        let output = command.args(arguments).output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    };
    run(&["migrate"]);

    let mut ada = world.platform.customer().await;
    let email = ada.credentials.email.clone();
    run(&["user", "set-roles", &email, "user", "admin"]);
    eventually(401, || async { ada.cart().await.status }).await;
    expect(200, ada.log_in().await);
    expect(200, ada.get(&ada.url(Service::Auth, "/admin/users")).await);

    run(&["sessions", "end", &email]);
    eventually(401, || async { ada.cart().await.status }).await;
    eventually(401, || async { ada.orders().await.status }).await;
    assert_eq!(ada.refresh().await.status, 401);

    expect(200, ada.log_in().await);
    let keys = |body: &serde_json::Value| body["keys"].as_array().map(Vec::len).unwrap_or_default();
    let url = ada.url(Service::Auth, "/.well-known/jwks.json");
    let before = keys(&ada.get(&url).await.body);
    assert_eq!(before, 3, "EdDSA, ES256 and RS256");
    run(&["keys", "rotate"]);
    // The running service publishes what the command made: one more in the ring of each algorithm.
    let started = std::time::Instant::now();
    while keys(&ada.get(&url).await.body) != before * 2 {
        assert!(started.elapsed().as_secs() < 60, "the new key is not published");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    expect(200, ada.cart().await);
    expect(200, ada.refresh().await);
    expect(200, ada.orders().await);
    world.finish();
}

#[tokio::test]
async fn every_service_tells_its_health_metrics_and_documents() {
    let world = World::all_in_one(&[]).await;
    let ada = world.platform.customer().await;
    for service in Service::ALL {
        for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs/"] {
            expect(200, ada.get(&ada.url(service, path)).await);
        }
    }
    let metrics = ada.get(&ada.url(Service::Auth, "/metrics")).await.body.to_string();
    for name in ["roam_logins_total", "roam_http_request_seconds", "roam_revocation"] {
        assert!(metrics.contains(name), "{name} is not among the metrics");
    }
    world.finish();
}

#[tokio::test]
async fn a_restart_of_the_one_process_ends_its_sessions_everywhere() {
    let mut world = World::all_in_one(&[]).await;
    let mut ada = world.platform.customer().await;
    let mut gone = ada.other_device();
    expect(200, gone.log_in().await);
    expect(204, gone.log_out().await);
    // Tokens know whole seconds: the next process must begin in another one.
    let login = unix_seconds();
    while unix_seconds() <= login {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    world.platform.restart_all().await;
    // The memory of sessions and of their ends is new: neither a session nor a token of before is worth anything.
    for person in [&mut ada, &mut gone] {
        assert_eq!(person.me().await.status, 401);
        assert_eq!(person.cart().await.status, 401);
        assert_eq!(person.orders().await.status, 401);
        assert_eq!(person.refresh().await.status, 401);
    }
    expect(200, ada.log_in().await);
    expect(200, ada.cart().await);
    world.finish();
}

fn unix_seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the processes under test go by the system's clock")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a copy of the data folder is worth.
#[tokio::test]
async fn after_a_stop_each_database_is_whole_in_its_one_file() {
    let mut world = World::all_in_one(&[]).await;
    world.platform.customer().await;
    world.platform.stop();
    for name in ["auth.db", "cart.db", "order.db"] {
        let file = world.platform.data_folder().join(name);
        assert!(std::fs::metadata(&file).is_ok_and(|file| file.len() > 20_000), "{name} is not whole");
        let log = file.with_extension("db-wal");
        assert!(std::fs::metadata(&log).map_or(0, |log| log.len()) == 0, "{name} has something left in its log");
    }
    world.finish();
}
