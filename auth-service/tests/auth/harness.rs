//! An auth service on a free port with a database and stores of its own. Every answer is held against the service's own
//! API documents, and none may be a 5xx unless the test asks for it.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::time::{Duration, Instant};

use auth_service::{AuthService, Config, EmbeddedStores, Started};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::Settings;
use shared::key_value::MemoryKeyValueStore;
use shared::server::Running;
use shared::session::{MemorySessionStore, UserId};

pub(crate) const ADMIN_EMAIL: &str = "root@example.com";
pub(crate) const ADMIN_PASSWORD: &str = "a very quiet mountain";
pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const MASTER_KEY: &str = "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g=";

/// Makes each function a test on the embedded parts and one on real servers. `name with |config| …` changes the
/// configuration first.
macro_rules! on_both {
    (@change) => { |_: &mut auth_service::Config| {} };
    (@change $change:expr) => { $change };
    ($($test:ident $(with $change:expr)?),* $(,)?) => {
        mod on_sqlite_and_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::harness::App::embedded(on_both!(@change $($change)?)).await).await;
            })*
            use $crate::harness::on_both;
        }
        mod on_postgres_and_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(app) = $crate::harness::App::on_servers(on_both!(@change $($change)?)).await {
                    super::$test(app).await;
                }
            })*
            use $crate::harness::on_both;
        }
    };
}
pub(crate) use on_both;

/// Where a service keeps things.
pub(crate) struct Place {
    pub(crate) database_url: String,
    pub(crate) redis_url: Option<String>,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite:{}", folder.path().join("auth.db").display());
        Self { database_url, redis_url: None, _folder: Some(folder) }
    }

    pub(crate) async fn on_servers() -> Option<Self> {
        let (database_url, redis_url) = (shared::testing::postgres().await?, shared::testing::redis().await?);
        Some(Self { database_url, redis_url: Some(redis_url), _folder: None })
    }

    /// The same place, for another service.
    pub(crate) fn again(&self) -> Self {
        Self { database_url: self.database_url.clone(), redis_url: self.redis_url.clone(), _folder: None }
    }

    /// A file for the database, and this Redis.
    pub(crate) fn on_redis(url: String) -> Self {
        Self { redis_url: Some(url), ..Self::embedded() }
    }

    /// The settings of a service there.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let mut pairs = vec![
            ("AUTH_ADDR", "127.0.0.1:0"),
            ("DATABASE_URL", &self.database_url),
            ("MASTER_KEY", MASTER_KEY),
            ("ADMIN_EMAIL", ADMIN_EMAIL),
            ("ADMIN_PASSWORD", ADMIN_PASSWORD),
            // All tests come from one address.
            ("LOGIN_ATTEMPTS_PER_ADDRESS", "100000"),
            ("REGISTRATIONS_PER_ADDRESS", "100000"),
            ("ANONYMOUS_BYTES_PER_NETWORK", "1000000000"),
            ("ANONYMOUS_BYTES", "1000000000"),
            ("HASH_QUEUE", "512"),
        ];
        pairs.extend(self.redis_url.as_deref().map(|url| ("REDIS_URL", url)));
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub(crate) fn embedded_stores(clock: &Clock) -> EmbeddedStores {
        EmbeddedStores {
            sessions: Arc::new(MemorySessionStore::new(clock.clone(), Duration::from_secs(300))),
            key_values: Some(Arc::new(MemoryKeyValueStore::new(clock.clone()))),
            redis: None,
        }
    }

    pub(crate) fn config(&self, clock: &Clock) -> Config {
        let mut settings = Settings::from_pairs(self.settings());
        let embedded = self.redis_url.is_none().then(|| Self::embedded_stores(clock));
        let mut config = Config::read(&mut settings, embedded);
        settings.finish().unwrap();
        config.clock = clock.clone();
        config
    }
}

pub(crate) struct App {
    base: String,
    pub(crate) clock: Clock,
    pub(crate) service: Arc<AuthService>,
    pub(crate) place: Place,
    client: Client,
    api: Value,
    _running: Running,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

/// A person with an account, and what their last login or refresh gave them.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) session: String,
}

impl App {
    pub(crate) async fn embedded(change: fn(&mut Config)) -> Self {
        Self::start(Place::embedded(), change).await
    }

    pub(crate) async fn on_servers(change: fn(&mut Config)) -> Option<Self> {
        Some(Self::start(Place::on_servers().await?, change).await)
    }

