//! The test processor's books.

use shared::clock::Timestamp;
use shared::database::Database;
use shared::on_database;
use sqlx::Error;
use uuid::Uuid;

use crate::rules::money::Money;

/// One charge that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Charge {
    pub order_id: Uuid,
    /// Which payment of the order.
    pub attempt: i64,
    pub amount: i64,
    pub currency: String,
    /// `approved` or `declined`.
    pub outcome: String,
    pub charged_at: Timestamp,
    pub refunded_at: Option<Timestamp>,
}

/// Records a charge, unless the attempt is on record already or the order's money was taken by another one.
pub async fn record(
    database: &Database,
    (order_id, attempt): (Uuid, i64),
    amount: Money,
    outcome: &str,
    now: Timestamp,
) -> Result<(), Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "INSERT INTO test_charges (order_id, attempt, amount, currency, outcome, charged_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(order_id)
        .bind(attempt)
        .bind(amount.amount)
        .bind(amount.currency.as_str())
        .bind(outcome)
        .bind(now)
        .execute(pool)
        .await
        .map(|_| ())
    })
}

/// What became of the order's charges: the one that was approved, else the one of `attempt`.
pub async fn find(database: &Database, (order_id, attempt): (Uuid, i64)) -> Result<Option<Charge>, Error> {
    on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT order_id, attempt, amount, currency, outcome, charged_at, refunded_at FROM test_charges \
             WHERE order_id = $1 AND (attempt = $2 OR outcome = 'approved') ORDER BY outcome LIMIT 1",
        )
        .bind(order_id)
        .bind(attempt)
        .fetch_optional(pool)
        .await
    })
}

/// Gives the order's money back, once; nothing where none was taken.
pub async fn refund(database: &Database, order_id: Uuid, now: Timestamp) -> Result<(), Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "UPDATE test_charges SET refunded_at = $2 \
             WHERE order_id = $1 AND outcome = 'approved' AND refunded_at IS NULL",
        )
        .bind(order_id)
        .bind(now)
        .execute(pool)
        .await
        .map(|_| ())
    })
}

/// Forgets at most `limit` charges that were declined before `before`; answers how many. Money that was taken stays on
/// record.
pub async fn forget_declined(database: &Database, before: Timestamp, limit: u32) -> Result<u64, Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM test_charges WHERE outcome = 'declined' AND (order_id, attempt) IN \
             (SELECT order_id, attempt FROM test_charges WHERE outcome = 'declined' AND charged_at < $1 \
              ORDER BY charged_at LIMIT $2)",
        )
        .bind(before)
        .bind(i64::from(limit))
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}
