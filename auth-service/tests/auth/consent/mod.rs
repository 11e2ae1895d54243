//! Consent covers exactly what is given: attacks HC1 to HC6 of `attacks.md`, over every way in.

mod claims;
pub(crate) mod leaving;
mod native;
mod room;
mod shown;
mod withdrawn;

use std::time::{Duration, Instant};

use auth_service::clients::Scope;
use auth_service::clients::registration::RegistrationMode;
use auth_service::clients::registry;
use auth_service::consent_epoch::ConsentEpoch;
use auth_service::grants::room::{MOST_OF_CLIENT, MOST_OF_SESSION};
use auth_service::grants::{self, NewGrant};
use auth_service::scopes::Words;
use auth_service::storage::audit::By;
use auth_service::storage::clients as stored_clients;
use auth_service::storage::consents;
use auth_service::storage::grants::{self as stored_grants, GrantId};
use auth_service::storage::outbox;
use auth_service::{Config, clients};
use reqwest::Method;
use serde_json::{Value, json};
use shared::session::SessionId;

use crate::browser::{Application, Begun, Browser, REDIRECT_URI, hidden};
use crate::harness::{Answer, App, PASSWORD, Person, on_both};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const BYE: &str = "https://app.example/bye";

pub(crate) fn registering(config: &mut Config) {
    config.registration.mode = RegistrationMode::Token;
    config.registration.scope = "openid profile email offline_access cart orders".parse::<Scope>().unwrap();
}

async fn signed_in(app: &App) -> (Browser, Person) {
    let person = app.somebody().await;
    let mut browser = Browser::default();
    browser.sign_in(app, &person, PASSWORD).await;
    (browser, person)
}

async fn third_party(app: &App, changes: Value) -> Application {
    let mut metadata = json!({"first_party": false});
    metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Application::register(app, metadata).await
}

/// Presses "Allow" on the page that the browser is sent to.
async fn allow(app: &App, browser: &mut Browser, asked: &Answer) -> Answer {
    assert_eq!(asked.location().path(), "/consent", "{}", asked.text);
    let allowed = browser.submit(app, asked, &[("decision", "allow")]).await;
    browser.follow(app, &allowed).await
}

fn id_claims(tokens: &Value) -> Value {
    use base64::Engine as _;
    let payload = tokens["id_token"].as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn userinfo(app: &App, tokens: &Value) -> Value {
    let answer = app.get("/oauth2/userinfo", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

/// A client that came by dynamic registration, and the token by which it changes that.
pub(crate) struct OnItsOwn {
    pub(crate) application: Application,
    token: String,
}

impl OnItsOwn {
    fn metadata(changes: Value) -> Value {
        let mut metadata = json!({
            "client_name": "On its own", "redirect_uris": [REDIRECT_URI], "scope": "openid",
            "grant_types": ["authorization_code", "refresh_token", DEVICE],
        });
        metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        metadata
    }

    pub(crate) async fn register(app: &App, changes: Value) -> Self {
        let admin = app.administrator().await;
        let token = app.request(Method::POST, "/admin/initial-access-tokens").bearer_auth(&admin.access);
        let token = app.send(token.json(&json!({"uses": 1, "expires_in": 60}))).await.body;
        let request = app.request(Method::POST, "/oauth2/register");
        let request = request.bearer_auth(token["initial_access_token"].as_str().unwrap());
        let made = app.send(request.json(&Self::metadata(changes))).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));
        let application = Application { id, secret, redirect_uri: REDIRECT_URI.to_owned() };
        Self { application, token: text("registration_access_token") }
    }

    async fn change(&mut self, app: &App, changes: Value) {
        let mut metadata = Self::metadata(changes);
        metadata["client_id"] = json!(self.application.id);
        let request = app.request(Method::PUT, &format!("/oauth2/register/{}", self.application.id));
        let changed = app.send(request.bearer_auth(&self.token).json(&metadata)).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        changed.body["registration_access_token"].as_str().unwrap().clone_into(&mut self.token);
    }
}

/// The ways in which a browser brings a request.
#[derive(Debug, Clone, Copy)]
enum WayIn {
    Get,
    Post,
    Pushed,
}

impl WayIn {
    const ALL: [Self; 3] = [Self::Get, Self::Post, Self::Pushed];

    async fn go(self, app: &App, browser: &mut Browser, client: &Application, begun: &Begun) -> Answer {
        match self {
            Self::Get => begun.go(app, browser).await,
            Self::Post => {
                let sent = app.send(app.request(Method::POST, "/oauth2/authorize").form(&begun.parameters)).await;
                browser.follow(app, &sent).await
            }
            Self::Pushed => {
                let push = app.request(Method::POST, "/oauth2/par").basic_auth(&client.id, Some(&client.secret));
                let pushed = app.send(push.form(&begun.parameters)).await;
                assert_eq!(pushed.status, 201, "{}", pushed.text);
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("client_id", &client.id)
                    .append_pair("request_uri", pushed.body["request_uri"].as_str().unwrap())
                    .finish();
                browser.get(app, &format!("/oauth2/authorize?{query}")).await
            }
        }
    }
}

const CLAIMS: &str = r#"{"id_token": {"email": {"essential": true}, "name": null, "roles": null},
                         "userinfo": {"email": null, "name": {"essential": true}}}"#;

async fn begin_device(app: &App, client: &Application, form: &[(&str, &str)]) -> Value {
    let ask = app.request(Method::POST, "/oauth2/device_authorization").basic_auth(&client.id, Some(&client.secret));
    let device = app.send(ask.form(form)).await;
    assert_eq!(device.status, 200, "{}", device.text);
    device.body
}

/// The page on which the person decides.
async fn device_page(app: &App, browser: &mut Browser, device: &Value) -> Answer {
    let code = device["user_code"].as_str().unwrap();
    browser.submit_to(app, "/device", "/device", &[("user_code", code)]).await
}

async fn decide(app: &App, browser: &mut Browser, page: &Answer) -> Answer {
    let fields = hidden(page, &[]);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).chain([("decision", "allow")]).collect();
    browser.send(app, app.request(Method::POST, "/device").form(&fields)).await
}

async fn poll(app: &App, client: &Application, device: &Value) -> Answer {
    client.token(app, &[("grant_type", DEVICE), ("device_code", device["device_code"].as_str().unwrap())]).await
}
