//! A person who uses the platform over HTTP, as any client would. Owns the verbs and what a client keeps (tokens,
//! cookies); remembers every secret that passes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, SET_COOKIE};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::foreign_cookies::among_others;
use crate::platform::Credentials;
use crate::secrets;
use crate::services::Service;

/// How long a person waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a person repeats an order, and how long they wait in between.
const ORDER_PATIENCE: Duration = Duration::from_secs(30);
const ORDER_PAUSE: Duration = Duration::from_millis(500);
/// The fields of bodies that hold secrets.
const SECRET_FIELDS: [&str; 6] =
    ["password", "current_password", "new_password", "access_token", "refresh_token", "client_secret"];

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// JSON; a body that is none is a JSON string, and no body is `null`.
    pub body: Value,
}

impl Answer {
    /// The problem's stable code, where the answer is a problem.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// A header as text; an empty one where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Where each service is asked: at several addresses in turn, where it has several.
#[derive(Debug)]
pub(crate) struct Doors {
    addresses: [Vec<String>; 3],
    turns: [AtomicUsize; 3],
}

impl Doors {
    /// `first` is the door at which the first request knocks, counted round.
    pub(crate) fn new(addresses: [Vec<String>; 3], first: usize) -> Self {
        Self { addresses, turns: std::array::from_fn(|_| AtomicUsize::new(first)) }
    }

    fn next(&self, service: Service) -> &str {
        let (addresses, turn) = (&self.addresses[service as usize], &self.turns[service as usize]);
        &addresses[turn.fetch_add(1, Ordering::Relaxed) % addresses.len()]
    }
}

/// A person with one browser. A copy shares the connections and the cookies, and has tokens of its own from then on.
#[derive(Debug, Clone)]
pub struct Person {
    pub credentials: Credentials,
    /// As the last login or refresh gave them.
    pub access_token: Option<String>,
    pub refresh_token: Option<String>,
    pub session_id: Option<String>,
    doors: Arc<Doors>,
    client: Client,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Person {
    pub(crate) fn new(doors: Doors, credentials: Credentials) -> Self {
        Self::at(Arc::new(doors), credentials)
    }

    /// A person who comes by the gateway on this port.
    pub fn at_gateway(port: u16, credentials: Credentials) -> Self {
        let addresses = Service::ALL.map(|service| vec![format!("http://{}:{port}", service.host())]);
        Self::new(Doors::new(addresses, 0), credentials)
    }

    fn at(doors: Arc<Doors>, credentials: Credentials) -> Self {
        // Not every system finds names under localhost; the port is the address's own.
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let client = Service::ALL
            .into_iter()
            .fold(Client::builder().timeout(PATIENCE), |client, service| client.resolve(service.host(), here));
        Self {
            credentials,
            access_token: None,
            refresh_token: None,
            session_id: None,
            doors,
            client: client.build().expect("an HTTP client"),
            cookies: Arc::default(),
        }
    }

    /// The same person on another device: neither tokens nor cookies.
    pub fn other_device(&self) -> Self {
        Self::at(self.doors.clone(), self.credentials.clone())
    }

    /// The address of `path` at `service`; where the service has several, the next one each time.
    pub fn url(&self, service: Service, path: &str) -> String {
        format!("{}{path}", self.doors.next(service))
    }

    // The auth service.

    pub async fn register(&self) -> Answer {
        let Credentials { email, password } = &self.credentials;
        self.post(&self.url(Service::Auth, "/auth/register"), &json!({"email": email, "password": password})).await
    }

    /// Logs in and keeps the tokens. A refusal leaves those it has.
    pub async fn log_in(&mut self) -> Answer {
        let Credentials { email, password } = &self.credentials;
        let body = json!({"email": email, "password": password});
        let answer = self.post(&self.url(Service::Auth, "/auth/login"), &body).await;
        self.keep(&answer);
        answer
    }

    /// Refreshes and keeps the new tokens. A refusal leaves those it has.
    ///
    /// # Panics
    /// There is no refresh token.
    pub async fn refresh(&mut self) -> Answer {
        let token = self.refresh_token.clone().expect("a refresh token, from a login");
        let answer = self.present(&token).await;
        self.keep(&answer);
        answer
    }

    /// Presents any refresh token, and keeps nothing of the answer.
    pub async fn present(&self, refresh_token: &str) -> Answer {
        self.post(&self.url(Service::Auth, "/auth/refresh"), &json!({"refresh_token": refresh_token})).await
    }

    /// Logs out of this session. The tokens are kept, so that a test can show that they are worth nothing.
    pub async fn log_out(&self) -> Answer {
        self.send(Method::POST, &self.url(Service::Auth, "/auth/logout"), None, &[]).await
    }

    /// Logs out of all sessions.
    pub async fn log_out_everywhere(&self) -> Answer {
        self.send(Method::POST, &self.url(Service::Auth, "/auth/logout-all"), None, &[]).await
    }

    /// Who the auth service says that this person is.
    pub async fn me(&self) -> Answer {
        self.get(&self.url(Service::Auth, "/auth/me")).await
    }

    // The cart service.

    /// A page of the catalogue.
    pub async fn products(&self) -> Answer {
        self.get(&self.url(Service::Cart, "/products")).await
    }

    pub async fn cart(&self) -> Answer {
        self.get(&self.url(Service::Cart, "/cart")).await
    }

    pub async fn add_to_cart(&self, product_id: &str, quantity: i64) -> Answer {
        let body = json!({"product_id": product_id, "quantity": quantity});
        self.post(&self.url(Service::Cart, "/cart/items"), &body).await
    }

    // The order service.

    /// Orders what is in the cart; `key` is the `Idempotency-Key`.
    pub async fn place_order(&self, key: &str) -> Answer {
        self.send(Method::POST, &self.url(Service::Orders, "/orders"), None, &[("Idempotency-Key", key)]).await
    }

    /// Orders as a client does that keeps to the contract: after a 503, again with the same key, for half a minute.
    pub async fn place_order_patiently(&self, key: &str) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.place_order(key).await;
            if answer.status != 503 || started.elapsed() > ORDER_PATIENCE {
                return answer;
            }
            tokio::time::sleep(ORDER_PAUSE).await;
        }
    }

