//! A small service with pages that signs people in, its provider, and the clock of both.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpResponse, HttpServer, ResponseError as _, get, post, web};
use secrecy::ExposeSecret as _;
use serde_json::json;
use shared::authentication::strategy::Strategy;
use shared::authentication::{ProofNonces, SessionCookie, SingleSignOn, SingleSignOnConfig};
use shared::clock::Clock;
use shared::relying_party::{
    CookieKeys, OnBehalfError, RecentlySignedIn, RelyingParty, RelyingPartyConfig, SignedIn, Visitor,
    answer_with_cookies, endpoints,
};
use shared::session::MemorySessionStore;

use crate::browser::Browser;
use crate::provider::{CLIENT, ISSUER, Provider, SECRET, TOKEN_TTL};

pub(crate) const STEP_UP_AFTER: Duration = Duration::from_secs(900);

/// Waits for a condition, at most ten seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) struct Service {
    pub(crate) base: String,
    pub(crate) clock: Clock,
    pub(crate) provider: Provider,
    handle: ServerHandle,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// One whose configuration is changed before it starts.
    pub(crate) async fn with(change: impl FnOnce(&mut RelyingPartyConfig)) -> Self {
        let clock = Clock::default();
        let store = Arc::new(MemorySessionStore::new(clock.clone(), TOKEN_TTL));
        let provider = Provider::start(store.clone(), clock.clone());
        let single_sign_on = SingleSignOn::join(SingleSignOnConfig {
            strategy: Strategy::default(),
            session_cookie: SessionCookie::default(),
            cookie_keys: None,
            cookie_scope: BTreeSet::new(),
            shared_secret: None,
            nonces: ProofNonces::of_this_process(),
            issuer: ISSUER.to_owned(),
            audience: CLIENT.to_owned(),
            scope: None,
            public_url: None,
            jwks_url: format!("{}/jwks", provider.base).parse().unwrap(),
            sessions: store,
            access_token_ttl: TOKEN_TTL,
            remember: TOKEN_TTL,
            step_up_after: STEP_UP_AFTER,
            platform: None,
            clock: clock.clone(),
        });
        eventually("the service is ready", async || single_sign_on.missing().is_empty()).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut config = RelyingPartyConfig {
            issuer: ISSUER.to_owned(),
            issuer_internal_url: Some(provider.base.parse().unwrap()),
            client_id: CLIENT.to_owned(),
            client_secret: SECRET.into(),
            scope: "openid profile email".to_owned(),
            public_url: base.parse().unwrap(),
            cookie_keys: CookieKeys::random(),
            cookie_secure: false,
        };
        change(&mut config);
        let relying_party = RelyingParty::new(config, single_sign_on.clone()).unwrap();
        let relying_party = web::Data::new(relying_party);
        let app = move || {
            let app = App::new().app_data(relying_party.clone()).configure(endpoints);
            app.service(front)
                .service(mine)
                .service(wish)
                .service(pay)
                .service(pay_now)
                .service(elsewhere)
                .wrap(from_fn(answer_with_cookies))
                .wrap(from_fn(waited))
        };
        let server = HttpServer::new(app).workers(2).disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { base, clock, provider, handle }
    }

    /// A browser that was never here.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.base)
    }

    /// A browser that has signed in.
    pub(crate) async fn signed_in(&self) -> Browser {
        let browser = self.browser();
        assert_eq!(browser.sign_in(&self.provider, "/login").await, "/");
        browser
    }

    /// The access token of every browser has expired, and nothing else has.
    pub(crate) fn let_tokens_expire(&self) {
        self.clock.advance(TOKEN_TTL);
    }
}

/// A request of this header has waited for so many seconds, as at a replica that stood still.
pub(crate) const WAITED: &str = "x-waited";

async fn waited<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let waited = request.headers().get(WAITED).map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    match waited {
        Some(seconds) => shared::testing::late(Duration::from_secs(seconds), next.call(request)).await,
        None => next.call(request).await,
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        actix_web::rt::spawn(self.handle.stop(false));
    }
}

#[get("/")]
async fn front(visitor: Visitor) -> HttpResponse {
    let name = visitor.signed_in().map(|signed_in| signed_in.profile().name.clone());
    HttpResponse::Ok().json(json!({"signed_in": name.is_some(), "name": name.flatten()}))
}

#[get("/mine")]
async fn mine(visitor: SignedIn) -> HttpResponse {
    HttpResponse::Ok().json(json!({"user": visitor.principal().user, "token": visitor.access_token()}))
}

#[post("/wish")]
async fn wish(_visitor: SignedIn) -> HttpResponse {
    HttpResponse::Ok().finish()
}

#[get("/pay/{id}")]
async fn pay(visitor: RecentlySignedIn) -> HttpResponse {
    HttpResponse::Ok().json(json!({"session": visitor.session.id, "user": visitor.principal().user}))
}

#[post("/pay/{id}")]
async fn pay_now(_visitor: RecentlySignedIn) -> HttpResponse {
    HttpResponse::Ok().finish()
}

/// What another service is called with.
#[get("/elsewhere/{scope}")]
async fn elsewhere(
    visitor: SignedIn,
    relying_party: web::Data<RelyingParty>,
    scope: web::Path<String>,
) -> HttpResponse {
    match relying_party.on_behalf(visitor.principal(), visitor.access_token(), &scope).await {
        Ok(token) => HttpResponse::Ok().json(json!({"token": token.expose_secret()})),
        Err(OnBehalfError::TokenRefused) => HttpResponse::Forbidden().finish(),
        Err(error) => error.error_response(),
    }
}
