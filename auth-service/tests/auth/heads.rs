//! HEAD at the addresses of GET that are good once, or that must be proved.

use reqwest::Method;

use crate::browser::{Application, Browser};
use crate::dpop_tokens::Holder;
use crate::harness::{App, PASSWORD, on_both};

on_both! {
    a_program_that_looks_at_a_link_uses_up_no_sign_in,
    a_proof_for_head_is_good_for_head_alone,
}

async fn a_program_that_looks_at_a_link_uses_up_no_sign_in(app: App) {
    let (person, client) = (app.somebody().await, Application::first_party(&app).await);
    let mut browser = Browser::default();
    let look = async |path: &str| {
        let looked = app.send(app.request(Method::HEAD, path)).await;
        assert!(looked.text.is_empty() && looked.status < 500, "{path}: {}", looked.status);
    };
    let begun = client.begin(&[]);
    look(&begun.path()).await;
    let page = begun.go(&app, &mut browser).await;
    let resume = format!("/oauth2/authorize?flow={}", page.query("flow"));
    look(&resume).await;
    browser.sign_in(&app, &person, PASSWORD).await;
    look(&resume).await;
    let code = browser.get(&app, &resume).await.query("code");
    let tokens = client.exchange(&app, &code, &begun.verifier).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    look(&format!("/oauth2/logout?id_token_hint={}", tokens.body["id_token"].as_str().unwrap())).await;
    assert_eq!(browser.get(&app, "/account").await.status, 200, "she is still signed in");
}

async fn a_proof_for_head_is_good_for_head_alone(app: App) {
    let (person, client, holder) = (app.somebody().await, Application::first_party(&app).await, Holder::new());
    let mut browser = Browser::default();
    browser.sign_in(&app, &person, PASSWORD).await;
    let begun = client.begin(&[]);
    let code = begun.go(&app, &mut browser).await.query("code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &client.redirect_uri),
        ("code_verifier", &begun.verifier),
    ];
    let request = app.request(Method::POST, "/oauth2/token").basic_auth(&client.id, Some(&client.secret));
    let tokens = app.send(request.header("dpop", holder.token_proof(&app)).form(&form)).await;
    let token = tokens.body["access_token"].as_str().unwrap();
    let ask = async |sent: Method, proved: &str| {
        let proof = holder.proof(&app, proved, "/oauth2/userinfo", Some(token));
        let request = app.request(sent, "/oauth2/userinfo").header("authorization", format!("DPoP {token}"));
        request.header("dpop", proof).send().await.unwrap().status().as_u16()
    };
    assert_eq!((ask(Method::HEAD, "HEAD").await, ask(Method::GET, "GET").await), (200, 200));
    assert_eq!((ask(Method::HEAD, "GET").await, ask(Method::GET, "HEAD").await), (401, 401));
}
