//! Signing in, and those who try to without being allowed.

use std::collections::HashSet;
use std::time::Duration;

use auth_service::password::Password;
use auth_service::storage::users;
use reqwest::Method;
use serde_json::json;

use crate::harness::{App, PASSWORD, all, on_both};

on_both! {
    a_login_gives_tokens_that_name_the_session,
    nothing_in_the_answer_tells_why_a_login_failed,
    every_failed_login_costs_one_hash,
    a_hundred_guesses_at_once_do_not_outrun_the_counter,
    beyond_the_limit_the_right_password_waits_too,
    a_right_password_forgets_the_wrong_ones,
    a_victim_of_guessing_stays_in,
    guesses_from_one_address_are_bounded_over_all_accounts with |config| config.throttle.attempts_per_address = 20,
    a_made_up_forwarded_address_does_not_help with |config| config.throttle.attempts_per_address = 5,
    a_trusted_proxy_tells_the_address with |config| {
        config.trusted_proxies = shared::request::TrustedProxies(vec!["127.0.0.1/32".parse().unwrap()]);
        config.throttle.attempts_per_address = 5;
    },
    a_flood_of_logins_is_turned_away_and_refreshes_go_on with |config| {
        config.hash_queue = 4;
        config.hash_threads = 1;
    },
    an_old_hash_is_renewed_at_the_login,
    a_hash_of_a_password_as_it_was_sent_is_good_once_and_renewed,
    the_oldest_session_makes_room with |config| config.sessions.limit.max = 3,
    c21_a_hundred_logins_at_once_keep_to_the_limit with |config| config.sessions.limit.max = 3,
    a_full_account_may_refuse_another_session with |config| {
        config.sessions.limit.max = 2;
        config.sessions.limit.policy = shared::session::LimitPolicy::Refuse;
    },
}

async fn a_login_gives_tokens_that_name_the_session(app: App) {
    let somebody = app.somebody().await;
    let answer = app.log_in(&somebody.email, PASSWORD).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["expires_in"], 300);
    assert_ne!(answer.body["session_id"], somebody.session.as_str(), "each login has a session of its own");
    let claims = claims(answer.body["access_token"].as_str().unwrap());
    assert_eq!(claims["sid"], answer.body["session_id"]);
    assert_eq!(claims["sub"], answer.body["user"]["id"]);
    assert_eq!(claims["aud"], json!(["auth-service", "cart-service", "order-service"]));
    assert_eq!(claims["iss"], "http://localhost:8081");
    assert_eq!((&claims["client_id"], &claims["scope"]), (&json!("platform"), &json!("account admin cart orders")));
    assert_eq!((&claims["roles"], &claims["amr"]), (&json!(["user"]), &json!(["pwd"])));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
}

pub(crate) fn claims(token: &str) -> serde_json::Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// D1
async fn nothing_in_the_answer_tells_why_a_login_failed(app: App) {
    let (somebody, locked) = (app.somebody().await, app.somebody().await);
    let admin = app.administrator().await;
    let lock = format!("/admin/users/{}/lock", locked.id);
    assert_eq!(app.call(Method::POST, &lock, &admin.access).await.status, 200);

    let unknown = app.log_in("nobody@example.com", PASSWORD).await;
    let wrong = app.log_in(&somebody.email, "not the password").await;
    let locked_right = app.log_in(&locked.email, PASSWORD).await;
    let locked_wrong = app.log_in(&locked.email, "not the password").await;
    assert_eq!((unknown.status, unknown.code()), (401, "invalid_credentials"));
    for other in [wrong, locked_right, locked_wrong] {
        assert_eq!(other.comparable(), unknown.comparable());
    }
    let audit = app.audit_of(locked.id).await;
    assert_eq!(audit[&("log_in".to_owned(), "account_locked".to_owned())], 1, "the audit knows the reason");
    assert_eq!(audit[&("log_in".to_owned(), "wrong_password".to_owned())], 1);
}

/// D2: the time is that of the hashes, so their number is what is compared.
async fn every_failed_login_costs_one_hash(app: App) {
    let (somebody, locked) = (app.somebody().await, app.somebody().await);
    auth_service::accounts::lock(&app.service, locked.id, &auth_service::storage::audit::By::SERVICE).await.unwrap();
    for (email, password) in [
        ("nobody@example.com", PASSWORD),
        (somebody.email.as_str(), "not the password"),
        (locked.email.as_str(), PASSWORD),
        (locked.email.as_str(), "not the password"),
        (somebody.email.as_str(), PASSWORD),
    ] {
        let before = app.service.hasher.computed();
        app.log_in(email, password).await;
        assert_eq!(app.service.hasher.computed() - before, 1, "{email} {password}");
    }
}

