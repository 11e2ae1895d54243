//! The strategy `jwt`: nobody keeps a session, and what that gives up is said and not hidden.

use std::sync::Arc;
use std::time::Duration;

use auth_service::signing_keys::SigningAlg;
use auth_service::{Config, EmbeddedStores, Stores};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use shared::authentication::DenyListMode;
use shared::authentication::strategy::Strategy;
use shared::session::{NoSessionStore, SessionId, UserId};
use shared::token::SharedSecret;

use crate::harness::{App, PASSWORD, logged, on_both};

on_both! {
    a_login_gives_tokens_that_are_good_until_they_expire with super::untold,
    a_refresh_reads_the_account_again with super::untold,
    an_ended_session_is_refused_by_the_feed with super::told_by_the_feed,
    an_ended_session_is_refused_by_the_list with super::told_by_a_list,
    an_ended_session_refreshes_no_more with super::told_by_the_feed,
    what_needs_kept_sessions_says_why_it_cannot with super::untold,
    an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing with super::untold,
    a_shared_secret_signs_access_tokens_and_nothing_else with super::sharing_a_secret,
    what_the_published_keys_signed_opens_nothing_beside_a_shared_secret with super::sharing_a_secret,
}

pub(crate) fn untold(config: &mut Config) {
    jwt(config, DenyListMode::Off);
}

fn told_by_the_feed(config: &mut Config) {
    jwt(config, DenyListMode::Feed);
}

fn told_by_a_list(config: &mut Config) {
    jwt(config, DenyListMode::Redis);
}

const SHARED_SECRET: &str = "4f9a1c77d2be60835a5e0b1f8c3d2e6f";

fn sharing_a_secret(config: &mut Config) {
    jwt(config, DenyListMode::Feed);
    config.shared_secret = Some(SharedSecret::parse(&SHARED_SECRET.into()).unwrap());
}

fn jwt(config: &mut Config, mode: DenyListMode) {
    config.strategy = Strategy::Jwt;
    config.deny_list = mode;
    if let Stores::Embedded(EmbeddedStores { sessions, key_values: Some(key_values), .. }) = &config.stores {
        let endings = mode.endings(sessions.clone(), key_values.clone(), config.remember());
        let sessions = Arc::new(NoSessionStore::new(config.clock.clone(), endings));
        config.stores =
            Stores::Embedded(EmbeddedStores { sessions, key_values: Some(key_values.clone()), redis: None });
    }
}

async fn a_login_gives_tokens_that_are_good_until_they_expire(app: App) {
    let ada = app.somebody().await;
    assert_eq!(app.get("/auth/me", &ada.access).await.body["email"], json!(ada.email));
    assert_eq!(app.call(Method::POST, "/auth/logout", &ada.access).await.status, 204);
    assert_eq!(app.get("/auth/me", &ada.access).await.status, 200, "no service is told that she has left");
    assert_eq!(app.refresh(&ada.refresh).await.status, 401, "but the database remembers it");
    app.clock.advance(Duration::from_secs(301));
    assert_eq!(app.get("/auth/me", &ada.access).await.status, 401);
    let ada = app.somebody().await;
    app.clock.advance(Duration::from_secs(301));
    let renewed = app.refresh(&ada.refresh).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    assert_eq!(renewed.body["session_id"], json!(ada.session), "the session goes on");
    assert_eq!(app.get("/auth/me", renewed.body["access_token"].as_str().unwrap()).await.status, 200);
    // Nothing is used up, for nobody could remember it.
    assert_eq!(app.refresh(&ada.refresh).await.status, 200);
    app.clock.advance(app.service.rules.absolute_ttl);
    assert_eq!(app.refresh(&ada.refresh).await.status, 401, "a session has a greatest age");
}

async fn a_refresh_reads_the_account_again(app: App) {
    let (ada, admin) = (app.somebody().await, app.administrator().await);
    let lock = app.call(Method::POST, &format!("/admin/users/{}/lock", ada.id), &admin.access).await;
    assert_eq!(lock.status, 200, "{}", lock.text);
    assert_eq!(app.refresh(&ada.refresh).await.status, 401, "a locked account");
    let ben = app.somebody().await;
    let change = json!({"current_password": PASSWORD, "new_password": "another sentence of his"});
    let request = app.request(Method::POST, "/auth/password").bearer_auth(&ben.access).json(&change);
    assert_eq!(app.send(request).await.status, 200);
    assert_eq!(app.refresh(&ben.refresh).await.status, 401, "the password has changed since");
}

async fn an_ended_session_is_refused_by_the_feed(app: App) {
    let (ada, other) = (app.somebody().await, app.somebody().await);
    assert_eq!(app.call(Method::POST, "/auth/logout", &ada.access).await.status, 204);
    app.is_refused(&ada.access).await;
    assert_eq!(app.get("/auth/me", &other.access).await.status, 200);
}

