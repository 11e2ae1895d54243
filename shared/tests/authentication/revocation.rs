//! A28 and A29: what was taken back is refused on the next request, from memory. HF1: before that is known, nothing is let
//! through.

use std::time::{Duration, Instant};

use actix_web::cookie::Cookie;
use actix_web::http::header::RETRY_AFTER;
use actix_web::test::TestRequest;
use shared::authentication::{Audience, CookieKeys, Demand, Refusal, SealedCookie, SessionCookie, SingleSignOn};
use shared::session::{EndReason, Session, SessionStore as _, UserId, epoch_attribute};
use shared::token::TokenError;

use crate::rig::{Service, eventually};
use crate::verdict::ANYBODYS;

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

#[actix_web::test]
async fn hf1_a_service_that_starts_while_the_store_is_away_lets_nothing_through_by_any_way() {
    let service = Service::without_store().await;
    let user = UserId::random();
    let (ended, lives) = (service.store.elsewhere(user).await, service.store.elsewhere(user).await);
    service.store.ended_elsewhere(ended.id).await;
    let (ended, lives) = (service.claims_of(user, ended.id), service.claims_of(user, lives.id));
    let (ended, lives) = (service.key.token(&ended), service.key.token(&lives));
    for token in [&ended, &lives] {
        for path in ["/me", "/actor", "/greeting", "/payment", "/administration", "/orders"] {
            let answer = service.get(path, token).await;
            assert_eq!(answer.status().as_u16(), 503, "{path}");
            assert!(answer.headers().contains_key(RETRY_AFTER.as_str()), "{path}");
        }
        let sign_on = &service.single_sign_on;
        for audience in [Audience::Own, Audience::Any] {
            let refused = sign_on.verify(token, &Demand { audience, ..ANYBODYS }).await;
            assert!(
                matches!(refused, Err(Refusal::Token(TokenError::RevocationsUnknown))),
                "{audience:?}: {refused:?}"
            );
        }
        let request = TestRequest::post().to_http_request();
        let problem = sign_on.authenticate_form(&request, token, None).await.unwrap_err();
        assert_eq!(problem.status().as_u16(), 503);
    }
    service.refuses("what is no token", "no.token.at-all").await;
    service.store.bring_back();
    service.is_ready().await;
    service.refuses("the ended session's token", &ended).await;
    service.accepts("the other session's token", &lives).await;
    // Once it has been read, a feed that is lost goes on with what is known.
    service.store.take_away();
    service.accepts("the other session's token", &lives).await;
    service.refuses("the ended session's token", &ended).await;
}

#[actix_web::test]
async fn hf1_a_sealed_cookie_opens_nothing_before_the_feed_has_been_read() {
    let service = Service::start().await;
    let sealed = SealedCookie { cookie: SessionCookie::default(), keys: CookieKeys::random() };
    let session = service.session(UserId::random()).await;
    let cookie = sealed.of(&session).unwrap();
    service.store.take_away();
    let sign_on = SingleSignOn::join(service.by_sealed_cookie(sealed));
    let presented = Cookie::new(cookie.name().to_owned(), cookie.value().to_owned());
    let request = TestRequest::get().cookie(presented).to_http_request();
    let refused = sign_on.by_cookie(&request).await.unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.retry_after_seconds()), (503, Some(1)));
    service.store.bring_back();
    eventually("the feed is read", async || sign_on.missing().is_empty()).await;
    assert!(sign_on.by_cookie(&request).await.unwrap().is_some());
}

#[actix_web::test]
async fn hf6_a_sealed_cookie_is_not_judged_by_a_clock_in_doubt() {
    let service = Service::start().await;
    let sealed = SealedCookie { cookie: SessionCookie::default(), keys: CookieKeys::random() };
    let cookie = sealed.of(&service.session(UserId::random()).await).unwrap();
    let sign_on = SingleSignOn::join(service.by_sealed_cookie(sealed));
    eventually("it has joined", async || sign_on.missing().is_empty()).await;
    let presented = Cookie::new(cookie.name().to_owned(), cookie.value().to_owned());
    let request = TestRequest::get().cookie(presented).to_http_request();
    assert!(sign_on.by_cookie(&request).await.unwrap().is_some());
    service.clock.advance(Duration::from_secs(400 * 86_400));
    assert!(sign_on.by_cookie(&request).await.unwrap().is_none(), "it has expired");
    for _ in 0..2 {
        sign_on.keys().skew().measured(600_000_000);
    }
    let refused = sign_on.by_cookie(&request).await.unwrap_err();
    assert_eq!(refused.status().as_u16(), 503, "the browser keeps what may be good");
}

#[actix_web::test]
async fn hv3_a_session_whose_end_was_told_is_refused_though_the_store_still_has_it() {
    const EPOCH: u128 = 0x99;
    let service = Service::start().await;
    let user = UserId::random();
    let (attribute, secret) = SessionCookie::secret();
    let (session, other) = (service.session(user).await, service.session(user).await);
    let epoch = epoch_attribute(EPOCH);
    for (session, attributes) in [(&session, vec![attribute.clone(), epoch]), (&other, vec![attribute])] {
        let changes: Vec<_> = attributes.into_iter().map(|(name, value)| (name, Some(value))).collect();
        service.store.write(session.id, &changes, None).await.unwrap();
    }
    let sign_on = SingleSignOn::join(service.by_session_cookie());
    let is_taken = async |session: &Session| {
        let cookie = SessionCookie::default().of(session, &secret);
        let presented = Cookie::new(cookie.name().to_owned(), cookie.value().to_owned());
        sign_on.by_cookie(&TestRequest::get().cookie(presented).to_http_request()).await.unwrap().is_some()
    };
    assert!(is_taken(&session).await && is_taken(&other).await);
    service.store.revoke_token(user, EPOCH).await.unwrap();
    eventually("the end is heard", async || !is_taken(&session).await).await;
    assert!(service.store.load(session.id).await.unwrap().is_some() && is_taken(&other).await);
}
