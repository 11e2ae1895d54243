//! The one way in which a session ends: its intent in SQL; then in the store, where its refresh tokens end with it and every
//! service hears that its access tokens do; then, in one step of the database, in what clients were given, in the word that is
//! left for them, and in the audit. A database that is away holds back no end that the store remembers: what it does not take
//! is done later. Where no store keeps sessions, only SQL remembers an end, which is confirmed once SQL has it.

mod elsewhere;
mod gone;
mod intent;
mod look;
mod lost;
mod own;
mod repeated;
mod republishing;
mod settling;

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::http::StatusCode;
use shared::authentication::strategy::Place;
use shared::database::Transaction;
use shared::problem::Problem;
use shared::session::{Attributes, EndReason, Session, SessionId, StoreUnavailable, UserId};

pub use self::elsewhere::{follow_others, is_followed};
pub use self::gone::{LOOK_EVERY, notice_gone, suspect_all};
pub use self::intent::carry_out_left;
use self::intent::intend;
pub(crate) use self::intent::revoke_token;
pub use self::look::{Look, look};
pub use self::own::Own;
pub use self::republishing::{Marked, keep_published};
pub use self::settling::{Unsettled, settle_rest};
use self::settling::{Word, settle};
use crate::AuthService;
use crate::epoch;
use crate::storage::audit::By;
use crate::storage::endings::{self, Ended, Ending, NewEnding};
use crate::storage::users::{self, User};

/// The attribute of a session that holds its account's version at the login.
const ACCOUNT_VERSION: &str = "account_version";
/// How many accounts [`finish`] looks at in one go.
const BATCH: i64 = 100;

/// What a session of an account remembers of it.
pub fn at_version(version: i64) -> Attributes {
    Attributes::from([(ACCOUNT_VERSION.to_owned(), version.to_string())])
}

/// Whether the account is still as it was at the login, and not locked. A session that does not tell is not current.
pub fn is_current(user: &User, session: &Session) -> bool {
    standing(user, session) == Standing::Current
}

fn version_of(session: &Session) -> Option<i64> {
    session.attributes.get(ACCOUNT_VERSION)?.parse().ok()
}

/// How a session stands to its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Current,
    /// The account was read before the session, and has changed between.
    ReadTooEarly,
    /// The account has just changed. Which of its sessions goes on is about to be written.
    Unsettled,
    Outdated,
}

/// How the session stands to its account, both as they were read.
pub fn standing(user: &User, session: &Session) -> Standing {
    match version_of(session) {
        _ if user.locked_at.is_some() => Standing::Outdated,
        None => Standing::Outdated,
        Some(version) if version == user.version => Standing::Current,
        Some(version) if version > user.version => Standing::ReadTooEarly,
        Some(_) if user.ended_version < user.version => Standing::Unsettled,
        Some(_) => Standing::Outdated,
    }
}

/// A change of an account that ends its sessions, but for one. Only [`Change::announce`] makes it: in the transaction of the
/// change, so that no node and no store misses it.
#[must_use = "the sessions still live"]
pub struct Change {
    user: User,
    keep: Option<SessionId>,
    /// What the session that goes on remembers from now on.
    keeps: Attributes,
    reason: EndReason,
    by: By,
}

impl Change {
    /// Writes down, with the change itself, which sessions it ends.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn announce(
        service: &AuthService,
        transaction: &mut Transaction,
        user: User,
        keep: Option<SessionId>,
        reason: EndReason,
        by: &By,
    ) -> Result<Self, sqlx::Error> {
        let what = Ended::Account(user.id, user.version);
        let new = NewEnding { what, user: Some(user.id), spared: keep, reason, by, is_settled: true };
        endings::add(transaction, &new, service.clock.now()).await?;
        Ok(Self { keeps: at_version(user.version), user, keep, reason, by: by.clone() })
    }

    /// Another cookie opens the session that goes on: the one of before opens it no more from the moment in which it does.
    pub fn reopened(mut self, cookie: (String, String)) -> Self {
        self.keeps.extend([cookie]);
        self
    }

    /// Ends the sessions, right after the commit: all but one, which goes on at the new version. Answers the account, and
    /// how many sessions of this store have ended. Until this has succeeded, [`finish`] tries again and a refresh of such a
    /// session is refused.
    ///
    /// # Errors
    /// 503 `sessions_not_ended`: the change stands.
    pub async fn end_outdated(self, service: &AuthService) -> Result<(User, usize), Problem> {
        let Self { user, keep, keeps, reason, by } = self;
        let ending = async {
            if let Some(keep) = keep {
                let keeps = keeps.into_iter().map(|(name, value)| (name, Some(value)));
                service.sessions.write(keep, &keeps.collect::<Vec<_>>(), None).await?;
            }
            let ended = end_here(service, user.id, keep, reason, &by).await?;
            if service.strategy.place() == Place::Client {
                epoch::revoke_before(service, user.id, user.version).await?;
            }
            users::sessions_ended(&service.database, user.id, user.version).await?;
            Ok(ended)
        };
        let ended = ending.await.map_err(|_: Problem| {
            let detail = "the change is made; the sessions that it ends are refused at their next refresh, and end as soon \
                          as the session store answers";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "sessions_not_ended", detail)
                .retry_after(Duration::from_secs(1))
        })?;
        Ok((user, ended))
    }
}

