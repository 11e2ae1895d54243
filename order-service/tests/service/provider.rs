//! A provider for the tests of pages: it signs in at once whoever the test names, and gives the tokens of a real sign-in.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use actix_web::http::header::LOCATION;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::session::{SessionId, UserId};
use url::Url;
use uuid::Uuid;

use crate::harness::Person;

type Parameters = HashMap<String, String>;

pub(crate) struct Provider {
    pub(crate) url: String,
    state: Data<State>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

struct State {
    key: Ed25519KeyPair,
    /// Of the world that signs in here.
    clock: OnceLock<Clock>,
    url: OnceLock<String>,
    next: Mutex<Option<(UserId, SessionId)>>,
    codes: Mutex<HashMap<String, (Login, Parameters)>>,
    refresh_tokens: Mutex<HashMap<String, Login>>,
}

#[derive(Clone, Copy)]
struct Login {
    user: UserId,
    session: SessionId,
    auth_time: i64,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let state = Data::new(State {
            key: Ed25519KeyPair::generate().unwrap(),
            clock: OnceLock::new(),
            url: OnceLock::new(),
            next: Mutex::default(),
            codes: Mutex::default(),
            refresh_tokens: Mutex::default(),
        });
        let served = state.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(served.clone())
                .route("/.well-known/jwks.json", web::get().to(keys))
                .route("/.well-known/openid-configuration", web::get().to(metadata))
                .route("/authorize", web::get().to(authorize))
                .route("/token", web::post().to(token))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        state.url.set(url.clone()).unwrap();
        Self { url, state, server: tokio::spawn(server.run()) }
    }

    pub(crate) fn keep_time_by(&self, clock: &Clock) {
        assert!(self.state.clock.set(clock.clone()).is_ok(), "it keeps one time");
    }

    /// Whoever comes next is this person.
    pub(crate) fn expect(&self, person: &Person<'_>) {
        *self.state.next.lock().unwrap() = Some((person.user, person.session));
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn now(&self) -> i64 {
        self.clock.get().unwrap().now().seconds()
    }

    fn sign(&self, typ: &str, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&json!({"typ": typ, "alg": "EdDSA", "kid": "k1"})), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }

    fn access_token(&self, login: Login, audience: &[&str]) -> String {
        let (issuer, now) = (self.url.get(), self.now());
        let claims = json!({
            "iss": issuer, "sub": login.user, "aud": audience, "exp": now + 300, "iat": now,
            "jti": Uuid::new_v4().simple().to_string(), "sid": login.session, "client_id": "order-service",
            "scope": "openid cart orders", "roles": [], "auth_time": login.auth_time, "amr": ["pwd"],
        });
        self.sign("at+jwt", &claims)
    }

    fn tokens(&self, login: Login, nonce: Option<&str>) -> HttpResponse {
        let (issuer, now) = (self.url.get(), self.now());
        let id_token = json!({
            "iss": issuer, "sub": login.user, "aud": "order-service", "exp": now + 300, "iat": now,
            "auth_time": login.auth_time, "nonce": nonce, "name": "Ada Lovelace",
        });
        let refresh_token = Uuid::new_v4().to_string();
        self.refresh_tokens.lock().unwrap().insert(refresh_token.clone(), login);
        HttpResponse::Ok().json(json!({
            "access_token": self.access_token(login, &["cart-service", "order-service"]), "token_type": "Bearer",
            "id_token": self.sign("JWT", &id_token), "refresh_token": refresh_token,
        }))
    }
}

async fn keys(state: Data<State>) -> HttpResponse {
    let x = URL_SAFE_NO_PAD.encode(state.key.public_key().as_ref());
    let key = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1", "x": x});
    HttpResponse::Ok().json(json!({"keys": [key]}))
}

async fn metadata(state: Data<State>) -> HttpResponse {
    let url = state.url.get().unwrap();
    HttpResponse::Ok().json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
    }))
}

async fn authorize(state: Data<State>, asked: web::Query<Parameters>) -> HttpResponse {
    let (user, session) = state.next.lock().unwrap().take().expect("somebody to sign in");
    let login = Login { user, session, auth_time: state.now() };
    let (code, asked) = (Uuid::new_v4().to_string(), asked.into_inner());
    let mut location: Url = asked["redirect_uri"].parse().unwrap();
    location.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked["state"]);
    state.codes.lock().unwrap().insert(code, (login, asked));
    HttpResponse::SeeOther().insert_header((LOCATION, location.as_str())).finish()
}

async fn token(state: Data<State>, form: web::Form<Parameters>) -> HttpResponse {
    let found = match form["grant_type"].as_str() {
        "authorization_code" => {
            let code = state.codes.lock().unwrap().remove(&form["code"]);
            code.map(|(login, asked)| (login, Some(asked["nonce"].clone())))
        }
        "refresh_token" => {
            let login = state.refresh_tokens.lock().unwrap().remove(&form["refresh_token"]);
            login.map(|login| (login, None))
        }
        _ => return HttpResponse::BadGateway().finish(),
    };
    match found {
        Some((login, nonce)) => state.tokens(login, nonce.as_deref()),
        None => HttpResponse::BadRequest().json(json!({"error": "invalid_grant"})),
    }
}
