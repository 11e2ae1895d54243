//! Sessions that have ended without anybody's act: they expired, or the process that ended them died before it was done, or
//! the store lost them. Found by what clients were given in them, a bounded number at a time, by one replica each.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::session::{EndReason, SessionId, UserId};

use super::settling::{Word, settle};
use crate::AuthService;
use crate::storage::audit::By;
use crate::storage::grants;

/// How long a session may be gone at most before it is noticed, unless its end was foreseen.
pub const LOOK_EVERY: Duration = Duration::from_secs(30 * 60);
/// How many grants are looked at in one go, and how many goes a call has.
const BATCH: i64 = 200;
const BATCHES: usize = 25;

/// Looks whether sessions live in which clients were given something, where it is time to look; what clients have in others
/// ends, and they are told. Safe on several replicas.
///
/// # Errors
/// Something needed does not answer; the next call goes on.
pub async fn notice_gone(service: &AuthService) -> Result<(), Problem> {
    for _ in 0..BATCHES {
        let now = service.clock.now();
        let due = grants::sessions_to_look_at(&service.database, now, now + LOOK_EVERY, BATCH).await?;
        let is_last = i64::try_from(due.len()).is_ok_and(|count| count < BATCH);
        look_at(service, due.into_iter().collect()).await?;
        if is_last {
            break;
        }
    }
    Ok(())
}

async fn look_at(service: &AuthService, sessions: BTreeMap<SessionId, UserId>) -> Result<(), Problem> {
    let mut failure = None;
    for (session, user) in sessions {
        let looked = if failure.is_none() { look(service, session, user).await } else { Ok(()) };
        failure = failure.or(looked.err());
        if failure.is_some() {
            // It was not looked at: nobody else would for a while.
            grants::look_again(&service.database, session, service.clock.now()).await?;
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn look(service: &AuthService, id: SessionId, user: UserId) -> Result<(), Problem> {
    let now = service.clock.now();
    if let Some(session) = service.sessions.load(id).await? {
        if session.ends_at() < now + LOOK_EVERY {
            // Its end is foreseen, by the store's clock.
            let soon = session.ends_at().max(now + Duration::from_secs(1));
            grants::look_again(&service.database, id, soon).await?;
        }
        return Ok(());
    }
    if let Some(until) = may_live_elsewhere(service, id).await? {
        return Ok(grants::look_again(&service.database, id, until).await?);
    }
    // An access token may have been given shortly before.
    service.sessions.end(id, EndReason::Expired).await?;
    settle(service, &[id], Word::of_session(Some(user), EndReason::Expired, &By::SERVICE)).await;
    Ok(())
}

/// Where each node has sessions of its own, until when another one may have this one: no session is older than its greatest
/// age. `None` where nobody has it.
async fn may_live_elsewhere(service: &AuthService, id: SessionId) -> Result<Option<Timestamp>, Problem> {
    if service.strategy.guarantees(&*service.sessions).any_node {
        return Ok(None);
    }
    let grants = grants::open_of_session(&service.database, id).await?;
    let until = grants.iter().map(|grant| grant.created_at + service.rules.absolute_ttl).max();
    Ok(until.filter(|until| *until > service.clock.now()))
}

/// At the start: a store that remembers nothing from before has lost all sessions.
///
/// # Errors
/// The database does not answer.
pub async fn suspect_all(service: &AuthService) -> Result<(), sqlx::Error> {
    match service.sessions.remembers_since() {
        Some(since) => grants::look_at_older(&service.database, since).await,
        None => Ok(()),
    }
}
