//! Honest clients: they sign in, fill a cart, order, pay, cancel, refresh and sign out, give up on an answer after three
//! seconds, and repeat what the contract lets them repeat. Each remembers what it was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::{Answer, Person, Service};
use reqwest::Method;
use serde_json::{Value, json};

use crate::ended::Ended;
use crate::plan::Dice;
use crate::verdict::{Invariant, Verdict};

/// After this time a client gives up and asks again.
const GIVES_UP: Duration = Duration::from_secs(3);
/// A client that is not served for so long is lost.
const PATIENCE: Duration = Duration::from_secs(90);

/// An order, as its client was told.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) quantity: u64,
    /// `placed`, `paid` or `cancelled`.
    pub(crate) status: &'static str,
}

/// What all clients share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) product: String,
    pub(crate) verdict: Verdict,
    pub(crate) ended: Ended,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) answered: Arc<AtomicUsize>,
}

pub(crate) struct Client {
    pub(crate) person: Person,
    pub(crate) user: String,
    pub(crate) orders: Vec<Known>,
    shared: Shared,
    dice: Dice,
    /// How many of the product it was told to have in its cart; unknown while a change is under way.
    cart: Option<u64>,
}

impl Client {
    /// A client that has registered.
    pub(crate) async fn register(person: Person, shared: Shared, dice: Dice) -> Self {
        let registered = person.register().await;
        assert_eq!(registered.status, 201, "{}", registered.body);
        let mut client = Self { person, user: String::new(), orders: Vec::new(), shared, dice, cart: None };
        client.sign_in().await;
        let me = client.until(&[200], Method::GET, Service::Auth, "/auth/me", None, None).await;
        client.user = me.and_then(|me| me.body["id"].as_str().map(str::to_owned)).expect("an id");
        client
    }

