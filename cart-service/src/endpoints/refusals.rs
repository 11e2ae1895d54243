//! How a refusal is worded: the problem for each error of storage and rules, and the answers that the documents name.

use shared::problem::Problem;
use utoipa::IntoResponses;

use crate::rules::cart::Refusal;
use crate::rules::catalogue::InvalidParameter;
use crate::rules::money::AmountOutOfRange;
use crate::storage::carts::ChangeError;
use crate::storage::checkouts::CheckoutError;

impl From<InvalidParameter> for Problem {
    fn from(InvalidParameter { name, detail }: InvalidParameter) -> Self {
        Self::bad_request("invalid_query", format!("{name}: {detail}")).at(format!("#query/{name}"), detail)
    }
}

impl From<AmountOutOfRange> for Problem {
    fn from(error: AmountOutOfRange) -> Self {
        Self::conflict("total_too_large", format!("the cart cannot be priced: {error}"))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::LineTooLarge => Self::invalid_field("/quantity", detail),
            Refusal::CartFull => Self::conflict("cart_full", detail),
            Refusal::InsufficientStock { .. } => {
                Self::conflict("insufficient_stock", detail.clone()).at("/quantity", detail)
            }
            Refusal::TotalTooLarge(error) => error.into(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NoSuchProduct => Self::not_found("product"),
            ChangeError::Refused(refusal) => refusal.into(),
            ChangeError::Database(error) => error.into(),
        }
    }
}

impl From<CheckoutError> for Problem {
    fn from(error: CheckoutError) -> Self {
        let detail = error.to_string();
        match error {
            CheckoutError::CartEmpty => Self::conflict("cart_empty", detail),
            CheckoutError::InsufficientStock(short) => {
                let problem = Self::conflict("insufficient_stock", detail);
                short.into_iter().fold(problem, |problem, short| {
                    problem.at(
                        format!("/lines/{}", short.product),
                        format!("{}: only {} are left", short.name, short.stock),
                    )
                })
            }
            CheckoutError::TotalTooLarge(error) => error.into(),
            CheckoutError::NoSuchCheckout => Self::not_found("checkout"),
            CheckoutError::IllegalMove(_) => Self::conflict("checkout_released", detail),
            CheckoutError::Database(error) => error.into(),
        }
    }
}

/// 503: the database does not answer.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "A part of the service does not answer; nothing was changed",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "only the documents are made from it")]
pub(super) struct Unavailable(#[to_schema] Problem);

/// 429: guests of this network have written too much.
#[derive(IntoResponses)]
#[response(
    status = 429,
    description = "`too_many_requests`: guests of this network have changed their carts too often; who has signed in may go on",
    content_type = "application/problem+json",
    headers(("Retry-After" = u64, description = "Seconds to wait"))
)]
#[expect(dead_code, reason = "only the documents are made from it")]
pub(super) struct TooManyWrites(#[to_schema] Problem);

/// What the caller's token may be answered with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only the documents are made from it")]
pub(super) enum TokenRefused {
    #[response(status = 400, description = "The request cannot be read", content_type = "application/problem+json")]
    Unreadable(#[to_schema] Problem),
    #[response(
        status = 401,
        description = "The access token is missing or refused",
        content_type = "application/problem+json",
        headers(("WWW-Authenticate" = String, description = "The challenge (RFC 6750)"))
    )]
    Unauthorized(#[to_schema] Problem),
}

/// What a JSON body may be answered with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only the documents are made from it")]
pub(super) enum BodyRefused {
    #[response(status = 413, description = "The body is too large", content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    #[response(
        status = 415,
        description = "The body is not application/json",
        content_type = "application/problem+json"
    )]
    NotJson(#[to_schema] Problem),
    #[response(status = 422, description = "A field is refused", content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
}

/// 404.
#[derive(IntoResponses)]
#[response(status = 404, description = "There is no such thing", content_type = "application/problem+json")]
#[expect(dead_code, reason = "only the documents are made from it")]
pub(super) struct NotFound(#[to_schema] Problem);

/// 403: the service credential is missing or wrong.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "The service credential is missing or wrong",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "only the documents are made from it")]
pub(super) struct NotTheOrderService(#[to_schema] Problem);
