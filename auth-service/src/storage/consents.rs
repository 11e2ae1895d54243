//! What users have allowed clients, until they take it back, and how often they have done that.

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

/// How a user stands to a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct Standing {
    /// Nothing where there is no consent.
    #[sqlx(try_from = "String")]
    pub allowed: Words,
    /// How often a consent was taken back. Only grows, as long as the client is registered.
    pub withdrawals: i64,
}

/// Both parts are of one moment.
///
/// # Errors
/// The database does not answer.
pub async fn standing(database: &Database, user: UserId, client: &str) -> Result<Standing, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT COALESCE((SELECT scope FROM consents WHERE user_id = $1 AND client_id = $2), '') AS allowed,
                    COALESCE((SELECT withdrawals FROM consent_epochs WHERE user_id = $1 AND client_id = $2), 0)
                        AS withdrawals",
        )
        .bind(user)
        .bind(client)
        .fetch_one(pool)
        .await
    })
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

/// A consent that is neither replaced nor taken back by another transaction before this one ends.
///
/// # Errors
/// The database does not answer.
pub async fn hold(transaction: &mut Transaction, user: UserId, client: &str) -> Result<Option<Consent>, sqlx::Error> {
    // Writing what is there takes the row's lock, on PostgreSQL and on SQLite alike.
    in_transaction!(transaction, |connection| {
        sqlx::query_as(
            "UPDATE consents SET granted_at = granted_at WHERE user_id = $1 AND client_id = $2
             RETURNING client_id, scope, granted_at",
        )
        .bind(user)
        .bind(client)
        .fetch_optional(connection)
        .await
    })
}

/// How often a consent was taken back, as the transaction sees it.
///
/// # Errors
/// The database does not answer.
pub async fn withdrawals(transaction: &mut Transaction, user: UserId, client: &str) -> Result<i64, sqlx::Error> {
    let found: Option<(i64,)> = in_transaction!(transaction, |connection| {
        sqlx::query_as("SELECT withdrawals FROM consent_epochs WHERE user_id = $1 AND client_id = $2")
            .bind(user)
            .bind(client)
            .fetch_optional(connection)
            .await
    })?;
    Ok(found.map_or(0, |(withdrawals,)| withdrawals))
}

/// Writes down what a user allows from now on, in the place of what was allowed before.
///
/// # Errors
/// The database does not answer.
pub async fn put(
    transaction: &mut Transaction,
    user: UserId,
    client: &str,
    scope: &Words,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query(
            "INSERT INTO consents (user_id, client_id, scope, granted_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_id, client_id) DO UPDATE SET scope = excluded.scope, granted_at = excluded.granted_at",
        )
        .bind(user)
        .bind(client)
        .bind(scope.to_string())
        .bind(now)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Takes a consent back, and counts that, so that what was answered before is known to be over; `false` when there was no
/// consent.
///
/// # Errors
/// The database does not answer.
pub async fn withdraw(transaction: &mut Transaction, user: UserId, client: &str) -> Result<bool, sqlx::Error> {
    in_transaction!(&mut *transaction, |connection| {
        sqlx::query(
            "INSERT INTO consent_epochs (user_id, client_id, withdrawals) VALUES ($1, $2, 1)
             ON CONFLICT (user_id, client_id) DO UPDATE SET withdrawals = consent_epochs.withdrawals + 1",
        )
        .bind(user)
        .bind(client)
        .execute(connection)
        .await
        .map(|_| ())
    })?;
    in_transaction!(transaction, |connection| {
        sqlx::query("DELETE FROM consents WHERE user_id = $1 AND client_id = $2")
            .bind(user)
            .bind(client)
            .execute(connection)
            .await
            .map(|done| done.rows_affected() == 1)
    })
}

/// Forgets all consents to a client: everybody is asked anew. How often each was taken back is kept.
///
/// # Errors
/// The database does not answer.
pub async fn forget(transaction: &mut Transaction, client: &str) -> Result<(), sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query("DELETE FROM consents WHERE client_id = $1").bind(client).execute(connection).await.map(|_| ())
    })
}

/// The same for a client that is removed, of which nothing is kept. The rows are taken in the order of [`withdraw`].
///
/// # Errors
/// The database does not answer.
pub async fn remove_of_client(transaction: &mut Transaction, client: &str) -> Result<(), sqlx::Error> {
    in_transaction!(&mut *transaction, |connection| {
        sqlx::query("DELETE FROM consent_epochs WHERE client_id = $1")
            .bind(client)
            .execute(connection)
            .await
            .map(|_| ())
    })?;
    forget(transaction, client).await
}