/// Changes of accounts whose sessions had not all ended at a look: whose, and to which version.
pub type Unfinished = BTreeSet<(UserId, i64)>;

/// Ends the sessions that a change of their account should have ended, while the session store did not answer or before
/// this service died. Safe on several replicas. A change that was not there at the look before is left to whoever makes it.
///
/// # Errors
/// Something needed does not answer; the next call goes on.
pub async fn finish(service: &AuthService, unfinished: &mut Unfinished) -> Result<(), Problem> {
    let found = users::with_sessions_to_end(&service.database, BATCH).await?;
    let before = std::mem::replace(unfinished, found.iter().map(|user| (user.id, user.version)).collect());
    for user in found.into_iter().filter(|user| before.contains(&(user.id, user.version))) {
        let begun = lost::begun(service, user.id).await?;
        let listed = service.sessions.list(user.id).await?;
        let lost = begun.into_iter().filter(|id| listed.iter().all(|session| session.id != *id));
        let outdated = listed.iter().filter(|session| !is_current(&user, session)).map(|session| session.id);
        for id in outdated.chain(lost) {
            end_of(service, id, Some(user.id), EndReason::AccountChanged, &By::SERVICE).await?;
        }
        if service.strategy.place() == Place::Client {
            epoch::revoke_before(service, user.id, user.version).await?;
        }
        users::sessions_ended(&service.database, user.id, user.version).await?;
    }
    Ok(())
}

/// Ends one session, and answers what it was. One that is gone is announced again, and no error.
///
/// # Errors
/// 503 when the session store does not answer, or, where nothing else remembers the end, the database.
pub async fn end(service: &AuthService, id: SessionId, reason: EndReason, by: &By) -> Result<Option<Session>, Problem> {
    end_of(service, id, None, reason, by).await
}

/// As [`end`], for a session of this user, as far as the caller knows.
///
/// # Errors
/// As [`end`].
pub async fn end_of(
    service: &AuthService,
    id: SessionId,
    user: Option<UserId>,
    reason: EndReason,
    by: &By,
) -> Result<Option<Session>, Problem> {
    let intent = intend(service, &[id], user, reason, by).await;
    // An answer that is lost leaves the intent, which is carried out later.
    let ended = service.sessions.end(id, reason).await.map_err(|error| not_yet(error, intent.is_ok()))?;
    let is_kept = service.sessions.keeps_sessions();
    if ended.is_none() && has_sessions_elsewhere(service) {
        // The node that has it hears of the intent, and settles it.
        intent?;
        return Ok(None);
    }
    let was_intended = intent.as_ref().is_ok_and(Vec::is_empty);
    let word = if ended.is_some() || was_intended || !is_kept {
        Word::of_session(ended.as_ref().map(|session| session.user).or(user), reason, by)
    } else {
        // There was no such session; what clients had in it may have outlived it.
        Word::none(reason)
    };
    let is_settled = settle(service, &[id], word).await;
    if let (Err(error), false, false) = (intent, is_kept, is_settled) {
        return Err(error.into());
    }
    Ok(ended)
}

/// The store does not answer: whether the end is carried out all the same.
fn not_yet(error: StoreUnavailable, is_written_down: bool) -> Problem {
    if !is_written_down {
        return error.into();
    }
    tracing::warn!(%error, "the end of a session waits for the session store");
    let detail = "the session store does not answer; the end is written down, and is carried out as soon as it does: to try \
                  again is safe";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(Duration::from_secs(1))
}

/// Ends all sessions of a user except one, at every node, and answers how many there were in this store.
///
/// # Errors
/// 503 when the session store does not answer; where each node has sessions of its own, also when the database does not.
pub async fn end_all(
    service: &AuthService,
    user: UserId,
    except: Option<SessionId>,
    reason: EndReason,
    by: &By,
) -> Result<usize, Problem> {
    if !has_sessions_elsewhere(service) {
        return end_here(service, user, except, reason, by).await;
    }
    let change = epoch::begin(service, user, except, reason, by).await?;
    Ok(change.end_outdated(service).await?.1)
}

