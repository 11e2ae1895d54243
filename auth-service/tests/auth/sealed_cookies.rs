//! The strategy `cookie`: the session itself is in the client's keeping.

use std::sync::Arc;
use std::time::Duration;

use auth_service::{Config, EmbeddedStores, Stores};
use reqwest::Method;
use reqwest::header::SET_COOKIE;
use serde_json::json;
use shared::authentication::strategy::Strategy;
use shared::authentication::{CookieKeys, DenyListMode};
use shared::session::{MemorySessionStore, NoSessionStore};

use crate::harness::{Answer, App, PASSWORD, on_both};

const IDLE: Duration = Duration::from_secs(30 * 60);
const ABSOLUTE: Duration = Duration::from_secs(2 * 60 * 60);

on_both! {
    a_login_gives_the_session_sealed_in_one_cookie with super::sealed,
    a_changed_cookie_is_nobodys with super::sealed,
    a_session_goes_on_under_renewed_cookies_until_its_greatest_age with super::sealed,
    hv2_a_logout_ends_every_copy_of_the_cookie with super::sealed,
    a_logout_everywhere_ends_all_copies_and_the_next_login_is_good with super::sealed,
    a_lock_and_a_new_password_end_all_sessions_of_the_user with super::sealed,
    what_nobody_keeps_cannot_be_listed with super::sealed,
}

fn sealed(config: &mut Config) {
    config.strategy = Strategy::Cookie;
    config.cookie_keys = Some(CookieKeys::random());
    (config.sessions.idle_ttl, config.sessions.absolute_ttl) = (IDLE, ABSOLUTE);
    if let Stores::Embedded(EmbeddedStores { key_values: Some(key_values), .. }) = &config.stores {
        let feed = Arc::new(MemorySessionStore::new(config.clock.clone(), config.remember()));
        let endings = DenyListMode::Feed.endings(feed, key_values.clone(), config.remember());
        let sessions = Arc::new(NoSessionStore::new(config.clock.clone(), endings));
        config.stores =
            Stores::Embedded(EmbeddedStores { sessions, key_values: Some(key_values.clone()), redis: None });
    }
}

fn value(answer: &Answer) -> Option<String> {
    let set = answer.headers.get(SET_COOKIE)?.to_str().unwrap();
    Some(set.split(';').next().unwrap().to_owned())
}

async fn register(app: &App) -> String {
    let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
    assert_eq!(app.post("/auth/register", json!({"email": email, "password": PASSWORD})).await.status, 201);
    email
}

