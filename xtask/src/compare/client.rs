//! People, and what each of their devices holds after a login: a cookie, or tokens. Owns the requests of this comparison.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use e2e::process::wait_until;
use e2e::services::{Service, random_key};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::measuring::call::{Heard, ask};
use crate::measuring::load::request_to;

/// Until what was disturbed answers again: a failover, on a slow machine.
const RECOVERY: Duration = Duration::from_secs(90);
/// So many sign in at once: hashing takes all cores.
const AT_ONCE: usize = 4;

/// Somebody with an account.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) email: String,
    pub(super) password: String,
}

/// A device that is signed in.
#[derive(Debug, Clone)]
pub(super) struct Device {
    person: Person,
    /// From where it asks: one of its own.
    address: String,
    credential: Credential,
    /// `ROUTEID=…`: to which node a gateway leads it.
    route: Option<String>,
    pub(super) session: String,
}

#[derive(Debug, Clone)]
enum Credential {
    /// `SESSIONID=…`
    Cookie(String),
    Tokens {
        access: String,
        refresh: String,
    },
}

impl Person {
    /// Registers somebody at a node.
    ///
    /// # Errors
    /// They are refused.
    pub(super) fn register(stage: &Stage, port: u16, name: &str) -> anyhow::Result<Self> {
        let person = Self { email: format!("{name}@shop.localhost"), password: format!("Pw-{}", random_key()) };
        let body = person.body();
        ask(port, &request_to(&stage.host(Service::Auth), "POST", "/auth/register", "", Some(&body)))?
            .success()
            .context("POST /auth/register")?;
        Ok(person)
    }

    fn body(&self) -> String {
        json!({ "email": self.email, "password": self.password }).to_string()
    }

    /// Signs in from this address.
    ///
    /// # Errors
    /// They are refused.
    pub(super) fn sign_in(&self, stage: &Stage, port: u16, address: &str) -> anyhow::Result<Device> {
        self.sign_in_at(stage, port, address, None)
    }

    fn sign_in_at(&self, stage: &Stage, port: u16, address: &str, route: Option<&str>) -> anyhow::Result<Device> {
        stage.halt.check()?;
        let route_line = route.map_or_else(String::new, |route| format!("Cookie: {route}\r\n"));
        let headers = format!("{route_line}X-Forwarded-For: {address}\r\n");
        let request = request_to(&stage.host(Service::Auth), "POST", "/auth/login", &headers, Some(&self.body()));
        let heard = ask(port, &request).context("POST /auth/login")?;
        let (person, address, route) = (self.clone(), address.to_owned(), route.map(str::to_owned));
        Device::of(person, address, route, heard).context("POST /auth/login")
    }
}

impl Device {
    fn of(person: Person, address: String, route: Option<String>, heard: Heard) -> anyhow::Result<Self> {
        let cookie = |name: &str| {
            let cookie = heard.headers("set-cookie").find(|cookie| cookie.starts_with(name));
            cookie.map(|cookie| cookie.split(';').next().unwrap_or_default().to_owned())
        };
        let (cookie, route) = (cookie("SESSIONID="), cookie("ROUTEID=").or(route));
        let body = heard.success()?;
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        let credential = match (cookie, text("access_token"), text("refresh_token")) {
            (Some(cookie), None, None) => Credential::Cookie(cookie),
            (None, Some(access), Some(refresh)) => Credential::Tokens { access, refresh },
            _ => bail!("a login gives a cookie or tokens, not {body}"),
        };
        Ok(Self { person, address, credential, route, session: text("session_id").unwrap_or_default() })
    }

    /// The line that it shows with each request.
    pub(super) fn credential_line(&self) -> String {
        match (&self.credential, &self.route) {
            (Credential::Cookie(cookie), Some(route)) => format!("Cookie: {cookie}; {route}\r\n"),
            (Credential::Cookie(cookie), None) => format!("Cookie: {cookie}\r\n"),
            (Credential::Tokens { access, .. }, _) => format!("Authorization: Bearer {access}\r\n"),
        }
    }

    /// Another device of the same person, at the same node where a gateway leads to one.
    ///
    /// # Errors
    /// The login is refused.
    pub(super) fn another(&self, stage: &Stage, port: u16) -> anyhow::Result<Self> {
        self.person.sign_in_at(stage, port, &self.address, self.route.as_deref())
    }

    pub(super) fn request(&self, stage: &Stage, service: Service, method: &str, path: &str) -> Vec<u8> {
        self.request_with(stage, service, method, path, None)
    }

    fn request_with(&self, stage: &Stage, service: Service, method: &str, path: &str, body: Option<&str>) -> Vec<u8> {
        let headers = format!("{}X-Forwarded-For: {}\r\n", self.credential_line(), self.address);
        request_to(&stage.host(service), method, path, &headers, body)
    }

    pub(super) fn read_of_the_cart(&self, stage: &Stage) -> Vec<u8> {
        self.request(stage, Service::Cart, "GET", "/cart")
    }

    /// # Errors
    /// Nobody answers.
    pub(super) fn ask(
        &self,
        stage: &Stage,
        port: u16,
        service: Service,
        method: &str,
        path: &str,
    ) -> anyhow::Result<Heard> {
        ask(port, &self.request(stage, service, method, path)).with_context(|| format!("{method} {path}"))
    }

