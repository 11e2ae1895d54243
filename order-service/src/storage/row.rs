//! A row of `orders`, and how it is read.

use serde::de::DeserializeOwned;
use shared::clock::Timestamp;
use shared::session::UserId;
use uuid::Uuid;

use crate::rules::lines::Reservation;
use crate::rules::money::{Currency, Money};
use crate::rules::order::{Order, Payment};
use crate::rules::order_status::OrderStatus;
use crate::rules::payment_method::PaymentMethod;
use crate::rules::request::OrderRequest;

/// The columns of [`Row`], in one text for all queries.
macro_rules! columns {
    () => {
        "id, user_id, request_hash, status, note, shipping_address, checkout_id, lines, total, currency, \
         payment_attempt, payment_method, created_at, placed_at, payment_due_at, paid_at, cancelled_at, \
         cancellation_reason, next_attempt_at, failures"
    };
}
pub(super) use columns;

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    user_id: UserId,
    request_hash: Vec<u8>,
    status: String,
    note: Option<String>,
    shipping_address: Option<String>,
    checkout_id: Option<String>,
    lines: Option<String>,
    total: Option<i64>,
    currency: Option<String>,
    payment_attempt: i64,
    payment_method: Option<String>,
    created_at: Timestamp,
    placed_at: Option<Timestamp>,
    payment_due_at: Option<Timestamp>,
    paid_at: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
    cancellation_reason: Option<String>,
    next_attempt_at: Timestamp,
    failures: i64,
}

impl TryFrom<Row> for Order {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let reservation = match (row.checkout_id, row.lines, row.total, row.currency) {
            (Some(checkout_id), Some(lines), Some(amount), Some(currency)) => {
                let currency: Currency = currency.parse().map_err(unreadable)?;
                Some(Reservation { checkout_id, lines: json(&lines)?, total: Money { amount, currency } })
            }
            _ => None,
        };
        Ok(Self {
            id: row.id,
            user: row.user_id,
            status: row.status.parse::<OrderStatus>().map_err(unreadable)?,
            request: OrderRequest {
                note: row.note.map(TryInto::try_into).transpose().map_err(unreadable)?,
                shipping_address: row.shipping_address.as_deref().map(json).transpose()?,
            },
            request_hash: row.request_hash,
            reservation,
            payment: Payment {
                attempt: row.payment_attempt,
                method: row.payment_method.map(PaymentMethod::try_from).transpose().map_err(unreadable)?,
            },
            created_at: row.created_at,
            placed_at: row.placed_at,
            payment_due_at: row.payment_due_at,
            paid_at: row.paid_at,
            cancelled_at: row.cancelled_at,
            cancellation_reason: row.cancellation_reason.map(|text| text.parse()).transpose().map_err(unreadable)?,
            next_attempt_at: row.next_attempt_at,
            failures: u32::try_from(row.failures).map_err(unreadable)?,
        })
    }
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(unreadable)
}

fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
