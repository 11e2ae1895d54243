//! The one way in which a session ends: in the store, where its refresh tokens end with it and every service hears that
//! its access tokens do; then, in one step of the database, in what clients were given, in the word that is left for them,
//! and in the audit. The store comes first, and the database never holds it back: what it does not take is done later.

mod gone;
mod unsettled;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix_web::http::StatusCode;
use shared::authentication::strategy::Credential;
use shared::problem::Problem;
use shared::session::{Attributes, EndReason, Session, SessionId, UserId};

pub use self::gone::{LOOK_EVERY, notice_gone, suspect_all};
pub use self::unsettled::{Unsettled, settle_rest};
use crate::AuthService;
use crate::back_channel;
use crate::epoch;
use crate::storage::audit::{self, Act, By, Entry};
use crate::storage::users::{self, User};
use crate::storage::{clients, grants};

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
    let version: Option<i64> = session.attributes.get(ACCOUNT_VERSION).and_then(|text| text.parse().ok());
    match version {
        _ if user.locked_at.is_some() => Standing::Outdated,
        None => Standing::Outdated,
        Some(version) if version == user.version => Standing::Current,
        Some(version) if version > user.version => Standing::ReadTooEarly,
        Some(_) if user.ended_version < user.version => Standing::Unsettled,
        Some(_) => Standing::Outdated,
    }
}

/// Ends what an account's change ends, right after its commit: all sessions but one, which goes on at the new version.
/// Until this has succeeded, [`finish`] tries again and a refresh of such a session is refused.
///
/// # Errors
/// 503 `sessions_not_ended`: the change stands.
pub async fn end_outdated(
    service: &AuthService,
    user: &User,
    keep: Option<SessionId>,
    reason: EndReason,
    by: &By,
) -> Result<(), Problem> {
    let ending = async {
        if let Some(keep) = keep {
            let now_at = at_version(user.version).into_iter().map(|(name, value)| (name, Some(value)));
            service.sessions.write(keep, &now_at.collect::<Vec<_>>(), None).await?;
        }
        end_all(service, user.id, keep, reason, by).await?;
        if service.strategy.credential() == Credential::SealedCookie {
            epoch::revoke_before(service, user.id, user.version).await?;
        }
        users::sessions_ended(&service.database, user.id, user.version).await?;
        Ok(())
    };
    ending.await.map_err(|_: Problem| {
        let detail = "the change is made; the sessions that it ends are refused at their next refresh, and end as soon \
                      as the session store answers";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "sessions_not_ended", detail).retry_after(Duration::from_secs(1))
    })
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
        for session in service.sessions.list(user.id).await? {
            if !is_current(&user, &session) {
                end(service, session.id, EndReason::AccountChanged, &By::SERVICE).await?;
            }
        }
        if service.strategy.credential() == Credential::SealedCookie {
            epoch::revoke_before(service, user.id, user.version).await?;
        }
        users::sessions_ended(&service.database, user.id, user.version).await?;
    }
    Ok(())
}

/// Ends one session, and answers what it was. One that is gone is announced again, and no error.
///
/// # Errors
/// 503 when the session store does not answer.
pub async fn end(service: &AuthService, id: SessionId, reason: EndReason, by: &By) -> Result<Option<Session>, Problem> {
    if let Some(list) = &service.deny_list {
        list.add(id, service.rules.absolute_ttl).await?;
    }
    let ended = service.sessions.end(id, reason).await?;
    match &ended {
        Some(session) => note_ended(service, session.user, id, reason, by).await,
        // What clients had in it may have outlived it.
        None => settle(service, &[id], None).await,
    }
    Ok(ended)
}

/// Ends all sessions of a user except one, and answers how many there were.
///
/// # Errors
/// 503 when the session store does not answer.
pub async fn end_all(
    service: &AuthService,
    user: UserId,
    except: Option<SessionId>,
    reason: EndReason,
    by: &By,
) -> Result<usize, Problem> {
    let ended = service.sessions.end_all(user, except, reason).await?;
    count(reason, ended.len());
    let detail = format!("{}: {}", reason.as_str(), ended.len());
    settle(service, &ended, Some(&Entry::done(Act::EndSessions, by).subject(user).detail(detail))).await;
    Ok(ended.len())
}

/// Does what is left to do for a session that the store has ended by its own rules: for the limit, or for a stolen refresh
/// token.
pub(crate) async fn note_ended(service: &AuthService, user: UserId, id: SessionId, reason: EndReason, by: &By) {
    count(reason, 1);
    let entry = Entry::done(Act::EndSession, by).subject(user).session(id).detail(reason.as_str());
    settle(service, &[id], Some(&entry)).await;
}

/// What sessions that have ended leave to do. The database may be away: then it is done as soon as it is back.
async fn settle(service: &AuthService, sessions: &[SessionId], entry: Option<&Entry>) {
    if let Err(error) = settle_now(service, sessions, entry).await {
        if let Some(entry) = entry {
            tracing::error!(%error, ?entry, "an entry is missing from the audit");
        }
        service.unsettled.add(sessions);
    }
}

/// Ends what clients were given in sessions that have ended, leaves word for the clients, and writes the entry: all of it or
/// nothing. Answers how many grants there were. A second time there are none, and nobody is told twice.
async fn settle_now(
    service: &AuthService,
    sessions: &[SessionId],
    entry: Option<&Entry>,
) -> Result<usize, sqlx::Error> {
    // In one order: two that end the same sessions must not wait for each other.
    let mut sessions = sessions.to_vec();
    sessions.sort_unstable();
    let now = service.clock.now();
    let mut transaction = service.database.begin().await?;
    let (mut ended, mut has_word) = (0, false);
    for session in sessions {
        let grants = grants::end_of_session(&mut transaction, session, now).await?;
        ended += grants.len();
        // A client hears of a session once, however often it was given something in it.
        for (client, user) in grants.into_iter().collect::<BTreeMap<_, _>>() {
            if let Some(client) = clients::by_id_in(&mut transaction, &client).await? {
                has_word |= back_channel::leave_word(&mut transaction, &client, session, user, now).await?;
            }
        }
    }
    if let Some(entry) = entry {
        audit::write_in(&mut transaction, now, entry).await?;
    }
    transaction.commit().await?;
    if has_word {
        service.back_channel.wake();
    }
    Ok(ended)
}

fn count(reason: EndReason, ended: usize) {
    metrics::counter!("roam_sessions_ended_total", "reason" => reason.as_str()).increment(ended as u64);
}

#[cfg(test)]
mod tests {
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
