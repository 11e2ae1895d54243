//! Orders.

use shared::clock::Timestamp;
use shared::database::Database;
use shared::on_database;
use shared::session::UserId;
use sqlx::Error;
use uuid::Uuid;

use super::row::{Row, columns};
use crate::rules::cursor::OrderCursor;
use crate::rules::idempotency_key::IdempotencyKey;
use crate::rules::lines::Reservation;
use crate::rules::order::Order;
use crate::rules::order_status::Transition;
use crate::rules::payment_method::PaymentMethod;

/// The order, or the attempt, that has this key of the user's.
pub async fn find_by_key(database: &Database, user: UserId, key: &IdempotencyKey) -> Result<Option<Order>, Error> {
    let row: Option<Row> = on_database!(database, |pool| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM orders WHERE user_id = $1 AND idempotency_key = $2"))
            .bind(user)
            .bind(key.as_str())
            .fetch_optional(pool)
            .await
    })?;
    row.map(Order::try_from).transpose()
}

/// A user's placed order. Another user's, or an attempt, is none.
pub async fn find(database: &Database, user: UserId, id: Uuid) -> Result<Option<Order>, Error> {
    let row: Option<Row> = on_database!(database, |pool| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM orders WHERE id = $1 AND user_id = $2 AND placed_at IS NOT NULL"
        ))
        .bind(id)
        .bind(user)
        .fetch_optional(pool)
        .await
    })?;
    row.map(Order::try_from).transpose()
}

/// Any order or attempt, whoever it belongs to: not for a client's id.
pub async fn load(database: &Database, id: Uuid) -> Result<Option<Order>, Error> {
    let row: Option<Row> = on_database!(database, |pool| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM orders WHERE id = $1")).bind(id).fetch_optional(pool).await
    })?;
    row.map(Order::try_from).transpose()
}

/// A user's placed orders, the newest first, at most `limit` of those after `after`.
pub async fn list(
    database: &Database,
    user: UserId,
    after: Option<OrderCursor>,
    limit: u32,
) -> Result<Vec<Order>, Error> {
    let after = after.unwrap_or(OrderCursor { created_at: Timestamp::from_micros(i64::MAX), id: Uuid::max() });
    let rows: Vec<Row> = on_database!(database, |pool| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM orders WHERE user_id = $1 AND placed_at IS NOT NULL AND (created_at, id) < ($2, $3) \
             ORDER BY created_at DESC, id DESC LIMIT $4"
        ))
        .bind(user)
        .bind(after.created_at)
        .bind(after.id)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
    })?;
    rows.into_iter().map(Order::try_from).collect()
}

/// Records what the cart service holds, by the legal `transition`, unless the order has moved on: then `None`.
pub async fn reserve(
    database: &Database,
    order: &Order,
    transition: Transition,
    reservation: &Reservation,
) -> Result<Option<Order>, Error> {
    let lines = serde_json::to_string(&reservation.lines).map_err(|error| Error::Encode(error.into()))?;
    let row: Option<Row> = on_database!(database, |pool| {
        sqlx::query_as(concat!(
            "UPDATE orders SET status = $3, checkout_id = $4, lines = $5, total = $6, currency = $7, \
             next_attempt_at = created_at, failures = 0 WHERE id = $1 AND status = $2 RETURNING ",
            columns!()
        ))
        .bind(order.id)
        .bind(transition.from().as_str())
        .bind(transition.to().as_str())
        .bind(&reservation.checkout_id)
        .bind(lines)
        .bind(reservation.total.amount)
        .bind(reservation.total.currency.as_str())
        .fetch_optional(pool)
        .await
    })?;
    row.map(Order::try_from).transpose()
}

/// Begins the next payment, by the legal `transition`, unless the order has moved on or its time to be paid is over: then
/// `None`.
pub async fn begin_payment(
    database: &Database,
    order: &Order,
    transition: Transition,
    method: PaymentMethod,
    now: Timestamp,
    leased_until: Timestamp,
) -> Result<Option<Order>, Error> {
    let row: Option<Row> = on_database!(database, |pool| {
        sqlx::query_as(concat!(
            "UPDATE orders SET status = $4, payment_attempt = payment_attempt + 1, payment_method = $5, \
             next_attempt_at = $6, leased_until = $7, failures = 0 \
             WHERE id = $1 AND status = $2 AND payment_attempt = $3 \
             AND (payment_due_at IS NULL OR payment_due_at > $6) RETURNING ",
            columns!()
        ))
        .bind(order.id)
        .bind(transition.from().as_str())
        .bind(order.payment.attempt)
        .bind(transition.to().as_str())
        .bind(method.as_str())
        .bind(now)
        .bind(leased_until)
        .fetch_optional(pool)
        .await
    })?;
    row.map(Order::try_from).transpose()
}

