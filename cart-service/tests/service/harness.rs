//! A cart service on a free port with a database of its own, an issuer that the test holds, and visitors who use it.
//! Every answer is held against the service's own API documents, and none may be a 5xx unless the test asks for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cart_service::Config;
use cart_service::rules::money::Money;
use cart_service::storage::products::{self, Product};
use parking_lot::Mutex;
use reqwest::Method;
use reqwest::header::{HeaderMap, SET_COOKIE};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::Settings;
use shared::database::Database;
use shared::server::Running;
use shared::session::{Attributes, MemorySessionStore, SessionId, UserId};
use shared::token::AccessClaims;
use uuid::Uuid;

pub(crate) const CHECKOUT_SECRET: &str = "a-checkout-secret-that-only-tests-know";
pub(crate) const CLIENT_SECRET: &str = "a-client-secret-that-only-tests-know";
/// How long guests' carts live by default.
pub(crate) const TTL: Duration = Duration::from_secs(7 * 86_400);
pub(crate) const COOKIE_KEY: &str = "dGhpcyBpcyB0aGUga2V5IG9mIHRoZSBjb29raWVzISE=";

/// Makes each function a test on SQLite and one on PostgreSQL.
macro_rules! on_both_databases {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::harness::Shop::on_sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some(shop) = $crate::harness::Shop::on_postgres().await {
                    super::$test(shop).await;
                }
            })*
        }
    };
}
pub(crate) use on_both_databases;

/// Signs what it is asked to, as the auth service would, and publishes its key.
pub(crate) struct Issuer {
    key: Ed25519KeyPair,
    pub(crate) name: String,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Issuer {
    fn start() -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let keys =
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "test-1", "x": x}]});
        let server = HttpServer::new(move || {
            let keys = keys.clone();
            App::new()
                .route("/.well-known/jwks.json", web::get().to(move || std::future::ready(web::Json(keys.clone()))))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let name = format!("http://{}", server.addrs()[0]);
        Self { key, name, server: tokio::spawn(server.run()) }
    }

    pub(crate) fn sign(&self, claims: &AccessClaims) -> String {
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "test-1"}).to_string();
        let payload = serde_json::to_string(claims).unwrap();
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A running cart service.
pub(crate) struct Shop {
    pub(crate) clock: Clock,
    /// The test's own connections to the service's database.
    pub(crate) database: Database,
    pub(crate) database_url: String,
    pub(crate) sessions: Arc<MemorySessionStore>,
    pub(crate) issuer: Issuer,
    pub(crate) documents: Value,
    base: String,
    client: reqwest::Client,
    products: AtomicU32,
    _running: Running,
    _folder: tempfile::TempDir,
}

impl Shop {
    pub(crate) async fn on_sqlite() -> Self {
        Self::on_sqlite_with(&[]).await
    }

