//! The program's commands, as an operator gives them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use reqwest::Method;
use serde_json::json;
use shared::clock::Clock;

use crate::harness::{App, PASSWORD, Place};

const ATTRIBUTE_KEY: &str = "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g=";

pub(crate) fn program(place: Option<&Place>, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth-service"));
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(place) = place {
        command.envs(place.settings());
    }
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[test]
fn every_missing_setting_is_named_at_once() {
    let (started, text) = program(None, &[], "");
    assert!(!started);
    for name in ["DATABASE_URL", "REDIS_URL", "MASTER_KEY"] {
        assert!(text.contains(&format!("{name} is not set")), "{text}");
    }
}

#[test]
fn config_prints_every_setting_and_no_secret() {
    let place = Place::embedded();
    let (_, text) = program(Some(&place), &["config"], "");
    for name in [
        "AUTH_ADDR",
        "DATABASE_URL",
        "REDIS_URL",
        "ISSUER",
        "JWKS_URL",
        "SESSION_STRATEGY",
        "SESSION_ATTRIBUTE_KEY",
        "ACCESS_TOKEN_TTL",
        "REFRESH_IDLE_TTL",
        "REFRESH_ABSOLUTE_TTL",
        "REFRESH_GRACE",
        "MAX_SESSIONS_PER_USER",
        "SESSION_LIMIT_POLICY",
        "MASTER_KEY",
        "ADMIN_EMAIL",
        "ADMIN_PASSWORD",
        "TRUSTED_PROXIES",
        "ADMIN_ALLOWED_NETWORKS",
        "AUDIT_RETENTION",
        "AUDIT_RETENTION_REFUSED",
        "SIGNING_ALG",
        "JWT_COMPATIBILITY",
        "KEY_ROTATION",
        "KEY_PUBLISH_LEAD",
        "LOGIN_ATTEMPTS_PER_ACCOUNT",
        "LOGIN_ATTEMPTS_PER_ACCOUNT_OVERALL",
        "DEVICE_COOKIE_TTL",
        "PROVIDER_COOKIE_SAME_SITE",
        "COOKIE_ORIGINS",
        "TRACE_CALLERS",
        "FIRST_CLIENTS",
        "CLIENT_REGISTRATION",
        "CLIENT_REGISTRATION_SCOPE",
        "MAX_REGISTERED_CLIENTS",
        "STEP_UP_AFTER",
        "LOG_FORMAT",
    ] {
        assert!(text.contains(name), "{name} is missing from:\n{text}");
    }
    assert!(!text.contains(crate::harness::MASTER_KEY) && !text.contains(crate::harness::ADMIN_PASSWORD), "{text}");
}

#[test]
fn a_strategy_whose_sessions_are_in_the_process_is_refused_and_told_why() {
    for (strategy, why) in
        [("sticky", "the memory of one process with all services in it"), ("replicated", "the memory of every node")]
    {
        let mut pairs = Place::embedded().settings();
        pairs.extend(
            [("SESSION_STRATEGY", strategy), ("REDIS_URL", "redis://localhost")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let mut settings = shared::config::Settings::from_pairs(pairs);
        auth_service::Config::read(&mut settings, None);
        let text = settings.finish().unwrap_err().to_string();
        assert!(text.contains(&format!("SESSION_STRATEGY: {strategy} keeps sessions in {why}")), "{text}");
        assert!(text.contains("1 mistake") && text.contains("run all-in-one"), "{text}");
    }
}

#[test]
fn what_a_strategy_lacks_and_what_it_cannot_do_is_refused_at_the_start() {
    for (strategy, name, value) in [
        // No key is no panic either.
        ("cookie", "COOKIE_KEY", ""),
        ("jwt", "MAX_SESSIONS_PER_USER", "1"),
        ("cookie", "MAX_SESSIONS_PER_USER", "1"),
        ("jwt", "SESSION_LIMIT_POLICY", "refuse"),
        ("jwt", "SESSION_ATTRIBUTE_KEY", ATTRIBUTE_KEY),
        ("cookie", "SESSION_ATTRIBUTE_KEY", ATTRIBUTE_KEY),
    ] {
        let mut settings = Place::embedded().settings();
        settings
            .extend([("SESSION_STRATEGY", strategy), (name, value)].map(|(name, value)| (name.into(), value.into())));
        let mut settings = shared::config::Settings::from_pairs(settings);
        auth_service::Config::read(&mut settings, None);
        let text = settings.finish().unwrap_err().to_string();
        assert!(text.contains(name) && text.contains(strategy) && !text.contains(ATTRIBUTE_KEY), "{text}");
    }
}

#[test]
fn an_issuer_with_a_path_is_refused_at_the_start_and_told_what_to_do() {
    let refusal = |issuer: &str| {
        let settings = Place::embedded().settings().into_iter().chain([
            ("ISSUER".to_owned(), issuer.to_owned()),
            ("COOKIE_SECURE".to_owned(), issuer.starts_with("https").to_string()),
        ]);
        let mut settings = shared::config::Settings::from_pairs(settings);
        auth_service::Config::read(&mut settings, Some(Place::embedded_stores(&Clock::default())));
        settings.finish().err().map(|error| error.to_string()).unwrap_or_default()
    };
    for (issuer, example) in [
        ("https://shop.example/sso", "https://auth.shop.example"),
        ("https://shop.example:8443/sso/", "https://auth.shop.example:8443"),
        ("http://10.0.0.1/a/b", "http://auth.example.com"),
    ] {
        let text = refusal(issuer);
        assert!(text.contains(&format!("ISSUER: {issuer} has a path")) && text.contains(example), "{text}");
        assert!(text.contains("1 mistake"), "{text}");
    }
    for good in ["https://auth.shop.example", "https://auth.shop.example/", "http://localhost:8081"] {
        assert_eq!(refusal(good), "", "{good}");
    }
}

#[test]
fn settings_that_do_not_fit_each_other_are_refused() {
    let mut settings = Place::embedded().settings();
    for (name, value) in [
        ("ACCESS_TOKEN_TTL", "2h"),
        ("REFRESH_ABSOLUTE_TTL", "1d"),
        ("REFRESH_GRACE", "5m"),
        ("MAX_SESSIONS_PER_USER", "0"),
        ("KEY_PUBLISH_LEAD", "29s"),
        ("KEY_ROTATION", "50s"),
        ("ISSUER", "ftp://x"),
        ("ADMIN_PASSWORD", "password"),
        ("SIGNING_ALG", "HS256"),
        ("CLIENT_REGISTRATION", "open"),
        ("CLIENT_REGISTRATION_SCOPE", "openid admin"),
        ("MASTER_KEY", "c2hvcnQ="),
        ("SESSION_LIMIT_POLICY", "maybe"),
        ("ADMIN_EMAIL", "root"),
        ("LOGIN_ATTEMPTS_WINDOW", "0s"),
        ("LOGIN_ATTEMPTS_PER_ACCOUNT", "0"),
        ("DATABASE_CONNECTIONS", "0"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::/0"),
    ] {
        settings.push((name.to_owned(), value.to_owned()));
    }
    let mut settings = shared::config::Settings::from_pairs(settings);
    auth_service::Config::read(&mut settings, None);
    let text = settings.finish().unwrap_err().to_string();
    for name in [
        "ACCESS_TOKEN_TTL",
        "REFRESH_ABSOLUTE_TTL",
        "REFRESH_GRACE",
        "MAX_SESSIONS_PER_USER",
        "KEY_PUBLISH_LEAD",
        "KEY_ROTATION",
        "ISSUER",
        "ADMIN_PASSWORD",
        "SIGNING_ALG",
        "LOGIN_ATTEMPTS_WINDOW: expected a duration longer than nothing",
        "LOGIN_ATTEMPTS_PER_ACCOUNT: expected at least 1",
        "DATABASE_CONNECTIONS: expected at least 1",
        "TRUSTED_PROXIES: expected the gateway's addresses alone",
        "CLIENT_REGISTRATION:",
        "CLIENT_REGISTRATION_SCOPE",
        "MASTER_KEY",
        "SESSION_LIMIT_POLICY",
        "ADMIN_EMAIL",
        "REDIS_URL",
    ] {
        assert!(text.contains(name), "{name} is missing from:\n{text}");
    }
    assert!(!text.contains("c2hvcnQ="), "{text}");
}

#[test]
fn what_could_not_work_or_is_known_to_everybody_is_refused_at_the_start() {
    let read = |more: &[(&str, &str)]| {
        let more = [("REDIS_URL", "redis://localhost")].iter().chain(more);
        let more = more.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = shared::config::Settings::from_pairs(Place::embedded().settings().into_iter().chain(more));
        let config = auth_service::Config::read(&mut settings, None);
        (config, settings.finish().err().map(|error| error.to_string()).unwrap_or_default())
    };
    let client = r#"[{"client_id":"a","client_secret":"a-secret-of-more-than-32-characters","redirect_uris":
        ["https://a.example/"],"scope":"openid wishes"}]"#;
    for (name, value, why) in [
        ("ISSUER", "https://auth.example", "COOKIE_SECURE: expected true, for browsers come by https"),
        ("ISSUER", "localhost:8081", "ISSUER: expected http:// or https://"),
        ("ISSUER", "auth.example", "ISSUER: expected http:// or https://"),
        ("PROVIDER_COOKIE_SAME_SITE", "none", "PROVIDER_COOKIE_SAME_SITE: none needs COOKIE_SECURE=true"),
        ("PROVIDER_COOKIE_SAME_SITE", "strict", "whoever comes from an application of another site"),
        ("PROVIDER_COOKIE_SAME_SITE", "both", "PROVIDER_COOKIE_SAME_SITE: expected lax or none"),
        ("API_SCOPES", "cart=wish-service", "API_SCOPES: expected another word than cart"),
        ("MASTER_KEY", "$(openssl rand -base64 32)", "MASTER_KEY: expected the output of the command"),
        ("ADMIN_PASSWORD", "ADMIN_PASSWORD", "ADMIN_PASSWORD: expected a secret, found the name of one"),
        ("FIRST_CLIENTS", client, "FIRST_CLIENTS: a: /scope: wishes is unknown"),
        ("CLIENT_REGISTRATION_SCOPE", "openid wishes", "CLIENT_REGISTRATION_SCOPE: wishes is unknown"),
    ] {
        let (_, text) = read(&[(name, value)]);
        assert!(text.contains("1 mistake") && text.contains(why), "{name}={value}: {text}");
    }
    let good = [("ISSUER", "https://auth.example"), ("COOKIE_SECURE", "true"), ("FIRST_CLIENTS", client)];
    let (config, text) = read(&[&good[..], &[("API_SCOPES", "wishes=wish-service")]].concat());
    assert_eq!(text, "");
    assert_eq!(config.api_scopes.scope(), "account admin cart orders wishes");
    let none = [("COOKIE_SECURE", "true"), ("PROVIDER_COOKIE_SAME_SITE", "none")];
    assert_eq!(read(&none).1, "");
    let (_, text) = read(&[&none[..], &[("SESSION_STRATEGY", "jwt")]].concat());
    assert!(text.contains("1 mistake") && text.contains("SESSION_STRATEGY=jwt keeps none"), "{text}");
    assert_eq!(config.audiences, ["auth-service", "cart-service", "order-service", "wish-service"]);
}

#[test]
fn a_shared_secret_is_taken_by_the_strategy_without_sessions_alone_and_only_a_strong_one() {
    let refused = |more: &[(&str, &str)]| {
        let more = more.iter().chain(&[("REDIS_URL", "redis://localhost")]);
        let more = more.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = shared::config::Settings::from_pairs(Place::embedded().settings().into_iter().chain(more));
        let config = auth_service::Config::read(&mut settings, None);
        assert!(!settings.describe().contains("60835a5e0b1f"), "{}", settings.describe());
        (config.shared_secret.is_some(), settings.finish().err().map(|error| error.to_string()).unwrap_or_default())
    };
    let (on, secret) = (("JWT_COMPATIBILITY", "hs256"), ("JWT_HS256_SECRET", "4f9a1c77d2be60835a5e0b1f8c3d2e6f"));
    let jwt = ("SESSION_STRATEGY", "jwt");
    assert_eq!(refused(&[jwt, on, secret]), (true, String::new()));
    assert_eq!(refused(&[jwt, secret]), (false, String::new()), "the secret alone turns nothing on");
    for strategy in ["hybrid", "redis", "cookie"] {
        let cookie_key = ("COOKIE_KEY", crate::harness::MASTER_KEY);
        let (_, text) = refused(&[("SESSION_STRATEGY", strategy), cookie_key, on, secret]);
        assert!(text.contains("JWT_COMPATIBILITY: hs256 is for SESSION_STRATEGY=jwt alone"), "{strategy}: {text}");
    }
    assert!(refused(&[jwt, on]).1.contains("JWT_HS256_SECRET is not set"));
    assert!(refused(&[jwt, ("JWT_COMPATIBILITY", "none")]).1.contains("JWT_COMPATIBILITY: expected off or hs256"));
    for weak in ["hunter2", "4f9a1c77d2be60835a5e0b1f8c3d2e6", &"ab".repeat(40)] {
        let (_, text) = refused(&[jwt, on, ("JWT_HS256_SECRET", weak)]);
        assert!(text.contains("JWT_HS256_SECRET: ") && !text.contains(weak), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_work_beside_the_running_service() {
    let Some(app) = App::on_servers(|_| {}).await else { return };
    let run = |arguments: &[&str], input: &str| {
        let (good, text) = program(Some(&app.place), arguments, input);
        assert!(good, "{arguments:?}: {text}");
        text
    };
    run(&["migrate"], "");

    let text = run(&["user", "create", "Made.Up@example.com"], "");
    let made_up = text.lines().find_map(|line| line.split_once("with the password ")).unwrap().1.trim().to_owned();
    assert_eq!(app.log_in("made.up@example.com", &made_up).await.status, 200);
    assert_eq!(text.matches(&made_up).count(), 1, "it is shown once");
    let text = run(&["user", "create", "given@example.com", "user", "support"], &format!("{PASSWORD}\n"));
    assert!(!text.contains(PASSWORD), "{text}");
    let given = app.sign_in("given@example.com", PASSWORD).await;
    assert_eq!(app.get("/auth/me", &given.access).await.body["roles"], json!(["support", "user"]));
    for (email, input) in [
        ("given@example.com", "another good one"),
        ("no address", ""),
        ("x@example.com", "short"),
        ("x@example.com", "password1"),
    ] {
        assert!(!program(Some(&app.place), &["user", "create", email], input).0, "{email} {input}");
    }

    run(&["user", "set-roles", "given@example.com", "user", "admin"], "");
    app.is_refused(&given.access).await;
    let given = app.sign_in("given@example.com", PASSWORD).await;
    assert_eq!(app.get("/admin/users", &given.access).await.status, 200);

    let mut elsewhere = app.place.again();
    elsewhere.redis_url = shared::testing::redis().await;
    for command in [&["sessions", "end", "given@example.com"][..], &["user", "set-roles", "given@example.com"]] {
        let (done, text) = program(Some(&elsewhere), command, "");
        assert!(!done && text.contains("a database of it, that no auth service uses: set REDIS_URL"), "{text}");
    }
    assert_eq!(app.get("/admin/users", &given.access).await.status, 200, "nothing was changed");

    let text = run(&["sessions", "end", &given.session], "");
    assert!(text.contains("1 session(s) ended"), "{text}");
    app.is_refused(&given.access).await;
    let (one, two) =
        (app.sign_in("given@example.com", PASSWORD).await, app.sign_in("given@example.com", PASSWORD).await);
    let text = run(&["sessions", "end", "given@example.com"], "");
    assert!(text.contains("2 session(s) ended"), "{text}");
    app.is_refused(&one.access).await;
    assert_eq!(app.refresh(&two.refresh).await.status, 401);

    let keys = async || {
        app.service.keys.reload().await.unwrap();
        app.send(app.request(Method::GET, "/.well-known/jwks.json")).await.body["keys"].as_array().unwrap().len()
    };
    run(&["keys", "rotate"], "");
    assert!(run(&["keys", "rotate"], "").contains("was on its way already"));
    assert_eq!(keys().await, 6, "two of each algorithm");
    run(&["keys", "rotate", "--at-once"], "");
    assert_eq!(keys().await, 3);
    let text = run(&["keys", "rotate", "--alg", "ES256"], "");
    assert!(text.contains("ES256 key") && !text.contains("EdDSA key"), "{text}");
    assert_eq!(keys().await, 4);
    assert!(!program(Some(&app.place), &["keys", "rotate", "--alg", "HS256"], "").0);
}
