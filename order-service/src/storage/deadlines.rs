//! Orders that are not paid in time.

use shared::clock::Timestamp;
use shared::database::Database;
use shared::on_database;
use sqlx::Error;

use crate::rules::order_status::Transition;

/// Moves placed orders whose time to be paid is over by the legal `transition`, at most `limit`, the longest overdue first.
/// Answers how many. A payment that begins at the same moment and this statement are each one guarded step: one of them
/// moves the order.
pub async fn begin_cancelling(
    database: &Database,
    transition: Transition,
    now: Timestamp,
    limit: u32,
) -> Result<u64, Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "UPDATE orders SET status = $2, cancellation_reason = 'payment_overdue', next_attempt_at = $3, \
             leased_until = 0, failures = 0 \
             WHERE status = $1 AND payment_due_at <= $3 AND id IN ( \
                 SELECT id FROM orders WHERE status = 'placed' AND payment_due_at <= $3 \
                 ORDER BY payment_due_at, id LIMIT $4)",
        )
        .bind(transition.from().as_str())
        .bind(transition.to().as_str())
        .bind(now)
        .bind(i64::from(limit))
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}

/// Gives placed orders that have no deadline this one: the release before has placed them.
pub async fn set_missing(database: &Database, payment_due_at: Timestamp) -> Result<u64, Error> {
    on_database!(database, |pool| {
        sqlx::query("UPDATE orders SET payment_due_at = $1 WHERE status = 'placed' AND payment_due_at IS NULL")
            .bind(payment_due_at)
            .execute(pool)
            .await
            .map(|done| done.rows_affected())
    })
}
