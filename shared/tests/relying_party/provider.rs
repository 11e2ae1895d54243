//! An OpenID provider that signs whoever asks in at once: a real server with sessions in the store that the service
//! shares, PKCE, rotating refresh tokens, and tokens that a test may bend before they are signed.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::{DATE, HttpDate, LOCATION, TryIntoHeaderValue as _};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::digest::{SHA256, SHA512, digest};
use parking_lot::Mutex;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::session::{
    Created, EndReason, LimitPolicy, MemorySessionStore, NewSession, SessionId, SessionLimit, SessionStore as _, UserId,
};
use url::Url;

use crate::keys::{Key, b64, key_set};

/// The public address: no name that resolves, so that only the internal one can be called.
pub(crate) const ISSUER: &str = "http://auth.test";
pub(crate) const CLIENT: &str = "wish-service";
pub(crate) const SECRET: &str = "a secret with spaces: and % signs, 32 characters";
pub(crate) const TOKEN_TTL: Duration = Duration::from_secs(300);

/// Changes the claims of an access token before it is signed.
type BendAccess = Box<dyn Fn(&mut Value) + Send>;

/// Changes the header and the claims of an ID token before it is signed.
type Bend = Box<dyn Fn(&mut Value, &mut Value) + Send>;

pub(crate) struct Provider {
    pub(crate) base: String,
    pub(crate) state: web::Data<State>,
    handle: ServerHandle,
}

pub(crate) struct State {
    pub(crate) key: Key,
    pub(crate) id_key: Key,
    pub(crate) store: Arc<MemorySessionStore>,
    pub(crate) clock: Clock,
    /// The parameters of the last authorization request.
    pub(crate) asked: Mutex<HashMap<String, String>>,
    pub(crate) bend: Mutex<Option<Bend>>,
    pub(crate) bend_access: Mutex<Option<BendAccess>>,
    /// By how many seconds the `Date` of the token endpoint's answers is ahead.
    pub(crate) ahead: AtomicI64,
    /// How it answers a pushed request.
    pub(crate) pushed: Mutex<(u16, Value)>,
    pub(crate) pushes: AtomicUsize,
    /// How the token endpoint refuses, whatever it is asked.
    pub(crate) refuses: Mutex<Option<&'static str>>,
    pub(crate) metadata: Mutex<Value>,
    pub(crate) away: AtomicBool,
    pub(crate) gives_names: AtomicBool,
    /// Takes a refresh token once, without a grace, as some providers do.
    pub(crate) strict: AtomicBool,
    pub(crate) refreshes: AtomicUsize,
    /// How often it was asked for a token in a user's name.
    pub(crate) exchanges: AtomicUsize,
    /// How it refuses such a token.
    pub(crate) refuses_exchange: Mutex<Option<&'static str>>,
    /// Keeps it from answering such a question.
    pub(crate) holds_exchange: tokio::sync::Mutex<()>,
    pub(crate) revoked: Mutex<Vec<String>>,
    codes: Mutex<HashMap<String, Code>>,
    grants: Mutex<HashMap<String, Grant>>,
}

struct Code {
    challenge: String,
    nonce: String,
    redirect_uri: String,
    grant: Grant,
}

#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    auth_time: i64,
    generation: usize,
}