    /// Puts some lines into the cart.
    ///
    /// # Errors
    /// The cart service refuses.
    pub(super) fn fill_the_cart(&self, stage: &Stage, port: u16) -> anyhow::Result<()> {
        let products = self.ask(stage, port, Service::Cart, "GET", "/products")?.success()?;
        for product in products["items"].as_array().context("the catalogue has items")?.iter().take(3) {
            let item = json!({ "product_id": product["id"], "quantity": 2 }).to_string();
            let request = self.request_with(stage, Service::Cart, "POST", "/cart/items", Some(&item));
            ask(port, &request)?.success().context("POST /cart/items")?;
        }
        Ok(())
    }

    /// Whether the session goes on: the cart can be read, and where there is a refresh token, it is good for another. A
    /// service that is not there for the moment is waited for.
    ///
    /// # Errors
    /// It is not back in time, or answers otherwise than 200 or 401.
    pub(super) fn goes_on(&mut self, stage: &Stage, port: u16) -> anyhow::Result<bool> {
        if settled(stage, port, &self.read_of_the_cart(stage))?.is_none() {
            return Ok(false);
        }
        let Credential::Tokens { refresh, .. } = &self.credential else { return Ok(true) };
        let body = json!({ "refresh_token": refresh }).to_string();
        let headers = format!("X-Forwarded-For: {}\r\n", self.address);
        let request = request_to(&stage.host(Service::Auth), "POST", "/auth/refresh", &headers, Some(&body));
        let Some(heard) = settled(stage, port, &request)? else { return Ok(false) };
        *self = Self::of(self.person.clone(), self.address.clone(), self.route.clone(), heard)?;
        Ok(true)
    }

    /// Whether the cart can be read at this very moment.
    pub(super) fn is_served(&self, stage: &Stage, port: u16) -> bool {
        ask(port, &self.read_of_the_cart(stage)).is_ok_and(|heard| heard.status == 200)
    }

    /// Signs in again, from the same address.
    ///
    /// # Errors
    /// It is refused.
    pub(super) fn sign_in_again(&mut self, stage: &Stage, port: u16) -> anyhow::Result<()> {
        *self = self.person.clone().sign_in(stage, port, &self.address.clone())?;
        Ok(())
    }
}

/// A success, or none where it is a 401.
fn settled(stage: &Stage, port: u16, request: &[u8]) -> anyhow::Result<Option<Heard>> {
    let mut settled = None;
    let mut last = String::new();
    let answered = wait_until(RECOVERY, || {
        stage.halt.check()?;
        match ask(port, request) {
            Ok(heard) if heard.status == 200 => settled = Some(heard),
            Ok(heard) if heard.status == 401 => {}
            Ok(heard) if heard.status < 500 => bail!("{} {}", heard.status, heard.body),
            Ok(heard) => {
                last = format!("{} {}", heard.status, heard.body);
                return Ok(false);
            }
            Err(error) => {
                last = error.to_string();
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    ensure!(answered, "not there again after {RECOVERY:?}: {last}");
    Ok(settled)
}

/// So many addresses there are: each leaves a count of its attempts in Redis.
const ADDRESSES: usize = 40;

/// Signs people in by turns, some at once, from the addresses of network `network` (0 to 255) by turns.
///
/// # Errors
/// One is refused.
pub(super) fn sign_in_many(
    stage: &Stage,
    port: u16,
    people: &[Person],
    network: u8,
    count: usize,
) -> anyhow::Result<Vec<Device>> {
    let numbers: Vec<usize> = (0..count).collect();
    in_parallel(&numbers, |number| {
        let address = format!("10.{network}.0.{}", number % ADDRESSES + 1);
        people[number % people.len()].sign_in(stage, port, &address)
    })
}

/// Does something with each of many, some at once. The results are in the same order.
///
/// # Errors
/// One fails.
pub(super) fn in_parallel<I: Sync, O: Send>(
    items: &[I],
    act: impl Fn(&I) -> anyhow::Result<O> + Sync,
) -> anyhow::Result<Vec<O>> {
    let share = items.len().div_ceil(AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let act = &act;
        let parts: Vec<_> =
            items.chunks(share).map(|part| scope.spawn(move || part.iter().map(act).collect())).collect();
        let parts = parts
            .into_iter()
            .map(|part| -> anyhow::Result<Vec<O>> { part.join().map_err(|_| anyhow::anyhow!("a thread panicked"))? });
        Ok(parts.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

/// How long something took, in milliseconds.
pub(super) fn millis_since(then: Instant) -> f64 {
    then.elapsed().as_secs_f64() * 1_000.0
}

/// The answer's stable code where a strategy has no way to do what was asked.
pub(super) const CANNOT: &str = "strategy_cannot";

/// Whether the strategy can: a success, or 409 `strategy_cannot`.
///
/// # Errors
/// It is another refusal.
pub(super) fn can(heard: &Heard) -> anyhow::Result<bool> {
    match heard.status {
        200..300 => Ok(true),
        409 if heard.code() == CANNOT => Ok(false),
        other => bail!("{other} {}", heard.body),
    }
}

/// The length of a list's items.
pub(super) fn length(body: &Value) -> usize {
    body["items"].as_array().or(body.as_array()).map_or(0, Vec::len)
}
