//! A key server that counts who asks, a session store that can be taken away, and a small service that joins the single
//! sign-on: all real, on free ports.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, DATE, HttpDate, LOCATION, WWW_AUTHENTICATE};
use actix_web::{App, HttpResponse, HttpServer, get, web};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use shared::authentication::strategy::Strategy;
use shared::authentication::{
    Caller, ClientPrincipal, ConfirmedPrincipal, Principal, ProofNonces, SealedCookie, SessionCookie, SingleSignOn,
    SingleSignOnConfig,
};
use shared::clock::{Clock, Timestamp};
use shared::config::Setting as _;
use shared::problem::Problem;
use shared::session::{
    Created, EndReason, FeedPosition, Granted, LimitPolicy, MemorySessionStore, NewSession, OnlineCursor, OnlinePage,
    Revocation, Rotation, Session, SessionId, SessionLimit, SessionStore, StoreUnavailable, Touched, UserId, Written,
};
use shared::token::{KeySet, SharedSecret};
use url::Url;

use crate::keys::{Key, key_set};

pub(crate) const ISSUER: &str = "http://auth.test";
pub(crate) const AUDIENCE: &str = "cart-service";
pub(crate) const TOKEN_TTL: Duration = Duration::from_secs(300);
pub(crate) const STEP_UP_AFTER: Duration = Duration::from_secs(120);

/// Waits for a condition, at most ten seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a [`KeyServer`] answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Keys(String),
    /// Keys from a server whose clock is so many seconds ahead.
    Ahead(String, i64),
    Status(u16),
    Redirect(Url),
    /// Takes the request and says nothing.
    Silence,
}

/// Serves a key set over a real socket, and counts who asks.
pub(crate) struct KeyServer {
    pub(crate) url: Url,
    state: web::Data<Served>,
    handle: ServerHandle,
}

struct Served {
    answer: Mutex<Answer>,
    hits: AtomicUsize,
}

impl KeyServer {
    pub(crate) fn start(answer: Answer) -> Self {
        let state = web::Data::new(Served { answer: Mutex::new(answer), hits: AtomicUsize::new(0) });
        let served = state.clone();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap()).parse().unwrap();
        let server = HttpServer::new(move || App::new().app_data(served.clone()).default_service(web::to(serve)));
        let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { url, state, handle }
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.state.answer.lock() = answer;
    }

    pub(crate) fn publish(&self, keys: &[&Key]) {
        self.answer(Answer::Keys(key_set(keys).to_string()));
    }

    pub(crate) fn hits(&self) -> usize {
        self.state.hits.load(Ordering::SeqCst)
    }

    pub(crate) async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

async fn serve(state: web::Data<Served>) -> HttpResponse {
    state.hits.fetch_add(1, Ordering::SeqCst);
    let answer = state.answer.lock().clone();
    match answer {
        Answer::Keys(json) => HttpResponse::Ok().insert_header((CACHE_CONTROL, "max-age=300")).body(json),
        Answer::Ahead(json, seconds) => {
            let date = Clock::default().now().seconds() + seconds;
            let date = UNIX_EPOCH + Duration::from_secs(date.unsigned_abs());
            HttpResponse::Ok().insert_header((DATE, HttpDate::from(date))).body(json)
        }
        Answer::Status(status) => HttpResponse::build(StatusCode::from_u16(status).unwrap()).finish(),
        Answer::Redirect(url) => HttpResponse::Found().insert_header((LOCATION, url.as_str())).finish(),
        Answer::Silence => std::future::pending().await,
    }
}

/// The memory store, until it is taken away.
pub(crate) struct Store {
    memory: MemorySessionStore,
    away: AtomicBool,
    silent: AtomicBool,
}

impl Store {
    /// From now on it answers that it does not answer.
    pub(crate) fn take_away(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn bring_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }

    /// From now on it does not answer at all.
    pub(crate) fn silence(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// A session that another service has begun, for which the store is there.
    pub(crate) async fn elsewhere(&self, user: UserId) -> Session {
        begin(&self.memory, user).await
    }

    /// Ended by another service, for which the store is there.
    pub(crate) async fn ended_elsewhere(&self, id: SessionId) {
        self.memory.end(id, EndReason::Logout).await.unwrap();
    }

    async fn there(&self) -> Result<&MemorySessionStore, StoreUnavailable> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let away = self.away.load(Ordering::SeqCst);
        if away { Err(StoreUnavailable("taken away".to_owned())) } else { Ok(&self.memory) }
    }
}

