//! What clients were given in a session, until it ends.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::session::{SessionId, UserId};
use shared::{in_transaction, on_database};
use sqlx::FromRow;
use uuid::Uuid;

use crate::scopes::Words;

/// A grant's name: 128 random bits. In the refresh token, and in the access token, where revoking it revokes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct GrantId(Uuid);

impl GrantId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// As the revocation feed names it.
    pub fn number(self) -> u128 {
        self.0.as_u128()
    }
}

impl From<u128> for GrantId {
    fn from(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for GrantId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

/// One authorization of a client in a session.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Grant {
    pub id: GrantId,
    #[sqlx(try_from = "String")]
    pub session: StoredSession,
    pub user_id: UserId,
    pub client_id: String,
    #[sqlx(try_from = "String")]
    pub scope: Words,
    #[sqlx(try_from = "String")]
    pub audiences: Words,
    /// JSON of the claims that were asked for one by one.
    pub claims: String,
    pub dpop_jkt: Option<String>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// A session's id as it stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSession(pub SessionId);

impl TryFrom<String> for StoredSession {
    type Error = shared::session::InvalidSessionId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, session, user_id, client_id, scope, audiences, claims, dpop_jkt, created_at, ended_at FROM grants ",
            $rest
        )
    };
}

/// Adds a grant. It is looked at `look_at` whether its session still lives.
///
/// # Errors
/// The database does not answer.
pub async fn insert(database: &Database, grant: &Grant, look_at: Timestamp) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "INSERT INTO grants (id, session, user_id, client_id, scope, audiences, claims, dpop_jkt, created_at, ended_at, look_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(grant.id)
        .bind(grant.session.0.to_string())
        .bind(grant.user_id)
        .bind(&grant.client_id)
        .bind(grant.scope.to_string())
        .bind(grant.audiences.to_string())
        .bind(&grant.claims)
        .bind(&grant.dpop_jkt)
        .bind(grant.created_at)
        .bind(grant.ended_at)
        .bind(look_at)
        .execute(pool)
        .await
        .map(|_| ())
    })
}

/// # Errors
/// The database does not answer.
pub async fn by_id(database: &Database, id: GrantId) -> Result<Option<Grant>, sqlx::Error> {
    on_database!(database, |pool| sqlx::query_as(select!("WHERE id = $1")).bind(id).fetch_optional(pool).await)
}

/// A user's grants that have not ended, the newest first.
///
/// # Errors
/// The database does not answer.
pub async fn open_of_user(database: &Database, user: UserId) -> Result<Vec<Grant>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(select!("WHERE user_id = $1 AND ended_at IS NULL ORDER BY created_at DESC, id"))
            .bind(user)
            .fetch_all(pool)
            .await
    })
}

/// A client's grants that have not ended: at most `limit`.
///
/// # Errors
/// The database does not answer.
pub async fn open_of_client(database: &Database, client: &str, limit: i64) -> Result<Vec<Grant>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(select!("WHERE client_id = $1 AND ended_at IS NULL ORDER BY id LIMIT $2"))
            .bind(client)
            .bind(limit)
            .fetch_all(pool)
            .await
    })
}

/// A session's grants that have not ended.
///
/// # Errors
/// The database does not answer.
pub async fn open_of_session(database: &Database, session: SessionId) -> Result<Vec<Grant>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(select!("WHERE session = $1 AND ended_at IS NULL ORDER BY created_at, id"))
            .bind(session.to_string())
            .fetch_all(pool)
            .await
    })
}

/// Whether the client has another grant in the session that has not ended.
///
/// # Errors
/// The database does not answer.
pub async fn has_others(transaction: &mut Transaction, grant: &Grant) -> Result<bool, sqlx::Error> {
    let (count,): (i64,) = in_transaction!(transaction, |connection| {
        sqlx::query_as(
            "SELECT COUNT(*) FROM grants WHERE session = $1 AND client_id = $2 AND id <> $3 AND ended_at IS NULL",
        )
        .bind(grant.session.0.to_string())
        .bind(&grant.client_id)
        .bind(grant.id)
        .fetch_one(connection)
        .await
    })?;
    Ok(count > 0)
}

/// Ends a grant; `false` when it has ended already or never was.
///
/// # Errors
/// The database does not answer.
pub async fn end(transaction: &mut Transaction, id: GrantId, now: Timestamp) -> Result<bool, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query("UPDATE grants SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL")
            .bind(now)
            .bind(id)
            .execute(connection)
            .await
            .map(|done| done.rows_affected() == 1)
    })
}

/// Ends all grants of a session, and answers whose they were: a client as often as it had one.
///
/// # Errors
/// The database does not answer.
pub async fn end_of_session(
    transaction: &mut Transaction,
    session: SessionId,
    now: Timestamp,
) -> Result<Vec<(String, UserId)>, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query_as(
            "UPDATE grants SET ended_at = $1 WHERE session = $2 AND ended_at IS NULL RETURNING client_id, user_id",
        )
        .bind(now)
        .bind(session.to_string())
        .fetch_all(connection)
        .await
    })
}

/// Sessions of which it is time to see whether they still live: those of at most `limit` grants. Nobody else gets them
/// before `next`.
///
/// # Errors
/// The database does not answer.
pub async fn sessions_to_look_at(
    database: &Database,
    now: Timestamp,
    next: Timestamp,
    limit: i64,
) -> Result<Vec<(SessionId, UserId)>, sqlx::Error> {
    // Of two at once, the second waits for the row, looks at it again, and finds it taken.
    let rows: Vec<(String, UserId)> = on_database!(database, |pool| {
        sqlx::query_as(
            "UPDATE grants SET look_at = $2 WHERE ended_at IS NULL AND look_at <= $1 AND id IN
               (SELECT id FROM grants WHERE ended_at IS NULL AND look_at <= $1 ORDER BY look_at LIMIT $3)
             RETURNING session, user_id",
        )
        .bind(now)
        .bind(next)
        .bind(limit)
        .fetch_all(pool)
        .await
    })?;
    let sessions = rows.into_iter().filter_map(|(session, user)| Some((session.parse().ok()?, user)));
    Ok(sessions.collect())
}

/// Has a session that lives looked at again at `at`.
///
/// # Errors
/// The database does not answer.
pub async fn look_again(database: &Database, session: SessionId, at: Timestamp) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query("UPDATE grants SET look_at = $1 WHERE session = $2 AND ended_at IS NULL")
            .bind(at)
            .bind(session.to_string())
            .execute(pool)
            .await
            .map(|_| ())
    })
}

/// Has all sessions looked at now in which a grant was begun before `before`.
///
/// # Errors
/// The database does not answer.
pub async fn look_at_older(database: &Database, before: Timestamp) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query("UPDATE grants SET look_at = 0 WHERE created_at < $1 AND ended_at IS NULL")
            .bind(before)
            .execute(pool)
            .await
            .map(|_| ())
    })
}

/// Forgets at most `limit` grants that ended before `before`, and answers how many.
///
/// # Errors
/// The database does not answer.
pub async fn forget_ended(database: &Database, before: Timestamp, limit: i64) -> Result<u64, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)",
        )
        .bind(before)
        .bind(limit)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}