/// D3
async fn a_hundred_guesses_at_once_do_not_outrun_the_counter(app: App) {
    let somebody = app.somebody().await;
    let before = app.service.hasher.computed();
    let guess = |number: usize| {
        let (app, email) = (&app, &somebody.email);
        async move { app.log_in(email, &format!("guess number {number}")).await.status }
    };
    let answers = all((0..100).map(guess)).await;
    let tried = answers.iter().filter(|status| **status == 401).count();
    assert_eq!(tried, 10, "as many as the limit are tried");
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 90);
    assert_eq!(app.service.hasher.computed() - before, 10, "and only those are hashed");
    let right = app.log_in(&somebody.email, PASSWORD).await;
    assert_eq!((right.status, right.code()), (429, "too_many_attempts"), "the right password comes too late");
    assert_eq!(app.service.hasher.computed() - before, 10);
    let audit = app.audit_of(somebody.id).await;
    assert_eq!(audit[&("log_in".to_owned(), "wrong_password".to_owned())], 10);
}

/// D3
async fn beyond_the_limit_the_right_password_waits_too(app: App) {
    let somebody = app.somebody().await;
    for _ in 0..10 {
        assert_eq!(app.log_in(&somebody.email, "not the password").await.status, 401);
    }
    let refused = app.log_in(&somebody.email, PASSWORD).await;
    assert_eq!(refused.status, 429);
    assert!((1..=900).contains(&refused.retry_after()));
    let unknown = all((0..11).map(|_| app.log_in("nobody@example.com", PASSWORD))).await;
    let refused_unknown = unknown.into_iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused_unknown.code(), refused.code(), "an address without an account is counted too");
    app.clock.advance(Duration::from_secs(901));
    assert_eq!(app.log_in(&somebody.email, PASSWORD).await.status, 200, "the window has ended");
}

async fn a_right_password_forgets_the_wrong_ones(app: App) {
    let somebody = app.somebody().await;
    for _ in 0..3 {
        for _ in 0..9 {
            assert_eq!(app.log_in(&somebody.email, "not the password").await.status, 401);
        }
        assert_eq!(app.log_in(&somebody.email, PASSWORD).await.status, 200);
    }
}

/// D5
async fn a_victim_of_guessing_stays_in(app: App) {
    let victim = app.somebody().await;
    all((0..30).map(|_| app.log_in(&victim.email, "not the password"))).await;
    assert_eq!(app.log_in(&victim.email, PASSWORD).await.status, 429);
    assert_eq!(app.get("/auth/me", &victim.access).await.status, 200);
    let refreshed = app.refresh(&victim.refresh).await;
    assert_eq!(refreshed.status, 200);
    let change = app.request(Method::POST, "/auth/password").bearer_auth(&victim.access);
    let change = change.json(&json!({"current_password": PASSWORD, "new_password": "another horse battery"}));
    assert_eq!(app.send(change).await.status, 204, "and can choose another password");
}

/// D4
async fn guesses_from_one_address_are_bounded_over_all_accounts(app: App) {
    let victim = app.somebody().await;
    let answers = all((0..60).map(|number| {
        let app = &app;
        async move { app.log_in(&format!("user{number}@example.com"), "spray and pray").await.status }
    }))
    .await;
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 20, "the victim's own login used up nothing");
    for _ in 0..20 {
        assert_eq!(app.log_in(&victim.email, "not the password").await.status, 429);
    }
    app.clock.advance(Duration::from_secs(901));
    assert_eq!(
        app.log_in(&victim.email, PASSWORD).await.status,
        200,
        "an address that is shut out does not count for an account"
    );
}

/// D4
async fn a_made_up_forwarded_address_does_not_help(app: App) {
    let guess = |number: usize| {
        let body = json!({"email": format!("user{number}@example.com"), "password": "spray and pray"});
        let request = app.request(Method::POST, "/auth/login").json(&body);
        app.send(request.header("X-Forwarded-For", format!("198.51.100.{number}")).header("Forwarded", "for=6.6.6.6"))
    };
    let answers = all((0..20).map(guess)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 5);
}

async fn a_trusted_proxy_tells_the_address(app: App) {
    let guess = |address: &'static str| {
        let body = json!({"email": "user@example.com", "password": "spray and pray", "device": "Spray"});
        app.send(app.request(Method::POST, "/auth/login").json(&body).header("X-Forwarded-For", address))
    };
    for _ in 0..5 {
        assert_eq!(guess("6.6.6.6, 198.51.100.1").await.status, 401);
    }
    assert_eq!(guess("7.7.7.7, 198.51.100.1").await.status, 429, "the last hop is the proxy's word");
    assert_eq!(guess("198.51.100.2").await.status, 401);
}

/// D7
async fn a_flood_of_logins_is_turned_away_and_refreshes_go_on(app: App) {
    let somebody = app.somebody().await;
    let login = |number: usize| {
        let body = json!({"email": format!("user{number}@example.com"), "password": "spray and pray"});
        app.send_whatever(app.request(Method::POST, "/auth/login").json(&body))
    };
    let (answers, refreshed) = tokio::join!(all((0..60).map(login)), app.refresh(&somebody.refresh));
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!busy.is_empty(), "the queue has room for four");
    assert!(busy.iter().all(|answer| answer.code() == "too_busy" && answer.retry_after() > 0));
    assert!(answers.iter().all(|answer| [401, 503].contains(&answer.status)));
    assert_eq!(refreshed.status, 200);
}