impl Provider {
    pub(crate) fn start(store: Arc<MemorySessionStore>, clock: Clock) -> Self {
        let metadata = json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/authorize"),
            "token_endpoint": format!("{ISSUER}/token"),
            "revocation_endpoint": format!("{ISSUER}/revoke"),
            "userinfo_endpoint": format!("{ISSUER}/userinfo"),
            "end_session_endpoint": format!("{ISSUER}/end"),
            "authorization_response_iss_parameter_supported": true,
        });
        let state = web::Data::new(State {
            key: Key::ed("at"),
            id_key: Key::es("id"),
            store,
            clock,
            asked: Mutex::default(),
            bend: Mutex::default(),
            bend_access: Mutex::default(),
            ahead: AtomicI64::new(0),
            pushed: Mutex::new((201, json!({"request_uri": "urn:x", "expires_in": 60}))),
            pushes: AtomicUsize::new(0),
            refuses: Mutex::default(),
            metadata: Mutex::new(metadata),
            away: AtomicBool::new(false),
            gives_names: AtomicBool::new(true),
            strict: AtomicBool::new(false),
            refreshes: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            refuses_exchange: Mutex::default(),
            holds_exchange: tokio::sync::Mutex::default(),
            revoked: Mutex::default(),
            codes: Mutex::default(),
            grants: Mutex::default(),
        });
        let served = state.clone();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = move || App::new().app_data(served.clone()).default_service(web::to(answer));
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { base, state, handle }
    }

    /// The provider's address as this machine reaches it.
    pub(crate) fn reached(&self, public: &str) -> String {
        public.replacen(ISSUER, &self.base, 1)
    }

    pub(crate) fn bend(&self, bend: impl Fn(&mut Value, &mut Value) + Send + 'static) {
        *self.state.bend.lock() = Some(Box::new(bend));
    }

    pub(crate) fn refreshes(&self) -> usize {
        self.state.refreshes.load(Ordering::SeqCst)
    }

    pub(crate) fn exchanges(&self) -> usize {
        self.state.exchanges.load(Ordering::SeqCst)
    }

    /// The newest grant.
    pub(crate) fn grant(&self) -> Grant {
        self.state.grants.lock().values().max_by_key(|grant| grant.auth_time).unwrap().clone()
    }

    pub(crate) async fn end_session(&self, session: SessionId) {
        self.state.store.end(session, EndReason::Logout).await.unwrap();
    }

    /// A logout token as it should be, changed by `bend`.
    pub(crate) fn logout_token(&self, bend: impl Fn(&mut Value, &mut Value)) -> String {
        let now = self.state.clock.now().seconds();
        let mut header = json!({"alg": self.state.id_key.alg(), "typ": "logout+jwt", "kid": self.state.id_key.id});
        let mut claims = json!({
            "iss": ISSUER, "aud": CLIENT, "iat": now, "exp": now + 120,
            "jti": uuid::Uuid::new_v4().to_string(), "sid": self.grant().session, "sub": self.grant().user,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        bend(&mut header, &mut claims);
        self.state.id_key.signed(&header.to_string(), &claims.to_string())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        actix_web::rt::spawn(self.handle.stop(false));
    }
}

async fn answer(state: web::Data<State>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    if state.away.load(Ordering::SeqCst) {
        return HttpResponse::BadGateway().finish();
    }
    let read = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect::<HashMap<_, _>>();
    let query = read(request.query_string().as_bytes());
    match request.path() {
        "/.well-known/openid-configuration" => HttpResponse::Ok().json(&*state.metadata.lock()),
        "/jwks" => HttpResponse::Ok().json(key_set(&[&state.key, &state.id_key])),
        "/authorize" => state.authorize(query).await,
        "/userinfo" => {
            HttpResponse::Ok().json(json!({"sub": state.last_user(), "name": "From Userinfo", "email": "u@shop.test"}))
        }
        path => {
            // RFC 6749, section 2.3.1: both parts are form-encoded.
            let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encode(CLIENT), encode(SECRET));
            use base64::Engine as _;
            let expected = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
            if request.headers().get("authorization").map(|value| value.as_bytes()) != Some(expected.as_bytes()) {
                return HttpResponse::Unauthorized().json(json!({"error": "invalid_client"}));
            }
            let form = read(&body);
            match path {
                "/token" => state.dated(state.token(&form).await),
                "/par" => {
                    state.pushes.fetch_add(1, Ordering::SeqCst);
                    let (status, body) = state.pushed.lock().clone();
                    HttpResponse::build(StatusCode::from_u16(status).unwrap()).json(body)
                }
                "/revoke" => {
                    state.revoked.lock().push(form["token"].clone());
                    HttpResponse::Ok().finish()
                }
                _ => HttpResponse::NotFound().finish(),
            }
        }
    }
}

impl State {
    /// As if another replica of the service had used the grant's refresh token.
    pub(crate) fn spend(&self, grant: &Grant) {
        self.grants.lock().retain(|_, other| other.session != grant.session);
    }

    fn last_user(&self) -> Option<UserId> {
        self.grants.lock().values().max_by_key(|grant| grant.auth_time).map(|grant| grant.user)
    }

