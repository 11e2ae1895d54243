//! A request that names an account (`id_token_hint`, `claims`, `login_hint`) while another one is signed in: the page says so,
//! leads to the one or back to the client, and never asks for the same password again and again.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::browser::{Application, Browser};
use crate::harness::{Answer, App, PASSWORD, Person, on_both};
use crate::login::claims;

on_both! {
    an_id_token_hint_of_another_account_leads_to_that_account,
    whoever_stays_with_another_account_is_told_to_the_client,
    a_hint_shows_no_address_that_it_does_not_hold,
    a_silent_request_for_another_account_is_refused_at_once,
    a_login_hint_leads_nobody_around_in_circles,
}

/// An ID token of `person` for the client.
async fn id_token(app: &App, client: &Application, person: &Person, scope: &str) -> String {
    let mut browser = Browser::default();
    browser.sign_in(app, person, PASSWORD).await;
    let begun = client.begin(&[("scope", scope)]);
    let code = begun.go(app, &mut browser).await.query("code");
    client.exchange(app, &code, &begun.verifier).await.body["id_token"].as_str().unwrap().to_owned()
}

async fn signed_in(app: &App) -> (Browser, Person) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    (browser, person)
}

/// Sends the form of a page as browsers do, and follows to the dispatcher.
async fn sign_in(app: &App, browser: &mut Browser, page: &Answer, email: &str) -> Answer {
    browser.submit(app, page, &[("email", email), ("password", PASSWORD)]).await
}

async fn an_id_token_hint_of_another_account_leads_to_that_account(app: App) {
    let client = Application::first_party(&app).await;
    let (ada, (mut browser, bob)) = (app.somebody().await, signed_in(&app).await);
    let hint = id_token(&app, &client, &ada, "openid email").await;
    let begun = client.begin(&[("id_token_hint", &hint)]);
    let asked = begun.go(&app, &mut browser).await;
    assert_eq!(asked.location().path(), "/switch-account");
    let page = browser.follow(&app, &asked).await;
    assert!(page.text.contains(&ada.email) && page.text.contains(&bob.email), "{}", page.text);
    let flow = asked.query("flow");
    let sign_in_page = format!("/sign-in?flow={flow}");
    assert!(page.text.contains(&sign_in_page.replace('&', "&#38;")), "{}", page.text);
    let page = browser.get(&app, &sign_in_page).await;
    assert!(!page.text.contains("Confirm that it is you"), "{}", page.text);
    assert!(page.text.contains(&format!("value=\"{}\"", ada.email)), "{}", page.text);
    assert!(page.text.contains(&format!("{} is signed in here now", bob.email)), "{}", page.text);
    // The account that is signed in would lead here again: it is not even tried, and stays signed in.
    let credentials = [("email", &*bob.email), ("password", PASSWORD)];
    let again = browser.submit_to(&app, &sign_in_page, &sign_in_page, &credentials).await;
    assert_eq!(again.status, 422, "{}", again.text);
    assert!(again.text.contains(&format!("expects the account {}", ada.email)), "{}", again.text);
    assert!(browser.get(&app, "/account").await.text.contains(&bob.email));
    let credentials = [("email", &*ada.email), ("password", PASSWORD)];
    let done = browser.submit_to(&app, &sign_in_page, &sign_in_page, &credentials).await;
    let code = browser.follow(&app, &done).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await;
    let subject = claims(tokens.body["id_token"].as_str().unwrap())["sub"].clone();
    assert_eq!(subject, json!(ada.id), "{}", tokens.text);
    assert!(browser.get(&app, "/account").await.text.contains(&ada.email), "the other one is signed out");
}

