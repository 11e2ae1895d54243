//! Where one is signed in, and ending it.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::harness::{App, PASSWORD, on_both};

on_both! {
    the_list_shows_each_session_and_which_is_this_one,
    a_device_has_the_name_it_is_given,
    one_session_is_ended_from_another,
    c19_another_users_session_is_not_found,
    a_logout_ends_this_session_only,
    a_logout_needs_no_living_access_token,
    a_logout_by_an_access_token_may_have_an_empty_body,
    a_logout_everywhere_ends_all,
    without_a_token_nothing_is_answered,
    c12_an_id_is_never_used_again,
}

async fn the_list_shows_each_session_and_which_is_this_one(app: App) {
    let first = app.somebody().await;
    app.clock.advance(Duration::from_secs(60));
    let body = json!({"email": first.email, "password": PASSWORD});
    let request = app.request(Method::POST, "/auth/login").json(&body);
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";
    let second = app.send(request.header("User-Agent", firefox)).await;

    let list = app.get("/auth/sessions", second.body["access_token"].as_str().unwrap()).await;
    assert_eq!(list.status, 200);
    assert_eq!(list.body["next"], json!(null));
    let items = list.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!((&items[0]["id"], &items[0]["current"]), (&second.body["session_id"], &json!(true)), "the newest first");
    assert_eq!((&items[1]["id"], &items[1]["current"]), (&json!(first.session), &json!(false)));
    assert_eq!(items[0]["device"], "Firefox on Linux");
    assert_eq!(items[0]["address"], "127.0.0.1");
    assert!(items[0]["created_at"].as_str() > items[1]["created_at"].as_str());
    let seen = items[1]["last_seen_at"].clone();
    app.clock.advance(Duration::from_secs(60));
    app.refresh(&first.refresh).await;
    let list = app.get("/auth/sessions", second.body["access_token"].as_str().unwrap()).await;
    assert!(list.body["items"][1]["last_seen_at"].as_str() > seen.as_str(), "a refresh is seen");
}

async fn a_device_has_the_name_it_is_given(app: App) {
    let somebody = app.somebody().await;
    let log_in = |device: &str| {
        app.post("/auth/login", json!({"email": somebody.email, "password": PASSWORD, "device": device}))
    };
    let answer = log_in("Ada's phone").await;
    let list = app.get("/auth/sessions", answer.body["access_token"].as_str().unwrap()).await;
    assert_eq!(list.body["items"].as_array().unwrap().iter().filter(|item| item["device"] == "Ada's phone").count(), 1);
    for refused in ["", "\u{1b}[31m", "a\r\n{\"level\":\"INFO\"}", &"x".repeat(65)] {
        let answer = log_in(refused).await;
        assert_eq!((answer.status, answer.pointer()), (422, "/device"), "{refused:?}");
    }
    let forged = app.request(Method::POST, "/auth/login").json(&json!({"email": somebody.email, "password": PASSWORD}));
    let answer = app.send(forged.header("User-Agent", "{\"level\":\"ERROR\"} \u{202e} x".repeat(50))).await;
    let list = app.get("/auth/sessions", answer.body["access_token"].as_str().unwrap()).await;
    let current = list.body["items"].as_array().unwrap().iter().find(|item| item["current"] == true).unwrap().clone();
    assert_eq!(current["device"], "Unknown device", "what a browser says is never shown as it is");
}

async fn one_session_is_ended_from_another(app: App) {
    let first = app.somebody().await;
    let second = app.sign_in(&first.email, PASSWORD).await;
    let path = format!("/auth/sessions/{}", first.session);
    assert_eq!(app.call(Method::DELETE, &path, &second.access).await.status, 204);
    app.is_refused(&first.access).await;
    assert_eq!(app.refresh(&first.refresh).await.status, 401);
    assert_eq!(app.get("/auth/me", &second.access).await.status, 200);
    assert_eq!(app.call(Method::DELETE, &path, &second.access).await.status, 404, "it is gone");
}

async fn c19_another_users_session_is_not_found(app: App) {
    let (ada, eve) = (app.somebody().await, app.somebody().await);
    let end = |id: String| app.call_owned(Method::DELETE, format!("/auth/sessions/{id}"), eve.access.clone());
    let others = end(ada.session.clone()).await;
    let mut guessed = ada.session.clone().into_bytes();
    guessed[5] = if guessed[5] == b'A' { b'B' } else { b'A' };
    let guessed = end(String::from_utf8(guessed).unwrap()).await;
    assert_eq!((others.status, guessed.status), (404, 404));
    assert_eq!(others.comparable().2, guessed.comparable().2, "the id of another is like none");
    for strange in ["*", "%2e%2e", "1", "%00", "null", "all", &"a".repeat(5000)] {
        assert_eq!(end(strange.to_owned()).await.status, 404, "{strange}");
    }
    assert_eq!(app.get("/auth/me", &ada.access).await.status, 200);
    assert_eq!(
        app.get("/auth/sessions", &eve.access).await.body["items"].as_array().unwrap().len(),
        1,
        "only one's own are listed"
    );
}

