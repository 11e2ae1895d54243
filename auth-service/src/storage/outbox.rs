//! Clients that are to be told of the end of a session, until they were told: written together with that end, claimed by one
//! replica at a time, and kept for a person where a client would not listen.

use std::collections::BTreeMap;

use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::session::{SessionId, UserId};
use shared::{in_transaction, on_database};
use sqlx::FromRow;
use uuid::Uuid;

use super::grants::StoredSession;

/// One client that is to be told of the end of one session.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Delivery {
    pub id: Uuid,
    pub client_id: String,
    #[sqlx(try_from = "String")]
    pub session: StoredSession,
    pub user_id: UserId,
    /// Where to and how signed, as the client had it at the end.
    pub uri: String,
    pub alg: String,
    /// Whether nobody but the client itself has named the address.
    pub own_claim: bool,
    pub created_at: Timestamp,
    /// How often it was tried, the attempt under way included.
    pub attempts: i64,
    /// Not tried before.
    pub next_at: Timestamp,
    /// It is not tried any more.
    pub dead_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// The columns by name, never `*`: PostgreSQL refuses a prepared `*` once a newer release has added a column.
macro_rules! columns {
    () => {
        "id, client_id, session, user_id, uri, alg, own_claim, created_at, attempts, next_at, dead_at, last_error"
    };
}

/// Which deliveries a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    Waiting,
    Dead,
}

/// Adds a delivery together with the end that it tells of: both stand, or neither.
///
/// # Errors
/// The database does not answer.
pub async fn insert(transaction: &mut Transaction, new: &Delivery) -> Result<(), sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query(concat!(
            "INSERT INTO logout_deliveries (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
        ))
        .bind(new.id)
        .bind(&new.client_id)
        .bind(new.session.0.to_string())
        .bind(new.user_id)
        .bind(&new.uri)
        .bind(&new.alg)
        .bind(new.own_claim)
        .bind(new.created_at)
        .bind(new.attempts)
        .bind(new.next_at)
        .bind(new.dead_at)
        .bind(&new.last_error)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// The clients that are to be told of something now, and whether one has registered itself ([`Delivery::own_claim`], of any
/// of its deliveries).
///
/// # Errors
/// The database does not answer.
pub async fn clients_to_tell(database: &Database, now: Timestamp) -> Result<BTreeMap<String, bool>, sqlx::Error> {
    let clients: Vec<(String, bool)> = on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT DISTINCT client_id, own_claim FROM logout_deliveries WHERE dead_at IS NULL AND next_at <= $1",
        )
        .bind(now)
        .fetch_all(pool)
        .await
    })?;
    Ok(clients.into_iter().fold(BTreeMap::new(), |mut known, (id, own_claim)| {
        *known.entry(id).or_default() |= own_claim;
        known
    }))
}

/// Takes deliveries of a client that are due, and counts the attempt. Nobody else takes them before `until`.
///
/// # Errors
/// The database does not answer.
pub async fn claim(
    database: &Database,
    client: &str,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Delivery>, sqlx::Error> {
    // Of two at once, the second waits for the row, looks at it again, and finds it taken.
    on_database!(database, |pool| {
        sqlx::query_as(concat!(
            "UPDATE logout_deliveries SET next_at = $3, attempts = attempts + 1 WHERE dead_at IS NULL AND next_at <= $2 AND id IN
               (SELECT id FROM logout_deliveries WHERE client_id = $1 AND dead_at IS NULL AND next_at <= $2 ORDER BY next_at LIMIT $4)
             RETURNING ",
            columns!()
        ))
        .bind(client)
        .bind(now)
        .bind(until)
        .bind(limit)
        .fetch_all(pool)
        .await
    })
}

/// The client was told: nothing is left to do. Of no effect once another replica has taken the delivery.
///
/// # Errors
/// The database does not answer.
pub async fn remove(database: &Database, tried: &Delivery) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query("DELETE FROM logout_deliveries WHERE id = $1 AND attempts = $2")
            .bind(tried.id)
            .bind(tried.attempts)
            .execute(pool)
            .await
            .map(|_| ())
    })
}

/// The attempt failed: the next one is not before `next_at`, or, with `dead_at`, there is none. Of no effect once another
/// replica has taken the delivery.
///
/// # Errors
/// The database does not answer.
pub async fn put_off(
    database: &Database,
    tried: &Delivery,
    next_at: Timestamp,
    dead_at: Option<Timestamp>,
    error: &str,
) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "UPDATE logout_deliveries SET next_at = $3, dead_at = $4, last_error = $5 WHERE id = $1 AND attempts = $2",
        )
        .bind(tried.id)
        .bind(tried.attempts)
        .bind(next_at)
        .bind(dead_at)
        .bind(error)
        .execute(pool)
        .await
        .map(|_| ())
    })
}

/// Has a delivery that waits, or is not tried any more, tried from the beginning. `None` when there is no such one.
///
/// # Errors
/// The database does not answer.
pub async fn retry(transaction: &mut Transaction, id: Uuid, now: Timestamp) -> Result<Option<Delivery>, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query_as(concat!(
            "UPDATE logout_deliveries SET next_at = $2, attempts = 0, dead_at = NULL WHERE id = $1 RETURNING ",
            columns!()
        ))
        .bind(id)
        .bind(now)
        .fetch_optional(connection)
        .await
    })
}

/// Whether a client is still to be told of the end of a session for the first time.
///
/// # Errors
/// The database does not answer.
pub async fn is_untold(database: &Database, client: &str, session: SessionId) -> Result<bool, sqlx::Error> {
    let (untold,): (i64,) = on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT COUNT(*) FROM logout_deliveries \
             WHERE client_id = $1 AND session = $2 AND dead_at IS NULL AND last_error IS NULL",
        )
        .bind(client)
        .bind(session.to_string())
        .fetch_one(pool)
        .await
    })?;
    Ok(untold > 0)
}

/// How many wait.
///
/// # Errors
/// The database does not answer.
pub async fn count_waiting(database: &Database) -> Result<i64, sqlx::Error> {
    let (count,): (i64,) = on_database!(database, |pool| {
        sqlx::query_as("SELECT COUNT(*) FROM logout_deliveries WHERE dead_at IS NULL").fetch_one(pool).await
    })?;
    Ok(count)
}

/// Forgets at most `limit` of those that died before `before`, and answers how many.
///
/// # Errors
/// The database does not answer.
pub async fn forget_dead(database: &Database, before: Timestamp, limit: i64) -> Result<u64, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM logout_deliveries WHERE id IN
               (SELECT id FROM logout_deliveries WHERE dead_at < $1 ORDER BY dead_at LIMIT $2)",
        )
        .bind(before)
        .bind(limit)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}

/// A page of deliveries, the newest first, before one or from the newest.
///
/// # Errors
/// The database does not answer.
pub async fn page(
    database: &Database,
    which: Which,
    before: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<Delivery>, sqlx::Error> {
    let (at, id) = before.unwrap_or((Timestamp::from_micros(i64::MAX), Uuid::max()));
    let (waiting, dead) = (which != Which::Dead, which != Which::Waiting);
    on_database!(database, |pool| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM logout_deliveries
             WHERE (created_at < $1 OR (created_at = $1 AND id < $2)) AND ((dead_at IS NULL AND $3) OR (dead_at IS NOT NULL AND $4))
             ORDER BY created_at DESC, id DESC LIMIT $5"
        ))
        .bind(at)
        .bind(id)
        .bind(waiting)
        .bind(dead)
        .bind(limit)
        .fetch_all(pool)
        .await
    })
}