/// Moves an order by the legal `transition`, unless it has moved on (to another status, or another payment): then `None`.
/// The time that belongs to the new status is `now`; a failed attempt frees its key; an order that is placed for the first
/// time can be paid until `payment_due_at`; one that is being cancelled is so at its owner's request.
pub async fn advance(
    database: &Database,
    order: &Order,
    transition: Transition,
    now: Timestamp,
    leased_until: Timestamp,
    payment_due_at: Timestamp,
) -> Result<Option<Order>, Error> {
    let row: Option<Row> = on_database!(database, |pool| {
        sqlx::query_as(concat!(
            "UPDATE orders SET status = $4, \
             idempotency_key = CASE WHEN $4 = 'failed' THEN NULL ELSE idempotency_key END, \
             placed_at = CASE WHEN $4 = 'placed' THEN COALESCE(placed_at, $5) ELSE placed_at END, \
             payment_due_at = CASE WHEN $4 = 'placed' THEN COALESCE(payment_due_at, $7) ELSE payment_due_at END, \
             paid_at = CASE WHEN $4 = 'paid' THEN $5 ELSE paid_at END, \
             cancellation_reason = CASE WHEN $4 = 'cancelling' THEN 'requested' ELSE cancellation_reason END, \
             cancelled_at = CASE WHEN $4 = 'cancelled' THEN $5 ELSE cancelled_at END, \
             next_attempt_at = $5, leased_until = $6, failures = 0 \
             WHERE id = $1 AND status = $2 AND payment_attempt = $3 RETURNING ",
            columns!()
        ))
        .bind(order.id)
        .bind(transition.from().as_str())
        .bind(order.payment.attempt)
        .bind(transition.to().as_str())
        .bind(now)
        .bind(leased_until)
        .bind(payment_due_at)
        .fetch_optional(pool)
        .await
    })?;
    row.map(Order::try_from).transpose()
}

/// Takes an order for oneself until `until`, unless somebody has it or it has moved on.
pub async fn take_lease(database: &Database, order: &Order, now: Timestamp, until: Timestamp) -> Result<bool, Error> {
    let taken = on_database!(database, |pool| {
        sqlx::query("UPDATE orders SET leased_until = $4 WHERE id = $1 AND status = $2 AND leased_until <= $3")
            .bind(order.id)
            .bind(order.status.as_str())
            .bind(now)
            .bind(until)
            .execute(pool)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(taken == 1)
}

/// Gives an order back after a failure: recovery looks at it from `next_attempt_at` on, a client's repeat may at once. An
/// order that has moved on is left alone.
pub async fn put_off(database: &Database, order: &Order, next_attempt_at: Timestamp) -> Result<(), Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "UPDATE orders SET leased_until = 0, next_attempt_at = $4, failures = failures + 1 \
             WHERE id = $1 AND status = $2 AND payment_attempt = $3",
        )
        .bind(order.id)
        .bind(order.status.as_str())
        .bind(order.payment.attempt)
        .bind(next_attempt_at)
        .execute(pool)
        .await
        .map(|_| ())
    })
}

/// Orders under way that nobody has and whose time has come, the longest overdue first.
pub async fn due(database: &Database, now: Timestamp, limit: u32) -> Result<Vec<Order>, Error> {
    let rows: Vec<Row> = on_database!(database, |pool| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM orders WHERE status IN ('placing', 'reserved', 'paying', 'cancelling') \
             AND next_attempt_at <= $1 AND leased_until <= $1 ORDER BY next_attempt_at, id LIMIT $2"
        ))
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
    })?;
    rows.into_iter().map(Order::try_from).collect()
}

/// Forgets at most `limit` failed attempts from before `before`; answers how many.
pub async fn forget_failed(database: &Database, before: Timestamp, limit: u32) -> Result<u64, Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM orders WHERE status = 'failed' AND id IN \
             (SELECT id FROM orders WHERE status = 'failed' AND created_at < $1 ORDER BY created_at LIMIT $2)",
        )
        .bind(before)
        .bind(i64::from(limit))
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}

/// Forgets at most `limit` orders that were cancelled before `before` and never paid; answers how many.
pub async fn forget_given_up(database: &Database, before: Timestamp, limit: u32) -> Result<u64, Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM orders WHERE status = 'cancelled' AND paid_at IS NULL AND id IN \
             (SELECT id FROM orders WHERE status = 'cancelled' AND paid_at IS NULL AND cancelled_at < $1 \
              ORDER BY cancelled_at LIMIT $2)",
        )
        .bind(before)
        .bind(i64::from(limit))
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}
