//! A single-page application on an origin of its own: a public client whose requests are a script's, without cookies.

use std::time::Duration;

use auth_service::Config;
use e2e::routes::assert_open;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::browser::{Application, Begun, Browser, REDIRECT_URI};
use crate::harness::{Answer, App, PASSWORD, on_both};

on_both! {
    a_script_of_another_origin_signs_in_refreshes_and_signs_out,
    a_script_may_read_why_it_is_refused with super::strict,
}

fn strict(config: &mut Config) {
    config.throttle.client_failures = 2;
    config.server.body_patience = Duration::from_millis(200);
}

/// As a browser sends it for a script of another origin.
fn by_script(app: &App, method: Method, path: &str) -> reqwest::RequestBuilder {
    let request = app.request(method, path).header("origin", "https://app.example");
    request.header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "cors").header("sec-fetch-dest", "empty")
}

async fn ask(app: &App, path: &str, form: &[(&str, &str)]) -> Answer {
    let answer = app.send(by_script(app, Method::POST, path).form(form)).await;
    assert_open(&answer.headers, path);
    answer
}

async fn public(app: &App) -> Application {
    Application::register(app, json!({"token_endpoint_auth_method": "none"})).await
}

async fn a_script_of_another_origin_signs_in_refreshes_and_signs_out(app: App) {
    let (person, client) = (app.somebody().await, public(&app).await);
    let mut browser = Browser::default();
    browser.sign_in(&app, &person, PASSWORD).await;
    for path in ["/.well-known/openid-configuration", "/.well-known/jwks.json"] {
        let answer = app.send(by_script(&app, Method::GET, path)).await;
        assert_eq!(answer.status, 200);
        assert_open(&answer.headers, path);
    }
    let begun: Begun = client.begin(&[("scope", "openid email offline_access")]);
    let parameters: Vec<_> = begun.parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
    let pushed = ask(&app, "/oauth2/par", &parameters).await;
    assert_eq!(pushed.status, 201, "{}", pushed.text);
    let reference = pushed.body["request_uri"].as_str().unwrap();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("client_id", &*client.id), ("request_uri", reference)])
        .finish();
    let code = browser.get(&app, &format!("/oauth2/authorize?{query}")).await.query("code");
    let tokens = ask(
        &app,
        "/oauth2/token",
        &[
            ("grant_type", "authorization_code"),
            ("client_id", &client.id),
            ("code", &code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", &begun.verifier),
        ],
    )
    .await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    let text = |answer: &Answer, name: &str| answer.body[name].as_str().unwrap_or_default().to_owned();
    let userinfo = |token: String| by_script(&app, Method::GET, "/oauth2/userinfo").bearer_auth(token);
    let who = app.send(userinfo(text(&tokens, "access_token"))).await;
    assert_eq!((who.status, &who.body["email"]), (200, &json!(person.email)));
    assert_open(&who.headers, "userinfo");
    let refresh_token = text(&tokens, "refresh_token");
    let form = [("grant_type", "refresh_token"), ("client_id", &*client.id), ("refresh_token", refresh_token.as_str())];
    let renewed = ask(&app, "/oauth2/token", &form).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let token = text(&renewed, "refresh_token");
    assert_eq!(ask(&app, "/oauth2/revoke", &[("client_id", &client.id), ("token", &token)]).await.status, 200);
    let form = [("grant_type", "refresh_token"), ("client_id", &*client.id), ("refresh_token", token.as_str())];
    assert_eq!(ask(&app, "/oauth2/token", &form).await.error(), "invalid_grant");
}

async fn a_script_may_read_why_it_is_refused(app: App) {
    let client = Application::first_party(&app).await;
    let refused = app.send(by_script(&app, Method::GET, "/oauth2/userinfo").bearer_auth("x")).await;
    assert_eq!(refused.status, 401);
    assert_open(&refused.headers, "a 401");
    let form = [("grant_type", "client_credentials"), ("client_id", &*client.id), ("client_secret", "wrong")];
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(ask(&app, "/oauth2/token", &form).await.status);
    }
    assert_eq!(statuses, [401, 401, 429]);
    assert_eq!(ask(&app, "/oauth2/token", &[("state", &"x".repeat(70_000))]).await.status, 413);
    let json = app.send(by_script(&app, Method::POST, "/oauth2/token").json(&Value::Null)).await;
    assert_eq!(json.status, 415);
    assert_open(&json.headers, "a 415");
    let late = a_body_that_never_comes(&app).await;
    assert!(late.starts_with("HTTP/1.1 408 ") && late.contains("\r\naccess-control-allow-origin: *\r\n"), "{late}");
}

async fn a_body_that_never_comes(app: &App) -> String {
    let mut stream = TcpStream::connect(app.url("").trim_start_matches("http://")).await.unwrap();
    let head = "POST /oauth2/token HTTP/1.1\r\nHost: auth\r\nOrigin: https://app.example\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
