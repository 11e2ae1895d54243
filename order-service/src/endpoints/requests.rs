//! What the endpoints read from a request beside its JSON.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::{FromRequest, HttpRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::problem::Problem;
use shared::request::Json;

use crate::rules::cursor::OrderCursor;
use crate::rules::idempotency_key::IdempotencyKey;

/// The header `Idempotency-Key`, exactly once.
pub(super) struct KeyHeader(pub(super) IdempotencyKey);

impl FromRequest for KeyHeader {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(read_key(request.headers()).map(Self))
    }
}

fn read_key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let mut values = headers.get_all("idempotency-key");
    let refused = |code, detail: &str| Problem::bad_request(code, detail).at("#header/Idempotency-Key", detail);
    let Some(value) = values.next() else {
        return Err(refused(
            "idempotency_key_missing",
            "send an Idempotency-Key, so that a repeat places no second order",
        ));
    };
    let key = IdempotencyKey::parse(value.as_bytes()).filter(|_| values.next().is_none());
    key.ok_or_else(|| {
        refused("invalid_idempotency_key", "an Idempotency-Key is 1 to 255 visible ASCII characters, once")
    })
}

/// A JSON body, or the default where no body was sent.
pub(super) struct OptionalJson<T>(pub(super) T);

impl<T: DeserializeOwned + Default + 'static> FromRequest for OptionalJson<T> {
    type Error = Problem;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // Without a length or a transfer coding there is no body (RFC 9112, section 6.3).
        let length = request.headers().get(CONTENT_LENGTH);
        if length.is_none_or(|length| length == "0") && !request.headers().contains_key(TRANSFER_ENCODING) {
            return Box::pin(ready(Ok(Self(T::default()))));
        }
        let body = Json::<T>::from_request(request, payload);
        Box::pin(async move { body.await.map(|Json(body)| Self(body)) })
    }
}

/// Which page of a list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]{32}$")]
    cursor: Option<String>,
}

impl Page {
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(20);
        let refused = || Problem::bad_request("invalid_query", "limit is 1 to 100").at("#query/limit", "1 to 100");
        (1..=100).contains(&limit).then_some(limit).ok_or_else(refused)
    }

    pub(super) fn cursor(&self) -> Result<Option<OrderCursor>, Problem> {
        let refused = |_| {
            Problem::bad_request("invalid_cursor", "the cursor is not one that a page gave out")
                .at("#query/cursor", "pass the `next` of a page as it is")
        };
        self.cursor.as_deref().map(str::parse).transpose().map_err(refused)
    }
}
