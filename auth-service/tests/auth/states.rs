//! `state` comes back with every answer that reaches a client, however long it is.

use serde_json::json;

use crate::browser::{Application, Browser};
use crate::harness::{Answer, App, PASSWORD, on_both};

on_both! {
    every_error_that_goes_back_to_a_client_has_its_state,
    a_state_of_4_kb_comes_back_also_after_the_pages,
}

/// As clients make them: base64url, and something that must be encoded.
fn longest() -> String {
    "aZ09-_".repeat(1_000)[..4_096 - 4].to_owned() + "&\"é"
}

async fn signed_in(app: &App) -> Browser {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    browser
}

async fn every_error_that_goes_back_to_a_client_has_its_state(app: App) {
    let (state, long) = (longest(), "n".repeat(2_049));
    assert_eq!(state.len(), 4_096);
    let (mut signed_in, mut nobody) = (signed_in(&app).await, Browser::default());
    let client = Application::register(&app, json!({"first_party": false})).await;
    for (changes, error) in [
        (("response_type", ""), "invalid_request"),
        (("response_type", "none"), "unsupported_response_type"),
        (("response_mode", "web_message"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("scope", "nothing"), "invalid_scope"),
        (("resource", "urn:roam:nothing"), "invalid_target"),
        (("request", "e30.e30."), "request_not_supported"),
        (("request_uri", "https://app.example/r"), "request_uri_not_supported"),
        (("registration", "{}"), "registration_not_supported"),
        (("prompt", "dance"), "invalid_request"),
        (("prompt", "none"), "consent_required"),
        (("max_age", "x"), "invalid_request"),
        (("claims", "{"), "invalid_request"),
        (("claims", r#"{"id_token":{"acr":{"essential":true,"value":"x"}}}"#), "unmet_authentication_requirements"),
        (("id_token_hint", "x"), "invalid_request"),
        (("dpop_jkt", "x"), "invalid_request"),
        (("nonce", &*long), "invalid_request"),
    ] {
        let state = if changes.0 == "nonce" { "s" } else { &*state };
        let back = client.begin(&[("scope", "openid"), ("state", state), changes]).go(&app, &mut signed_in).await;
        assert_eq!((back.query("error").as_str(), back.query("state").as_str()), (error, state), "{changes:?}");
        assert_eq!(back.query("iss"), app.service.issuer);
    }
    let back = client.begin(&[("prompt", "none"), ("state", &state)]).go(&app, &mut nobody).await;
    assert_eq!((back.query("error"), back.query("state")), ("login_required".to_owned(), state.clone()));
    let posted = [("scope", "nothing"), ("state", &*state), ("response_mode", "form_post")];
    let form = client.begin(&posted).go(&app, &mut signed_in).await;
    let field = format!("name=\"state\" value=\"{}&#38;&#34;é\"", &state[..state.len() - 4]);
    assert!(form.status == 200 && form.text.contains(&field), "{}", form.text);
}

async fn a_state_of_4_kb_comes_back_also_after_the_pages(app: App) {
    let (state, person) = (longest(), app.somebody().await);
    let client = Application::register(&app, json!({"first_party": false})).await;
    let states = |answer: &Answer| (answer.query("error"), answer.query("state"));
    for (decision, error) in [("allow", ""), ("refuse", "access_denied")] {
        let mut browser = Browser::default();
        let begun = client.begin(&[("state", &state), ("nonce", &"n".repeat(43)), ("prompt", "consent")]);
        let page = begun.go(&app, &mut browser).await;
        assert!(page.headers["location"].len() < 8 * 1024 - 100, "gateways take an address of 8 KiB");
        assert_eq!(browser.follow(&app, &page).await.status, 200);
        let credentials = [("email", &*person.email), ("password", PASSWORD)];
        let signed_in = browser.submit(&app, &page, &credentials).await;
        let asked = browser.follow(&app, &signed_in).await;
        let decided = browser.submit(&app, &asked, &[("decision", decision)]).await;
        let back = browser.follow(&app, &decided).await;
        assert_eq!(states(&back), (error.to_owned(), state.clone()), "{decision}");
        assert_eq!(back.query("code").is_empty(), decision == "refuse");
    }
}
