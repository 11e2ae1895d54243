//! Clients, as they are registered, and the tokens with which they may register themselves. Secrets are here only as
//! hashes.

use shared::clock::Timestamp;
use shared::database::{Database, Transaction, is_taken};
use shared::{in_transaction, on_database};

use crate::clients::{Client, Metadata, SecretHash};

/// The columns by name, never `*`: PostgreSQL refuses a prepared `*` once a newer release has added a column.
macro_rules! columns {
    () => {
        "id, metadata, secret_hash, registration_token_hash, first_party, approved, epoch, created_at, disabled_at, \
         former_secret_hash, former_secret_until"
    };
}

impl TryFrom<String> for Metadata {
    type Error = serde_json::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        serde_json::from_str(&text)
    }
}

fn text(metadata: &Metadata) -> Result<String, sqlx::Error> {
    serde_json::to_string(metadata).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// Adds a client; `false` when its id is taken.
///
/// # Errors
/// The database does not answer.
pub async fn insert(transaction: &mut Transaction, client: &Client) -> Result<bool, sqlx::Error> {
    let inserted = in_transaction!(transaction, |connection| {
        sqlx::query(concat!(
            "INSERT INTO clients (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING"
        ))
        .bind(&client.id)
        .bind(text(&client.metadata)?)
        .bind(&client.secret_hash)
        .bind(&client.registration_token_hash)
        .bind(client.first_party)
        .bind(client.approved)
        .bind(client.epoch)
        .bind(client.created_at)
        .bind(client.disabled_at)
        .bind(&client.former_secret.hash)
        .bind(client.former_secret.until)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
    });
    match inserted {
        Ok(rows) => Ok(rows == 1),
        Err(error) if is_taken(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// # Errors
/// The database does not answer.
pub async fn by_id(database: &Database, id: &str) -> Result<Option<Client>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM clients WHERE id = $1"))
            .bind(id)
            .fetch_optional(pool)
            .await
    })
}

/// The client of that id, disabled or not, as the transaction sees it.
///
/// # Errors
/// The database does not answer.
pub async fn by_id_in(transaction: &mut Transaction, id: &str) -> Result<Option<Client>, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM clients WHERE id = $1"))
            .bind(id)
            .fetch_optional(connection)
            .await
    })
}

/// The client of that id, which nobody else changes before the transaction ends.
///
/// # Errors
/// The database does not answer.
pub async fn hold(transaction: &mut Transaction, id: &str) -> Result<Option<Client>, sqlx::Error> {
    // Writing what is there takes the row's lock, on PostgreSQL and on SQLite alike.
    in_transaction!(transaction, |connection| {
        sqlx::query_as(concat!("UPDATE clients SET created_at = created_at WHERE id = $1 RETURNING ", columns!()))
            .bind(id)
            .fetch_optional(connection)
            .await
    })
}

/// Writes what may change of a client: all but its id and age; `false` when there is none. [`hold`] it first.
///
/// # Errors
/// The database does not answer.
pub async fn update(transaction: &mut Transaction, client: &Client) -> Result<bool, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query(
            "UPDATE clients SET metadata = $2, secret_hash = $3, registration_token_hash = $4, first_party = $5,
             approved = $6, epoch = $7, disabled_at = $8, former_secret_hash = $9, former_secret_until = $10 WHERE id = $1",
        )
        .bind(&client.id)
        .bind(text(&client.metadata)?)
        .bind(&client.secret_hash)
        .bind(&client.registration_token_hash)
        .bind(client.first_party)
        .bind(client.approved)
        .bind(client.epoch)
        .bind(client.disabled_at)
        .bind(&client.former_secret.hash)
        .bind(client.former_secret.until)
        .execute(connection)
        .await
        .map(|done| done.rows_affected() == 1)
    })
}

/// Removes a client; `false` when there is none.
///
/// # Errors
/// The database does not answer.
pub async fn delete(transaction: &mut Transaction, id: &str) -> Result<bool, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query("DELETE FROM clients WHERE id = $1")
            .bind(id)
            .execute(connection)
            .await
            .map(|done| done.rows_affected() == 1)
    })
}

/// A page of clients in the order of their ids.
///
/// # Errors
/// The database does not answer.
pub async fn page(database: &Database, after: &str, limit: i64) -> Result<Vec<Client>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM clients WHERE id > $1 ORDER BY id LIMIT $2"))
            .bind(after)
            .bind(limit)
            .fetch_all(pool)
            .await
    })
}

/// How many clients have registered themselves.
///
/// # Errors
/// The database does not answer.
pub async fn count_registered_by_themselves(transaction: &mut Transaction) -> Result<i64, sqlx::Error> {
    let (count,): (i64,) = in_transaction!(transaction, |connection| {
        sqlx::query_as("SELECT COUNT(*) FROM clients WHERE registration_token_hash IS NOT NULL")
            .fetch_one(connection)
            .await
    })?;
    Ok(count)
}

/// Adds a token with which clients may register themselves.
///
/// # Errors
/// The database does not answer.
pub async fn insert_initial_token(
    transaction: &mut Transaction,
    hash: &SecretHash,
    uses: i64,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query(
            "INSERT INTO initial_access_tokens (token_hash, created_at, expires_at, uses_left) VALUES ($1, $2, $3, $4)",
        )
        .bind(hash)
        .bind(now)
        .bind(expires_at)
        .bind(uses)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Forgets at most `limit` of such tokens that are of no use any more, and answers how many.
///
/// # Errors
/// The database does not answer.
pub async fn forget_used_initial_tokens(database: &Database, now: Timestamp, limit: i64) -> Result<u64, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM initial_access_tokens WHERE token_hash IN
               (SELECT token_hash FROM initial_access_tokens WHERE expires_at <= $1 OR uses_left <= 0 LIMIT $2)",
        )
        .bind(now)
        .bind(limit)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}

/// Whether such a token could be used now.
///
/// # Errors
/// The database does not answer.
pub async fn is_initial_token(database: &Database, hash: &SecretHash, now: Timestamp) -> Result<bool, sqlx::Error> {
    let found: Option<(i64,)> = on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT uses_left FROM initial_access_tokens WHERE token_hash = $1 AND expires_at > $2 AND uses_left > 0",
        )
        .bind(hash)
        .bind(now)
        .fetch_optional(pool)
        .await
    })?;
    Ok(found.is_some())
}

/// Uses such a token once; `false` when it is unknown, has expired or is used up. Of many at once, no more succeed than it
/// has uses.
///
/// # Errors
/// The database does not answer.
pub async fn use_initial_token(
    transaction: &mut Transaction,
    hash: &SecretHash,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query(
            "UPDATE initial_access_tokens SET uses_left = uses_left - 1
             WHERE token_hash = $1 AND expires_at > $2 AND uses_left > 0",
        )
        .bind(hash)
        .bind(now)
        .execute(connection)
        .await
        .map(|done| done.rows_affected() == 1)
    })
}