async fn a_logout_ends_this_session_only(app: App) {
    let first = app.somebody().await;
    let second = app.sign_in(&first.email, PASSWORD).await;
    assert_eq!(app.call(Method::POST, "/auth/logout", &first.access).await.status, 204);
    app.is_refused(&first.access).await;
    assert_eq!(app.refresh(&first.refresh).await.status, 401);
    assert_eq!(app.get("/auth/me", &second.access).await.status, 200);
    assert_eq!(app.audit_of(first.id).await[&("end_session".to_owned(), "done".to_owned())], 1);
}

async fn a_logout_needs_no_living_access_token(app: App) {
    let somebody = app.somebody().await;
    app.clock.advance(Duration::from_secs(600));
    assert_eq!(
        app.call(Method::POST, "/auth/logout", &somebody.access).await.status,
        401,
        "the access token has expired"
    );
    let body = json!({"refresh_token": somebody.refresh});
    assert_eq!(app.post("/auth/logout", body.clone()).await.status, 204);
    assert_eq!(app.refresh(&somebody.refresh).await.status, 401);
    assert_eq!(app.post("/auth/logout", body).await.status, 204, "a second time is no error");
    let empty = app.request(Method::POST, "/auth/logout").header("Content-Length", "0");
    assert_eq!(app.send(empty).await.status, 401);
    for nothing in [json!({}), json!(null), json!({"refresh_token": null})] {
        assert_eq!(app.post("/auth/logout", nothing).await.status, 401, "nothing is nobody");
    }
    for odd in [json!({"refresh_token": 1}), json!({"token": "x"}), json!("x")] {
        assert_eq!(app.post("/auth/logout", odd).await.status, 422);
    }
}

async fn a_logout_by_an_access_token_may_have_an_empty_body(app: App) {
    for body in [json!({}), json!(null), json!({"refresh_token": null})] {
        let somebody = app.somebody().await;
        let request = app.request(Method::POST, "/auth/logout").bearer_auth(&somebody.access).json(&body);
        assert_eq!(app.send(request).await.status, 204, "{body}");
        app.is_refused(&somebody.access).await;
        assert_eq!(app.refresh(&somebody.refresh).await.status, 401);
    }
}

async fn a_logout_everywhere_ends_all(app: App) {
    let first = app.somebody().await;
    let stranger = app.somebody().await;
    let second = app.sign_in(&first.email, PASSWORD).await;
    let third = app.sign_in(&first.email, PASSWORD).await;
    let answer = app.call(Method::POST, "/auth/logout-all", &second.access).await;
    assert_eq!((answer.status, &answer.body), (200, &json!({"ended": 3})));
    for person in [&first, &second, &third] {
        app.is_refused(&person.access).await;
        assert_eq!(app.refresh(&person.refresh).await.status, 401);
    }
    assert_eq!(app.get("/auth/me", &stranger.access).await.status, 200);
}

async fn without_a_token_nothing_is_answered(app: App) {
    for (method, path) in [
        (Method::GET, "/auth/me"),
        (Method::GET, "/auth/sessions"),
        (Method::DELETE, "/auth/sessions/0AAAAAAAAAAAAAAAAAAAAAA"),
        (Method::POST, "/auth/logout"),
        (Method::POST, "/auth/logout-all"),
        (Method::POST, "/auth/password"),
        (Method::GET, "/admin/users"),
        (Method::GET, "/admin/sessions"),
        (Method::GET, "/admin/audit"),
        (Method::POST, "/admin/keys/rotate"),
    ] {
        let answer = app.send(app.request(method.clone(), path)).await;
        assert_eq!((answer.status, answer.code()), (401, "authentication_required"), "{method} {path}");
        let answer = app.call(method.clone(), path, "no.such.token").await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_token"), "{method} {path}");
        let twice = app.request(method, path).header("Authorization", "Bearer a").header("Authorization", "Bearer b");
        assert_eq!(app.send(twice).await.status, 400);
    }
}

async fn c12_an_id_is_never_used_again(app: App) {
    let somebody = app.somebody().await;
    assert_eq!(app.call(Method::POST, "/auth/logout", &somebody.access).await.status, 204);
    let again = app.sign_in(&somebody.email, PASSWORD).await;
    assert_ne!(again.session, somebody.session);
    assert_eq!(app.refresh(&somebody.refresh).await.status, 401);
    let fixed = app
        .post("/auth/login", json!({"email": somebody.email, "password": PASSWORD, "session_id": somebody.session}))
        .await;
    assert_eq!(fixed.status, 422, "nobody chooses the id");
}