    async fn authorize(&self, query: HashMap<String, String>) -> HttpResponse {
        let user = UserId::random();
        let new = NewSession {
            user,
            client: CLIENT.to_owned(),
            roles: vec!["user".to_owned()],
            amr: vec!["pwd".to_owned()],
            device: "a test".to_owned(),
            address: "127.0.0.1".to_owned(),
            attributes: Default::default(),
            idle: Duration::from_secs(86_400),
            absolute: Duration::from_secs(30 * 86_400),
        };
        let limit = SessionLimit { max: 10, policy: LimitPolicy::EndOldest };
        let Created::Begun { session, .. } = self.store.create(new, limit).await.unwrap() else { panic!("no session") };
        let grant = Grant { user, session: session.id, auth_time: self.clock.now().seconds(), generation: 1 };
        let code = uuid::Uuid::new_v4().simple().to_string();
        let mut location: Url = query["redirect_uri"].parse().unwrap();
        location
            .query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &query["state"])
            .append_pair("iss", ISSUER);
        let [challenge, nonce, redirect_uri] =
            ["code_challenge", "nonce", "redirect_uri"].map(|name| query[name].clone());
        self.codes.lock().insert(code, Code { challenge, nonce, redirect_uri, grant });
        *self.asked.lock() = query;
        HttpResponse::SeeOther().insert_header((LOCATION, location.as_str())).finish()
    }

    fn dated(&self, mut answer: HttpResponse) -> HttpResponse {
        let date = Clock::default().now().seconds() + self.ahead.load(Ordering::SeqCst);
        let date = UNIX_EPOCH + Duration::from_secs(date.unsigned_abs());
        let date = HttpDate::from(date).try_into_value().unwrap();
        answer.headers_mut().insert(DATE, date);
        answer
    }

    async fn token(&self, form: &HashMap<String, String>) -> HttpResponse {
        let refused = || HttpResponse::BadRequest().json(json!({"error": "invalid_grant"}));
        if let Some(error) = *self.refuses.lock() {
            return HttpResponse::BadRequest().json(json!({"error": error}));
        }
        if form["grant_type"] == "refresh_token" {
            self.refreshes.fetch_add(1, Ordering::SeqCst);
            let presented = &form["refresh_token"];
            let Some(grant) = self.grants.lock().get(presented).cloned() else { return refused() };
            if self.store.load(grant.session).await.unwrap().is_none() {
                return refused();
            }
            if self.strict.load(Ordering::SeqCst) {
                self.grants.lock().remove(presented);
            }
            let grant = Grant { generation: grant.generation + 1, ..grant };
            return self.give(grant, None);
        }
        if form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange" {
            return self.exchange(form).await;
        }
        let Some(code) = self.codes.lock().remove(&form["code"]) else { return refused() };
        let challenge = b64(digest(&SHA256, form["code_verifier"].as_bytes()));
        if challenge != code.challenge || form["redirect_uri"] != code.redirect_uri {
            return refused();
        }
        self.give(code.grant, Some(&code.nonce))
    }

    /// Gives a token that names the client as the one who acts (RFC 8693).
    async fn exchange(&self, form: &HashMap<String, String>) -> HttpResponse {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        let _let_through = self.holds_exchange.lock().await;
        if let Some(error) = *self.refuses_exchange.lock() {
            return HttpResponse::BadRequest().json(json!({"error": error}));
        }
        let kind = "urn:ietf:params:oauth:token-type:access_token";
        assert_eq!((&*form["subject_token_type"], &*form["requested_token_type"]), (kind, kind));
        let subject = payload(&form["subject_token"]);
        let access_token = self.key.token(&json!({
            "iss": ISSUER, "sub": subject["sub"], "aud": "cart-service", "exp": subject["exp"], "iat": subject["iat"],
            "jti": uuid::Uuid::new_v4().simple().to_string(), "sid": subject["sid"], "client_id": CLIENT,
            "scope": form["scope"], "roles": [], "auth_time": subject["auth_time"], "amr": ["pwd"], "act": {"sub": CLIENT},
        }));
        HttpResponse::Ok().json(json!({
            "access_token": access_token, "issued_token_type": kind, "token_type": "Bearer", "expires_in": 300,
        }))
    }

    fn give(&self, grant: Grant, nonce: Option<&str>) -> HttpResponse {
        let now = self.clock.now().seconds();
        let mut claims = json!({
            "iss": ISSUER, "sub": grant.user, "aud": [CLIENT, "cart-service"], "exp": now + 300, "iat": now,
            "jti": uuid::Uuid::new_v4().simple().to_string(), "sid": grant.session, "client_id": CLIENT,
            "scope": "openid", "roles": ["user"], "auth_time": grant.auth_time, "amr": ["pwd"],
        });
        if let Some(bend) = &*self.bend_access.lock() {
            bend(&mut claims);
        }
        let access_token = self.key.token(&claims);
        let hash = match self.id_key.alg() {
            "EdDSA" => digest(&SHA512, access_token.as_bytes()),
            _ => digest(&SHA256, access_token.as_bytes()),
        };
        let half = &hash.as_ref()[..hash.as_ref().len() / 2];
        let mut header = json!({"alg": self.id_key.alg(), "typ": "JWT", "kid": self.id_key.id});
        let mut claims = json!({
            "iss": ISSUER, "sub": grant.user, "aud": CLIENT, "exp": now + 300, "iat": now, "sid": grant.session,
            "auth_time": grant.auth_time, "nonce": nonce, "at_hash": b64(half),
        });
        if self.gives_names.load(Ordering::SeqCst) {
            claims["name"] = json!("Ada Lovelace");
            claims["email"] = json!("ada@shop.test");
        }
        if let Some(bend) = &*self.bend.lock() {
            bend(&mut header, &mut claims);
        }
        let id_token = self.id_key.signed(&header.to_string(), &claims.to_string());
        let refresh_token = format!("{}.{}", grant.session, grant.generation);
        self.grants.lock().insert(refresh_token.clone(), grant);
        HttpResponse::Ok().json(json!({
            "access_token": access_token, "token_type": "Bearer", "expires_in": 300, "scope": "openid",
            "refresh_token": refresh_token, "id_token": id_token,
        }))
    }
}

/// What a token says.
pub(crate) fn payload(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
