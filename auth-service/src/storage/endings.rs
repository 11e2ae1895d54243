//! What was ended or taken back before its time, as SQL remembers it: intents before the session store is asked, and what a
//! store that lost its memory is told again.

use std::fmt;
use std::str::FromStr;

use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::session::{EndReason, SessionId, UserId};
use shared::{in_transaction, on_database};
use sqlx::FromRow;

use super::audit::By;

/// What an ending takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    Session(SessionId),
    /// One access token by its `jti`, or all of a grant by its id.
    Token(u128),
    /// All sessions that began at an older version of the account.
    Account(UserId, i64),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => write!(f, "s:{id}"),
            Self::Token(id) => write!(f, "t:{id:032x}"),
            Self::Account(user, version) => write!(f, "a:{user}:{version}"),
        }
    }
}

/// The text is of another release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ending")]
pub struct UnknownEnding;

impl FromStr for Ended {
    type Err = UnknownEnding;

    fn from_str(text: &str) -> Result<Self, UnknownEnding> {
        let read = || match text.split_once(':')? {
            ("s", id) => id.parse().ok().map(Self::Session),
            ("t", id) => u128::from_str_radix(id, 16).ok().map(Self::Token),
            ("a", account) => {
                let (user, version) = account.rsplit_once(':')?;
                Some(Self::Account(user.parse().ok()?, version.parse().ok()?))
            }
            _ => None,
        };
        read().ok_or(UnknownEnding)
    }
}

/// An ending that is about to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewEnding<'a> {
    pub what: Ended,
    pub user: Option<UserId>,
    pub spared: Option<SessionId>,
    pub reason: EndReason,
    pub by: &'a By,
    /// Whether nothing is left to do for it: the store has confirmed it, and the audit has its entry.
    pub is_settled: bool,
}

/// An ending as it stands in the table.
#[derive(Debug, Clone)]
pub struct Ending {
    pub number: i64,
    pub what: Ended,
    pub user: Option<UserId>,
    pub spared: Option<SessionId>,
    pub reason: EndReason,
    pub by: By,
    pub ended_at: Timestamp,
    pub is_settled: bool,
}

#[derive(FromRow)]
struct Row {
    number: i64,
    what: String,
    user_id: Option<UserId>,
    spared: Option<String>,
    reason: String,
    actor: String,
    address: Option<String>,
    ended_at: Timestamp,
    settled_at: Option<Timestamp>,
}