async fn log_in(app: &App, email: &str) -> String {
    let answer = app.log_in(email, PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    value(&answer).unwrap()
}

async fn call(app: &App, method: Method, path: &str, cookie: &str) -> Answer {
    app.send(app.request(method, path).header("cookie", e2e::among_others(cookie))).await
}

async fn is_refused(app: &App, cookie: &str) {
    let started = std::time::Instant::now();
    while call(app, Method::GET, "/auth/me", cookie).await.status != 401 {
        assert!(started.elapsed() < Duration::from_secs(5), "the cookie is still taken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_login_gives_the_session_sealed_in_one_cookie(app: App) {
    let email = register(&app).await;
    let answer = app.log_in(&email, PASSWORD).await;
    let set = answer.headers[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.len() < 1_000 && set.contains("HttpOnly") && set.contains("Max-Age=7200"), "{} bytes", set.len());
    assert!(!set.contains(answer.body["user"]["id"].as_str().unwrap()), "the cookie can be read");
    assert!(answer.body.get("access_token").is_none());
    let me = call(&app, Method::GET, "/auth/me", &value(&answer).unwrap()).await;
    assert_eq!((me.status, &me.body["email"]), (200, &json!(email)));
    let again = app.log_in(&email, PASSWORD).await;
    assert_ne!(again.body["session_id"], answer.body["session_id"]);
}

async fn a_changed_cookie_is_nobodys(app: App) {
    let cookie = log_in(&app, &register(&app).await).await;
    for place in [12, cookie.len() / 2, cookie.len() - 2] {
        let mut changed = cookie.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let answer = call(&app, Method::GET, "/auth/me", &String::from_utf8(changed).unwrap()).await;
        assert_eq!((answer.status, answer.code()), (401, "session_ended"), "{place}");
        assert!(value(&answer).unwrap().ends_with('='), "the browser forgets it");
    }
    let among = format!("SESSIONID={}; {cookie}", "A".repeat(80));
    assert_eq!(call(&app, Method::GET, "/auth/me", &among).await.status, 200, "all of the name are tried");
}

async fn a_session_goes_on_under_renewed_cookies_until_its_greatest_age(app: App) {
    let first = log_in(&app, &register(&app).await).await;
    assert!(value(&call(&app, Method::GET, "/auth/me", &first).await).is_none(), "it is renewed when it is due");
    let (mut cookie, mut age) = (first.clone(), Duration::ZERO);
    while age + IDLE / 2 < ABSOLUTE {
        (age, _) = (age + IDLE / 2, app.clock.advance(IDLE / 2));
        let answer = call(&app, Method::GET, "/auth/me", &cookie).await;
        assert_eq!(answer.status, 200, "after {age:?}");
        cookie = value(&answer).expect("a renewed cookie");
    }
    assert_eq!(
        call(&app, Method::GET, "/auth/me", &first).await.status,
        401,
        "the first one was not seen for too long"
    );
    app.clock.advance(ABSOLUTE - age);
    assert_eq!(call(&app, Method::GET, "/auth/me", &cookie).await.status, 401, "a session has a greatest age");
}

async fn hv2_a_logout_ends_every_copy_of_the_cookie(app: App) {
    let email = register(&app).await;
    let (cookie, other) = (log_in(&app, &email).await, log_in(&app, &email).await);
    app.clock.advance(IDLE / 2);
    let renewed = value(&call(&app, Method::GET, "/auth/me", &cookie).await).expect("a renewed cookie");
    let answer = call(&app, Method::POST, "/auth/logout", &cookie).await;
    assert_eq!(answer.status, 204);
    assert_eq!(value(&answer).as_deref(), Some("SESSIONID="));
    is_refused(&app, &cookie).await;
    is_refused(&app, &renewed).await;
    assert_eq!(call(&app, Method::GET, "/auth/me", &other).await.status, 200, "the other session goes on");
}

async fn a_logout_everywhere_ends_all_copies_and_the_next_login_is_good(app: App) {
    let email = register(&app).await;
    let (one, other) = (log_in(&app, &email).await, log_in(&app, &email).await);
    let answer = call(&app, Method::POST, "/auth/logout-all", &one).await;
    assert_eq!((answer.status, &answer.body["ended"]), (200, &json!(null)), "nobody counts them: {}", answer.text);
    is_refused(&app, &one).await;
    is_refused(&app, &other).await;
    let next = log_in(&app, &email).await;
    assert_eq!(call(&app, Method::GET, "/auth/me", &next).await.status, 200, "another epoch");
}

async fn a_lock_and_a_new_password_end_all_sessions_of_the_user(app: App) {
    let admin = value(&app.log_in(crate::harness::ADMIN_EMAIL, crate::harness::ADMIN_PASSWORD).await).unwrap();
    let (ada, ben) = (register(&app).await, register(&app).await);
    let (adas, bens) = (log_in(&app, &ada).await, log_in(&app, &ben).await);
    let id = call(&app, Method::GET, "/auth/me", &adas).await.body["id"].as_str().unwrap().to_owned();
    let locked = call(&app, Method::POST, &format!("/admin/users/{id}/lock"), &admin).await;
    assert_eq!(locked.status, 200, "{}", locked.text);
    is_refused(&app, &adas).await;
    let body = json!({"current_password": PASSWORD, "new_password": "another sentence of his"});
    let request = app.request(Method::POST, "/auth/password").header("cookie", &bens).json(&body);
    assert_eq!(app.send(request).await.status, 204);
    is_refused(&app, &bens).await;
}

async fn what_nobody_keeps_cannot_be_listed(app: App) {
    let cookie = log_in(&app, &register(&app).await).await;
    for (method, path) in [(Method::GET, "/auth/sessions"), (Method::POST, "/auth/refresh")] {
        let request = app.request(method, path).header("cookie", &cookie).json(&json!({"refresh_token": "x"}));
        let answer = app.send(request).await;
        assert_eq!((answer.status, answer.code()), (409, "strategy_cannot"), "{path}: {}", answer.text);
    }
}