    pub(crate) async fn start(place: Place, change: impl FnOnce(&mut Config)) -> Self {
        capture_logs();
        let clock = Clock::default();
        let mut config = place.config(&clock);
        change(&mut config);
        let Started { running, service, .. } = auth_service::start(config).await.unwrap();
        let base = format!("http://{}", running.address());
        let client = Client::builder().pool_max_idle_per_host(64).redirect(Policy::none()).build().unwrap();
        let started = Instant::now();
        while client.get(format!("{base}/readyz")).send().await.unwrap().status() != 200 {
            assert!(started.elapsed() < Duration::from_secs(20), "the service is not ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let api = client.get(format!("{base}/openapi.json")).send().await.unwrap().json().await.unwrap();
        Self { base, clock, service, place, client, api, _running: running }
    }

    /// Stops; what it kept in files and databases stays in its place.
    pub(crate) async fn stop(self) -> Place {
        self._running.stop().await;
        self.place
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn api(&self) -> &Value {
        &self.api
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends a request; its answer must be a documented one, and no 5xx.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = self.send_whatever(request).await;
        assert!(answer.status < 500, "{} {}", answer.status, answer.text);
        answer
    }

    /// Sends a request that may be answered with a documented 503.
    pub(crate) async fn send_whatever(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().as_str().to_lowercase(), request.url().path().to_owned());
        let response = self.client.execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer { status, headers, text, body };
        self.check_documented(&method, &path, &answer);
        answer
    }

    fn check_documented(&self, method: &str, path: &str, answer: &Answer) {
        let matches = |pattern: &str| {
            let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            let part = |(one, other): (&&str, &&str)| one == other || one.starts_with('{');
            pattern.len() == path.len() && pattern.iter().zip(&path).all(part)
        };
        let paths = self.api["paths"].as_object().unwrap();
        let operation = paths.iter().find(|(pattern, _)| matches(pattern)).map(|(_, item)| &item[method]);
        let Some(operation) = operation.filter(|operation| operation.is_object()) else { return };
        let documented = &operation["responses"][answer.status.to_string()];
        assert!(documented.is_object(), "{method} {path} answers an undocumented {}: {}", answer.status, answer.text);
        let kind = answer.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        let kinds = documented["content"].as_object();
        assert!(
            kinds.map_or(kind.is_empty(), |kinds| {
                // A page's parameter names its characters.
                kinds.contains_key(kind)
                    || kind.strip_suffix("; charset=utf-8").is_some_and(|it| kinds.contains_key(it))
            }),
            "{method} {path} answers {} as {kind:?}, which is not documented: {documented}",
            answer.status
        );
        // OAuth's endpoints have errors of their own (RFC 6749, section 5.2).
        let is_oauth = answer.status >= 400 && kind == "application/json";
        if is_oauth {
            assert!(
                answer.body["error"].is_string() && answer.body["error_description"].is_string(),
                "{}",
                answer.text
            );
            assert_eq!(answer.headers["cache-control"], "no-store");
        } else if answer.status >= 400 && !kind.starts_with("text/html") {
            assert_eq!(answer.body["status"], answer.status, "{}", answer.text);
            assert!(answer.body["code"].is_string(), "{}", answer.text);
        }
        if answer.status == 401 && !is_oauth {
            assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        }
        if [429, 503].contains(&answer.status) {
            assert!(answer.headers.contains_key("retry-after"), "{}", answer.text);
        }
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, token: &str) -> Answer {
        self.send(self.request(method, path).bearer_auth(token)).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.call(Method::GET, path, token).await
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.post("/auth/login", json!({"email": email, "password": password})).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.post("/auth/refresh", json!({"refresh_token": token})).await
    }

    /// A refresh that may be answered with a documented 503.
    pub(crate) async fn refresh_whatever(&self, token: &str) -> Answer {
        self.send_whatever(self.request(Method::POST, "/auth/refresh").json(&json!({"refresh_token": token}))).await
    }

    /// Registers somebody with [`PASSWORD`], and signs them in.
    pub(crate) async fn somebody(&self) -> Person {
        let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
        let answer = self.post("/auth/register", json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        self.sign_in(&email, PASSWORD).await
    }

    pub(crate) async fn administrator(&self) -> Person {
        self.sign_in(ADMIN_EMAIL, ADMIN_PASSWORD).await
    }

    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Person {
        let answer = self.log_in(email, password).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        Person {
            id: answer.body["user"]["id"].as_str().unwrap().parse().unwrap(),
            email: email.to_owned(),
            access: answer.body["access_token"].as_str().unwrap().to_owned(),
            refresh: answer.body["refresh_token"].as_str().unwrap().to_owned(),
            session: answer.body["session_id"].as_str().unwrap().to_owned(),
        }
    }

    /// Waits until a token is refused: a revocation arrives within a moment.
    pub(crate) async fn is_refused(&self, token: &str) {
        let started = Instant::now();
        while self.get("/auth/me", token).await.status != 401 {
            assert!(started.elapsed() < Duration::from_secs(5), "the token is still taken");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How often each outcome of an act was written to the audit: refusals that repeat are counted in one entry.
    pub(crate) async fn audit_of(&self, user: UserId) -> HashMap<(String, String), usize> {
        let entries = auth_service::storage::audit::page(&self.service.database, Some(user), None, 1000).await.unwrap();
        entries.into_iter().fold(HashMap::new(), |mut counts, entry| {
            *counts.entry((entry.act, entry.outcome)).or_default() += usize::try_from(entry.count).unwrap();
            counts
        })
    }
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn pointer(&self) -> &str {
        self.body["errors"][0]["pointer"].as_str().unwrap_or_default()
    }

    pub(crate) fn retry_after(&self) -> u64 {
        self.headers["retry-after"].to_str().unwrap().parse().unwrap()
    }

    /// Everything but what differs from one answer to the next anyway.
    pub(crate) fn comparable(&self) -> (u16, Vec<(String, String)>, String) {
        let own = ["x-request-id", "date"];
        let headers = self.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        let mut headers: Vec<_> =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        headers.sort();
        (self.status, headers, self.text.clone())
    }
}

static LOGS: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(Arc::default);

#[derive(Clone)]
struct Captured;

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGS.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that this process has logged, in all tests, down to the finest level of our own crates.
pub(crate) fn logged() -> String {
    String::from_utf8_lossy(&LOGS.lock().unwrap()).into_owned()
}

fn capture_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        shared::telemetry::metrics();
        tracing_subscriber::fmt()
            .json()
            .with_env_filter("info,auth_service=trace,shared=trace")
            .with_writer(|| Captured)
            .init();
    });
}

/// Runs all at once, and answers in order.
pub(crate) async fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures_util::future::join_all(futures).await
}

impl App {
    /// As [`App::call`], with what it needs given away.
    pub(crate) async fn call_owned(&self, method: Method, path: String, token: String) -> Answer {
        self.call(method, &path, &token).await
    }
}
