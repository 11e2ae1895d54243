//! An issuer for tests: signs what it is asked to, as the auth service would, publishes its key, and exchanges tokens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

/// How it answers whoever wants a token in a user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    Given,
    /// With this error.
    Refused(&'static str),
    /// By none that makes sense.
    Away,
}

pub(crate) struct Issuer {
    state: Data<State>,
    pub(crate) name: String,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

struct State {
    key: Ed25519KeyPair,
    exchange: Mutex<Exchange>,
    exchanges: Mutex<usize>,
}

impl Issuer {
    pub(crate) fn start() -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let state = State { key, exchange: Mutex::new(Exchange::Given), exchanges: Mutex::default() };
        let state = Data::from(Arc::new(state));
        let served = state.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(served.clone())
                .route("/.well-known/jwks.json", web::get().to(keys))
                .route("/.well-known/openid-configuration", web::get().to(metadata))
                .route("/oauth2/token", web::post().to(exchange))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let name = format!("http://{}", server.addrs()[0]);
        Self { state, name, server: tokio::spawn(server.run()) }
    }

    pub(crate) fn sign(&self, claims: &impl serde::Serialize) -> String {
        self.state.sign(claims)
    }

    /// From now on.
    pub(crate) fn answer_exchanges(&self, exchange: Exchange) {
        *self.state.exchange.lock().unwrap() = exchange;
    }

    /// How often it was asked for a token in a user's name.
    pub(crate) fn exchanges(&self) -> usize {
        *self.state.exchanges.lock().unwrap()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn sign(&self, claims: &impl serde::Serialize) -> String {
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "k1"}).to_string();
        let payload = serde_json::to_string(claims).unwrap();
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

/// What a token says.
pub(crate) fn payload(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

async fn keys(state: Data<State>) -> HttpResponse {
    let x = URL_SAFE_NO_PAD.encode(state.key.public_key().as_ref());
    let key = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1", "x": x});
    HttpResponse::Ok().json(json!({"keys": [key]}))
}

async fn metadata(request: actix_web::HttpRequest) -> HttpResponse {
    let issuer = format!("http://{}", request.connection_info().host());
    HttpResponse::Ok().json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/oauth2/authorize"),
        "token_endpoint": format!("{issuer}/oauth2/token"),
    }))
}

async fn exchange(state: Data<State>, form: web::Form<HashMap<String, String>>) -> HttpResponse {
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    *state.exchanges.lock().unwrap() += 1;
    match *state.exchange.lock().unwrap() {
        Exchange::Given => {}
        Exchange::Refused(error) => return HttpResponse::BadRequest().json(json!({"error": error})),
        Exchange::Away => return HttpResponse::BadGateway().finish(),
    }
    let mut claims = payload(&form["subject_token"]).unwrap();
    claims["aud"] = json!(["cart-service"]);
    claims["scope"] = json!(form["scope"]);
    claims["client_id"] = json!("order-service");
    claims["act"] = json!({"sub": "order-service"});
    claims["jti"] = json!(Uuid::new_v4().simple().to_string());
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    let access_token = state.sign(&claims);
    HttpResponse::Ok().json(json!({"access_token": access_token, "issued_token_type": kind, "token_type": "Bearer"}))
}
