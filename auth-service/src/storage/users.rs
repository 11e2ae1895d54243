//! Accounts.

mod reader;

use shared::clock::Timestamp;
use shared::database::{Database, Transaction, is_taken};
use shared::session::UserId;
use shared::{in_transaction, on_database};
use sqlx::FromRow;

pub use self::reader::UserReader;
use crate::email::Email;
use crate::roles::Roles;

/// An account. Has no `Serialize`: what the API shows of it is written elsewhere, field by field.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct User {
    pub id: UserId,
    pub email: Email,
    pub display_name: String,
    pub password_hash: String,
    #[sqlx(try_from = "String")]
    pub roles: Roles,
    pub locked_at: Option<Timestamp>,
    /// Grows with every change that must end sessions: password, roles, lock.
    pub version: i64,
    /// No session of an older version lives. Behind `version`, those are being ended.
    pub ended_version: i64,
    pub created_at: Timestamp,
}

/// The columns by name, never `*`: PostgreSQL refuses a prepared `*` once a newer release has added a column.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, email, display_name, password_hash, roles, locked_at, version, ended_version, created_at FROM users ",
            $rest
        )
    };
}

/// A change of an account; those that must end sessions say so.
macro_rules! update {
    ($changes:literal, ends_sessions) => {
        update!(concat!($changes, ", version = version + 1"))
    };
    ($changes:expr) => {
        concat!(
            "UPDATE users SET ",
            $changes,
            " WHERE id = $2
             RETURNING id, email, display_name, password_hash, roles, locked_at, version, ended_version, created_at"
        )
    };
}

impl TryFrom<String> for Roles {
    type Error = crate::roles::InvalidRoles;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Adds an account; `false` when its address has one already.
///
/// # Errors
/// The database does not answer.
pub async fn insert(transaction: &mut Transaction, user: &User) -> Result<bool, sqlx::Error> {
    let inserted = in_transaction!(transaction, |connection| {
        sqlx::query(
        "INSERT INTO users (id, email, display_name, password_hash, roles, locked_at, version, ended_version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) ON CONFLICT (email) DO NOTHING"
    )
    .bind(user.id)
    .bind(&user.email)
    .bind(&user.display_name)
    .bind(&user.password_hash)
    .bind(user.roles.to_string())
    .bind(user.locked_at)
    .bind(user.version)
    .bind(user.created_at)
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

/// Some accounts, in any order. One that is gone is left out.
///
/// # Errors
/// The database does not answer.
pub async fn by_ids(database: &Database, ids: &[UserId]) -> Result<Vec<User>, sqlx::Error> {
    let Some(last) = ids.last() else { return Ok(Vec::new()) };
    // Of few lengths: each is a statement that a connection keeps prepared.
    let padding = std::iter::repeat_n(last, ids.len().next_power_of_two() - ids.len());
    on_database!(database, |pool| {
        let mut query = sqlx::QueryBuilder::new(select!("WHERE id IN ("));
        let mut list = query.separated(", ");
        for id in ids.iter().chain(padding) {
            list.push_bind(*id);
        }
        query.push(")");
        query.build_query_as().fetch_all(pool).await
    })
}

/// # Errors
/// The database does not answer.
pub async fn by_email(database: &Database, email: &Email) -> Result<Option<User>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(select!("WHERE email = $1")).bind(email).fetch_optional(pool).await
    })
}

/// The addresses of some users, in any order. One that is gone is left out.
///
/// # Errors
/// The database does not answer.
pub async fn emails_of(database: &Database, ids: &[UserId]) -> Result<Vec<(UserId, Email)>, sqlx::Error> {
    Ok(by_ids(database, ids).await?.into_iter().map(|user| (user.id, user.email)).collect())
}

/// A page of accounts whose address begins with `prefix`, in the order of their addresses.
///
/// # Errors
/// The database does not answer.
pub async fn page(
    database: &Database,
    prefix: &str,
    after: Option<&Email>,
    limit: i64,
) -> Result<Vec<User>, sqlx::Error> {
    let pattern = format!("{}%", prefix.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
    let after = after.map_or("", Email::as_str);
    on_database!(database, |pool| {
        sqlx::query_as(select!("WHERE email LIKE $1 ESCAPE '\\' AND email > $2 ORDER BY email LIMIT $3"))
            .bind(pattern)
            .bind(after)
            .bind(limit)
            .fetch_all(pool)
            .await
    })
}

/// Whether anybody has that role.
///
/// # Errors
/// The database does not answer.
pub async fn any_with_role(database: &Database, role: &str) -> Result<bool, sqlx::Error> {
    let pattern = format!("% {} %", role.replace('_', "\\_"));
    let found: Option<(i32,)> = on_database!(database, |pool| {
        sqlx::query_as("SELECT 1 FROM users WHERE ' ' || roles || ' ' LIKE $1 ESCAPE '\\' LIMIT 1")
            .bind(pattern)
            .fetch_optional(pool)
            .await
    })?;
    Ok(found.is_some())
}

/// The accounts with that role that are not locked, which nobody else changes before the transaction ends.
///
/// # Errors
/// The database does not answer.
pub async fn hold_unlocked_with_role(transaction: &mut Transaction, role: &str) -> Result<Vec<UserId>, sqlx::Error> {
    let pattern = format!("% {} %", role.replace('_', "\\_"));
    // Writing what is there takes the rows' locks, on PostgreSQL and on SQLite alike.
    let held: Vec<(UserId,)> = in_transaction!(transaction, |connection| {
        sqlx::query_as(
            "UPDATE users SET version = version
             WHERE ' ' || roles || ' ' LIKE $1 ESCAPE '\\' AND locked_at IS NULL RETURNING id",
        )
        .bind(pattern)
        .fetch_all(connection)
        .await
    })?;
    Ok(held.into_iter().map(|(id,)| id).collect())
}

/// Some accounts that have changed so that sessions must end, and whose sessions did not all end yet.
///
/// # Errors
/// The database does not answer.
pub async fn with_sessions_to_end(database: &Database, limit: i64) -> Result<Vec<User>, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query_as(select!("WHERE ended_version < version ORDER BY id LIMIT $1")).bind(limit).fetch_all(pool).await
    })
}

