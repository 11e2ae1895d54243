//! Attempts to place an order, and how many of a user's may be unpaid or come to nothing. What is counted and what is written is one step: a
//! user's attempts take turns.

use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::in_transaction;
use shared::session::UserId;
use sqlx::Error;
use uuid::Uuid;

use super::row::{Row, columns};
use crate::rules::idempotency_key::IdempotencyKey;
use crate::rules::order::Order;
use crate::rules::order_limits::{ABANDONED_WITHIN, Counted, Exceeded, OrderLimits};
use crate::rules::request::OrderRequest;

/// An attempt to place an order, before anything is asked of the cart service.
#[derive(Debug)]
pub struct NewOrder<'a> {
    pub id: Uuid,
    pub user: UserId,
    pub key: &'a IdempotencyKey,
    pub request: &'a OrderRequest,
    pub created_at: Timestamp,
    /// Until then the attempt belongs to the request that records it.
    pub leased_until: Timestamp,
    /// From then on recovery looks at it.
    pub next_attempt_at: Timestamp,
}

/// What [`begin`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    New(Box<Order>),
    /// The user has used the key before.
    KeyTaken,
    Refused(Exceeded),
}

/// Records an attempt, where the user's key is free and the limits allow another.
pub async fn begin(database: &Database, new: &NewOrder<'_>, limits: OrderLimits) -> Result<Begun, Error> {
    let mut transaction = database.begin().await?;
    transaction.take_turn(new.user.0).await?;
    let counted = count(&mut transaction, new.user, new.id, new.created_at).await?;
    if let Err(exceeded) = limits.allow_another(counted) {
        // A repeat is no further order, and is answered whatever the limits are.
        let is_repeat = is_taken(&mut transaction, new).await?;
        return Ok(if is_repeat { Begun::KeyTaken } else { Begun::Refused(exceeded) });
    }
    let Some(order) = insert(&mut transaction, new).await? else { return Ok(Begun::KeyTaken) };
    transaction.commit().await?;
    Ok(Begun::New(Box::new(order)))
}

async fn is_taken(transaction: &mut Transaction, new: &NewOrder<'_>) -> Result<bool, Error> {
    let row: Option<(Uuid,)> = in_transaction!(transaction, |connection| {
        sqlx::query_as("SELECT id FROM orders WHERE user_id = $1 AND idempotency_key = $2")
            .bind(new.user)
            .bind(new.key.as_str())
            .fetch_optional(connection)
            .await
    })?;
    Ok(row.is_some())
}

async fn insert(transaction: &mut Transaction, new: &NewOrder<'_>) -> Result<Option<Order>, Error> {
    let address = new.request.shipping_address.as_ref();
    let address = address.map(serde_json::to_string).transpose().map_err(|error| Error::Encode(error.into()))?;
    let row: Option<Row> = in_transaction!(transaction, |connection| {
        sqlx::query_as(concat!(
            "INSERT INTO orders (id, user_id, idempotency_key, request_hash, status, note, shipping_address, \
             payment_attempt, created_at, leased_until, next_attempt_at, failures) \
             VALUES ($1, $2, $3, $4, 'placing', $5, $6, 0, $7, $8, $9, 0) \
             ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING ",
            columns!()
        ))
        .bind(new.id)
        .bind(new.user)
        .bind(new.key.as_str())
        .bind(new.request.hash())
        .bind(new.request.note.clone().map(String::from))
        .bind(address)
        .bind(new.created_at)
        .bind(new.leased_until)
        .bind(new.next_attempt_at)
        .fetch_optional(connection)
        .await
    })?;
    row.map(Order::try_from).transpose()
}

/// What became of a request to go on with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It is the caller's until the lease ends.
    Leased,
    /// Another has it, or it has moved on.
    Busy,
    Refused(Exceeded),
}

/// Takes an attempt that was given up half-way, where as many orders may be unpaid.
pub async fn resume(
    database: &Database,
    order: &Order,
    now: Timestamp,
    until: Timestamp,
    limits: OrderLimits,
) -> Result<Resumed, Error> {
    let mut transaction = database.begin().await?;
    transaction.take_turn(order.user.0).await?;
    let mut others = count(&mut transaction, order.user, order.id, now).await?;
    (others.given_up, others.cancelled, others.failed) = (0, 0, 0);
    if let Err(exceeded) = limits.allow_another(others) {
        return Ok(Resumed::Refused(exceeded));
    }
    let taken = in_transaction!(&mut transaction, |connection| {
        sqlx::query("UPDATE orders SET leased_until = $4 WHERE id = $1 AND status = $2 AND leased_until <= $3")
            .bind(order.id)
            .bind(order.status.as_str())
            .bind(now)
            .bind(until)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    transaction.commit().await?;
    Ok(if taken == 1 { Resumed::Leased } else { Resumed::Busy })
}

/// A user's orders that are not paid or came to nothing, but for one.
async fn count(transaction: &mut Transaction, user: UserId, but_for: Uuid, now: Timestamp) -> Result<Counted, Error> {
    let (unpaid, all, cancelled, failed): (i64, i64, i64, i64) = in_transaction!(transaction, |connection| {
        sqlx::query_as(
            "SELECT COALESCE(SUM(CASE WHEN status <> 'placing' OR leased_until > $3 THEN 1 ELSE 0 END), 0), COUNT(*), \
                 (SELECT COUNT(*) FROM orders WHERE user_id = $1 AND created_at > $4 AND paid_at IS NULL \
                  AND status IN ('cancelling', 'cancelled')), \
                 (SELECT COUNT(*) FROM orders WHERE user_id = $1 AND created_at > $4 AND status = 'failed') \
             FROM orders WHERE user_id = $1 AND id <> $2 AND status IN ('placing', 'reserved', 'placed', 'paying')",
        )
        .bind(user)
        .bind(but_for)
        .bind(now)
        .bind(now - ABANDONED_WITHIN)
        .fetch_one(connection)
        .await
    })?;
    Ok(Counted { unpaid, given_up: all - unpaid, cancelled, failed })
}
