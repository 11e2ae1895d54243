//! Token exchange (RFC 8693): who may act for a user, towards whom, for how long, and after how many others.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::{Application, Browser};
use crate::harness::{Answer, App, PASSWORD, on_both};

on_both!(
    a_service_acts_for_a_user_towards_another_service_alone,
    the_new_token_ends_with_the_session_and_no_later_than_the_users,
    only_whoever_was_called_may_act,
    a_strangers_client_gets_no_wider_scope_than_its_user_gave,
    a_chain_names_all_who_acted_and_is_bounded,
    hl5_a_service_exchanges_for_what_it_is_there_for_alone,
);

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// More than a service is given.
const EVERYTHING: &str = "account cart orders";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A client that is a service: its id is the service's name.
async fn service(app: &App, name: &str, changes: Value) -> Application {
    let mut metadata =
        json!({"client_id": name, "grant_types": ["authorization_code", GRANT], "token_exchange_scope": EVERYTHING});
    metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Application { id: name.to_owned(), ..Application::register(app, metadata).await }
}

async fn act(app: &App, client: &Application, token: &str, scope: &str) -> Answer {
    let form =
        [("grant_type", GRANT), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN), ("scope", scope)];
    client.token(app, &form).await
}

fn given(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body["access_token"].as_str().unwrap()
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn a_service_acts_for_a_user_towards_another_service_alone(app: App) {
    let (ada, orders) = (app.somebody().await, service(&app, "order-service", json!({})).await);
    let answer = act(&app, &orders, &ada.access, "cart").await;
    let acting = claims(given(&answer));
    assert_eq!(
        (&answer.body["issued_token_type"], &answer.body["token_type"]),
        (&json!(ACCESS_TOKEN), &json!("Bearer"))
    );
    assert!(answer.body.get("refresh_token").is_none() && answer.body.get("id_token").is_none());
    assert!([json!("cart-service"), json!(["cart-service"])].contains(&acting["aud"]), "{acting}");
    assert_eq!((&acting["scope"], &acting["act"]), (&json!("cart"), &json!({"sub": "order-service"})));
    assert_eq!((&acting["sub"], &acting["client_id"]), (&json!(ada.id), &json!("order-service")));
    // It opens nothing else.
    assert_eq!(app.get("/auth/me", given(&answer)).await.status, 401);
    for (name, value, error) in [
        ("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token", "invalid_request"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:id_token", "invalid_request"),
        ("actor_token", "x", "invalid_request"),
        ("subject_token", &ada.refresh, "invalid_request"),
        ("subject_token", "x.y.z", "invalid_request"),
        ("subject_token_type", "", "invalid_request"),
        ("scope", "admin", "invalid_scope"),
    ] {
        let mut form =
            vec![("grant_type", GRANT), ("subject_token", ada.access.as_str()), ("subject_token_type", ACCESS_TOKEN)];
        form.retain(|(known, _)| *known != name);
        form.push((name, value));
        let refused = orders.token(&app, &form).await;
        assert_eq!((refused.status, refused.error()), (400, error), "{name}={value}");
    }
}

async fn the_new_token_ends_with_the_session_and_no_later_than_the_users(app: App) {
    let (ada, orders) = (app.somebody().await, service(&app, "order-service", json!({})).await);
    app.clock.advance(Duration::from_secs(60));
    let acting = given(&act(&app, &orders, &ada.access, "account").await).to_owned();
    let (own, acting_says) = (claims(&ada.access), claims(&acting));
    assert_eq!((&own["exp"], &own["sid"]), (&acting_says["exp"], &acting_says["sid"]));
    assert_eq!(app.get("/auth/me", &acting).await.status, 200);
    assert_eq!(app.call(Method::POST, "/auth/logout", &ada.access).await.status, 204);
    app.is_refused(&acting).await;
    let refused = act(&app, &orders, &ada.access, "cart").await;
    assert_eq!((refused.status, refused.error()), (400, "invalid_request"));
}

async fn only_whoever_was_called_may_act(app: App) {
    let ada = app.somebody().await;
    let stranger = service(&app, "wish-service", json!({})).await;
    let refused = act(&app, &stranger, &ada.access, "cart").await;
    assert_eq!((refused.status, refused.error()), (400, "invalid_request"), "the token is not for it");
    let unregistered =
        service(&app, "order-service", json!({"grant_types": ["authorization_code"], "token_exchange_scope": ""}))
            .await;
    let refused = act(&app, &unregistered, &ada.access, "cart").await;
    assert_eq!((refused.status, refused.error()), (400, "unauthorized_client"));
    let wrong = Application { secret: "wrong".to_owned(), ..stranger };
    let refused = act(&app, &wrong, &ada.access, "cart").await;
    assert_eq!((refused.status, refused.error()), (401, "invalid_client"));
}

async fn a_strangers_client_gets_no_wider_scope_than_its_user_gave(app: App) {
    let ada = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(&app, &ada, PASSWORD).await;
    // The user's token is its own, with one word of scope.
    let metadata = json!({"grant_types": ["authorization_code", GRANT], "token_exchange_scope": "cart orders"});
    let client = Application::register(&app, metadata).await;
    let begun = client.begin(&[("scope", "openid cart")]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(claims(given(&act(&app, &client, token, "orders").await))["scope"], "orders", "the platform's own may");
    // The same client, brought up to date as a stranger's.
    let stranger = json!({
        "client_id": client.id, "client_secret": client.secret, "grant_types": ["authorization_code", GRANT], "first_party": false,
        "token_exchange_scope": "cart orders",
    });
    Application::register(&app, stranger).await;
    let refused = act(&app, &client, token, "orders").await;
    assert_eq!((refused.status, refused.error()), (400, "invalid_scope"));
    assert_eq!(claims(given(&act(&app, &client, token, "cart").await))["scope"], "cart");
}

async fn hl5_a_service_exchanges_for_what_it_is_there_for_alone(app: App) {
    let ada = app.somebody().await;
    // Its own users give it more: `account` is in its scope.
    let orders = service(&app, "order-service", json!({"token_exchange_scope": "cart"})).await;
    assert_eq!(claims(given(&act(&app, &orders, &ada.access, "cart").await))["scope"], "cart");
    for wider in ["account", "cart account", "orders", "admin", "openid"] {
        let refused = act(&app, &orders, &ada.access, wider).await;
        assert_eq!((refused.status, refused.error()), (400, "invalid_scope"), "{wider}");
    }
    // Without a word it gets all that it may have.
    let form = [("grant_type", GRANT), ("subject_token", ada.access.as_str()), ("subject_token_type", ACCESS_TOKEN)];
    assert_eq!(claims(given(&orders.token(&app, &form).await))["scope"], "cart");
    let nothing = service(&app, "cart-service", json!({"token_exchange_scope": ""})).await;
    let refused = act(&app, &nothing, &ada.access, "cart").await;
    assert_eq!((refused.status, refused.error()), (400, "invalid_scope"), "it is there for nothing");
}

async fn a_chain_names_all_who_acted_and_is_bounded(app: App) {
    let ada = app.somebody().await;
    let cart = service(&app, "cart-service", json!({})).await;
    let orders = service(&app, "order-service", json!({})).await;
    let (mut token, mut acted) = (ada.access.clone(), json!(null));
    for turn in 0..8 {
        let (client, scope) = if turn % 2 == 0 { (&orders, "cart") } else { (&cart, "orders") };
        token = given(&act(&app, client, &token, scope).await).to_owned();
        let mut expected = json!({"sub": client.id});
        if !acted.is_null() {
            expected["act"] = acted;
        }
        assert_eq!(claims(&token)["act"], expected);
        acted = expected;
    }
    let refused = act(&app, &orders, &token, "cart").await;
    assert_eq!((refused.status, refused.error()), (400, "invalid_request"), "the ninth");
}
