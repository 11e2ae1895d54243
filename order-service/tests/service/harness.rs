//! An order service on a free port with a database of its own, an issuer that the test holds, a cart service that keeps
//! stock, and people who use it. Every answer is held against the service's own API documents.

use std::sync::Arc;
use std::time::Duration;

use order_service::cart::Authorization;
use order_service::payment::TestPaymentProcessor;
use order_service::rules::idempotency_key::IdempotencyKey;
use order_service::rules::order::Order;
use order_service::storage;
use order_service::{Config, OrderService};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use shared::clock::{Clock, Timestamp};
use shared::config::Settings;
use shared::database::Database;
use shared::server::Running;
use shared::session::{
    Attributes, Created, LimitPolicy, MemorySessionStore, NewSession, SessionId, SessionLimit, SessionStore, UserId,
};
use shared::token::AccessClaims;
use uuid::Uuid;

use crate::fake_cart::FakeCart;
use crate::faults::{Faults, FaultyProcessor, RemovableSessions};
use crate::issuer::Issuer;

pub(crate) const CHECKOUT_SECRET: &str = "a-checkout-secret-that-only-tests-know";
pub(crate) const CLIENT_SECRET: &str = "a-client-secret-that-only-tests-know";
pub(crate) const COOKIE_KEY: &str = "dGhpcyBpcyB0aGUga2V5IG9mIHRoZSBjb29raWVzISE=";

/// Makes each function a test on SQLite and one on PostgreSQL.
macro_rules! on_both_databases {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::harness::World::on_sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some(world) = $crate::harness::World::on_postgres().await {
                    super::$test(world).await;
                }
            })*
        }
    };
}
pub(crate) use on_both_databases;

