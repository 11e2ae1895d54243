//! The audit: who did what to whom, from where, and what came of it. Entries are added and read, never changed.

use std::fmt;
use std::str::FromStr;

use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::session::{SessionId, UserId};
use shared::{in_transaction, on_database};
use sqlx::FromRow;
use uuid::Uuid;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Register,
    CreateUser,
    LogIn,
    Refresh,
    ChangePassword,
    Rename,
    EndSession,
    EndSessions,
    LockUser,
    UnlockUser,
    SetRoles,
    RotateKeys,
    /// A client was given something.
    Grant,
    EndGrant,
    Consent,
    CreateClient,
    RegisterClient,
    ChangeClient,
    RotateClientSecret,
    DeleteClient,
    AuthenticateClient,
    MakeInitialToken,
    RetryLogoutDelivery,
}

impl Act {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::CreateUser => "create_user",
            Self::LogIn => "log_in",
            Self::Refresh => "refresh",
            Self::ChangePassword => "change_password",
            Self::Rename => "rename",
            Self::EndSession => "end_session",
            Self::EndSessions => "end_sessions",
            Self::LockUser => "lock_user",
            Self::UnlockUser => "unlock_user",
            Self::SetRoles => "set_roles",
            Self::RotateKeys => "rotate_keys",
            Self::Grant => "grant",
            Self::EndGrant => "end_grant",
            Self::Consent => "consent",
            Self::CreateClient => "create_client",
            Self::RegisterClient => "register_client",
            Self::ChangeClient => "change_client",
            Self::RotateClientSecret => "rotate_client_secret",
            Self::DeleteClient => "delete_client",
            Self::AuthenticateClient => "authenticate_client",
            Self::MakeInitialToken => "make_initial_token",
            Self::RetryLogoutDelivery => "retry_logout_delivery",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    User(UserId),
    /// Whoever sends a request and is not known.
    Anonymous,
    /// An operator with a shell.
    CommandLine,
    /// By the clock or at a start.
    Service,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Anonymous => f.write_str("anonymous"),
            Self::CommandLine => f.write_str("command_line"),
            Self::Service => f.write_str("service"),
        }
    }
}

impl FromStr for Actor {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        match text {
            "anonymous" => Ok(Self::Anonymous),
            "command_line" => Ok(Self::CommandLine),
            "service" => Ok(Self::Service),
            user => user.parse().map(Self::User),
        }
    }
}

/// Who does something, and from where.
#[derive(Debug, Clone)]
pub struct By {
    pub actor: Actor,
    pub address: Option<String>,
}

impl By {
    pub const COMMAND_LINE: Self = Self { actor: Actor::CommandLine, address: None };
    pub const SERVICE: Self = Self { actor: Actor::Service, address: None };
}

/// An entry that is about to be written. `outcome` and `detail` are words of ours: no secret gets in.
#[derive(Debug, Clone)]
pub struct Entry {
    pub act: Act,
    pub outcome: &'static str,
    pub by: By,
    pub subject: Option<UserId>,
    pub session: Option<SessionId>,
    pub detail: String,
}

impl Entry {
    /// An act that was done, with no more known about it.
    pub fn done(act: Act, by: &By) -> Self {
        Self { act, outcome: "done", by: by.clone(), subject: None, session: None, detail: String::new() }
    }

    /// An act that was refused, and why.
    pub fn refused(act: Act, by: &By, why: &'static str) -> Self {
        Self { outcome: why, ..Self::done(act, by) }
    }

    pub fn subject(self, user: UserId) -> Self {
        Self { subject: Some(user), ..self }
    }

    pub fn session(self, session: SessionId) -> Self {
        Self { session: Some(session), ..self }
    }

    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

/// An entry as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredEntry {
    pub id: Uuid,
    pub at: Timestamp,
    pub act: String,
    pub outcome: String,
    pub actor: String,
    pub subject: Option<UserId>,
    pub session: Option<String>,
    pub address: Option<String>,
    pub detail: String,
}

const INSERT: &str = "INSERT INTO audit (id, at, act, outcome, actor, subject, session, address, detail)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

macro_rules! insert {
    ($entry:expr, $now:expr, $connection:expr) => {
        sqlx::query(INSERT)
            .bind(Uuid::new_v4())
            .bind($now)
            .bind($entry.act.as_str())
            .bind($entry.outcome)
            .bind($entry.by.actor.to_string())
            .bind($entry.subject)
            .bind($entry.session.map(|session| session.to_string()))
            .bind(&$entry.by.address)
            .bind(&$entry.detail)
            .execute($connection)
            .await
            .map(|_| ())
    };
}

/// Writes an entry by itself.
///
/// # Errors
/// The database does not answer.
pub async fn write(database: &Database, now: Timestamp, entry: &Entry) -> Result<(), sqlx::Error> {
    on_database!(database, |pool| insert!(entry, now, pool))
}

/// Writes an entry together with the act: both stand, or neither.
///
/// # Errors
/// The database does not answer.
pub async fn write_in(transaction: &mut Transaction, now: Timestamp, entry: &Entry) -> Result<(), sqlx::Error> {
    in_transaction!(transaction, |connection| insert!(entry, now, connection))
}

/// A page of entries, the newest first, before an entry or from the newest, of one subject or of all.
///
/// # Errors
/// The database does not answer.
pub async fn page(
    database: &Database,
    subject: Option<UserId>,
    before: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<StoredEntry>, sqlx::Error> {
    let (at, id) = before.unwrap_or((Timestamp::from_micros(i64::MAX), Uuid::max()));
    match subject {
        None => on_database!(database, |pool| {
            sqlx::query_as(
                "SELECT id, at, act, outcome, actor, subject, session, address, detail FROM audit WHERE at < $1 OR (at = $1 AND id < $2) ORDER BY at DESC, id DESC LIMIT $3",
            )
            .bind(at)
            .bind(id)
            .bind(limit)
            .fetch_all(pool)
            .await
        }),
        Some(subject) => on_database!(database, |pool| {
            sqlx::query_as(
                "SELECT id, at, act, outcome, actor, subject, session, address, detail FROM audit WHERE subject = $1 AND (at < $2 OR (at = $2 AND id < $3))
                 ORDER BY at DESC, id DESC LIMIT $4",
            )
            .bind(subject)
            .bind(at)
            .bind(id)
            .bind(limit)
            .fetch_all(pool)
            .await
        }),
    }
}
