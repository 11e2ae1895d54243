//! What is set up wrongly between this service and the provider: the person is told a code for the operator, and nobody is told
//! to try again.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::browser::Answer;
use crate::provider::{ISSUER, Provider};
use crate::rig::Service;

/// That it is the service's fault, and says which, and that no repetition is asked for.
fn assert_misconfigured(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some(code)), "{}", answer.body);
    assert!(answer.body.contains("set up wrongly") && !answer.body.contains("again"), "{}", answer.body);
}

/// A provider with an endpoint for pushed requests, which answers this.
fn pushes(provider: &Provider, status: u16, body: Value) {
    provider.state.metadata.lock()["pushed_authorization_request_endpoint"] = json!(format!("{ISSUER}/par"));
    *provider.state.pushed.lock() = (status, body);
}

#[actix_web::test]
async fn nobody_is_sent_to_a_provider_that_does_not_take_the_client_and_then_it_is_mended() {
    for (status, error, description, code) in [
        (
            400,
            "invalid_request",
            "the address to return to (redirect_uri) is not registered",
            "misconfigured_redirect_uri",
        ),
        (401, "invalid_client", "", "misconfigured_client"),
        (400, "unauthorized_client", "", "misconfigured_grant"),
        (400, "invalid_scope", "", "misconfigured_scope"),
    ] {
        let service = Service::start().await;
        pushes(&service.provider, status, json!({"error": error, "error_description": description}));
        let browser = service.browser();
        assert_misconfigured(&browser.open("/login").await, code);
        assert!(browser.cookies.lock().is_empty(), "a sign-in was begun");
        pushes(&service.provider, 201, json!({"request_uri": "urn:x", "expires_in": 60}));
        assert_eq!(browser.sign_in(&service.provider, "/login").await, "/");
    }
}

#[actix_web::test]
async fn a_provider_that_cannot_say_whether_the_client_is_registered_holds_up_no_sign_in() {
    for (status, body) in [
        (404, json!({})),
        (405, json!({})),
        (429, json!({"error": "slow_down"})),
        (503, json!({"error": "temporarily_unavailable"})),
        (400, json!({"error": "invalid_request", "error_description": "this provider wants a request object"})),
        (400, json!("nonsense")),
    ] {
        let service = Service::start().await;
        pushes(&service.provider, status, body);
        for _ in 0..3 {
            service.signed_in().await;
        }
        assert_eq!(service.provider.state.pushes.load(Ordering::SeqCst), 1, "{status}: it is asked once");
    }
}

#[actix_web::test]
async fn a_client_that_the_token_endpoint_refuses_is_told_as_such_at_the_callback_and_at_a_renewal() {
    for (error, code) in [
        ("invalid_client", "misconfigured_client"),
        ("unauthorized_client", "misconfigured_grant"),
        ("invalid_scope", "misconfigured_scope"),
    ] {
        let service = Service::start().await;
        let browser = service.browser();
        let callback = browser.callback_of(&service.provider, "/login").await;
        *service.provider.state.refuses.lock() = Some(error);
        assert_misconfigured(&browser.open(&callback).await, code);
        *service.provider.state.refuses.lock() = None;
        let browser = service.signed_in().await;
        service.let_tokens_expire();
        *service.provider.state.refuses.lock() = Some(error);
        assert_misconfigured(&browser.open("/mine").await, code);
        *service.provider.state.refuses.lock() = None;
        assert_eq!(browser.open("/mine").await.status, 200, "nobody was signed out");
    }
}

#[actix_web::test]
async fn another_issuer_is_told_as_such() {
    let service = Service::start().await;
    service.provider.state.metadata.lock()["issuer"] = json!(format!("{ISSUER}/"));
    assert_misconfigured(&service.browser().open("/login").await, "misconfigured_issuer");
}

#[actix_web::test]
async fn an_id_token_that_a_wrong_clock_refuses_is_told_as_the_clocks_fault() {
    for seconds in [120, -3_600] {
        let service = Service::start().await;
        service.provider.bend(move |_, claims| {
            for name in ["iat", "exp"] {
                claims[name] = json!(claims[name].as_i64().unwrap() + seconds);
            }
        });
        let browser = service.browser();
        let callback = browser.callback_of(&service.provider, "/login").await;
        service.provider.state.ahead.store(seconds, Ordering::SeqCst);
        assert_misconfigured(&browser.open(&callback).await, "misconfigured_clock");
        // With clocks that agree it is the token's fault.
        let callback = browser.callback_of(&service.provider, "/login").await;
        service.provider.state.ahead.store(0, Ordering::SeqCst);
        let refused = browser.open(&callback).await;
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("sign_in_failed")), "{seconds}");
    }
}

#[actix_web::test]
async fn access_tokens_that_are_not_for_this_service_or_live_too_long_are_told_as_such() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 2] = [
        ("misconfigured_token_life", |claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 900)),
        ("misconfigured_audience", |claims| claims["aud"] = json!("cart-service")),
    ];
    for (code, change) in changes {
        let service = Service::start().await;
        let browser = service.browser();
        *service.provider.state.bend_access.lock() = Some(Box::new(change));
        let callback = browser.callback_of(&service.provider, "/login").await;
        assert_misconfigured(&browser.open(&callback).await, code);
    }
}

#[actix_web::test]
async fn a_client_that_may_not_exchange_tokens_is_told_as_such() {
    for (error, code) in [("unauthorized_client", "misconfigured_grant"), ("invalid_scope", "misconfigured_scope")] {
        let service = Service::start().await;
        let browser = service.signed_in().await;
        *service.provider.state.refuses_exchange.lock() = Some(error);
        assert_misconfigured(&browser.open("/elsewhere/cart").await, code);
    }
}
