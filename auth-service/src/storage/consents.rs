//! What users have allowed clients, until they take it back.

use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::session::UserId;
use shared::{in_transaction, on_database};
use sqlx::FromRow;

use crate::scopes::Words;

/// What a user has allowed a client.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Consent {
    pub client_id: String,
    #[sqlx(try_from = "String")]
    pub scope: Words,
    pub granted_at: Timestamp,
}

/// # Errors
/// The database does not answer.
pub async fn of(database: &Database, user: UserId, client: &str) -> Result<Option<Consent>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as("SELECT client_id, scope, granted_at FROM consents WHERE user_id = $1 AND client_id = $2")
            .bind(user)
            .bind(client)
            .fetch_optional(pool)
            .await
    })
}

/// A user's consents, the newest first.
///
/// # Errors
/// The database does not answer.
pub async fn of_user(database: &Database, user: UserId) -> Result<Vec<Consent>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT client_id, scope, granted_at FROM consents WHERE user_id = $1 ORDER BY granted_at DESC, client_id",
        )
        .bind(user)
        .fetch_all(pool)
        .await
    })
}

/// Writes down what a user allows from now on, in the place of what was allowed before.
///
/// # Errors
/// The database does not answer.
pub async fn put(
    database: &Database,
    user: UserId,
    client: &str,
    scope: &Words,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "INSERT INTO consents (user_id, client_id, scope, granted_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_id, client_id) DO UPDATE SET scope = excluded.scope, granted_at = excluded.granted_at",
        )
        .bind(user)
        .bind(client)
        .bind(scope.to_string())
        .bind(now)
        .execute(pool)
        .await
        .map(|_| ())
    })
}

/// Takes a consent back; `false` when there was none.
///
/// # Errors
/// The database does not answer.
pub async fn remove(database: &Database, user: UserId, client: &str) -> Result<bool, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query("DELETE FROM consents WHERE user_id = $1 AND client_id = $2")
            .bind(user)
            .bind(client)
            .execute(pool)
            .await
            .map(|done| done.rows_affected() == 1)
    })
}

/// Forgets all consents to a client that is removed.
///
/// # Errors
/// The database does not answer.
pub async fn remove_of_client(transaction: &mut Transaction, client: &str) -> Result<(), sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query("DELETE FROM consents WHERE client_id = $1").bind(client).execute(connection).await.map(|_| ())
    })
}
