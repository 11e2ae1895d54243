//! A cart service for tests: a real HTTP server that really keeps stock, with faults on demand.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::{Value, json};
use shared::clock::{Clock, Timestamp};
use shared::session::UserId;
use url::Url;
use uuid::Uuid;

use crate::faults::{Call, Faults, When};
use crate::harness::CHECKOUT_SECRET;
use crate::issuer::payload;

/// What each product costs, in cents.
pub(crate) const PRICE: i64 = 1250;
const HOLD: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Held,
    Confirmed,
    Released,
}

#[derive(Clone)]
pub(crate) struct Checkout {
    pub(crate) user: UserId,
    pub(crate) lines: Vec<(Uuid, u32)>,
    pub(crate) status: Status,
    expires_at: Timestamp,
}

#[derive(Default)]
struct Books {
    initial: BTreeMap<Uuid, i64>,
    stock: BTreeMap<Uuid, i64>,
    carts: BTreeMap<UserId, Vec<(Uuid, u32)>>,
    checkouts: BTreeMap<Uuid, Checkout>,
    by_key: BTreeMap<(UserId, String), Uuid>,
    calls: BTreeMap<Call, usize>,
    /// What the tokens said that came with checkouts.
    tokens: Vec<Value>,
    /// Answers each checkout with this instead.
    answer: Option<(u16, Value)>,
}

struct Shared {
    books: Mutex<Books>,
    clock: Clock,
    faults: Faults,
}

/// The running server.
pub(crate) struct FakeCart {
    shared: Data<Shared>,
    pub(crate) url: Url,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for FakeCart {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeCart {
    pub(crate) fn start(clock: Clock, faults: Faults) -> Self {
        let shared = Data::new(Shared { books: Mutex::default(), clock, faults });
        let data = shared.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/cart", web::get().to(show))
                .route("/checkouts", web::post().to(check_out))
                .route("/checkouts/{id}", web::delete().to(release))
                .route("/checkouts/{id}/confirm", web::post().to(confirm))
        });
        let server = server.workers(2).disable_signals().bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.addrs()[0]).parse().unwrap();
        Self { shared, url, server: tokio::spawn(server.run()) }
    }

    pub(crate) fn product(&self, stock: i64) -> Uuid {
        let id = Uuid::new_v4();
        let mut books = self.books();
        books.initial.insert(id, stock);
        books.stock.insert(id, stock);
        id
    }

    pub(crate) fn fill(&self, user: UserId, product: Uuid, quantity: u32) {
        self.books().carts.entry(user).or_default().push((product, quantity));
    }

    pub(crate) fn cart(&self, user: UserId) -> Vec<(Uuid, u32)> {
        self.books().carts.get(&user).cloned().unwrap_or_default()
    }

    pub(crate) fn stock(&self, product: Uuid) -> i64 {
        self.books().stock[&product]
    }

    pub(crate) fn checkouts(&self, user: UserId) -> Vec<Checkout> {
        self.books().checkouts.values().filter(|checkout| checkout.user == user).cloned().collect()
    }

    pub(crate) fn calls(&self, call: Call) -> usize {
        self.books().calls.get(&call).copied().unwrap_or_default()
    }

    /// What the tokens said that came with checkouts.
    pub(crate) fn tokens(&self) -> Vec<Value> {
        self.books().tokens.clone()
    }

    /// From now on each checkout is answered with this; `None` answers truly again.
    pub(crate) fn answer(&self, answer: Option<(u16, Value)>) {
        self.books().answer = answer;
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.shared.books()
    }
}

impl Shared {
    /// The books, with expired holds given back.
    fn books(&self) -> MutexGuard<'_, Books> {
        let mut books = self.books.lock().unwrap();
        let now = self.clock.now();
        let expired = |checkout: &Checkout| checkout.status == Status::Held && checkout.expires_at <= now;
        let due: Vec<Uuid> = books.checkouts.iter().filter(|(_, c)| expired(c)).map(|(id, _)| *id).collect();
        for id in due {
            books.release(id);
        }
        books
    }
}

impl Books {
    fn release(&mut self, id: Uuid) {
        let checkout = self.checkouts.get_mut(&id).unwrap();
        let was = std::mem::replace(&mut checkout.status, Status::Released);
        let (user, lines) = (checkout.user, checkout.lines.clone());
        if was == Status::Released {
            return;
        }
        for (product, quantity) in &lines {
            *self.stock.get_mut(product).unwrap() += i64::from(*quantity);
            assert!(self.stock[product] <= self.initial[product], "stock was given back twice");
        }
        if was == Status::Held {
            self.carts.entry(user).or_default().extend(lines);
        }
    }

    /// Holds what is in the cart, once for a key.
    fn check_out(&mut self, user: UserId, key: &str, now: Timestamp) -> Result<Uuid, Value> {
        if let Some(id) = self.by_key.get(&(user, key.to_owned())) {
            return Ok(*id);
        }
        let lines = self.carts.get(&user).cloned().unwrap_or_default();
        if lines.is_empty() {
            return Err(json!({"status": 409, "code": "cart_empty", "detail": "the cart is empty"}));
        }
        let short = lines.iter().find(|(product, quantity)| self.stock[product] < i64::from(*quantity));
        if let Some((product, _)) = short {
            let errors = json!([{"pointer": format!("/lines/{product}"), "detail": "too few are left"}]);
            return Err(json!({"status": 409, "code": "insufficient_stock", "detail": "too few", "errors": errors}));
        }
        for (product, quantity) in &lines {
            *self.stock.get_mut(product).unwrap() -= i64::from(*quantity);
        }
        self.carts.remove(&user);
        let id = Uuid::new_v4();
        self.checkouts.insert(id, Checkout { user, lines, status: Status::Held, expires_at: now + HOLD });
        self.by_key.insert((user, key.to_owned()), id);
        Ok(id)
    }

