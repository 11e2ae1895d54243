//! The audit: who did what to whom, from where, and what came of it. An entry of what was done is added and read, never
//! changed. Refusals that repeat count in one entry.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::digest;
use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::request::Network;
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

/// The outcome of what was done. Every other word is a refusal.
const DONE: &str = "done";

/// Refusals are counted together within such a span, which begins at a multiple of it since 1970.
pub const COUNTED_TOGETHER: Duration = Duration::from_secs(3600);

/// An entry that is about to be written. `outcome` and `detail` are words of ours: no secret gets in.
#[derive(Debug, Clone)]
pub struct Entry {
    pub act: Act,
    pub outcome: &'static str,
    pub by: By,
    pub subject: Option<UserId>,
    pub session: Option<SessionId>,
    pub detail: String,
    /// The id of a client that is registered, where the entry is about one.
    pub client: Option<String>,
}

impl Entry {
    /// An act that was done, with no more known about it.
    pub fn done(act: Act, by: &By) -> Self {
        Self { act, outcome: DONE, by: by.clone(), subject: None, session: None, detail: String::new(), client: None }
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

    /// An entry about a client that is registered: its id is the detail. Other clients' ids are invented; refusals of them
    /// count together.
    pub fn client(self, id: &str) -> Self {
        Self { client: Some(id.to_owned()), ..self.detail(id) }
    }

    /// What this refusal has in common with those that it is counted with: SHA-256 of its kind, the network, the account,
    /// the session, the client and the hour. The words of a caller who is not known are left out, for they can be invented. `None`
    /// where it was done: such an entry stands alone.
    fn counted_by(&self, now: Timestamp) -> Option<Vec<u8>> {
        if self.outcome == DONE {
            return None;
        }
        let address = self.by.address.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
        let span = now.micros() / i64::try_from(COUNTED_TOGETHER.as_micros()).unwrap_or(i64::MAX);
        let detail = if self.by.actor == Actor::Anonymous { "" } else { self.detail.as_str() };
        let parts = [
            self.act.as_str().to_owned(),
            self.outcome.to_owned(),
            self.by.actor.to_string(),
            Network::of(address).widest().to_owned(),
            self.subject.map(|user| user.to_string()).unwrap_or_default(),
            self.session.map(|session| session.to_string()).unwrap_or_default(),
            self.client.clone().unwrap_or_default(),
            span.to_string(),
            detail.to_owned(),
        ];
        Some(digest::digest(&digest::SHA256, parts.join("\n").as_bytes()).as_ref().to_vec())
    }
}

/// An entry as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredEntry {
    pub id: Uuid,
    /// When it happened, or happened first.
    pub at: Timestamp,
    pub act: String,
    pub outcome: String,
    pub actor: String,
    pub subject: Option<UserId>,
    pub session: Option<String>,
    /// Of several refusals, that of the first.
    pub address: Option<String>,
    pub detail: String,
    /// How often it happened: 1, or more for a refusal.
    pub count: i64,
    /// When it happened last.
    pub last_at: Timestamp,
}

/// One statement, so that of many refusals at once, at several replicas, each is counted.
const INSERT: &str = "INSERT INTO audit (id, at, act, outcome, actor, subject, session, address, detail, counted_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     ON CONFLICT (counted_by) DO UPDATE SET
         count = audit.count + 1,
         last_at = CASE WHEN COALESCE(audit.last_at, audit.at) > excluded.at
                        THEN COALESCE(audit.last_at, audit.at) ELSE excluded.at END";

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
            .bind($entry.counted_by($now))
            .execute($connection)
            .await
            .map(|_| ())
    };
}

/// Writes an entry by itself, or counts a refusal that repeats.
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

/// Forgets at most `limit` entries of what was done before `before`, the oldest first, and answers how many.
///
/// # Errors
/// The database does not answer.
pub async fn forget_done(database: &Database, before: Timestamp, limit: i64) -> Result<u64, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM audit WHERE id IN
               (SELECT id FROM audit WHERE at < $1 AND outcome = 'done' ORDER BY at, id LIMIT $2)",
        )
        .bind(before)
        .bind(limit)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}

/// Forgets at most `limit` refusals that happened first before `before`, the oldest first, and answers how many.
///
/// # Errors
/// The database does not answer.
pub async fn forget_refused(database: &Database, before: Timestamp, limit: i64) -> Result<u64, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 AND outcome <> 'done' ORDER BY at LIMIT $2)",
        )
        .bind(before)
        .bind(limit)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}

/// The sessions that a user began since `since` and whose end has no entry, at most `limit` of them.
///
/// # Errors
/// The database does not answer.
pub async fn begun_and_not_ended(
    database: &Database,
    user: UserId,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<SessionId>, sqlx::Error> {
    let texts: Vec<(String,)> = on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT session FROM audit
              WHERE subject = $1 AND at >= $2 AND act = 'log_in' AND outcome = 'done' AND session IS NOT NULL
             EXCEPT
             SELECT session FROM audit WHERE subject = $1 AND at >= $2 AND act = 'end_session' AND session IS NOT NULL
             LIMIT $3",
        )
        .bind(user)
        .bind(since)
        .bind(limit)
        .fetch_all(pool)
        .await
    })?;
    Ok(texts.into_iter().filter_map(|(text,)| text.parse().ok()).collect())
}

/// The columns by name, never `*`: PostgreSQL refuses a prepared `*` once a newer release has added a column.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, at, act, outcome, actor, subject, session, address, detail, count, COALESCE(last_at, at) AS last_at
             FROM audit WHERE ",
            $rest
        )
    };
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
            sqlx::query_as(select!("at < $1 OR (at = $1 AND id < $2) ORDER BY at DESC, id DESC LIMIT $3"))
                .bind(at)
                .bind(id)
                .bind(limit)
                .fetch_all(pool)
                .await
        }),
        Some(subject) => on_database!(database, |pool| {
            sqlx::query_as(select!(
                "subject = $1 AND (at < $2 OR (at = $2 AND id < $3)) ORDER BY at DESC, id DESC LIMIT $4"
            ))
            .bind(subject)
            .bind(at)
            .bind(id)
            .bind(limit)
            .fetch_all(pool)
            .await
        }),
    }
}
