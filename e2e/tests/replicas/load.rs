//! Clients of the gateway that ask again and again. Owns a bounded load and the list of what
//! went wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::{Answer, Person, Replica, Service};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::World;
use crate::world::expect;

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(15);
const PATIENCE: Duration = Duration::from_secs(60);
/// A client that logs in again and again is not throttled.
pub(crate) const NO_THROTTLE: [(&str, &str); 5] = [
    ("LOGIN_ATTEMPTS_PER_ACCOUNT", "100000"),
    ("LOGIN_ATTEMPTS_PER_ADDRESS", "100000"),
    ("REGISTRATIONS_PER_ADDRESS", "100000"),
    ("MAX_UNPAID_ORDERS", "100000"),
    ("MAX_ABANDONED_ORDERS", "100000"),
];

/// What the clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requests {
    /// Only what may be repeated, and so is, by the gateway.
    Idempotent,
    /// What may not be repeated, too.
    All,
}

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Begins with so many clients, each a customer of its own; returns when each has been answered.
    pub(crate) async fn begin(world: &World, clients: usize, requests: Requests) -> Self {
        let product = world.product(1).await;
        world.platform.set_stock(&product, 1_000_000);
        let mut load = Self { stop: Arc::default(), answered: Arc::default(), clients: Vec::new() };
        for _ in 0..clients {
            let client = Client {
                person: world.platform.customer().await,
                product: product.clone(),
                requests,
                // nginx before 1.27.4 closes connections that rest when containers come and go.
                keeps_connections: world.platform.containers().is_none(),
                stop: load.stop.clone(),
                answered: load.answered.clone(),
                failures: Vec::new(),
            };
            load.clients.push(tokio::spawn(client.run()));
        }
        load.goes_on(clients * 10).await;
        load
    }

    /// Waits until so many more requests were answered.
    ///
    /// # Panics
    /// They are not, within a minute.
    pub(crate) async fn goes_on(&self, requests: usize) {
        let (started, before) = (Instant::now(), self.answered.load(Ordering::Relaxed));
        while self.answered.load(Ordering::Relaxed) < before + requests {
            assert!(started.elapsed() < PATIENCE, "the load has come to a halt");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the gateway asks this replica, which has just started: `path` is one that the clients ask for.
    ///
    /// # Panics
    /// It does not, within a minute.
    pub(crate) async fn reaches(&self, world: &World, replica: Replica) {
        let route = match replica.service {
            Service::Auth => r#"route="/auth/me""#,
            Service::Cart => r#"route="/cart""#,
            Service::Orders => r#"route="/orders""#,
        };
        let (started, nobody) = (Instant::now(), world.platform.person());
        let url = format!("{}/metrics", world.platform.replica(replica));
        while !nobody.get(&url).await.body.as_str().is_some_and(|metrics| metrics.contains(route)) {
            assert!(started.elapsed() < PATIENCE, "the gateway does not take {replica:?} back");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends it, and answers how many requests were answered.
    ///
    /// # Panics
    /// One failed.
    pub(crate) async fn end_without_failure(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.await.expect("no client panics"));
        }
        let answered = self.answered.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {answered} requests failed:\n{}", failures.len(), failures.join("\n"));
        answered
    }
}

struct Client {
    person: Person,
    product: String,
    requests: Requests,
    keeps_connections: bool,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failures: Vec<String>,
}

impl Client {
    async fn run(mut self) -> Vec<String> {
        let mut round = 0;
        while !self.stop.load(Ordering::Relaxed) {
            round += 1;
            self.idempotent_round(round).await;
            if self.requests == Requests::All {
                self.other_round().await;
            }
        }
        self.failures
    }

    async fn idempotent_round(&mut self, round: usize) {
        self.ask(200, Method::GET, Service::Auth, "/auth/me", None, None).await;
        self.ask(200, Method::GET, Service::Cart, "/products?limit=2", None, None).await;
        let item = format!("/cart/items/{}", self.product);
        self.ask(200, Method::PUT, Service::Cart, &item, Some(json!({"quantity": 2})), None).await;
        self.ask(200, Method::GET, Service::Cart, "/cart", None, None).await;
        let key = format!("round-{round}");
        self.ask(201, Method::POST, Service::Orders, "/orders", None, Some(&key)).await;
        self.ask(200, Method::GET, Service::Orders, "/orders?limit=2", None, None).await;
        let refresh = json!({"refresh_token": self.person.refresh_token});
        let refreshed = self.ask(200, Method::POST, Service::Auth, "/auth/refresh", Some(refresh), None).await;
        if let Some(answer) = refreshed {
            self.person.access_token = answer.body["access_token"].as_str().map(str::to_owned);
            self.person.refresh_token = answer.body["refresh_token"].as_str().map(str::to_owned);
        }
    }

    async fn other_round(&mut self) {
        let one_more = json!({"product_id": self.product, "quantity": 1});
        self.ask(200, Method::POST, Service::Cart, "/cart/items", Some(one_more), None).await;
        let login = json!({"email": self.person.credentials.email, "password": self.person.credentials.password});
        let began = self.ask(200, Method::POST, Service::Auth, "/auth/login", Some(login), None).await;
        let Some(session) = began.and_then(|answer| answer.body["session_id"].as_str().map(str::to_owned)) else {
            return;
        };
        let kick = format!("/auth/sessions/{session}");
        self.ask(204, Method::DELETE, Service::Auth, &kick, None, None).await;
    }

    /// Asks once: there is no second try but the gateway's own.
    async fn ask(
        &mut self,
        expected: u16,
        method: Method,
        service: Service,
        path: &str,
        body: Option<serde_json::Value>,
        key: Option<&str>,
    ) -> Option<Answer> {
        tokio::time::sleep(PAUSE).await;
        let headers = [("Idempotency-Key", key), ("Connection", (!self.keeps_connections).then_some("close"))];
        let headers: Vec<(&str, &str)> = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let url = self.person.url(service, path);
        let started = Instant::now();
        let answer = self.person.try_send(method.clone(), &url, body.as_ref(), &headers).await;
        let wrong = match &answer {
            Ok(answer) if answer.status == expected => None,
            Ok(answer) => Some(format!("{} {}", answer.status, answer.body)),
            Err(error) => Some(format!("{error:?}")),
        };
        self.answered.fetch_add(1, Ordering::Relaxed);
        if let Some(wrong) = wrong {
            self.failures.push(format!("{method} {url} after {:?}: {wrong}", started.elapsed()));
            return None;
        }
        answer.ok()
    }
}

/// A customer whose requests fail nowhere, at no door of any service.
pub(crate) async fn is_known_everywhere(world: &World, person: &Person) {
    for (service, path) in [(Service::Auth, "/auth/me"), (Service::Cart, "/cart"), (Service::Orders, "/orders")] {
        for number in 0..world.platform.replicas(service) {
            let url = format!("{}{path}", world.platform.replica(service.replica(number)));
            expect(200, person.get(&url).await);
        }
        expect(200, person.get(&format!("{}{path}", world.platform.url(service))).await);
    }
}
