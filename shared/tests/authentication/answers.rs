//! What a caller is told: 401 with a challenge, 403, 503 while nothing can be said.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::session::UserId;
use shared::token::KeySet;

use crate::keys::Key;
use crate::rig::{STEP_UP_AFTER, Service, eventually};

#[actix_web::test]
async fn who_sends_no_token_is_asked_for_one_and_a_guest_is_let_in() {
    let service = Service::start().await;
    for path in ["/me", "/payment", "/orders", "/administration"] {
        let answer = service.http.get(format!("{}{path}", service.base)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401, "{path}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer", "no error is named where nothing was sent");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let guest: Value =
        service.http.get(format!("{}/greeting", service.base)).send().await.unwrap().json().await.unwrap();
    assert_eq!(guest, json!({"user": null}));
    let claims = service.claims();
    let user: Value = service.get("/greeting", &service.key.token(&claims)).await.json().await.unwrap();
    assert_eq!(user["user"], claims["sub"]);
}

#[actix_web::test]
async fn a_role_that_is_missing_is_a_403() {
    let service = Service::start().await;
    let answer = service.get("/administration", &service.good_token()).await;
    assert_eq!(answer.status().as_u16(), 403);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "insufficient_role");
    for (roles, status) in [(json!(["admin"]), 200), (json!(["Admin"]), 403), (json!(["administrator"]), 403)] {
        let token = service.key.token(&service.claims_with("roles", roles.clone()));
        assert_eq!(service.status("/administration", &token).await, status, "{roles}");
    }
}

#[actix_web::test]
async fn while_no_key_is_known_the_answer_is_503_and_then_it_recovers_by_itself() {
    let service = Service::joining(Key::ed("2026-11"), KeySet::default());
    let token = service.good_token();
    for path in ["/me", "/greeting", "/payment"] {
        let answer = service.get(path, &token).await;
        assert_eq!(answer.status().as_u16(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
    }
    assert!(service.single_sign_on.missing().iter().any(|it| it == "the issuer's key set has not been read"));
    let guest = service.http.get(format!("{}/greeting", service.base)).send().await.unwrap();
    assert_eq!(guest.status().as_u16(), 200, "a guest needs no key");
    service.key_server.publish(&[&service.key]);
    service.is_ready().await;
    service.accepts("the token", &token).await;
}

#[actix_web::test]
async fn a_confirmed_principal_has_a_session_that_lives_now() {
    let service = Service::start().await;
    let user = UserId::random();
    let session = service.session(user).await;
    let token = service.key.token(&service.claims_of(user, session.id));
    let answer: Value = service.get("/payment", &token).await.json().await.unwrap();
    assert_eq!(answer, json!({"user": user, "session": session.id}));
    service.refuses_payment("a session that no store knows", &service.good_token()).await;
    let another = service.key.token(&service.claims_of(UserId::random(), session.id));
    service.refuses_payment("another user's session", &another).await;
}

#[actix_web::test]
async fn a_login_that_is_too_old_gets_the_step_up_challenge() {
    let service = Service::start().await;
    let user = UserId::random();
    let session = service.session(user).await;
    let token = service.key.token(&service.claims_of(user, session.id));
    service.clock.advance(STEP_UP_AFTER - Duration::from_secs(2));
    assert_eq!(service.status("/payment", &token).await, 200);
    service.clock.advance(Duration::from_secs(4));
    let answer = service.get("/payment", &token).await;
    assert_eq!(answer.status().as_u16(), 401);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
    assert!(challenge.contains("max_age=\"120\""), "{challenge}");
    assert_eq!(service.status("/me", &token).await, 200, "ordinary requests go on");
}

#[actix_web::test]
async fn when_the_store_is_away_ordinary_requests_go_on_and_sensitive_ones_are_refused() {
    let service = Service::start().await;
    let user = UserId::random();
    let session = service.session(user).await;
    let token = service.key.token(&service.claims_of(user, session.id));
    assert_eq!(service.status("/payment", &token).await, 200);
    service.store.take_away();
    let answer = service.get("/payment", &token).await;
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    service.accepts("an ordinary request", &token).await;
}

#[actix_web::test]
async fn when_the_store_is_silent_a_sensitive_request_is_refused_in_time() {
    let service = Service::start().await;
    let user = UserId::random();
    let session = service.session(user).await;
    let token = service.key.token(&service.claims_of(user, session.id));
    service.store.silence();
    let begun = Instant::now();
    assert_eq!(service.status("/payment", &token).await, 503);
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    service.accepts("an ordinary request", &token).await;
}

#[actix_web::test]
async fn a_store_that_comes_back_is_used_again() {
    let service = Service::start().await;
    let user = UserId::random();
    let session = service.session(user).await;
    let token = service.key.token(&service.claims_of(user, session.id));
    service.store.take_away();
    assert_eq!(service.status("/payment", &token).await, 503);
    service.store.bring_back();
    eventually("payment works again", async || service.status("/payment", &token).await == 200).await;
}