/// Ends a user's sessions in this store.
async fn end_here(
    service: &AuthService,
    user: UserId,
    except: Option<SessionId>,
    reason: EndReason,
    by: &By,
) -> Result<usize, Problem> {
    let begun = lost::begun(service, user).await.unwrap_or_else(|error| {
        tracing::warn!(%error, %user, "sessions that the store has lost are not ended: their access tokens live until they expire");
        Vec::new()
    });
    let mut known: Vec<SessionId> = service.sessions.list(user).await?.into_iter().map(|session| session.id).collect();
    let lost: Vec<SessionId> = begun.into_iter().filter(|id| !known.contains(id) && Some(*id) != except).collect();
    known.retain(|id| Some(*id) != except);
    if known.is_empty() && lost.is_empty() && reason == EndReason::EndedByUser {
        return Ok(0);
    }
    if let Err(error) = intend(service, &known, Some(user), reason, by).await {
        tracing::warn!(%error, %user, "sessions are ended before it is written down");
    }
    let ended = service.sessions.end_all(user, except, reason).await?;
    for id in &lost {
        service.sessions.end(*id, reason).await?;
    }
    let count = ended.len();
    known.extend(ended);
    settle(service, &known, Word::of_all(user, reason, by)).await;
    // The entry above stands for them: how many of them had expired is unknown.
    settle(service, &lost, Word::none(reason)).await;
    Ok(count)
}

/// Does what is left to do for a session that the store has ended by its own rules: for the limit, or for a stolen refresh
/// token.
pub(crate) async fn note_ended(service: &AuthService, user: UserId, id: SessionId, reason: EndReason, by: &By) {
    settle(service, &[id], Word::of_session(Some(user), reason, by)).await;
}

/// Whether other nodes have sessions that this one cannot end.
fn has_sessions_elsewhere(service: &AuthService) -> bool {
    service.strategy.place() == Place::Memory
}

/// Whether the session began at an older version of its account. One that does not tell did.
fn is_older(session: &Session, version: i64) -> bool {
    version_of(session).is_none_or(|of_session| of_session < version)
}

fn spares(ending: &Ending, session: SessionId) -> bool {
    ending.spared == Some(session)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::clock::Timestamp;

    use super::*;
    use crate::roles::Roles;

    fn user(version: i64, ended_version: i64) -> User {
        User {
            id: UserId::random(),
            email: "ada@example.com".parse().expect("an address"),
            display_name: "Ada".to_owned(),
            password_hash: String::new(),
            roles: Roles::user(),
            locked_at: None,
            version,
            ended_version,
            created_at: Timestamp::from_micros(0),
        }
    }

    fn session(attributes: Attributes) -> Session {
        let user = UserId::random();
        Session {
            id: SessionId::random_for(user),
            user,
            roles: Vec::new(),
            amr: Vec::new(),
            device: String::new(),
            address: String::new(),
            created_at: Timestamp::from_micros(0),
            last_seen_at: Timestamp::from_micros(0),
            idle: Duration::from_secs(1),
            expires_at: Timestamp::from_micros(1),
            version: 0,
            clients: BTreeMap::new(),
            attributes,
        }
    }

    #[test]
    fn a_session_is_outdated_only_when_its_accounts_change_is_settled() {
        for (version, ended_version, at, expected) in [
            (3, 3, 3, Standing::Current),
            (3, 2, 3, Standing::Current),
            (3, 3, 4, Standing::ReadTooEarly),
            (3, 2, 2, Standing::Unsettled),
            (3, 3, 2, Standing::Outdated),
        ] {
            let of_session = standing(&user(version, ended_version), &session(at_version(at)));
            assert_eq!(of_session, expected, "{version}, {ended_version}, {at}");
        }
        let locked = User { locked_at: Some(Timestamp::from_micros(1)), ..user(3, 2) };
        for at in [2, 3, 4] {
            assert_eq!(standing(&locked, &session(at_version(at))), Standing::Outdated);
        }
        for odd in ["", "x", "3 "] {
            let attributes = Attributes::from([(ACCOUNT_VERSION.to_owned(), odd.to_owned())]);
            assert_eq!(standing(&user(3, 3), &session(attributes)), Standing::Outdated, "{odd:?}");
        }
        assert_eq!(standing(&user(3, 3), &session(Attributes::new())), Standing::Outdated);
    }
}