/// Notes that no session of an older version lives.
///
/// # Errors
/// The database does not answer.
pub async fn sessions_ended(database: &Database, id: UserId, version: i64) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query("UPDATE users SET ended_version = $1 WHERE id = $2 AND ended_version < $1")
            .bind(version)
            .bind(id)
            .execute(pool)
            .await
            .map(|_| ())
    })
}

/// Puts a renewed hash of the same password in the place of `old`; nothing when that was replaced meanwhile.
///
/// # Errors
/// The database does not answer.
pub async fn renew_hash(database: &Database, id: UserId, old: &str, new: &str) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query("UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3")
            .bind(new)
            .bind(id)
            .bind(old)
            .execute(pool)
            .await
            .map(|_| ())
    })
}

/// Sets a new password's hash, if the account still has that version; `false` when it changed meanwhile.
///
/// # Errors
/// The database does not answer.
pub async fn set_password(
    transaction: &mut Transaction,
    id: UserId,
    version: i64,
    hash: &str,
) -> Result<bool, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query("UPDATE users SET password_hash = $1, version = version + 1 WHERE id = $2 AND version = $3")
            .bind(hash)
            .bind(id)
            .bind(version)
            .execute(connection)
            .await
            .map(|done| done.rows_affected() == 1)
    })
}

/// Moves the account's version on, without another change, and answers the account; nothing when there is none. Its sessions
/// have ended by that.
///
/// # Errors
/// The database does not answer.
pub async fn begin_epoch(transaction: &mut Transaction, id: UserId) -> Result<Option<User>, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query_as(
            "UPDATE users SET version = version + 1 WHERE id = $1
             RETURNING id, email, display_name, password_hash, roles, locked_at, version, ended_version, created_at",
        )
        .bind(id)
        .fetch_optional(connection)
        .await
    })
}

/// Sets how the user is called and answers the account, or nothing when there is none.
///
/// # Errors
/// The database does not answer.
pub async fn set_display_name(
    transaction: &mut Transaction,
    id: UserId,
    name: &str,
) -> Result<Option<User>, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query_as(update!("display_name = $1")).bind(name).bind(id).fetch_optional(connection).await
    })
}

/// Sets the roles and answers the account, or nothing when there is none.
///
/// # Errors
/// The database does not answer.
pub async fn set_roles(transaction: &mut Transaction, id: UserId, roles: &Roles) -> Result<Option<User>, sqlx::Error> {
    in_transaction!(transaction, |connection| {
        sqlx::query_as(update!("roles = $1", ends_sessions))
            .bind(roles.to_string())
            .bind(id)
            .fetch_optional(connection)
            .await
    })
}

/// Locks an account (a time), or unlocks it, and answers it, or nothing when there is none. One that is locked keeps
/// its first time.
///
/// # Errors
/// The database does not answer.
pub async fn set_locked(
    transaction: &mut Transaction,
    id: UserId,
    locked_at: Option<Timestamp>,
) -> Result<Option<User>, sqlx::Error> {
    let text = match locked_at {
        Some(_) => {
            update!("locked_at = COALESCE(locked_at, $1)", ends_sessions)
        }
        None => update!("locked_at = $1"),
    };
    in_transaction!(transaction, |connection| {
        sqlx::query_as(text).bind(locked_at).bind(id).fetch_optional(connection).await
    })
}