async fn whoever_stays_with_another_account_is_told_to_the_client(app: App) {
    let client = Application::register(&app, json!({"first_party": false})).await;
    let own = Application::first_party(&app).await;
    let (ada, (mut browser, bob)) = (app.somebody().await, signed_in(&app).await);
    let hint = id_token(&app, &own, &ada, "openid email").await;
    let asked = client.begin(&[("id_token_hint", &hint)]).go(&app, &mut browser).await;
    // In the name of another person, nothing is decided.
    let stranger = browser.submit(&app, &asked, &[("account", &ada.id.to_string())]).await;
    assert_eq!(browser.follow(&app, &stranger).await.location().path(), "/switch-account");
    let stays = browser.submit(&app, &asked, &[]).await;
    let back = browser.follow(&app, &stays).await;
    assert_eq!(back.location().host_str(), Some("app.example"));
    assert_eq!((back.query("error"), back.query("state")), ("login_required".to_owned(), "a state".to_owned()));
    assert_eq!((back.query("iss"), back.query("code")), (app.service.issuer.clone(), String::new()));
    assert!(browser.get(&app, "/account").await.text.contains(&bob.email), "and stays signed in");
    // Nobody is asked who is the one, or who has signed out meanwhile.
    let asked = client.begin(&[("id_token_hint", &hint)]).go(&app, &mut browser).await;
    browser.cookies.remove("roam_session");
    let next = browser.follow(&app, &asked).await;
    assert_eq!(browser.follow(&app, &next).await.location().path(), "/sign-in");
    browser.sign_in(&app, &ada, PASSWORD).await;
    let next = browser.follow(&app, &asked).await;
    assert_eq!(browser.follow(&app, &next).await.location().path(), "/consent");
}

async fn a_hint_shows_no_address_that_it_does_not_hold(app: App) {
    let client = Application::first_party(&app).await;
    let (ada, (mut browser, bob)) = (app.somebody().await, signed_in(&app).await);
    let hint = id_token(&app, &client, &ada, "openid").await;
    let subject = json!({"id_token": {"sub": {"value": ada.id}}}).to_string();
    for named in [("id_token_hint", &*hint), ("claims", &*subject)] {
        let asked = client.begin(&[named]).go(&app, &mut browser).await;
        let page = browser.follow(&app, &asked).await;
        assert!(page.text.contains("expects another account") && page.text.contains(&bob.email), "{}", page.text);
        assert!(!page.text.contains(&ada.email), "{named:?}: {}", page.text);
        let page = browser.get(&app, &format!("/sign-in?flow={}", asked.query("flow"))).await;
        assert!(!page.text.contains(&ada.email) && !page.text.contains("Confirm that it is you"), "{}", page.text);
        // The account that is signed in leads to the question again, where it can be declined.
        app.clock.advance(Duration::from_secs(1));
        let sign_in_page = format!("/sign-in?flow={}", asked.query("flow"));
        let credentials = [("email", &*bob.email), ("password", PASSWORD)];
        let again = browser.submit_to(&app, &sign_in_page, &sign_in_page, &credentials).await;
        assert_eq!(browser.follow(&app, &again).await.location().path(), "/switch-account");
        let stays = browser.submit(&app, &asked, &[]).await;
        assert_eq!(browser.follow(&app, &stays).await.query("error"), "login_required");
    }
}

async fn a_silent_request_for_another_account_is_refused_at_once(app: App) {
    let client = Application::first_party(&app).await;
    let (ada, (mut browser, _)) = (app.somebody().await, signed_in(&app).await);
    let hint = id_token(&app, &client, &ada, "openid email").await;
    let back = client.begin(&[("id_token_hint", &hint), ("prompt", "none")]).go(&app, &mut browser).await;
    assert_eq!((back.query("error"), back.query("state")), ("login_required".to_owned(), "a state".to_owned()));
    assert_eq!(back.query("iss"), app.service.issuer);
    // A hint of no authority says nothing.
    let silent = client.begin(&[("login_hint", &ada.email), ("prompt", "none")]).go(&app, &mut browser).await;
    assert!(!silent.query("code").is_empty());
}

async fn a_login_hint_leads_nobody_around_in_circles(app: App) {
    let client = Application::first_party(&app).await;
    let (ada, (mut browser, bob)) = (app.somebody().await, signed_in(&app).await);
    let hinted = [("login_hint", &*ada.email)];
    assert!(!client.begin(&hinted).go(&app, &mut browser).await.query("code").is_empty());
    for email in [&bob.email, &ada.email, &ada.email] {
        app.clock.advance(Duration::from_secs(1));
        let asked = client.begin(&[hinted[0], ("prompt", "login")]).go(&app, &mut browser).await;
        let page = browser.follow(&app, &asked).await;
        let confirms = page.text.contains("Confirm that it is you");
        let is_adas = browser.get(&app, "/account").await.text.contains(&ada.email);
        assert_eq!(confirms, is_adas, "{}", page.text);
        let done = sign_in(&app, &mut browser, &asked, email).await;
        assert!(!browser.follow(&app, &done).await.query("code").is_empty(), "{email}");
    }
    let away = app.request(Method::GET, "/switch-account?flow=none");
    assert_eq!(app.send(away).await.status, 400);
}