    /// Works until it is told to stop, and looks at last whether all is as it was told.
    pub(crate) async fn run(mut self) -> Self {
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.round().await;
        }
        if self.signed_in().await {
            self.refresh().await;
            self.look_into_the_cart().await;
        }
        self
    }

    async fn round(&mut self) {
        if !self.signed_in().await {
            return;
        }
        let quantity = 1 + self.dice.below(3);
        let item = format!("/cart/items/{}", self.shared.product);
        self.cart = None;
        let put =
            self.until(&[200], Method::PUT, Service::Cart, &item, Some(json!({"quantity": quantity})), None).await;
        self.cart = put.map(|_| quantity);
        self.look_into_the_cart().await;
        if self.dice.percent(30) {
            self.refresh().await;
        }
        if self.dice.percent(70) {
            self.order(quantity).await;
        }
        self.until(&[200], Method::GET, Service::Orders, "/orders?limit=2", None, None).await;
        if self.dice.percent(15) {
            self.sign_out().await;
        }
    }

    async fn look_into_the_cart(&mut self) {
        let Some(told) = self.cart else { return };
        let Some(answer) = self.until(&[200], Method::GET, Service::Cart, "/cart", None, None).await else { return };
        let lines = answer.body["lines"].as_array().cloned().unwrap_or_default();
        let seen = lines.iter().find(|line| line["product_id"] == self.shared.product.as_str());
        let seen = seen.and_then(|line| line["quantity"].as_u64()).unwrap_or(0);
        let who = self.user.clone();
        self.shared.verdict.expect(Invariant::CartLines, seen == told, || {
            format!("user {who} was told of {told} in the cart, and finds {seen}")
        });
    }

    async fn order(&mut self, quantity: u64) {
        let key = format!("key-{:016x}", self.dice.next());
        self.cart = None;
        let placed = self.until(&[201], Method::POST, Service::Orders, "/orders", None, Some(&key)).await;
        let Some(id) = placed.and_then(|answer| answer.body["id"].as_str().map(str::to_owned)) else { return };
        self.cart = Some(0);
        self.orders.push(Known { key, id: id.clone(), quantity, status: "placed" });
        let (pays, cancels) = match self.dice.below(10) {
            0..5 => (true, false),
            5..7 => (false, true),
            7 => (true, true),
            _ => (false, false),
        };
        if pays && self.bring_to(&id, "pay", "paid").await {
            self.told("paid");
        }
        if cancels && self.bring_to(&id, "cancel", "cancelled").await {
            self.told("cancelled");
        }
        self.look_into_the_cart().await;
    }

    fn told(&mut self, status: &'static str) {
        if let Some(last) = self.orders.last_mut() {
            last.status = status;
        }
    }

    /// Pays or cancels until the order is so: a payment that is under way is looked at until it has ended.
    async fn bring_to(&mut self, id: &str, act: &str, end: &str) -> bool {
        let started = Instant::now();
        let (act, order) = (format!("/orders/{id}/{act}"), format!("/orders/{id}"));
        while started.elapsed() < PATIENCE {
            let answer = self.until(&[200, 409], Method::POST, Service::Orders, &act, None, None).await;
            if answer.is_none() {
                return false;
            }
            let shown = self.until(&[200], Method::GET, Service::Orders, &order, None, None).await;
            if shown.is_some_and(|shown| shown.body["status"] == end) {
                return true;
            }
            self.pause().await;
        }
        self.shared.verdict.broken(Invariant::Progress, format!("the order {id} was not {end} in {PATIENCE:?}"));
        false
    }

    async fn signed_in(&mut self) -> bool {
        self.person.refresh_token.is_some() || self.sign_in().await
    }

    async fn sign_in(&mut self) -> bool {
        let body = json!({"email": self.person.credentials.email, "password": self.person.credentials.password});
        let answer = self.until(&[200], Method::POST, Service::Auth, "/auth/login", Some(body), None).await;
        answer.is_some_and(|answer| self.keep(&answer))
    }

    fn keep(&mut self, answer: &Answer) -> bool {
        let field = |name: &str| answer.body[name].as_str().map(str::to_owned);
        (self.person.access_token, self.person.refresh_token) = (field("access_token"), field("refresh_token"));
        self.person.refresh_token.is_some()
    }

    async fn sign_out(&mut self) {
        let token = self.person.access_token.clone();
        // A try whose answer was lost has done it, perhaps: then the next one is refused.
        let done = self.until(&[204, 401], Method::POST, Service::Auth, "/auth/logout", None, None).await;
        (self.person.access_token, self.person.refresh_token) = (None, None);
        if let (Some(_), Some(token)) = (done, token) {
            self.shared.ended.add(token);
        }
    }

    /// The same refresh token again, until it is answered. Answers whether the client is still signed in.
    async fn refresh(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let body = json!({"refresh_token": self.person.refresh_token});
            match self.once(Method::POST, Service::Auth, "/auth/refresh", Some(&body), None).await {
                Some(answer) if answer.status == 200 => return self.keep(&answer),
                Some(answer) if matches!(answer.status, 502..=504) => {}
                Some(answer) => {
                    let how = format!("user {}: a refresh is {} {}", self.user, answer.status, answer.code());
                    self.shared.verdict.broken(Invariant::SignedIn, how);
                    (self.person.access_token, self.person.refresh_token) = (None, None);
                    return false;
                }
                None => {}
            }
            self.pause().await;
        }
        self.shared.verdict.broken(Invariant::Progress, format!("user {}: no refresh in {PATIENCE:?}", self.user));
        false
    }

    /// Asks again and again until the answer has one of these statuses; none where the client cannot go on.
    async fn until(
        &mut self,
        expected: &[u16],
        method: Method,
        service: Service,
        path: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Option<Answer> {
        let (started, mut refreshed) = (Instant::now(), false);
        while started.elapsed() < PATIENCE {
            match self.once(method.clone(), service, path, body.as_ref(), key).await {
                Some(answer) if expected.contains(&answer.status) => return Some(answer),
                // An access token lives for five minutes.
                Some(answer) if answer.status == 401 && self.person.refresh_token.is_some() => {
                    if std::mem::replace(&mut refreshed, true) {
                        let how = format!("user {}: {method} {path} refuses a new access token", self.user);
                        self.shared.verdict.broken(Invariant::SignedIn, how);
                        (self.person.access_token, self.person.refresh_token) = (None, None);
                        return None;
                    }
                    if !Box::pin(self.refresh()).await {
                        return None;
                    }
                }
                Some(answer) if matches!(answer.status, 502..=504) => {}
                // It has lost its session a moment ago, which was noted then.
                Some(answer) if answer.status == 401 && path != "/auth/login" => return None,
                Some(answer) => {
                    let how = format!("{method} {path} answers {} {}", answer.status, answer.body);
                    self.shared.verdict.broken(Invariant::Answers, how);
                    if answer.status != 500 && answer.status != 408 {
                        return None;
                    }
                }
                None => {}
            }
            self.pause().await;
        }
        self.shared
            .verdict
            .broken(Invariant::Progress, format!("user {}: {method} {path} for {PATIENCE:?}", self.user));
        None
    }

    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_millis(50 + self.dice.below(200))).await;
    }

    /// One try, at the next door. None where there was no answer in time: then the client hangs up.
    async fn once(
        &mut self,
        method: Method,
        service: Service,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Option<Answer> {
        let url = self.person.url(service, path);
        let headers: Vec<(&str, &str)> = key.map(|key| ("Idempotency-Key", key)).into_iter().collect();
        let asked = self.person.try_send(method.clone(), &url, body, &headers);
        let answer = tokio::time::timeout(GIVES_UP, asked).await.ok()?.ok()?;
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
        if answer.status == 500 {
            self.shared.verdict.broken(Invariant::NoInternalError, format!("{method} {url} answers {}", answer.body));
        }
        Some(answer)
    }
}
