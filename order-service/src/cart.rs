//! The cart service, as this service calls it. Owns the calls, their time limits and what their answers mean; never
//! follows a redirect, and never decides about an order.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use shared::calls;
use url::Url;
use uuid::Uuid;

use crate::rules::lines::{OrderLine, Reservation};
use crate::rules::money::Money;

const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// For a whole call, answer included.
const PATIENCE: Duration = Duration::from_secs(3);
/// The largest answer that is read.
const MAX_ANSWER: usize = 1024 * 1024;

/// What the cart service is called with in the user's name, an access token or their own cookie: never looked into, never
/// printed.
#[derive(Clone)]
pub struct Authorization(HeaderName, HeaderValue);

impl Authorization {
    /// None for a text that fits in no header.
    pub fn bearer(token: &str) -> Option<Self> {
        Self::sensitive(AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// None for a text that fits in no header.
    pub fn cookie(cookie: &str) -> Option<Self> {
        Self::sensitive(COOKIE, cookie)
    }

    fn sensitive(name: HeaderName, text: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(text).ok()?;
        value.set_sensitive(true);
        Some(Self(name, value))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization([secret])")
    }
}

/// Why the cart service holds no stock. Final: a repeat may be answered otherwise, but this attempt is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, the cart service's own where it is known here.
    pub code: &'static str,
    pub detail: String,
    /// What exactly is at fault: pointer and detail.
    pub errors: Vec<(String, String)>,
}

/// What stands against a call's having been done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CartError {
    /// The stock is not held, by the cart service's rules.
    #[error("the cart service refuses: {}", .0.code)]
    Refused(Refusal),
    /// The hold has ended, and its stock is back.
    #[error("the hold has ended")]
    Released,
    /// The cart service does not take the user's credential (any more).
    #[error("the cart service refuses the user's credential")]
    Unauthenticated,
    /// No answer, or none that makes sense: what was done is not known.
    #[error("the cart service does not answer: {0}")]
    Unavailable(String),
}

/// What is asked of the cart service: the name in metrics, and the method and path in its documents.
struct Call {
    name: &'static str,
    method: Method,
    path: &'static str,
}

const SHOW: Call = Call { name: "show", method: Method::GET, path: "/cart" };
const CHECK_OUT: Call = Call { name: "check_out", method: Method::POST, path: "/checkouts" };
const CONFIRM: Call = Call { name: "confirm", method: Method::POST, path: "/checkouts/{id}/confirm" };
const RELEASE: Call = Call { name: "release", method: Method::DELETE, path: "/checkouts/{id}" };

/// A copy shares the connections.
#[derive(Clone)]
pub struct CartClient {
    client: Client,
    base: Url,
    secret: reqwest::header::HeaderValue,
}

impl CartClient {
    /// # Errors
    /// The address is no `http` one, the secret is shorter than 32 characters or no header value.
    pub fn new(base: Url, secret: &SecretString) -> anyhow::Result<Self> {
        anyhow::ensure!(matches!(base.scheme(), "http" | "https"), "CART_URL: expected http:// or https://");
        let secret = secret.expose_secret();
        anyhow::ensure!(secret.len() >= 32, "CHECKOUT_SECRET: expected at least 32 characters");
        let mut secret = reqwest::header::HeaderValue::from_str(secret).context("CHECKOUT_SECRET")?;
        secret.set_sensitive(true);
        let client = Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .timeout(PATIENCE)
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("order-service/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, base, secret })
    }

    /// What is in the user's cart, and what it costs now.
    pub async fn show(&self, user: &Authorization) -> Result<CartContent, CartError> {
        let mut headers = HeaderMap::new();
        headers.insert(user.0.clone(), user.1.clone());
        let answer = self.call(&SHOW, "", headers).await?;
        match answer.status {
            StatusCode::OK => answer.read(),
            StatusCode::UNAUTHORIZED => Err(CartError::Unauthenticated),
            StatusCode::CONFLICT => Err(answer.refusal()),
            _ => Err(answer.unexpected()),
        }
    }

    /// Has the stock of what is in the user's cart held for `order`; asked again for the same order, it is the same hold.
    pub async fn check_out(&self, order: Uuid, user: &Authorization) -> Result<Reservation, CartError> {
        let mut headers = HeaderMap::new();
        headers.insert(user.0.clone(), user.1.clone());
        headers.insert("idempotency-key", text_header(&order.to_string())?);
        let answer = self.call(&CHECK_OUT, "", headers).await?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => answer.held(),
            StatusCode::UNAUTHORIZED => Err(CartError::Unauthenticated),
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => Err(answer.refusal()),
            _ => Err(answer.unexpected()),
        }
    }

