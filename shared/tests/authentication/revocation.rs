//! A28 and A29: what was taken back is refused on the next request, from memory.

use std::time::{Duration, Instant};

use shared::session::{EndReason, SessionStore as _, UserId};

use crate::rig::{Service, eventually};

#[actix_web::test]
async fn a28_an_ended_session_is_refused_at_once_everywhere() {
    let service = Service::start().await;
    let user = UserId::random();
    let (ended, other) = (service.session(user).await, service.session(user).await);
    let token = service.key.token(&service.claims_of(user, ended.id));
    let second = service.key.token(&service.claims_of(user, ended.id));
    let untouched = service.key.token(&service.claims_of(user, other.id));
    for token in [&token, &untouched] {
        service.accepts("a token of a live session", token).await;
    }
    service.store.end(ended.id, EndReason::Logout).await.unwrap();
    let begun = Instant::now();
    eventually("the token is refused", async || service.status("/me", &token).await == 401).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    service.refuses("the ended session's token", &token).await;
    service.refuses("one that nobody has seen yet", &second).await;
    service.accepts("the other session's token", &untouched).await;
}

#[actix_web::test]
async fn a28_one_token_can_be_taken_back_alone() {
    let service = Service::start().await;
    let user = UserId::random();
    let session = service.session(user).await;
    let claims = service.claims_of(user, session.id);
    let (token, sibling) = (service.key.token(&claims), service.key.token(&service.claims_of(user, session.id)));
    service.accepts("the token", &token).await;
    let id = u128::from_str_radix(claims["jti"].as_str().unwrap(), 16).unwrap();
    service.store.revoke_token(user, id).await.unwrap();
    eventually("the token is refused", async || service.status("/me", &token).await == 401).await;
    service.refuses("the token", &token).await;
    service.accepts("its sibling", &sibling).await;
    assert_eq!(service.status("/payment", &sibling).await, 200, "the session lives");
}

#[actix_web::test]
async fn a29_who_was_locked_or_changed_loses_every_token() {
    for reason in [EndReason::AccountLocked, EndReason::PasswordChanged, EndReason::RolesChanged] {
        let service = Service::start().await;
        let user = UserId::random();
        let mut tokens = Vec::new();
        for _ in 0..3 {
            let session = service.session(user).await;
            tokens.push(service.key.token(&service.claims_of(user, session.id)));
        }
        let stranger = UserId::random();
        let other = service.session(stranger).await;
        let other = service.key.token(&service.claims_of(stranger, other.id));
        for token in tokens.iter().chain([&other]) {
            service.accepts("a token", token).await;
        }
        service.store.end_all(user, None, reason).await.unwrap();
        for token in &tokens {
            eventually("the token is refused", async || service.status("/me", token).await == 401).await;
            service.refuses(reason.as_str(), token).await;
        }
        service.accepts("another user's token", &other).await;
    }
}

#[actix_web::test]
async fn a_revocation_is_remembered_until_the_token_has_expired() {
    let service = Service::start().await;
    let user = UserId::random();
    let session = service.session(user).await;
    let token = service.key.token(&service.claims_of(user, session.id));
    service.store.end(session.id, EndReason::Logout).await.unwrap();
    eventually("the token is refused", async || service.status("/me", &token).await == 401).await;
    for _ in 0..31 {
        service.clock.advance(Duration::from_secs(10));
        service.refuses("the ended session's token", &token).await;
    }
}
