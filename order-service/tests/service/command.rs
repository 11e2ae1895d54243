//! The program: its settings, its migration, its graceful stop.

use std::process::{Command, Output, Stdio};

use crate::harness::{CHECKOUT_SECRET, CLIENT_SECRET, COOKIE_KEY, eventually};

fn order_service(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-service"));
    command.args(arguments).env_clear().envs(settings.iter().copied()).stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn without_settings_it_names_all_that_are_missing() {
    let output = order_service(&[], &[]).output().unwrap();
    assert!(!output.status.success());
    for name in ["DATABASE_URL", "REDIS_URL", "CHECKOUT_SECRET", "OIDC_CLIENT_SECRET", "COOKIE_KEY"] {
        assert!(text(&output).contains(name), "{}", text(&output));
    }
}

#[test]
fn config_lists_every_setting_and_no_secret() {
    let settings = [
        ("DATABASE_URL", "postgres://orders:hunter2@localhost/orders"),
        ("REDIS_URL", "redis://:hunter2@localhost"),
        ("CHECKOUT_SECRET", CHECKOUT_SECRET),
        ("OIDC_CLIENT_SECRET", CLIENT_SECRET),
        ("COOKIE_KEY", COOKIE_KEY),
    ];
    let output = order_service(&["config"], &settings).output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for name in [
        "ORDER_ADDR",
        "ISSUER",
        "JWKS_URL",
        "CART_URL",
        "ACCESS_TOKEN_TTL",
        "STEP_UP_AFTER",
        "SESSION_STRATEGY",
        "CANCELLED_ORDER_RETENTION",
    ] {
        assert!(text.contains(name), "{name} is missing: {text}");
    }
    assert!(!text.contains("hunter2") && !text.contains(CHECKOUT_SECRET), "{text}");
    assert!(!text.contains(CLIENT_SECRET) && !text.contains(COOKIE_KEY), "{text}");
}

#[test]
fn migrate_makes_the_tables_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("order.db");
    let url = format!("sqlite:{}", file.display());
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("CHECKOUT_SECRET", CHECKOUT_SECRET),
        ("OIDC_CLIENT_SECRET", CLIENT_SECRET),
        ("COOKIE_KEY", COOKIE_KEY),
    ];
    for _ in 0..2 {
        let output = order_service(&["migrate"], &settings).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
    assert!(file.exists());
}

#[tokio::test]
async fn a_stopped_service_ends_with_0() {
    let Some(redis) = shared::testing::redis().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("order.db").display());
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("REDIS_URL", &redis),
        ("CHECKOUT_SECRET", CHECKOUT_SECRET),
        ("OIDC_CLIENT_SECRET", CLIENT_SECRET),
        ("COOKIE_KEY", COOKIE_KEY),
        ("ORDER_ADDR", &address),
        ("ISSUER", "http://127.0.0.1:1"),
    ];
    let child = order_service(&[], &settings).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let healthy = || async { reqwest::get(format!("http://{address}/healthz")).await.is_ok_and(|a| a.status() == 200) };
    eventually("it is alive", healthy).await;
    // Without the issuer's keys nobody can be recognised, and it says so.
    let ready = reqwest::get(format!("http://{address}/readyz")).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("key set"));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("survives_a_restart: true"), "the strategy's guarantees are in the log: {text}");
    assert!(!text.contains(CHECKOUT_SECRET), "{text}");
}