    /// Tells that the order is placed, so that the hold does not end by itself. Telling it twice is once.
    pub async fn confirm(&self, checkout: &str) -> Result<(), CartError> {
        let answer = self.call(&CONFIRM, checkout, HeaderMap::new()).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            // A hold that the cart service no longer knows ended long ago.
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Err(CartError::Released),
            _ => Err(answer.unexpected()),
        }
    }

    /// Gives the stock back. What has no stock any more is no error.
    pub async fn release(&self, checkout: &str) -> Result<(), CartError> {
        let answer = self.call(&RELEASE, checkout, HeaderMap::new()).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Ok(()),
            _ => Err(answer.unexpected()),
        }
    }

    async fn call(&self, call: &Call, checkout: &str, headers: HeaderMap) -> Result<Answer, CartError> {
        let started = Instant::now();
        let answer = self.send(call, checkout, headers).await;
        let outcome = answer.as_ref().map_or("none", |answer| class(answer.status));
        metrics::histogram!("roam_cart_call_seconds", "call" => call.name, "outcome" => outcome)
            .record(started.elapsed().as_secs_f64());
        answer
    }

    async fn send(&self, call: &Call, checkout: &str, mut headers: HeaderMap) -> Result<Answer, CartError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| CartError::Unavailable("its address takes no path".to_owned()))?
            .pop_if_empty()
            .extend(call.path.split('/').skip(1).map(|part| if part == "{id}" { checkout } else { part }));
        headers.insert("service-secret", self.secret.clone());
        headers.insert(ACCEPT, reqwest::header::HeaderValue::from_static("application/json"));
        let request = self.client.request(call.method.clone(), url).headers(headers).build().map_err(unavailable)?;
        let again = request.try_clone();
        let response = match (calls::send(&self.client, request, call.path).await, again) {
            // A connection that had rested was closed at the moment when it was taken up again. Every call may be repeated: a
            // checkout by its key, and telling the rest twice is once.
            (Err(error), Some(again)) if !error.is_timeout() && !error.is_connect() => {
                calls::send(&self.client, again, call.path).await
            }
            (sent, _) => sent,
        };
        let response = response.map_err(unavailable)?;
        Ok(Answer { status: response.status(), body: bounded_body(response).await? })
    }
}

/// What is in a cart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CartContent {
    pub lines: Vec<OrderLine>,
    pub total: Money,
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

/// What a checkout's answer says, as far as it matters here.
#[derive(Deserialize)]
struct Checkout {
    id: Uuid,
    status: CheckoutStatus,
    lines: Vec<OrderLine>,
    total: Money,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum CheckoutStatus {
    Held,
    Confirmed,
    Released,
}

#[derive(Deserialize)]
struct Refused {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<FieldAtFault>,
}

#[derive(Deserialize)]
struct FieldAtFault {
    pointer: String,
    detail: String,
}

impl Answer {
    fn held(&self) -> Result<Reservation, CartError> {
        let checkout: Checkout = self.read()?;
        if matches!(checkout.status, CheckoutStatus::Released) {
            return Err(CartError::Released);
        }
        let reservation =
            Reservation { checkout_id: checkout.id.to_string(), lines: checkout.lines, total: checkout.total };
        reservation.check().map_err(|mistake| CartError::Unavailable(format!("its sums are wrong: {mistake}")))?;
        Ok(reservation)
    }

    fn refusal(&self) -> CartError {
        const KNOWN: [&str; 3] = ["cart_empty", "insufficient_stock", "total_too_large"];
        match self.read::<Refused>() {
            Err(unreadable) => unreadable,
            Ok(refused) => {
                let code = KNOWN.into_iter().find(|known| *known == refused.code).unwrap_or("cart_refused");
                let errors = refused.errors.into_iter().map(|fault| (fault.pointer, fault.detail)).collect();
                CartError::Refused(Refusal { code, detail: refused.detail, errors })
            }
        }
    }

    fn unexpected(&self) -> CartError {
        CartError::Unavailable(format!("it answers {}", self.status))
    }

    fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CartError> {
        let unreadable = |error| CartError::Unavailable(format!("its answer cannot be read: {error}"));
        serde_json::from_slice(&self.body).map_err(unreadable)
    }
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, CartError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(CartError::Unavailable("its answer is too large".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn text_header(text: &str) -> Result<reqwest::header::HeaderValue, CartError> {
    reqwest::header::HeaderValue::from_str(text).map_err(|error| CartError::Unavailable(error.to_string()))
}

fn unavailable(error: reqwest::Error) -> CartError {
    let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
    CartError::Unavailable(format!("{}{cause}", error.without_url()))
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "done",
        400..=499 => "refused",
        _ => "failed",
    }
}