#[async_trait]
impl SessionStore for Store {
    async fn create(&self, new: NewSession, limit: SessionLimit) -> Result<Created, StoreUnavailable> {
        self.there().await?.create(new, limit).await
    }

    async fn load(&self, id: SessionId) -> Result<Option<Session>, StoreUnavailable> {
        self.there().await?.load(id).await
    }

    async fn touch(&self, id: SessionId) -> Result<Touched, StoreUnavailable> {
        self.there().await?.touch(id).await
    }

    async fn write(
        &self,
        id: SessionId,
        changes: &[(String, Option<String>)],
        expected: Option<u64>,
    ) -> Result<Written, StoreUnavailable> {
        self.there().await?.write(id, changes, expected).await
    }

    async fn rotate(
        &self,
        id: SessionId,
        client: &str,
        presented: u64,
        grace: Duration,
    ) -> Result<Rotation, StoreUnavailable> {
        self.there().await?.rotate(id, client, presented, grace).await
    }

    async fn grant(&self, id: SessionId, client: &str) -> Result<Granted, StoreUnavailable> {
        self.there().await?.grant(id, client).await
    }

    async fn end_grant(&self, id: SessionId, client: &str) -> Result<(), StoreUnavailable> {
        self.there().await?.end_grant(id, client).await
    }

    async fn end(&self, id: SessionId, reason: EndReason) -> Result<Option<Session>, StoreUnavailable> {
        self.there().await?.end(id, reason).await
    }

    async fn end_all(
        &self,
        user: UserId,
        except: Option<SessionId>,
        reason: EndReason,
    ) -> Result<Vec<SessionId>, StoreUnavailable> {
        self.there().await?.end_all(user, except, reason).await
    }

    async fn list(&self, user: UserId) -> Result<Vec<Session>, StoreUnavailable> {
        self.there().await?.list(user).await
    }

    async fn online(&self, after: Option<OnlineCursor>, limit: usize) -> Result<OnlinePage, StoreUnavailable> {
        self.there().await?.online(after, limit).await
    }

    async fn revoke_token(&self, user: UserId, token_id: u128) -> Result<(), StoreUnavailable> {
        self.there().await?.revoke_token(user, token_id).await
    }

    fn feed_start(&self) -> FeedPosition {
        self.memory.feed_start()
    }

    async fn follow(&self, position: &FeedPosition) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable> {
        self.there().await?.follow(position).await
    }

    fn remembers_since(&self) -> Option<Timestamp> {
        self.memory.remembers_since()
    }

    async fn ping(&self) -> Result<(), StoreUnavailable> {
        self.there().await?.ping().await
    }
}

#[get("/me")]
async fn me(principal: Principal) -> HttpResponse {
    HttpResponse::Ok().json(json!({"user": principal.user, "roles": principal.roles}))
}

#[get("/actor")]
async fn actor(principal: Principal) -> HttpResponse {
    let actors: Vec<_> = principal.actor.iter().flat_map(|actor| actor.chain()).collect();
    HttpResponse::Ok().json(json!({"user": principal.user, "actors": actors, "acr": principal.acr}))
}

#[get("/clients")]
async fn clients(client: ClientPrincipal) -> Result<HttpResponse, Problem> {
    client.require_scope("orders:read")?;
    Ok(HttpResponse::Ok().json(json!({"client": client.client_id})))
}

#[get("/greeting")]
async fn greeting(caller: Caller) -> HttpResponse {
    match caller {
        Caller::Guest => HttpResponse::Ok().json(json!({"user": null})),
        Caller::User(principal) => HttpResponse::Ok().json(json!({"user": principal.user})),
    }
}

#[get("/payment")]
async fn payment(caller: ConfirmedPrincipal) -> HttpResponse {
    HttpResponse::Ok().json(json!({"user": caller.principal.user, "session": caller.session.id}))
}

#[get("/administration")]
async fn administration(principal: Principal) -> Result<HttpResponse, Problem> {
    principal.require_role("admin")?;
    Ok(HttpResponse::Ok().finish())
}

#[get("/orders")]
async fn orders(principal: Principal) -> Result<HttpResponse, Problem> {
    principal.require_scope("orders:read")?;
    Ok(HttpResponse::Ok().finish())
}

fn config(key_server: &KeyServer, store: Arc<Store>, clock: &Clock) -> SingleSignOnConfig {
    SingleSignOnConfig {
        strategy: Strategy::default(),
        session_cookie: SessionCookie::default(),
        cookie_keys: None,
        cookie_scope: BTreeSet::new(),
        shared_secret: None,
        nonces: ProofNonces::of_this_process(),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        scope: None,
        public_url: None,
        jwks_url: key_server.url.clone(),
        sessions: store,
        access_token_ttl: TOKEN_TTL,
        remember: TOKEN_TTL,
        step_up_after: STEP_UP_AFTER,
        platform: None,
        clock: clock.clone(),
    }
}