async fn an_ended_session_is_refused_by_the_list(app: App) {
    let (ada, admin) = (app.somebody().await, app.administrator().await);
    let kick = app.call(Method::DELETE, &format!("/admin/sessions/{}", ada.session), &admin.access).await;
    assert_eq!(kick.status, 204, "{}", kick.text);
    assert_eq!(app.get("/auth/me", &ada.access).await.status, 401, "the list is asked each time");
    assert_eq!(app.get("/auth/me", &admin.access).await.status, 200);
    // Nobody knows whether a session was ever there: denying another one is no error.
    let never = SessionId::random_for(UserId::random());
    assert_eq!(app.call(Method::DELETE, &format!("/admin/sessions/{never}"), &admin.access).await.status, 204);
}

async fn an_ended_session_refreshes_no_more(app: App) {
    let ada = app.somebody().await;
    let body = json!({"refresh_token": ada.refresh});
    assert_eq!(app.post("/auth/logout", body).await.status, 204);
    assert_eq!(app.refresh(&ada.refresh).await.status, 401);
    app.clock.advance(Duration::from_secs(86_400));
    assert_eq!(app.refresh(&ada.refresh).await.status, 401, "it is remembered as long as the token could be shown");
}

async fn what_needs_kept_sessions_says_why_it_cannot(app: App) {
    let (ada, admin) = (app.somebody().await, app.administrator().await);
    for (method, path, token) in [
        (Method::GET, "/auth/sessions".to_owned(), &ada.access),
        (Method::DELETE, format!("/auth/sessions/{}", ada.session), &ada.access),
        (Method::POST, "/auth/logout-all".to_owned(), &ada.access),
        (Method::GET, "/admin/sessions".to_owned(), &admin.access),
        (Method::DELETE, format!("/admin/sessions/{}", ada.session), &admin.access),
    ] {
        let answer = app.call(method.clone(), &path, token).await;
        assert_eq!((answer.status, answer.code()), (409, "strategy_cannot"), "{method} {path}: {}", answer.text);
        assert!(answer.text.contains("nobody keeps sessions"), "{}", answer.text);
    }
    let page = app.send(app.request(Method::GET, "/sign-in").header("accept", "text/html")).await;
    assert_eq!(page.status, 409, "a page cannot keep anybody signed in: {}", page.text);
}

async fn an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(app: App) {
    let ada = app.somebody().await;
    assert_eq!(app.refresh(&ada.access).await.status, 401);
    assert_eq!(app.get("/auth/me", &ada.refresh).await.status, 401);
    let (head, mac) = ada.refresh.rsplit_once('.').unwrap();
    assert_eq!(app.refresh(&format!("{head}.{}", mac.chars().rev().collect::<String>())).await.status, 401);
}

fn header_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

async fn a_shared_secret_signs_access_tokens_and_nothing_else(app: App) {
    let ada = app.somebody().await;
    assert_eq!(header_of(&ada.access), json!({"alg": "HS256", "typ": "at+jwt"}));
    assert_eq!(header_of(&ada.refresh)["alg"], json!("EdDSA"), "only access tokens have to be verified elsewhere");
    assert_eq!(app.get("/auth/me", &ada.access).await.body["email"], json!(ada.email));
    // Another library, which knows the secret alone.
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.set_audience(&["cart-service"]);
    let key = jsonwebtoken::DecodingKey::from_secret(SHARED_SECRET.as_bytes());
    let read = jsonwebtoken::decode::<Value>(&ada.access, &key, &rules).unwrap();
    assert_eq!(read.claims["sub"], json!(ada.id));

    let renewed = app.refresh(&ada.refresh).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let renewed = renewed.body["access_token"].as_str().unwrap();
    assert_eq!(header_of(renewed)["alg"], json!("HS256"));
    assert_eq!(app.call(Method::POST, "/auth/logout", renewed).await.status, 204);
    app.is_refused(renewed).await;

    let keys = app.get("/.well-known/jwks.json", "").await;
    assert!(!keys.text.contains("HS256") && !keys.text.contains(SHARED_SECRET), "{}", keys.text);
    let log = logged();
    assert!(log.contains("JWT_COMPATIBILITY is hs256"), "the start says what it gives up");
    assert!(!log.contains(SHARED_SECRET), "the secret is in the log");
}

async fn what_the_published_keys_signed_opens_nothing_beside_a_shared_secret(app: App) {
    let ada = app.somebody().await;
    let payload = ada.access.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let signed = app.service.keys.sign("at+jwt", SigningAlg::EdDsa, &claims).unwrap();
    assert_eq!(app.get("/auth/me", &signed).await.status, 401, "one deployment, one algorithm");
    // The oldest confusion of them all: what everybody can read, taken for the secret.
    let set = app.get("/.well-known/jwks.json", "").await;
    for key in set.body["keys"].as_array().unwrap() {
        let public = key.get("x").or(key.get("n")).unwrap().as_str().unwrap();
        for secret in [public.as_bytes(), &URL_SAFE_NO_PAD.decode(public).unwrap(), key.to_string().as_bytes()] {
            let header = jsonwebtoken::Header { typ: Some("at+jwt".to_owned()), ..Default::default() };
            let forged =
                jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(app.get("/auth/me", &forged).await.status, 401, "{key}");
        }
    }
}
