//! The intent of an end, written down before the session store is asked. So an answer of the store that is lost, or a process
//! that dies, leaves something that any replica carries out, and each ended session gets its one entry in the audit.

use std::time::Duration;

use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::session::{EndReason, SessionId, StoreUnavailable, UserId};
use tokio::time::timeout;

use super::has_sessions_elsewhere;
use super::own::Noted;
use super::settling::{Word, settle};
use crate::AuthService;
use crate::storage::audit::By;
use crate::storage::endings::{self, Ended, Ending, NewEnding};

/// How long an end waits for the database: it is not held back by one that is away.
const PATIENCE: Duration = Duration::from_secs(1);
/// How old an intent is that its own process has left behind,
const LEFT: Duration = Duration::from_secs(5);
/// and one of a session that no node has: each would have heard of it.
const OF_NO_NODE: Duration = Duration::from_secs(30);
/// How many are carried out in one go.
const BATCH: i64 = 100;

/// Writes the intents to end some sessions, and answers those that were not there before.
///
/// # Errors
/// The database does not answer within a second: whether they are written is not known.
pub(super) async fn intend(
    service: &AuthService,
    sessions: &[SessionId],
    user: Option<UserId>,
    reason: EndReason,
    by: &By,
) -> Result<Vec<SessionId>, sqlx::Error> {
    let writing = async {
        let now = service.clock.now();
        let mut transaction = service.database.begin().await?;
        let (mut fresh, mut notes) = (Vec::new(), Vec::new());
        for session in sessions {
            let what = Ended::Session(*session);
            let note = service.own_endings.note(what);
            let new = NewEnding { what, user, spared: None, reason, by, is_settled: false };
            if endings::add(&mut transaction, &new, now).await? {
                fresh.push(*session);
                notes.push(note);
            }
        }
        transaction.commit().await?;
        notes.into_iter().for_each(Noted::stands);
        Ok(fresh)
    };
    let written = timeout(PATIENCE, writing).await;
    written.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

/// Carries out the intents that were left behind: the store did not answer, or the process died. Safe on several replicas.
///
/// # Errors
/// Something needed does not answer; the next call goes on.
pub async fn carry_out_left(service: &AuthService) -> Result<(), Problem> {
    let (now, mut from, mut failure) = (service.clock.now(), 0, None);
    loop {
        let (page, next) = endings::unsettled(&service.database, from, now - LEFT, BATCH).await?;
        for ending in &page {
            // One partition of a cluster that is away does not hold up the others, however many wait for it.
            failure = carry_out(service, ending, now).await.err().or(failure);
        }
        match next {
            Some(next) => from = next,
            None => return failure.map_or(Ok(()), |error| Err(error.into())),
        }
    }
}

async fn carry_out(service: &AuthService, ending: &Ending, now: Timestamp) -> Result<(), StoreUnavailable> {
    let Ended::Session(id) = ending.what else { return Ok(()) };
    let ended = service.sessions.end(id, ending.reason).await?;
    if ended.is_none() && has_sessions_elsewhere(service) {
        if now.since(ending.ended_at) > OF_NO_NODE {
            settle(service, &[id], Word::none(ending.reason)).await;
        }
        return Ok(());
    }
    let user = ended.map(|session| session.user).or(ending.user);
    settle(service, &[id], Word::of_session(user, ending.reason, &ending.by)).await;
    Ok(())
}

/// Takes back one access token, or all of a grant, and remembers it.
///
/// # Errors
/// 503 when something needed does not answer.
pub(crate) async fn revoke_token(service: &AuthService, user: UserId, token: u128, by: &By) -> Result<(), Problem> {
    let mut transaction = service.database.begin().await?;
    let what = Ended::Token(token);
    let new = NewEnding { what, user: Some(user), spared: None, reason: EndReason::Logout, by, is_settled: true };
    let note = service.own_endings.note(what);
    let is_new = endings::add(&mut transaction, &new, service.clock.now()).await?;
    transaction.commit().await?;
    if is_new {
        note.stands();
    }
    Ok(service.sessions.revoke_token(user, token).await?)
}