/// All that one test needs.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) cart: FakeCart,
    pub(crate) faults: Faults,
    pub(crate) sessions: Arc<RemovableSessions>,
    /// The test's own connections to the service's database.
    pub(crate) database: Database,
    pub(crate) config: Config,
    pub(crate) documents: Value,
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    pub(crate) issuer: Issuer,
    database_clock: Option<shared::testing::PostgresClock>,
    _running: Running,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("order.db").display());
        // Recovery runs when a test asks for it.
        Self::spawn(url, folder, &[("ORDER_RECOVERY_INTERVAL", "1d")]).await
    }

    pub(crate) async fn on_postgres() -> Option<Self> {
        let url = shared::testing::postgres().await?;
        Some(Self::spawn(url, tempfile::tempdir().unwrap(), &[("ORDER_RECOVERY_INTERVAL", "1d")]).await)
    }

    /// On a PostgreSQL whose clock the test sets, with a task that recovers all the time.
    pub(crate) async fn on_postgres_that_recovers_at_once() -> Option<Self> {
        let url = shared::testing::postgres().await?;
        let clock = shared::testing::PostgresClock::of(&url).await;
        let folder = tempfile::tempdir().unwrap();
        let world = Self::spawn(url, folder, &[("ORDER_RECOVERY_INTERVAL", "20ms")]).await;
        Some(Self { database_clock: Some(clock), ..world })
    }

    pub(crate) fn database_clock(&self) -> &shared::testing::PostgresClock {
        self.database_clock.as_ref().unwrap()
    }

    /// On SQLite, with these settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("order.db").display());
        Self::spawn(url, folder, settings).await
    }

    async fn spawn(database_url: String, folder: tempfile::TempDir, settings: &[(&str, &str)]) -> Self {
        let (clock, faults, issuer) = (Clock::default(), Faults::default(), Issuer::start());
        let cart = FakeCart::start(clock.clone(), faults.clone());
        let store = MemorySessionStore::new(clock.clone(), Duration::from_secs(300));
        let sessions = Arc::new(RemovableSessions::new(store));
        let given = [
            ("DATABASE_URL", database_url.as_str()),
            ("ORDER_ADDR", "127.0.0.1:0"),
            ("ISSUER", &issuer.name),
            ("CART_URL", cart.url.as_str()),
            ("CHECKOUT_SECRET", CHECKOUT_SECRET),
            ("OIDC_CLIENT_SECRET", CLIENT_SECRET),
            ("COOKIE_KEY", COOKIE_KEY),
            // Most tests order more than they pay.
            ("MAX_UNPAID_ORDERS", "1000"),
            ("MAX_ABANDONED_ORDERS", "1000"),
        ];
        let given = given.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = Settings::from_pairs(given);
        let mut config = Config::read(&mut settings, Some(sessions.clone()));
        settings.finish().unwrap();
        let database = Database::open(&database_url, 4).await.unwrap();
        config.single_sign_on.clock = clock.clone();
        config.server.body_patience = Duration::from_secs(2);
        config.payments = Some(Arc::new(FaultyProcessor {
            processor: TestPaymentProcessor::new(database.clone(), clock.clone()),
            faults: faults.clone(),
        }));
        let running = order_service::start(config.clone()).await.unwrap();
        let base = format!("http://{}", running.address());
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let ready = || async { client.get(format!("{base}/readyz")).send().await.is_ok_and(|a| a.status() == 200) };
        eventually("the service is ready", ready).await;
        let documents = client.get(format!("{base}/openapi.json")).send().await.unwrap().json().await.unwrap();
        let (_running, _folder) = (running, folder);
        let database_clock = None;
        Self {
            clock,
            cart,
            faults,
            sessions,
            database,
            config,
            documents,
            base,
            client,
            issuer,
            database_clock,
            _running,
            _folder,
        }
    }

    /// Another replica of the service, or the same one after a restart: only what is recorded survives.
    pub(crate) async fn restarted(&self) -> OrderService {
        OrderService::open(&self.config).await.unwrap()
    }

    /// Somebody who has just signed in.
    pub(crate) async fn person(&self) -> Person<'_> {
        self.sign_in(UserId::random()).await
    }

    async fn sign_in(&self, user: UserId) -> Person<'_> {
        let new = NewSession {
            user,
            client: "shop".to_owned(),
            roles: Vec::new(),
            amr: vec!["pwd".to_owned()],
            device: "test".to_owned(),
            address: "127.0.0.1".to_owned(),
            attributes: Default::default(),
            idle: Duration::from_secs(7 * 86_400),
            absolute: Duration::from_secs(30 * 86_400),
        };
        let limit = SessionLimit { max: 5, policy: LimitPolicy::EndOldest };
        let Created::Begun { session, .. } = self.sessions.create(new, limit).await.unwrap() else {
            panic!("the limit is not reached");
        };
        Person { world: self, user, session: session.id, signed_in_at: self.clock.now() }
    }

    /// Somebody who has so many of a new product in the cart, of which there are so many.
    pub(crate) async fn shopper(&self, quantity: u32, stock: i64) -> (Person<'_>, Uuid) {
        let (person, product) = (self.person().await, self.cart.product(stock));
        self.cart.fill(person.user, product, quantity);
        (person, product)
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &[u8])],
        body: Option<(&str, Vec<u8>)>,
    ) -> Answer {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        let answer = Answer { status, headers, body };
        assert!(status < 500 || status == 503, "{method} {path} answered {status}: {}", answer.body);
        self.hold_against_documents(&method, path, &answer);
        answer
    }

    fn hold_against_documents(&self, method: &Method, path: &str, answer: &Answer) {
        let parts: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').collect();
        let fits = |pattern: &str| {
            let pattern: Vec<&str> = pattern.split('/').collect();
            pattern.len() == parts.len() && pattern.iter().zip(&parts).all(|(a, b)| a == b || a.starts_with('{'))
        };
        let paths = self.documents["paths"].as_object().unwrap();
        let Some((_, item)) = paths.iter().find(|(pattern, _)| fits(pattern)) else { return };
        let operation = &item[method.as_str().to_ascii_lowercase()];
        if operation.is_null() {
            return assert_eq!(answer.status, 405, "{method} {path}");
        }
        let documented = &operation["responses"][answer.status.to_string()];
        assert!(!documented.is_null(), "{method} {path} answered {}, which is not documented", answer.status);
        if answer.status >= 400 {
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{method} {path}");
            assert!(documented["content"]["application/problem+json"].is_object(), "{method} {path}: {documented}");
        }
        if answer.status == 401 {
            assert!(answer.headers.contains_key("www-authenticate"), "{method} {path}");
        }
        if answer.status == 503 {
            assert!(answer.headers.contains_key("retry-after"), "{method} {path}");
        }
    }
}

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The problem with this status and code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        body
    }
}

