//! A new password shuts out whoever copied the cookie of the session that goes on.

use reqwest::Method;
use serde_json::json;

use crate::browser::{Application, Browser};
use crate::harness::{App, PASSWORD, on_both};

on_both! {
    the_page_gives_its_browser_a_new_cookie,
    the_page_gives_its_browser_a_new_cookie_beside_login_cookies with crate::session_cookies::by_cookies,
    an_application_that_changes_the_password_leaves_no_copy_behind,
    a_password_that_was_not_changed_leaves_the_cookie_alone,
}

const NEW: &str = "another horse battery";

async fn is_signed_in(app: &App, browser: &mut Browser) -> bool {
    let answer = browser.get(app, "/account").await;
    answer.status == 200 || {
        assert_eq!(answer.location().path(), "/sign-in");
        false
    }
}

async fn signed_in(app: &App) -> Browser {
    let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
    assert_eq!(app.post("/auth/register", json!({"email": email, "password": PASSWORD})).await.status, 201);
    let mut browser = Browser::default();
    let fields = [("email", email.as_str()), ("password", PASSWORD)];
    assert_eq!(browser.submit_to(app, "/sign-in", "/sign-in", &fields).await.status, 303);
    browser
}

async fn the_page_gives_its_browser_a_new_cookie(app: App) {
    let mut browser = signed_in(&app).await;
    let (mut thief, before) = (browser.clone(), browser.cookies["roam_session"].clone());
    assert!(is_signed_in(&app, &mut thief).await);
    let fields = [("current_password", PASSWORD), ("new_password", NEW)];
    let changed = browser.submit_to(&app, "/account/password", "/account/password", &fields).await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    let after = &browser.cookies["roam_session"];
    let session = |cookie: &str| cookie.split_once('.').unwrap().0.to_owned();
    assert!(*after != before && session(after) == session(&before), "the same session under another secret");
    assert!(is_signed_in(&app, &mut browser).await, "whoever changed it stays");
    assert!(!is_signed_in(&app, &mut thief).await, "a copy of the cookie of before");
}

async fn the_page_gives_its_browser_a_new_cookie_beside_login_cookies(app: App) {
    the_page_gives_its_browser_a_new_cookie(app).await;
}

async fn an_application_that_changes_the_password_leaves_no_copy_behind(app: App) {
    let (mut browser, client) = (signed_in(&app).await, Application::first_party(&app).await);
    let begun = client.begin(&[("scope", "openid account")]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await.body;
    let access = tokens["access_token"].as_str().unwrap();
    let mut thief = browser.clone();
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    let request = app.request(Method::POST, "/auth/password").bearer_auth(access).json(&change);
    assert_eq!(browser.send(&app, request).await.status, 204);
    assert!(!is_signed_in(&app, &mut thief).await, "a copy of the cookie of before");
    assert!(is_signed_in(&app, &mut browser).await, "the answer has the new one");
    assert_eq!(app.get("/auth/me", access).await.status, 200, "the session goes on");
    assert_eq!(client.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await.status, 200);
}

async fn a_password_that_was_not_changed_leaves_the_cookie_alone(app: App) {
    let mut browser = signed_in(&app).await;
    let before = browser.cookies["roam_session"].clone();
    let fields = [("current_password", "not the password"), ("new_password", NEW)];
    let refused = browser.submit_to(&app, "/account/password", "/account/password", &fields).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert_eq!(browser.cookies["roam_session"], before);
    assert!(is_signed_in(&app, &mut browser).await);
    // A login of a program has no cookie, and gets none.
    let program = app.somebody().await;
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    let request = app.request(Method::POST, "/auth/password").bearer_auth(&program.access).json(&change);
    let answer = app.send(request).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    let set = answer.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap());
    assert!(set.into_iter().all(|set| set.starts_with("roam_device=")), "{:?}", answer.headers);
}
