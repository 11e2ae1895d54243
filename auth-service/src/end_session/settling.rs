//! What an ended session leaves to do in the database, in one transaction: the end of what clients were given in it, the word
//! that is left for them, and the entry of the audit, which each session has once. The database may be away: then it is done
//! as soon as it is back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use shared::clock::Timestamp;
use shared::database::Transaction;
use shared::session::{EndReason, SessionId, UserId};
use tokio::time::timeout;

use crate::AuthService;
use crate::back_channel;
use crate::storage::audit::{self, Act, By, Entry};
use crate::storage::endings::{self, Ended, NewEnding};
use crate::storage::{clients, grants};

/// How long an end waits for the database.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many sessions wait for the database at most. What is beyond is in the log, and in the intents of others.
const MOST: usize = 100_000;

/// What the audit is told of sessions that have ended.
#[derive(Debug, Clone)]
pub(super) struct Word {
    reason: EndReason,
    by: By,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing: there was no session.
    None,
    /// An entry for each.
    Each(Option<UserId>),
    /// One entry for all of a user's.
    All(UserId),
}

impl Word {
    pub(super) fn none(reason: EndReason) -> Self {
        Self { reason, by: By::SERVICE, kind: Kind::None }
    }

    pub(super) fn of_session(user: Option<UserId>, reason: EndReason, by: &By) -> Self {
        Self { reason, by: by.clone(), kind: Kind::Each(user) }
    }

    pub(super) fn of_all(user: UserId, reason: EndReason, by: &By) -> Self {
        Self { reason, by: by.clone(), kind: Kind::All(user) }
    }

    fn user(&self) -> Option<UserId> {
        match self.kind {
            Kind::None => None,
            Kind::Each(user) => user,
            Kind::All(user) => Some(user),
        }
    }

    /// The entry of one session: as its intent says, if there was one.
    fn entry(&self, session: SessionId, intent: Option<&endings::Ending>) -> Option<Entry> {
        let Kind::Each(user) = self.kind else { return None };
        let (by, reason) = intent.map_or((&self.by, self.reason), |intent| (&intent.by, intent.reason));
        let subject = user.or_else(|| intent.and_then(|intent| intent.user));
        let entry = Entry::done(Act::EndSession, by).session(session).detail(reason.as_str());
        Some(Entry { subject, ..entry })
    }
}

/// Sessions that have ended, and what could not be done for them yet.
#[derive(Debug, Clone)]
struct Left {
    at: Timestamp,
    sessions: Vec<SessionId>,
    word: Word,
}

/// What this process has still to settle.
#[derive(Debug, Default)]
pub struct Unsettled(Mutex<VecDeque<Left>>);

impl Unsettled {
    fn add(&self, left: Left) {
        let mut kept = self.0.lock();
        if kept.iter().map(|left| left.sessions.len()).sum::<usize>() + left.sessions.len() <= MOST {
            kept.push_back(left);
        }
    }
}

/// Settles some sessions; `false` where the database is away, and it is done later.
pub(super) async fn settle(service: &AuthService, sessions: &[SessionId], word: Word) -> bool {
    // In one order: two that end the same sessions must not wait for each other.
    let mut sessions = sessions.to_vec();
    sessions.sort_unstable();
    sessions.dedup();
    let left = Left { at: service.clock.now(), sessions, word };
    // A database that hangs holds up no end: it is settled when it answers again.
    let settled = timeout(PATIENCE, settle_now(service, &left)).await;
    let settled = settled.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
    if let Err(error) = &settled {
        tracing::error!(%error, ?left, "entries of the audit wait for the database");
        service.unsettled.add(left);
    }
    settled.is_ok()
}

/// Settles what could not be settled when it was due.
///
/// # Errors
/// The database does not answer; the next call goes on.
pub async fn settle_rest(service: &AuthService) -> Result<(), sqlx::Error> {
    loop {
        let Some(left) = service.unsettled.0.lock().pop_front() else { return Ok(()) };
        if let Err(error) = settle_now(service, &left).await {
            service.unsettled.0.lock().push_front(left);
            return Err(error);
        }
    }
}

/// All of it or nothing. A second call finds nothing left to do, and tells no client twice.
async fn settle_now(service: &AuthService, left: &Left) -> Result<(), sqlx::Error> {
    let Left { at, sessions, word } = left;
    let now = service.clock.now();
    let mut transaction = service.database.begin().await?;
    let mut has_word = false;
    for session in sessions {
        let grants = grants::end_of_session(&mut transaction, *session, now).await?;
        // A client hears of a session once, however often it was given something in it.
        for (client, user) in grants.into_iter().collect::<BTreeMap<_, _>>() {
            if let Some(client) = clients::by_id_in(&mut transaction, &client).await? {
                has_word |= back_channel::leave_word(&mut transaction, &client, *session, user, now).await?;
            }
        }
    }
    // Last, for it locks what all endings need: first the rows that are there, then the number of those that are new.
    let mut intents = Vec::new();
    for session in sessions {
        intents.push((*session, endings::settle(&mut transaction, Ended::Session(*session), *at).await?));
    }
    let mut counted = 0;
    for (session, intent) in intents {
        counted += u64::from(claim(&mut transaction, session, intent, word, *at).await?);
    }
    if let Kind::All(user) = word.kind {
        let detail = format!("{}: {counted}", word.reason.as_str());
        let entry = Entry::done(Act::EndSessions, &word.by).subject(user).detail(detail);
        audit::write_in(&mut transaction, *at, &entry).await?;
    }
    transaction.commit().await?;
    if word.kind != Kind::None {
        metrics::counter!("roam_sessions_ended_total", "reason" => word.reason.as_str()).increment(counted);
    }
    if has_word {
        service.back_channel.wake();
    }
    Ok(())
}

/// Notes a session's end as settled, and writes its entry, where that was not done before.
async fn claim(
    transaction: &mut Transaction,
    session: SessionId,
    intent: Option<endings::Ending>,
    word: &Word,
    at: Timestamp,
) -> Result<bool, sqlx::Error> {
    let what = Ended::Session(session);
    if intent.is_none() {
        let new =
            NewEnding { what, user: word.user(), spared: None, reason: word.reason, by: &word.by, is_settled: true };
        if !endings::add(transaction, &new, at).await? {
            return Ok(false);
        }
    }
    if let Some(entry) = word.entry(session, intent.as_ref()) {
        audit::write_in(transaction, at, &entry).await?;
    }
    Ok(true)
}
