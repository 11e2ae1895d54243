//! A token that is over is over wherever it is shown: introspection, token exchange and userinfo know what a refresh knows,
//! whatever the services are told.

use auth_service::clients::Client;
use auth_service::clients::registry;
use auth_service::end_session;
use auth_service::storage::audit::By;
use auth_service::storage::{clients, grants, users};
use reqwest::Method;
use serde_json::{Value, json};
use shared::session::EndReason;

use crate::browser::{Application, Browser};
use crate::harness::{Answer, App, PASSWORD, on_both};

on_both! {
    what_only_the_database_knows_is_said_of_a_token with crate::no_sessions::untold,
    a_token_of_an_account_that_is_locked_is_over_before_its_session_is,
    a_token_ends_with_the_client_that_it_was_issued_to,
    userinfo_knows_no_client_that_is_gone,
    userinfo_knows_that_a_grant_has_ended_before_the_feed_does,
}

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A client that is a service, and exchanges tokens for one of those words.
async fn service(app: &App, name: &str, words: &str) -> Application {
    let grants = json!(["authorization_code", EXCHANGE]);
    let metadata = json!({"client_id": name, "grant_types": grants, "token_exchange_scope": words});
    Application::register(app, metadata).await
}

async fn exchange(app: &App, client: &Application, token: &str, scope: &str) -> Answer {
    let form =
        [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN), ("scope", scope)];
    client.token(app, &form).await
}

async fn introspect(app: &App, client: &Application, token: &str) -> Value {
    let request = app.request(Method::POST, "/oauth2/introspect").form(&[("token", token)]);
    app.send(request.basic_auth(&client.id, Some(&client.secret))).await.body
}

