//! Signing keys, as they are kept: public in clear, private sealed.

use shared::clock::Timestamp;
use shared::database::{Database, Transaction, is_taken};
use shared::{in_transaction, on_database};
use sqlx::FromRow;

/// One key. The private part is sealed for its `kid`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredKey {
    pub kid: String,
    /// Each algorithm has its own ring of keys.
    pub alg: String,
    /// 1 for a ring's first, and one more for each.
    pub generation: i64,
    pub public_jwk: String,
    pub sealed_private_key: Vec<u8>,
    pub created_at: Timestamp,
    /// Signs from here,
    pub activates_at: Timestamp,
    /// until here,
    pub retires_at: Option<Timestamp>,
    /// and is published until here.
    pub withdrawn_at: Option<Timestamp>,
    /// A stranger may have it since: nothing that it signed is believed any more.
    pub compromised_at: Option<Timestamp>,
}

/// The keys that are published at `moment` or later, ring by ring, the oldest first.
///
/// # Errors
/// The database does not answer.
pub async fn published(database: &Database, moment: Timestamp) -> Result<Vec<StoredKey>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT kid, alg, generation, public_jwk, sealed_private_key, created_at, activates_at, retires_at, withdrawn_at,
                 compromised_at
             FROM signing_keys WHERE withdrawn_at IS NULL OR withdrawn_at > $1 ORDER BY alg, generation",
        )
            .bind(moment)
            .fetch_all(pool)
            .await
    })
}

/// Adds a key; `false` when its generation is there already: another replica was first.
///
/// # Errors
/// The database does not answer.
pub async fn insert(transaction: &mut Transaction, key: &StoredKey) -> Result<bool, sqlx::Error> {
    let inserted = in_transaction!(transaction, |connection| sqlx::query(
        "INSERT INTO signing_keys
             (kid, alg, generation, public_jwk, sealed_private_key, created_at, activates_at, retires_at, withdrawn_at,
              compromised_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (alg, generation) DO NOTHING"
    )
    .bind(&key.kid)
    .bind(&key.alg)
    .bind(key.generation)
    .bind(&key.public_jwk)
    .bind(&key.sealed_private_key)
    .bind(key.created_at)
    .bind(key.activates_at)
    .bind(key.retires_at)
    .bind(key.withdrawn_at)
    .bind(key.compromised_at)
    .execute(connection)
    .await
    .map(|done| done.rows_affected()));
    match inserted {
        Ok(rows) => Ok(rows == 1),
        Err(error) if is_taken(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Plans the end of all keys of the ring before `next`. An earlier end that is planned already stays.
///
/// # Errors
/// The database does not answer.
pub async fn retire_before(
    transaction: &mut Transaction,
    next: &StoredKey,
    withdrawn_at: Timestamp,
) -> Result<(), sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query(
            "UPDATE signing_keys
             SET retires_at = CASE WHEN retires_at < $1 THEN retires_at ELSE $1 END,
                 withdrawn_at = CASE WHEN withdrawn_at < $2 THEN withdrawn_at ELSE $2 END
             WHERE alg = $3 AND generation < $4",
        )
        .bind(next.activates_at)
        .bind(withdrawn_at)
        .bind(&next.alg)
        .bind(next.generation)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Marks all keys of the ring before `next` as a stranger's, those that were withdrawn before too: all were sealed alike.
///
/// # Errors
/// The database does not answer.
pub async fn distrust_before(transaction: &mut Transaction, next: &StoredKey) -> Result<(), sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query(
            "UPDATE signing_keys SET compromised_at = $1 WHERE alg = $2 AND generation < $3 AND compromised_at IS NULL",
        )
        .bind(next.activates_at)
        .bind(&next.alg)
        .bind(next.generation)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Seals a private key anew, if it is still sealed as it was.
///
/// # Errors
/// The database does not answer.
pub async fn reseal(database: &Database, kid: &str, old: &[u8], new: &[u8]) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query("UPDATE signing_keys SET sealed_private_key = $1 WHERE kid = $2 AND sealed_private_key = $3")
            .bind(new)
            .bind(kid)
            .bind(old)
            .execute(pool)
            .await
            .map(|_| ())
    })
}

/// Forgets at most `limit` keys that were withdrawn before `before`, and answers how many. The newest of a ring stays: it
/// tells the number of the next one.
///
/// # Errors
/// The database does not answer.
pub async fn forget_withdrawn(database: &Database, before: Timestamp, limit: i64) -> Result<u64, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM signing_keys WHERE kid IN
               (SELECT kid FROM signing_keys AS old WHERE withdrawn_at < $1
                AND EXISTS (SELECT 1 FROM signing_keys AS newer WHERE newer.alg = old.alg AND newer.generation > old.generation)
                ORDER BY withdrawn_at LIMIT $2)",
        )
        .bind(before)
        .bind(limit)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}