    fn describe(&self, id: Uuid) -> Value {
        let checkout = &self.checkouts[&id];
        let (lines, total) = priced(&checkout.lines);
        let status = match checkout.status {
            Status::Held => "held",
            Status::Confirmed => "confirmed",
            Status::Released => "released",
        };
        json!({
            "id": id, "status": status, "lines": lines, "total": total, "expires_at": checkout.expires_at
        })
    }
}

/// Lines as they are told, and what they cost together.
fn priced(lines: &[(Uuid, u32)]) -> (Vec<Value>, Value) {
    let money = |quantity: u32| json!({"amount": PRICE * i64::from(quantity), "currency": "EUR"});
    let line = |(product, quantity): &(Uuid, u32)| {
        json!({
            "product_id": product, "name": "Lamp", "quantity": quantity, "price": money(1), "total": money(*quantity)
        })
    };
    (lines.iter().map(line).collect(), money(lines.iter().map(|(_, quantity)| quantity).sum()))
}

/// Counts the call, and refuses one without the credential.
fn enter(shared: &Shared, call: Call, request: &HttpRequest) -> Option<HttpResponse> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut books = shared.books();
    *books.calls.entry(call).or_default() += 1;
    if header("service-secret").as_deref() == Some(CHECKOUT_SECRET) {
        return None;
    }
    Some(HttpResponse::Forbidden().json(json!({"status": 403, "code": "service_credential_required"})))
}

/// An answer that breaks in its middle.
fn broken() -> HttpResponse {
    let cut = futures_util::stream::once(async { Err::<web::Bytes, _>(std::io::Error::other("cut")) });
    HttpResponse::Ok().streaming(cut)
}

fn token_of(request: &HttpRequest) -> Option<Value> {
    payload(request.headers().get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?)
}

async fn show(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let user: Option<UserId> = token_of(&request).and_then(|token| token["sub"].as_str()?.parse().ok());
    let Some(user) = user else {
        return HttpResponse::Unauthorized().json(json!({"status": 401, "code": "invalid_token"}));
    };
    let books = shared.books();
    let (lines, total) = priced(books.carts.get(&user).map_or(&[], Vec::as_slice));
    HttpResponse::Ok().json(json!({"lines": lines, "total": total}))
}

async fn check_out(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    if let Some(refused) = enter(&shared, Call::CheckOut, &request) {
        return refused;
    }
    let token = token_of(&request);
    let Some(user) = token.as_ref().and_then(|token| token["sub"].as_str()?.parse().ok()) else {
        return HttpResponse::Unauthorized().json(json!({"status": 401, "code": "invalid_token"}));
    };
    shared.books().tokens.extend(token);
    if shared.faults.pass(Call::CheckOut, When::BeforeWork).await.is_err() {
        return broken();
    }
    let answer = {
        let mut books = shared.books();
        let key = request.headers().get("idempotency-key").unwrap().to_str().unwrap();
        match books.answer.clone() {
            Some((status, body)) => HttpResponse::build(StatusCode::from_u16(status).unwrap()).json(body),
            None => match books.check_out(user, key, shared.clock.now()) {
                Ok(id) => HttpResponse::Created().json(books.describe(id)),
                Err(refused) => HttpResponse::Conflict().json(refused),
            },
        }
    };
    if shared.faults.pass(Call::CheckOut, When::AfterWork).await.is_err() { broken() } else { answer }
}

async fn confirm(shared: Data<Shared>, request: HttpRequest, id: web::Path<Uuid>) -> HttpResponse {
    if let Some(refused) = enter(&shared, Call::Confirm, &request) {
        return refused;
    }
    if shared.faults.pass(Call::Confirm, When::BeforeWork).await.is_err() {
        return broken();
    }
    let answer = {
        let mut books = shared.books();
        match books.checkouts.get_mut(&id) {
            None => HttpResponse::NotFound().json(json!({"status": 404, "code": "not_found"})),
            Some(checkout) if checkout.status == Status::Released => {
                HttpResponse::Conflict().json(json!({"status": 409, "code": "checkout_released"}))
            }
            Some(checkout) => {
                checkout.status = Status::Confirmed;
                HttpResponse::Ok().json(books.describe(*id))
            }
        }
    };
    if shared.faults.pass(Call::Confirm, When::AfterWork).await.is_err() { broken() } else { answer }
}

async fn release(shared: Data<Shared>, request: HttpRequest, id: web::Path<Uuid>) -> HttpResponse {
    if let Some(refused) = enter(&shared, Call::Release, &request) {
        return refused;
    }
    if shared.faults.pass(Call::Release, When::BeforeWork).await.is_err() {
        return broken();
    }
    shared.books().release(*id);
    let after = shared.faults.pass(Call::Release, When::AfterWork).await;
    if after.is_err() { broken() } else { HttpResponse::NoContent().finish() }
}
