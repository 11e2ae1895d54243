//! The program itself: its subcommands, and what it refuses to start with.

use std::process::{Command, Output};

use crate::harness::COOKIE_KEY;

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cart-service"));
    let output = command.args(arguments).env_clear().envs(environment.iter().copied()).output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

const SECRET: &str = "a-secret-that-must-not-be-printed-anywhere";

#[test]
fn config_prints_every_setting_with_its_meaning_and_no_secret() {
    let given = [
        ("DATABASE_URL", "postgres://cart:hunter2@db/cart"),
        ("REDIS_URL", "redis://:hunter2@cache/0"),
        ("CHECKOUT_SECRET", SECRET),
        ("OIDC_CLIENT_SECRET", SECRET),
        ("COOKIE_KEY", COOKIE_KEY),
        ("SESSION_ATTRIBUTE_KEY", COOKIE_KEY),
        ("CHECKOUT_HOLD", "20m"),
    ];
    let (output, text) = run(&["config"], &given);
    assert!(output.status.success(), "{text}");
    for name in [
        "CART_ADDR",
        "DATABASE_URL",
        "REDIS_URL",
        "ISSUER",
        "JWKS_URL",
        "ACCESS_TOKEN_TTL",
        "STEP_UP_AFTER",
        "COOKIE_SECURE",
        "CHECKOUT_HOLD",
        "CHECKOUT_SECRET",
        "SESSION_STRATEGY",
        "SESSION_ATTRIBUTE_KEY",
        "OIDC_CLIENT_ID",
        "OIDC_CLIENT_SECRET",
        "COOKIE_KEY",
        "PUBLIC_URL",
        "ISSUER_INTERNAL_URL",
        "ORDERS_URL",
        "LOG_FORMAT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is missing from\n{text}");
    }
    assert!(text.contains("20m") && !text.contains("hunter2") && !text.contains(SECRET), "{text}");
    assert!(!text.contains(COOKIE_KEY), "{text}");
}

#[test]
fn it_does_not_start_without_its_settings_and_names_all_of_them() {
    for arguments in [&[][..], &["config"], &["migrate"]] {
        let (output, text) = run(arguments, &[("CHECKOUT_HOLD", "soon")]);
        assert!(!output.status.success());
        for name in [
            "DATABASE_URL is not set",
            "REDIS_URL is not set",
            "CHECKOUT_SECRET is not set",
            "OIDC_CLIENT_SECRET is not set",
            "COOKIE_KEY is not set",
            "CHECKOUT_HOLD: ",
        ] {
            assert!(text.contains(name), "{name} is missing from\n{text}");
        }
    }
}

#[test]
fn migrate_makes_the_tables_and_ends_however_often() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("cart.db").display());
    let given = [
        ("DATABASE_URL", url.as_str()),
        ("REDIS_URL", "redis://localhost"),
        ("CHECKOUT_SECRET", SECRET),
        ("OIDC_CLIENT_SECRET", SECRET),
        ("COOKIE_KEY", COOKIE_KEY),
    ];
    for _ in 0..2 {
        let (output, text) = run(&["migrate"], &given);
        assert!(output.status.success(), "{text}");
    }
}