impl Row {
    /// None for a row of another release.
    fn read(self) -> Option<Ending> {
        Some(Ending {
            number: self.number,
            what: self.what.parse().ok()?,
            user: self.user_id,
            spared: self.spared.and_then(|text| text.parse().ok()),
            reason: EndReason::ALL.into_iter().find(|reason| reason.as_str() == self.reason)?,
            by: By { actor: self.actor.parse().ok()?, address: self.address },
            ended_at: self.ended_at,
            is_settled: self.settled_at.is_some(),
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT number, what, user_id, spared, reason, actor, address, ended_at, settled_at FROM endings ",
            $rest
        )
    };
}

/// Adds an ending; `false` when it is there already. Locks the numbers until the transaction ends: a caller that needs other rows
/// takes them before.
///
/// # Errors
/// The database does not answer.
pub async fn add(transaction: &mut Transaction, new: &NewEnding<'_>, now: Timestamp) -> Result<bool, sqlx::Error> {
    let (number,): (i64,) = in_transaction!(transaction, |connection| {
        sqlx::query_as("UPDATE ending_numbers SET last = last + 1 WHERE only_row = 1 RETURNING last")
            .fetch_one(connection)
            .await
    })?;
    in_transaction!(transaction, |connection| {
        sqlx::query(
            "INSERT INTO endings (number, what, user_id, spared, reason, actor, address, ended_at, settled_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (what) DO NOTHING",
        )
        .bind(number)
        .bind(new.what.to_string())
        .bind(new.user)
        .bind(new.spared.map(|session| session.to_string()))
        .bind(new.reason.as_str())
        .bind(new.by.actor.to_string())
        .bind(&new.by.address)
        .bind(now)
        .bind(new.is_settled.then_some(now))
        .execute(connection)
        .await
        .map(|done| done.rows_affected() == 1)
    })
}

/// Notes that nothing is left to do for an ending, and answers it; nothing when that was noted before, or it is not there.
///
/// # Errors
/// The database does not answer.
pub async fn settle(transaction: &mut Transaction, what: Ended, now: Timestamp) -> Result<Option<Ending>, sqlx::Error> {
    let row: Option<Row> = in_transaction!(transaction, |connection| {
        sqlx::query_as(
            "UPDATE endings SET settled_at = $1 WHERE what = $2 AND settled_at IS NULL
             RETURNING number, what, user_id, spared, reason, actor, address, ended_at, settled_at",
        )
        .bind(now)
        .bind(what.to_string())
        .fetch_optional(connection)
        .await
    })?;
    Ok(row.and_then(Row::read))
}

/// A page of endings, and the number to go on from; none after the last page.
pub type Page = (Vec<Ending>, Option<i64>);

/// The endings after a number that were begun before `before` and are not settled, in their order.
///
/// # Errors
/// The database does not answer.
pub async fn unsettled(database: &Database, number: i64, before: Timestamp, limit: i64) -> Result<Page, sqlx::Error> {
    let rows: Vec<Row> = on_database!(database, |pool| {
        sqlx::query_as(select!("WHERE settled_at IS NULL AND number > $1 AND ended_at < $2 ORDER BY number LIMIT $3"))
            .bind(number)
            .bind(before)
            .bind(limit)
            .fetch_all(pool)
            .await
    })?;
    let next = rows.last().map(|row| row.number);
    Ok((rows.into_iter().filter_map(Row::read).collect(), next))
}

/// The endings after a number that were begun at `since` or later, in their order.
///
/// # Errors
/// The database does not answer.
pub async fn after(database: &Database, number: i64, since: Timestamp, limit: i64) -> Result<Page, sqlx::Error> {
    let rows: Vec<Row> = on_database!(database, |pool| {
        sqlx::query_as(select!("WHERE number > $1 AND ended_at >= $2 ORDER BY number LIMIT $3"))
            .bind(number)
            .bind(since)
            .bind(limit)
            .fetch_all(pool)
            .await
    })?;
    let next = rows.last().map(|row| row.number);
    Ok((rows.into_iter().filter_map(Row::read).collect(), next))
}

/// The last number, and the number up to which all endings are settled.
///
/// # Errors
/// The database does not answer.
pub async fn position(database: &Database) -> Result<(i64, i64), sqlx::Error> {
    let (last, first_unsettled): (i64, Option<i64>) = on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT last, (SELECT MIN(number) FROM endings WHERE settled_at IS NULL) FROM ending_numbers WHERE only_row = 1",
        )
        .fetch_one(pool)
        .await
    })?;
    Ok((last, first_unsettled.map_or(last, |number| number - 1)))
}

/// Whether a session was ended before its time.
///
/// # Errors
/// The database does not answer.
pub async fn has_session(database: &Database, session: SessionId) -> Result<bool, sqlx::Error> {
    has_any(database, [Ended::Session(session); 3]).await
}

/// Whether any of these was ended or taken back before its time.
///
/// # Errors
/// The database does not answer.
pub async fn has_any(database: &Database, of: [Ended; 3]) -> Result<bool, sqlx::Error> {
    let [one, two, three] = of.map(|what| what.to_string());
    let found: Option<(i64,)> = on_database!(database, |pool| {
        sqlx::query_as("SELECT number FROM endings WHERE what IN ($1, $2, $3) LIMIT 1")
            .bind(one)
            .bind(two)
            .bind(three)
            .fetch_optional(pool)
            .await
    })?;
    Ok(found.is_some())
}

/// Forgets at most `limit` endings that were begun before `before`, and answers how many there were.
///
/// # Errors
/// The database does not answer.
pub async fn forget(database: &Database, before: Timestamp, limit: i64) -> Result<u64, sqlx::Error> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM endings WHERE number IN (SELECT number FROM endings WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)",
        )
        .bind(before)
        .bind(limit)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_comes_back_from_its_text() {
        let user = UserId::random();
        for what in [Ended::Session(SessionId::random_for(user)), Ended::Token(7), Ended::Account(user, 12)] {
            assert_eq!(what.to_string().parse(), Ok(what));
        }
        for odd in ["", "s", "s:", "t:x", "a:12", "z:1", "a:x:1"] {
            assert_eq!(odd.parse::<Ended>(), Err(UnknownEnding), "{odd:?}");
        }
    }
}