/// The client is disabled, and nothing but that has been done so far.
async fn disable(app: &App, id: &str) {
    let mut transaction = app.service.database.begin().await.unwrap();
    let held = clients::hold(&mut transaction, id).await.unwrap().unwrap();
    let disabled = Client { disabled_at: Some(app.clock.now()), ..held };
    clients::update(&mut transaction, &disabled).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn what_only_the_database_knows_is_said_of_a_token(app: App) {
    let orders = service(&app, "order-service", "cart").await;
    let admin = app.administrator().await;
    for why in ["a logout", "a lock", "other roles", "an end by an administrator"] {
        let ada = app.somebody().await;
        assert_eq!(introspect(&app, &orders, &ada.access).await["active"], true);
        let acting = exchange(&app, &orders, &ada.access, "cart").await.body["access_token"].clone();
        let acting = acting.as_str().unwrap();
        assert_eq!(introspect(&app, &orders, acting).await["active"], true);
        let account = format!("/admin/users/{}", ada.id);
        match why {
            "a logout" => assert_eq!(app.call(Method::POST, "/auth/logout", &ada.access).await.status, 204),
            "a lock" => {
                assert_eq!(app.call(Method::POST, &format!("{account}/lock"), &admin.access).await.status, 200);
            }
            "other roles" => {
                let request = app.request(Method::PUT, &format!("{account}/roles")).bearer_auth(&admin.access);
                assert_eq!(app.send(request.json(&json!({"roles": ["user", "auditor"]}))).await.status, 200);
            }
            _ => {
                let (session, by) = (ada.session.parse().unwrap(), By::COMMAND_LINE);
                end_session::end(&app.service, session, EndReason::EndedByAdministrator, &by).await.unwrap();
            }
        }
        assert_eq!(app.refresh(&ada.refresh).await.status, 401, "{why}");
        for token in [&*ada.access, acting] {
            assert_eq!(introspect(&app, &orders, token).await, json!({"active": false}), "{why}");
            assert_eq!(exchange(&app, &orders, token, "cart").await.error(), "invalid_request", "{why}");
        }
    }
    // One token alone, which its client gives back.
    let ada = app.somebody().await;
    let acting = exchange(&app, &orders, &ada.access, "cart").await.body["access_token"].clone();
    let revoke = app.request(Method::POST, "/oauth2/revoke").basic_auth(&orders.id, Some(&orders.secret));
    assert_eq!(app.send(revoke.form(&[("token", acting.as_str().unwrap())])).await.status, 200);
    assert_eq!(introspect(&app, &orders, acting.as_str().unwrap()).await, json!({"active": false}));
    assert_eq!(introspect(&app, &orders, &ada.access).await["active"], true, "the session goes on");
}

async fn a_token_of_an_account_that_is_locked_is_over_before_its_session_is(app: App) {
    let (ada, client) = (app.somebody().await, Application::first_party(&app).await);
    let mut browser = Browser::default();
    browser.sign_in(&app, &ada, PASSWORD).await;
    let tokens = client.tokens(&app, &mut browser).await;
    let [access, refresh] = ["access_token", "refresh_token"].map(|name| tokens[name].as_str().unwrap());
    for token in [access, refresh] {
        assert_eq!(introspect(&app, &client, token).await["active"], true);
    }
    // What a lock leaves behind whose process died right after its commit.
    let mut transaction = app.service.database.begin().await.unwrap();
    users::set_locked(&mut transaction, ada.id, Some(app.clock.now())).await.unwrap();
    transaction.commit().await.unwrap();
    for token in [access, refresh] {
        assert_eq!(introspect(&app, &client, token).await, json!({"active": false}));
    }
    assert_eq!(client.refresh(&app, refresh).await.error(), "invalid_grant");
}

async fn a_token_ends_with_the_client_that_it_was_issued_to(app: App) {
    for is_deleted in [true, false] {
        let (ada, cart) = (app.somebody().await, service(&app, "cart-service", "orders").await);
        let orders = service(&app, "order-service", "cart").await;
        let batch = Application::register(&app, json!({"grant_types": ["client_credentials"], "redirect_uris": []}));
        let batch = batch.await;
        let own = batch.token(&app, &[("grant_type", "client_credentials"), ("scope", "cart")]).await;
        let own = own.body["access_token"].as_str().unwrap().to_owned();
        let acting = exchange(&app, &orders, &ada.access, "cart").await.body["access_token"].clone();
        let acting = acting.as_str().unwrap();
        for token in [&*own, acting, &*ada.access] {
            assert_eq!(introspect(&app, &cart, token).await["active"], true);
        }
        assert_eq!(exchange(&app, &cart, acting, "orders").await.status, 200);
        for id in [&batch.id, &orders.id] {
            if is_deleted {
                registry::delete(&app.service, id, &By::COMMAND_LINE).await.unwrap();
            } else {
                disable(&app, id).await;
            }
        }
        for token in [&*own, acting] {
            assert_eq!(introspect(&app, &cart, token).await, json!({"active": false}), "{is_deleted}");
        }
        assert_eq!(exchange(&app, &cart, acting, "orders").await.error(), "invalid_request", "{is_deleted}");
        assert_eq!(
            introspect(&app, &cart, &ada.access).await["active"],
            true,
            "the platform's own login is no client's"
        );
    }
}

async fn userinfo_knows_no_client_that_is_gone(app: App) {
    let (ada, client) = (app.somebody().await, Application::first_party(&app).await);
    let mut browser = Browser::default();
    browser.sign_in(&app, &ada, PASSWORD).await;
    let tokens = client.tokens(&app, &mut browser).await;
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(app.get("/oauth2/userinfo", access).await.body["email"], json!(ada.email));
    disable(&app, &client.id).await;
    for method in [Method::GET, Method::POST] {
        let refused = app.call(method, "/oauth2/userinfo", access).await;
        assert_eq!((refused.status, refused.code()), (401, "invalid_token"), "{}", refused.text);
    }
}

async fn userinfo_knows_that_a_grant_has_ended_before_the_feed_does(app: App) {
    let (ada, client) = (app.somebody().await, Application::first_party(&app).await);
    let mut browser = Browser::default();
    browser.sign_in(&app, &ada, PASSWORD).await;
    let tokens = client.tokens(&app, &mut browser).await;
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(app.get("/oauth2/userinfo", access).await.status, 200);
    let open = grants::open_of_user(&app.service.database, ada.id).await.unwrap();
    let mut transaction = app.service.database.begin().await.unwrap();
    for grant in open {
        assert!(grants::end(&mut transaction, grant.id, app.clock.now()).await.unwrap());
    }
    transaction.commit().await.unwrap();
    for method in [Method::GET, Method::POST] {
        let refused = app.call(method, "/oauth2/userinfo", access).await;
        assert_eq!((refused.status, refused.code()), (401, "invalid_token"), "{}", refused.text);
    }
}