    pub async fn orders(&self) -> Answer {
        self.get(&self.url(Service::Orders, "/orders")).await
    }

    /// Pays with the test processor's card that is always approved.
    pub async fn pay(&self, order_id: &str) -> Answer {
        let url = self.url(Service::Orders, &format!("/orders/{order_id}/pay"));
        self.post(&url, &json!({"method": "test_card"})).await
    }

    pub async fn cancel(&self, order_id: &str) -> Answer {
        self.send(Method::POST, &self.url(Service::Orders, &format!("/orders/{order_id}/cancel")), None, &[]).await
    }

    // Anything.

    pub async fn get(&self, url: &str) -> Answer {
        self.send(Method::GET, url, None, &[]).await
    }

    pub async fn post(&self, url: &str, body: &Value) -> Answer {
        self.send(Method::POST, url, Some(body), &[]).await
    }

    pub async fn put(&self, url: &str, body: &Value) -> Answer {
        self.send(Method::PUT, url, Some(body), &[]).await
    }

    pub async fn delete(&self, url: &str) -> Answer {
        self.send(Method::DELETE, url, None, &[]).await
    }

    /// Sends a request with the access token and the cookies that this person has, and reads the answer.
    ///
    /// # Panics
    /// There is no answer. See [`Person::try_send`].
    pub async fn send(&self, method: Method, url: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Answer {
        let answer = self.try_send(method.clone(), url, body, headers).await;
        answer.unwrap_or_else(|error| panic!("{method} {url} has no answer: {error:?}"))
    }

    /// As [`Person::send`], where a service may be down. `headers` win over what is sent by itself; an empty
    /// `Authorization` sends none.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn try_send(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, url);
        let given = |name: &str| headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
        if let Some(token) = self.access_token.as_ref().filter(|_| !given(AUTHORIZATION.as_str())) {
            request = request.bearer_auth(token);
        }
        if let Some(cookies) = self.cookie_header().filter(|_| !given(COOKIE.as_str())) {
            request = request.header(COOKIE, cookies);
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            remember_fields(body);
            request = request.json(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        remember_fields(&body);
        self.keep_cookies(&headers);
        Ok(Answer { status, headers, body })
    }

    fn keep(&mut self, answer: &Answer) {
        let field = |name: &str| answer.body[name].as_str().map(str::to_owned);
        if answer.status == 200 {
            self.access_token = field("access_token");
            self.refresh_token = field("refresh_token");
            self.session_id = field("session_id");
        }
    }

    /// The cookies, as name and value. Browsers keep them by host, not by port: the three local services share them.
    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cookie_header(&self) -> Option<Vec<u8>> {
        let pairs: Vec<String> = self.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| among_others(&pairs.join("; ")))
    }

    fn keep_cookies(&self, headers: &HeaderMap) {
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        for text in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let Some((name, value)) = pair.split_once('=') else { continue };
            if value.is_empty() || attributes.to_ascii_lowercase().contains("max-age=0") {
                cookies.remove(name);
            } else {
                secrets::remember(value);
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Remembers the secrets in a body, however deep they lie.
fn remember_fields(body: &Value) {
    match body {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(secret) if SECRET_FIELDS.contains(&name.as_str()) => secrets::remember(secret),
                    _ => remember_fields(value),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(remember_fields),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn person() -> Person {
        let addresses =
            std::array::from_fn(|service| vec![format!("http://{service}-0"), format!("http://{service}-1")]);
        Person::new(Doors::new(addresses, 1), Credentials::made_up("somebody"))
    }

    #[test]
    fn requests_knock_at_each_services_doors_in_turn() {
        let person = person();
        let asked = |service| person.url(service, "/");
        assert_eq!([asked(Service::Cart), asked(Service::Cart)], ["http://1-1/", "http://1-0/"]);
        assert_eq!(person.other_device().url(Service::Auth, "/"), "http://0-1/");
        assert_eq!([asked(Service::Auth), asked(Service::Cart)], ["http://0-0/", "http://1-1/"]);
    }

    fn set_cookies(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (SET_COOKIE, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_cookie_is_kept_until_it_is_taken_back() {
        let person = person();
        person.keep_cookies(&set_cookies(&["cart=0123456789abcdef; Path=/; HttpOnly", "theme=dark"]));
        assert_eq!(person.cookie_header(), Some(among_others("cart=0123456789abcdef; theme=dark")));
        assert!(secrets::secrets().iter().any(|secret| secret == "0123456789abcdef"));
        person.keep_cookies(&set_cookies(&["cart=; Max-Age=0; Path=/"]));
        assert_eq!(person.cookie_header(), Some(among_others("theme=dark")));
    }

    #[test]
    fn secrets_in_a_body_are_remembered_however_deep() {
        remember_fields(&json!({"user": [{"new_password": "hidden-password-1"}], "note": "not-a-secret-1"}));
        let known = secrets::secrets();
        assert!(known.iter().any(|secret| secret == "hidden-password-1"));
        assert!(!known.iter().any(|secret| secret == "not-a-secret-1"));
    }
}