/// Somebody who is signed in.
#[derive(Clone)]
pub(crate) struct Person<'a> {
    pub(crate) world: &'a World,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) signed_in_at: Timestamp,
}

impl<'a> Person<'a> {
    /// The same person, who signs in once more now.
    pub(crate) async fn signed_in_again(&self) -> Person<'a> {
        self.world.sign_in(self.user).await
    }

    /// A token that is good now, with these services as its audience.
    pub(crate) fn token_for(&self, audience: &[&str]) -> String {
        let now = self.world.clock.now().seconds();
        self.world.issuer.sign(&AccessClaims {
            iss: self.world.issuer.name.clone(),
            sub: self.user.into(),
            aud: audience.iter().map(|name| (*name).to_owned()).collect(),
            exp: now + 300,
            iat: now,
            jti: Uuid::new_v4().simple().to_string(),
            sid: Some(self.session),
            client_id: "shop".to_owned(),
            scope: "orders".to_owned(),
            roles: Vec::new(),
            auth_time: Some(self.signed_in_at.seconds()),
            amr: vec!["pwd".to_owned()],
            acr: None,
            act: None,
            cnf: None,
            grant: None,
            attributes: Attributes::new(),
        })
    }

    /// A new one at each call.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.token_for(&["cart-service", "order-service"]))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.world.send(Method::GET, path, &[("authorization", self.bearer().as_bytes())], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        self.world.send(Method::POST, path, &[("authorization", self.bearer().as_bytes())], body).await
    }

    pub(crate) async fn place(&self, key: &str) -> Answer {
        self.place_with(key, None).await
    }

    pub(crate) async fn place_with(&self, key: &str, body: Option<Value>) -> Answer {
        let bearer = self.bearer();
        let headers = [("authorization", bearer.as_bytes()), ("idempotency-key", key.as_bytes())];
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        self.world.send(Method::POST, "/orders", &headers, body).await
    }

    /// Places an order, and answers its id.
    pub(crate) async fn order(&self) -> Uuid {
        let body = self.place(&Uuid::new_v4().to_string()).await.expect(201);
        body["id"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn pay(&self, id: Uuid) -> Answer {
        self.post(&format!("/orders/{id}/pay"), Some(json!({"method": "test_card"}))).await
    }

    pub(crate) async fn pay_declined(&self, id: Uuid) -> Answer {
        self.post(&format!("/orders/{id}/pay"), Some(json!({"method": "test_card_declined"}))).await
    }

    pub(crate) async fn cancel(&self, id: Uuid) -> Answer {
        self.post(&format!("/orders/{id}/cancel"), None).await
    }

    pub(crate) async fn show(&self, id: Uuid) -> Value {
        self.get(&format!("/orders/{id}")).await.expect(200)
    }

    /// The person's orders, as the tables have them.
    pub(crate) async fn orders(&self) -> Vec<Order> {
        storage::orders::list(&self.world.database, self.user, None, 100).await.unwrap()
    }

    /// The person's credential, as the acts take it.
    pub(crate) fn authorization(&self) -> Authorization {
        Authorization::bearer(&self.token_for(&["cart-service"])).unwrap()
    }
}

pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text.as_bytes()).unwrap()
}

/// Waits until it is so, at most ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never came true: {what}");
}