async fn an_old_hash_is_renewed_at_the_login(app: App) {
    let somebody = app.somebody().await;
    // argon2id, m=8 KiB, t=1, of the same password: made here, as an earlier release would have.
    let old = old_hash(PASSWORD);
    let user = app.service.users.by_id(somebody.id).await.unwrap().unwrap();
    users::renew_hash(&app.service.database, user.id, &user.password_hash, &old).await.unwrap();
    assert_eq!(app.log_in(&somebody.email, "not the password").await.status, 401);
    let kept = app.service.users.by_id(somebody.id).await.unwrap().unwrap();
    assert_eq!(kept.password_hash, old, "a wrong password renews nothing");

    assert_eq!(app.log_in(&somebody.email, PASSWORD).await.status, 200);
    let renewed = app.service.users.by_id(somebody.id).await.unwrap().unwrap();
    assert!(renewed.password_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", renewed.password_hash);
    assert_eq!(app.get("/auth/me", &somebody.access).await.status, 200, "and no session ends for it");
    let verified = app.service.hasher.verify(Password::parse(PASSWORD).unwrap(), Some(&renewed.password_hash)).await;
    assert_eq!(verified.unwrap(), auth_service::password::Verified::Right);
    assert_eq!(app.log_in(&somebody.email, PASSWORD).await.status, 200);
}

async fn a_hash_of_a_password_as_it_was_sent_is_good_once_and_renewed(app: App) {
    use auth_service::password::Verified;
    let (decomposed, composed) = ("cafe\u{301} au lait", "caf\u{e9} au lait");
    let somebody = app.somebody().await;
    let user = app.service.users.by_id(somebody.id).await.unwrap().unwrap();
    users::renew_hash(&app.service.database, user.id, &user.password_hash, &old_hash(decomposed)).await.unwrap();
    assert_eq!(app.log_in(&somebody.email, composed).await.status, 401, "nobody knows that it was this one");
    assert_eq!(app.log_in(&somebody.email, decomposed).await.status, 200);
    let renewed = app.service.users.by_id(somebody.id).await.unwrap().unwrap().password_hash;
    let verify =
        async |text: &str| app.service.hasher.verify(Password::parse(text).unwrap(), Some(&renewed)).await.unwrap();
    assert_eq!([verify(decomposed).await, verify(composed).await], [Verified::Right; 2]);
    for password in [composed, decomposed, "cafe\u{301}\u{a0}au lait"] {
        assert_eq!(app.log_in(&somebody.email, password).await.status, 200, "{password:?}");
    }
}

fn old_hash(password: &str) -> String {
    use base64::Engine as _;
    let (salt, mut output) = (b"sixteen byte salt", [0; 32]);
    let params = argon2::Params::new(64, 1, 1, Some(32)).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password_into(password.as_bytes(), salt, &mut output).unwrap();
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    format!("$argon2id$v=19$m=64,t=1,p=1${}${}", encode(salt), encode(&output))
}

async fn the_oldest_session_makes_room(app: App) {
    let first = app.somebody().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        app.clock.advance(Duration::from_secs(1));
        others.push(app.sign_in(&first.email, PASSWORD).await);
    }
    app.is_refused(&first.access).await;
    assert_eq!(app.refresh(&first.refresh).await.status, 401);
    for other in others {
        assert_eq!(app.get("/auth/me", &other.access).await.status, 200);
    }
    let audit = app.audit_of(first.id).await;
    assert_eq!(audit[&("end_session".to_owned(), "done".to_owned())], 1);
}

async fn c21_a_hundred_logins_at_once_keep_to_the_limit(app: App) {
    let somebody = app.somebody().await;
    let logins = all((0..100).map(|_| app.log_in(&somebody.email, PASSWORD))).await;
    let tokens: Vec<_> = logins.iter().filter_map(|answer| answer.body["access_token"].as_str()).collect();
    assert!(tokens.len() >= 10, "right passwords are not throttled away: {}", tokens.len());
    let live = app.service.sessions.list(somebody.id).await.unwrap();
    assert_eq!(live.len(), 3);
    let ids: HashSet<_> = live.iter().map(|session| session.id.to_string()).collect();
    let began: HashSet<_> =
        logins.iter().filter_map(|answer| answer.body["session_id"].as_str()).map(str::to_owned).collect();
    assert!(ids.is_subset(&began), "the newest live");
}

async fn a_full_account_may_refuse_another_session(app: App) {
    let first = app.somebody().await;
    app.sign_in(&first.email, PASSWORD).await;
    for _ in 0..12 {
        let refused = app.log_in(&first.email, PASSWORD).await;
        assert_eq!((refused.status, refused.code()), (409, "session_limit_reached"), "it is no failed login");
    }
    assert_eq!(app.call(Method::POST, "/auth/logout", &first.access).await.status, 204);
    assert_eq!(app.log_in(&first.email, PASSWORD).await.status, 200);
}