async fn begin(store: &impl SessionStore, user: UserId) -> Session {
    let new = NewSession {
        user,
        client: "shop".to_owned(),
        roles: vec!["user".to_owned()],
        amr: vec!["pwd".to_owned()],
        device: "a test".to_owned(),
        address: "127.0.0.1".to_owned(),
        attributes: Default::default(),
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(86_400),
    };
    let limit = SessionLimit { max: 10, policy: LimitPolicy::EndOldest };
    match store.create(new, limit).await.unwrap() {
        Created::Begun { session, .. } => session,
        Created::LimitReached => panic!("the first session is one too many"),
    }
}

/// A small service that has joined, the issuer's key server and key, and the session store.
pub(crate) struct Service {
    pub(crate) key: Key,
    pub(crate) key_server: KeyServer,
    pub(crate) single_sign_on: SingleSignOn,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Clock,
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    handle: ServerHandle,
}

impl Drop for Service {
    fn drop(&mut self) {
        actix_web::rt::spawn(self.handle.stop(false));
    }
}

impl Service {
    /// A service that is ready, by a key set of one EdDSA key.
    pub(crate) async fn start() -> Self {
        Self::with_key(Key::ed("2026-11")).await
    }

    pub(crate) async fn with_key(key: Key) -> Self {
        let service = Self::joining(key, KeySet::default());
        service.key_server.publish(&[&service.key]);
        service.is_ready().await;
        service
    }

    /// One whose key set is read again for every unknown key id.
    pub(crate) async fn without_cool_down() -> Self {
        let service = Self::joining(Key::ed("2026-11"), KeySet::with_cool_down(Duration::ZERO));
        service.key_server.publish(&[&service.key]);
        service.is_ready().await;
        service
    }

    pub(crate) async fn is_ready(&self) {
        eventually("the service is ready", async || self.single_sign_on.missing().is_empty()).await;
    }

    /// One that takes tokens which are bound to a key.
    pub(crate) async fn taking_proofs(public_url: &str) -> Self {
        let service = Self::joining_for(Key::ed("2026-11"), KeySet::default(), None, Some(public_url));
        service.key_server.publish(&[&service.key]);
        service.is_ready().await;
        service
    }

    /// One that demands a word of scope for every request.
    pub(crate) async fn demanding(scope: &str) -> Self {
        let service = Self::joining_for(Key::ed("2026-11"), KeySet::default(), Some(scope), None);
        service.key_server.publish(&[&service.key]);
        service.is_ready().await;
        service
    }

    /// One that has just begun to join, while the key server answers 503.
    pub(crate) fn joining(key: Key, keys: KeySet) -> Self {
        Self::joining_for(key, keys, None, None)
    }

    /// One that takes tokens which `secret` signed, while a key of the issuer's is published.
    pub(crate) async fn sharing(key: Key, secret: &str) -> Self {
        let secret = SharedSecret::parse(&secret.into()).unwrap();
        let service = Self::joining_with(key, KeySet::default(), None, None, Some(secret));
        service.key_server.publish(&[&service.key]);
        eventually("the key set has been read", async || service.single_sign_on.keys().has_keys()).await;
        service.is_ready().await;
        service
    }

    fn joining_for(key: Key, keys: KeySet, scope: Option<&str>, public_url: Option<&str>) -> Self {
        Self::joining_with(key, keys, scope, public_url, None)
    }

    /// One that has its keys, and began while the store was away.
    pub(crate) async fn without_store() -> Self {
        let service = Self::joining_from(Key::ed("2026-11"), KeySet::default(), None, None, None, true);
        service.key_server.publish(&[&service.key]);
        eventually("the key set has been read", async || service.single_sign_on.keys().has_keys()).await;
        service
    }

    /// How a service joins that shares this one's store and keys, by a cookie that leads to a session in the store.
    pub(crate) fn by_session_cookie(&self) -> SingleSignOnConfig {
        let strategy = Strategy::parse("redis").unwrap();
        SingleSignOnConfig { strategy, ..config(&self.key_server, self.store.clone(), &self.clock) }
    }

    /// How a service joins that shares this one's store and keys, by a session that is sealed into a cookie.
    pub(crate) fn by_sealed_cookie(&self, cookie: SealedCookie) -> SingleSignOnConfig {
        SingleSignOnConfig {
            strategy: Strategy::parse("cookie").unwrap(),
            session_cookie: cookie.cookie,
            cookie_keys: Some(cookie.keys),
            ..config(&self.key_server, self.store.clone(), &self.clock)
        }
    }