    pub(crate) async fn on_sqlite_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("cart.db").display());
        Self::spawn(url, folder, settings, Clock::default()).await
    }

    pub(crate) async fn on_postgres() -> Option<Self> {
        Self::on_postgres_with(&[]).await
    }

    pub(crate) async fn on_postgres_with(settings: &[(&str, &str)]) -> Option<Self> {
        let url = shared::testing::postgres().await?;
        Some(Self::spawn(url, tempfile::tempdir().unwrap(), settings, Clock::default()).await)
    }

    /// Another replica, on the same database and by the same clock.
    pub(crate) async fn another(&self, settings: &[(&str, &str)]) -> Self {
        Self::spawn(self.database_url.clone(), tempfile::tempdir().unwrap(), settings, self.clock.clone()).await
    }

    async fn spawn(database_url: String, folder: tempfile::TempDir, settings: &[(&str, &str)], clock: Clock) -> Self {
        let issuer = Issuer::start();
        let sessions = Arc::new(MemorySessionStore::new(clock.clone(), Duration::from_secs(300)));
        let given = [
            ("DATABASE_URL", database_url.as_str()),
            ("CART_ADDR", "127.0.0.1:0"),
            ("ISSUER", &issuer.name),
            ("CHECKOUT_SECRET", CHECKOUT_SECRET),
            ("OIDC_CLIENT_SECRET", CLIENT_SECRET),
            ("COOKIE_KEY", COOKIE_KEY),
        ];
        let given = given.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = Settings::from_pairs(given);
        let mut config = Config::read(&mut settings, Some(sessions.clone()));
        settings.finish().unwrap();
        config.single_sign_on.clock = clock.clone();
        config.server.body_patience = Duration::from_secs(2);
        let running = cart_service::start(config).await.unwrap();
        let base = format!("http://{}", running.address());
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let ready = || async { client.get(format!("{base}/readyz")).send().await.is_ok_and(|a| a.status() == 200) };
        eventually("the service is ready", ready).await;
        let documents = client.get(format!("{base}/openapi.json")).send().await.unwrap().json().await.unwrap();
        let database = Database::open(&database_url, 8).await.unwrap();
        let products = AtomicU32::new(0);
        Self {
            clock,
            database,
            database_url,
            sessions,
            issuer,
            documents,
            base,
            client,
            products,
            _running: running,
            _folder: folder,
        }
    }

    /// A new product of this price, of which so many are there.
    pub(crate) async fn product(&self, amount: i64, stock: i64) -> Uuid {
        let number = self.products.fetch_add(1, Ordering::Relaxed);
        let product = Product {
            id: Uuid::new_v4(),
            name: format!("Test product {number:04}"),
            description: "Only for tests.".to_owned(),
            category: "test".to_owned(),
            price: Money::new(amount).unwrap(),
            stock,
        };
        let mut transaction = self.database.begin().await.unwrap();
        products::add(&mut transaction, &product).await.unwrap();
        transaction.commit().await.unwrap();
        product.id
    }

    /// Where it listens.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn stock(&self, product: Uuid) -> i64 {
        products::find(&self.database, product).await.unwrap().unwrap().stock
    }

    /// Nobody in particular: no token, no cookie.
    pub(crate) fn guest(&self) -> Visitor<'_> {
        self.guest_from("192.0.2.77")
    }

    /// The same, by whom a trusted proxy says that this is the address.
    pub(crate) fn guest_from(&self, address: &str) -> Visitor<'_> {
        let address = address.to_owned();
        Visitor { shop: self, address, user: None, token: Mutex::new(None), cookie: Mutex::new(None) }
    }

    /// Somebody who has signed in.
    pub(crate) fn user(&self) -> Visitor<'_> {
        self.user_from("192.0.2.77")
    }

    pub(crate) fn user_from(&self, address: &str) -> Visitor<'_> {
        let visitor = Visitor { user: Some(UserId::random()), ..self.guest_from(address) };
        visitor.sign_in();
        visitor
    }

    /// The claims of a token that is good now.
    pub(crate) fn claims(&self, user: UserId) -> AccessClaims {
        let now = self.clock.now().seconds();
        AccessClaims {
            iss: self.issuer.name.clone(),
            sub: user.into(),
            aud: ["auth-service", "cart-service", "order-service"].map(str::to_owned).to_vec(),
            exp: now + 300,
            iat: now,
            jti: Uuid::new_v4().simple().to_string(),
            sid: Some(SessionId::random_for(user)),
            client_id: "shop".to_owned(),
            scope: "cart".to_owned(),
            roles: vec!["customer".to_owned()],
            auth_time: Some(now),
            amr: vec!["pwd".to_owned()],
            acr: None,
            act: None,
            cnf: None,
            grant: None,
            attributes: Attributes::new(),
        }
    }

    /// As the order service speaks: with its credential, without a user.
    pub(crate) async fn order_service(&self, method: Method, path: &str) -> Answer {
        self.guest().send(method, path, &[("service-secret", CHECKOUT_SECRET)], None).await
    }

    /// An answer holds only what the documents say: a status for every path and method that they know.
    fn hold_against_documents(&self, method: &Method, path: &str, answer: &Answer) {
        let path = path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.split('/').collect();
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
            assert_eq!(answer.body["status"], answer.status, "{method} {path}");
            assert!(documented["content"]["application/problem+json"].is_object(), "{method} {path}: {documented}");
        }
        if answer.status == 401 {
            assert!(answer.headers.contains_key("www-authenticate"), "{method} {path}");
        }
    }
}

/// What the service answered.
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

/// Somebody with a browser: it keeps the one cookie that there is.
pub(crate) struct Visitor<'a> {
    shop: &'a Shop,
    address: String,
    user: Option<UserId>,
    pub(crate) token: Mutex<Option<String>>,
    pub(crate) cookie: Mutex<Option<String>>,
}

impl Visitor<'_> {
    pub(crate) fn user(&self) -> UserId {
        self.user.unwrap()
    }

    /// Gets a token that is good now.
    pub(crate) fn sign_in(&self) {
        let claims = self.shop.claims(self.user());
        *self.token.lock() = Some(self.shop.issuer.sign(&claims));
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Answer {
        let mut request = self.shop.client.request(method.clone(), format!("{}{path}", self.shop.base));
        request = request.header("x-forwarded-for", &self.address);
        if let Some(token) = &*self.token.lock() {
            request = request.bearer_auth(token);
        }
        if let Some(cookie) = &*self.cookie.lock() {
            request = request.header("cookie", e2e::among_others(cookie));
        }
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
        self.shop.hold_against_documents(&method, path, &answer);
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let pair = cookie.split(';').next().unwrap_or_default().to_owned();
            *self.cookie.lock() = (!cookie.contains("Max-Age=0")).then_some(pair);
        }
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, &[], Some(("application/json", body.to_string().into_bytes()))).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[], Some(("application/json", body.to_string().into_bytes()))).await
    }

    pub(crate) async fn add(&self, product: Uuid, quantity: i64) -> Answer {
        self.post("/cart/items", json!({"product_id": product, "quantity": quantity})).await
    }

    /// As the order service does for this user.
    pub(crate) async fn check_out(&self, key: &str) -> Answer {
        let headers = [("service-secret", CHECKOUT_SECRET), ("idempotency-key", key)];
        self.send(Method::POST, "/checkouts", &headers, None).await
    }

    /// How many of each product are in the cart.
    pub(crate) async fn quantities(&self) -> BTreeMap<Uuid, i64> {
        quantities(&self.get("/cart").await.expect(200))
    }
}

/// How many of each product are in a cart or checkout.
pub(crate) fn quantities(body: &Value) -> BTreeMap<Uuid, i64> {
    let lines = body["lines"].as_array().unwrap().iter();
    lines
        .map(|line| (line["product_id"].as_str().unwrap().parse().unwrap(), line["quantity"].as_i64().unwrap()))
        .collect()
}

/// Waits until something is so, at most 20 seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    for _ in 0..1_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never came true: {what}");
}
