//! Calls of another service in a user's name: one exchange for a token, and nobody waits long for a provider.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::browser::Browser;
use crate::provider::{CLIENT, payload};
use crate::rig::{Service, eventually};

async fn given(browser: &Browser, scope: &str) -> String {
    let answer = browser.open(&format!("/elsewhere/{scope}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn one_exchange_serves_all_who_ask_with_the_same_token_until_it_expires() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    let tabs: Vec<_> = (0..20).map(|_| browser.copy()).collect();
    let tokens = futures_util::future::join_all(tabs.iter().map(|tab| given(tab, "cart"))).await;
    assert!(tokens.iter().all(|token| *token == tokens[0]), "different ones");
    assert_eq!((given(&browser, "cart").await, service.provider.exchanges()), (tokens[0].clone(), 1));
    let claims = payload(&tokens[0]);
    assert_eq!((&claims["scope"], &claims["act"]["sub"]), (&"cart".into(), &CLIENT.into()));
    // Another service, another user, and the user's next token: each its own.
    assert_ne!(given(&browser, "orders").await, tokens[0]);
    let somebody = service.signed_in().await;
    assert_ne!(payload(&given(&somebody, "cart").await)["sub"], claims["sub"]);
    assert_eq!(service.provider.exchanges(), 3);
    service.let_tokens_expire();
    assert_ne!(given(&browser, "cart").await, tokens[0]);
    assert_eq!(service.provider.exchanges(), 4);
}

#[actix_web::test]
async fn nothing_is_given_for_a_session_that_has_ended() {
    let service = Service::start().await;
    let browser = service.signed_in().await;
    given(&browser, "cart").await;
    service.provider.end_session(service.provider.grant().session).await;
    eventually("the end is known", async || browser.copy().open("/elsewhere/cart").await.status == 303).await;
    assert_eq!(service.provider.exchanges(), 1);
}

#[actix_web::test]
async fn a_token_that_the_provider_refuses_concerns_nobody_else() {
    let service = Service::start().await;
    let (ada, bob) = (service.signed_in().await, service.signed_in().await);
    *service.provider.state.refuses_exchange.lock() = Some("invalid_request");
    assert_eq!(ada.open("/elsewhere/cart").await.status, 403);
    *service.provider.state.refuses_exchange.lock() = None;
    given(&bob, "cart").await;
    assert_eq!(ada.open("/elsewhere/cart").await.status, 403, "it was refused a moment ago");
    assert_eq!(service.provider.exchanges(), 2);
}

#[actix_web::test]
async fn a_provider_that_gives_none_is_left_alone_for_a_moment_and_asked_again_after_it() {
    let service = Service::start().await;
    let (ada, bob) = (service.signed_in().await, service.signed_in().await);
    *service.provider.state.refuses_exchange.lock() = Some("unauthorized_client");
    assert_eq!(ada.open("/elsewhere/cart").await.status, 503);
    assert_eq!((bob.open("/elsewhere/cart").await.status, service.provider.exchanges()), (503, 1));
    *service.provider.state.refuses_exchange.lock() = None;
    eventually("it is asked again", async || bob.open("/elsewhere/cart").await.status == 200).await;
    // One that does not answer at all is the same.
    service.provider.state.away.store(true, Ordering::SeqCst);
    assert_eq!(ada.open("/elsewhere/orders").await.status, 503);
    given(&bob, "cart").await;
}

#[actix_web::test]
async fn nobody_waits_long_for_a_provider_that_hangs_and_its_late_answer_serves_the_next() {
    let service = Service::start().await;
    let (ada, bob) = (service.signed_in().await, service.signed_in().await);
    let hold = service.provider.state.holds_exchange.lock().await;
    let begun = Instant::now();
    let both = futures_util::future::join(ada.open("/elsewhere/cart"), ada.open("/elsewhere/cart")).await;
    assert_eq!((both.0.status, both.1.status), (503, 503));
    assert!(begun.elapsed() < Duration::from_secs(3), "they waited {:?}", begun.elapsed());
    // Others do not wait at all meanwhile: the provider is not even asked.
    assert_eq!((bob.open("/elsewhere/cart").await.status, ada.open("/elsewhere/cart").await.status), (503, 503));
    assert_eq!(service.provider.exchanges(), 1);
    drop(hold);
    eventually("the late answer is there", async || ada.open("/elsewhere/cart").await.status == 200).await;
    assert_eq!(service.provider.exchanges(), 1, "it was asked once");
}