    fn joining_with(
        key: Key,
        keys: KeySet,
        scope: Option<&str>,
        public_url: Option<&str>,
        shared_secret: Option<SharedSecret>,
    ) -> Self {
        Self::joining_from(key, keys, scope, public_url, shared_secret, false)
    }

    fn joining_from(
        key: Key,
        keys: KeySet,
        scope: Option<&str>,
        public_url: Option<&str>,
        shared_secret: Option<SharedSecret>,
        is_store_away: bool,
    ) -> Self {
        let key_server = KeyServer::start(Answer::Status(503));
        let clock = Clock::default();
        let memory = MemorySessionStore::new(clock.clone(), TOKEN_TTL);
        let store = Arc::new(Store { memory, away: AtomicBool::new(is_store_away), silent: AtomicBool::new(false) });
        let config = SingleSignOnConfig {
            shared_secret,
            scope: scope.map(str::to_owned),
            public_url: public_url.map(str::to_owned),
            ..config(&key_server, store.clone(), &clock)
        };
        let single_sign_on = SingleSignOn::join_with(config, keys);
        let data = web::Data::new(single_sign_on.clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let endpoints = move || {
            let app = App::new().app_data(data.clone());
            let app = app.service(actor).service(clients);
            app.service(me).service(greeting).service(payment).service(administration).service(orders)
        };
        let server = HttpServer::new(endpoints).workers(1).disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self { key, key_server, single_sign_on, store, clock, base, http, handle }
    }

    /// A session that lives in the store.
    pub(crate) async fn session(&self, user: UserId) -> Session {
        begin(&*self.store, user).await
    }

    /// Claims that are good now, for a session that no store knows.
    pub(crate) fn claims(&self) -> Value {
        let user = UserId::random();
        self.claims_of(user, SessionId::random_for(user))
    }

    pub(crate) fn claims_of(&self, user: UserId, session: SessionId) -> Value {
        let now = self.clock.now().seconds();
        json!({
            "iss": ISSUER, "sub": user, "aud": ["auth-service", AUDIENCE], "exp": now + 300, "iat": now,
            "jti": uuid::Uuid::new_v4().simple().to_string(), "sid": session, "client_id": "shop",
            "scope": "openid orders:read", "roles": ["user"], "auth_time": now, "amr": ["pwd"],
        })
    }

    /// Claims of a client's own token that are good now.
    pub(crate) fn client_claims(&self) -> Value {
        let now = self.clock.now().seconds();
        json!({
            "iss": ISSUER, "sub": "reports", "aud": AUDIENCE, "exp": now + 300, "iat": now, "client_id": "reports",
            "jti": uuid::Uuid::new_v4().simple().to_string(), "scope": "orders:read",
        })
    }

    /// Good claims with one of them changed.
    pub(crate) fn claims_with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    pub(crate) fn claims_without(&self, name: &str) -> Value {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    pub(crate) fn good_token(&self) -> String {
        self.key.token(&self.claims())
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(token).send().await.unwrap()
    }

    pub(crate) async fn status(&self, path: &str, token: &str) -> u16 {
        self.get(path, token).await.status().as_u16()
    }

    pub(crate) async fn accepts(&self, what: &str, token: &str) {
        let answer = self.get("/me", token).await;
        assert_eq!(answer.status().as_u16(), 200, "{what} was refused: {}", answer.text().await.unwrap());
    }

    pub(crate) async fn refuses_payment(&self, what: &str, token: &str) {
        let answer = self.get("/payment", token).await;
        assert_eq!(answer.status().as_u16(), 401, "{what} got through");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "invalid_token", "{what}");
    }

    /// Refused as RFC 6750 says, by every extractor, with nothing of the token in the answer.
    pub(crate) async fn refuses(&self, what: &str, token: &str) {
        for path in ["/me", "/greeting", "/payment"] {
            let answer = self.get(path, token).await;
            assert_eq!(answer.status().as_u16(), 401, "{what} got through at {path}");
            let challenge = answer.headers()[WWW_AUTHENTICATE.as_str()].to_str().unwrap().to_owned();
            assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{what}: {challenge}");
            let body = answer.text().await.unwrap();
            assert!(body.contains("\"code\":\"invalid_token\""), "{what}: {body}");
            let signature = token.rsplit('.').next().filter(|signature| signature.len() > 16);
            assert!(signature.is_none_or(|text| !body.contains(text) && !challenge.contains(text)), "{what} is quoted");
        }
    }
}
