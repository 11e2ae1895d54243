//! What clients are given in a session, and take-backs. A grant ends in three places: in the session, so that its refresh
//! token rotates no more; in the feed, so that its access tokens are refused everywhere; in SQL, last, where word is left
//! for a client that does not know of it yet. What ends with its session is [`end_session`](crate::end_session)'s.

pub mod room;
mod ungiven;

use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::session::{Granted, Session, SessionId, UserId};

pub use self::ungiven::{Ungiven, take_back, take_back_rest};
use crate::AuthService;
use crate::back_channel;
use crate::clients::{Client, is_client_id};
use crate::consent_epoch::ConsentEpoch;
use crate::end_session::{self, LOOK_EVERY};
use crate::scopes::Words;
use crate::storage::audit::{Act, By, Entry};
use crate::storage::grants::{self, Grant, GrantId, StoredSession};
use crate::storage::{clients, consents};

/// How many of a client's grants are ended in one go.
const BATCH: i64 = 200;

/// What a client is about to be given.
#[derive(Debug, Clone)]
pub struct NewGrant {
    pub id: GrantId,
    pub session: SessionId,
    pub user: UserId,
    pub client_id: String,
    pub scope: Words,
    pub audiences: Words,
    /// JSON of the claims that were asked for one by one.
    pub claims: String,
    pub dpop_jkt: Option<String>,
    /// Whether refresh tokens come with it.
    pub refreshable: bool,
    /// In which the person has allowed it.
    pub epoch: ConsentEpoch,
}

impl NewGrant {
    /// As it stands in SQL once it has begun.
    pub fn begun_at(&self, now: Timestamp) -> Grant {
        Grant {
            id: self.id,
            session: StoredSession(self.session),
            user_id: self.user,
            client_id: self.client_id.clone(),
            scope: self.scope.clone(),
            audiences: self.audiences.clone(),
            claims: self.claims.clone(),
            dpop_jkt: self.dpop_jkt.clone(),
            created_at: now,
            ended_at: None,
        }
    }
}

/// Why a grant ends before its session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfGrant {
    /// Its code was used a second time.
    CodeReused,
    /// A used refresh token of it was presented: a copy is in a stranger's hands.
    RefreshTokenReused,
    /// It was begun, and not given.
    NotGiven,
    /// The client gave it back.
    RevokedByClient,
    /// The client was deleted.
    ClientRemoved,
    /// The user has taken the consent back.
    ConsentWithdrawn,
    /// A newer grant took its place: see [`room`].
    MadeRoom,
}

impl EndOfGrant {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeReused => "code_reused",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::NotGiven => "not_given",
            Self::RevokedByClient => "revoked_by_client",
            Self::ClientRemoved => "client_removed",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::MadeRoom => "made_room",
        }
    }

    /// Whether the client is signed out too. It is not for the misuse of one code or refresh token: the finder of an old
    /// one could sign people out. Where a grant made room it is only with its last one, for word of it is word of the whole session, and
    /// would sign the person out of what has just begun.
    const fn is_told(self, has_others: bool) -> bool {
        match self {
            Self::ClientRemoved | Self::ConsentWithdrawn => true,
            Self::MadeRoom => !has_others,
            Self::CodeReused | Self::RefreshTokenReused | Self::NotGiven | Self::RevokedByClient => false,
        }
    }
}

/// What is left, for the client as it is registered now, of a scope and its services that were asked for or granted before.
/// `None` when that is nothing.
pub fn left(service: &AuthService, client: &Client, scope: &Words, audiences: &Words) -> Option<(Words, Words)> {
    let scope = client.still_has(scope);
    let left = audiences.within(&service.api_scopes.audiences(&scope, service.own_audience()));
    let has_something = !scope.is_empty() && left.is_empty() == audiences.is_empty();
    has_something.then_some((scope, left))
}

/// Begins a grant in a live session: `None` when the session has ended, or what the person had allowed is over. What is one too
/// many makes room.
///
/// # Errors
/// 503 when something needed does not answer: then nothing was given, and [`take_back`] ends what may have begun.
pub async fn begin(service: &AuthService, new: NewGrant, by: &By) -> Result<Option<(Grant, Session)>, Problem> {
    let grant = new.begun_at(service.clock.now());
    // The row comes first: whoever ends the session from here on finds it, and tells the client.
    grants::insert(&service.database, &grant, grant.created_at + LOOK_EVERY).await?;
    let session = if new.refreshable {
        match service.sessions.grant(new.session, &grant.id.to_string()).await? {
            Granted::Begun(session) => Some(session),
            Granted::Gone => None,
            Granted::Full => {
                tracing::warn!(session = %new.session, client = grant.client_id, "a session has too many grants for another");
                None
            }
        }
    } else {
        service.sessions.load(new.session).await?
    };
    let Some(session) = session else {
        end_row(service, &grant, EndOfGrant::NotGiven).await?;
        return Ok(None);
    };
    // Now that the grant is there to be ended: every end from here on finds it, also in the session.
    if new.epoch.is_over(service, grant.user_id, &grant.client_id).await?
        || !make_room(service, &grant, &session, by).await?
    {
        tracing::info!(client = grant.client_id, user = %grant.user_id, "what was allowed is over: the grant is not given");
        end(service, &grant, EndOfGrant::NotGiven, by).await?;
        return Ok(None);
    }
    let detail = format!("{}: {}", grant.client_id, grant.scope);
    let entry = Entry::done(Act::Grant, by).subject(grant.user_id).session(new.session).detail(detail);
    service.record(&entry).await?;
    Ok(Some((grant, session)))
}

/// Ends what is one too many beside a grant that has begun. Each that begins looks once it can be seen: of several at once,
/// the last sees all. `false` when the new one has ended meanwhile itself.
async fn make_room(service: &AuthService, new: &Grant, session: &Session, by: &By) -> Result<bool, Problem> {
    let open = grants::open_of_session(&service.database, session.id).await?;
    if open.iter().all(|grant| grant.id != new.id) {
        return Ok(false);
    }
    // Of a family that was never rotated, all who look at once see the same moment in its row.
    let used_at = |grant: &Grant| {
        let rotated = session.clients.get(&grant.id.to_string()).filter(|family| family.generation > 1);
        rotated.map_or(grant.created_at, |family| family.rotated_at)
    };
    let held = open.iter().map(|it| room::Held { id: it.id, client: &it.client_id, used_at: used_at(it) }).collect();
    let excess = room::to_make(held, new.id);
    for grant in open.iter().filter(|grant| excess.contains(&grant.id)) {
        end(service, grant, EndOfGrant::MadeRoom, by).await?;
    }
    Ok(true)
}

/// Ends one grant: its refresh token, its access tokens, its row.
///
/// # Errors
/// 503 when something needed does not answer; to try again is safe.
pub async fn end(service: &AuthService, grant: &Grant, why: EndOfGrant, by: &By) -> Result<(), Problem> {
    service.sessions.end_grant(grant.session.0, &grant.id.to_string()).await?;
    end_session::revoke_token(service, grant.user_id, grant.id.number(), by).await?;
    if end_row(service, grant, why).await? {
        // One that was about to begin may have got its refresh token between the first step and the row's end.
        service.sessions.end_grant(grant.session.0, &grant.id.to_string()).await?;
        let detail = format!("{}: {}", grant.client_id, why.as_str());
        let entry = Entry::done(Act::EndGrant, by).subject(grant.user_id).session(grant.session.0).detail(detail);
        service.record_or_log(&entry).await;
    }
    Ok(())
}

/// Ends a grant's row, and leaves word for its client where it must know; `false` when it had ended.
async fn end_row(service: &AuthService, grant: &Grant, why: EndOfGrant) -> Result<bool, Problem> {
    let now = service.clock.now();
    let mut transaction = service.database.begin().await?;
    if !grants::end(&mut transaction, grant.id, now).await? {
        return Ok(false);
    }
    let mut has_word = false;
    let others = why == EndOfGrant::MadeRoom && grants::has_others(&mut transaction, grant).await?;
    if why.is_told(others)
        && let Some(client) = clients::by_id_in(&mut transaction, &grant.client_id).await?
    {
        let (session, user) = (grant.session.0, grant.user_id);
        has_word = back_channel::leave_word(&mut transaction, &client, session, user, now).await?;
    }
    transaction.commit().await?;
    if has_word {
        service.back_channel.wake();
    }
    Ok(true)
}

/// Ends all that a client has, as when it is deleted: it is still there to be told, and gets nothing new.
///
/// # Errors
/// 503 when something needed does not answer; to try again goes on.
pub async fn end_of_client(service: &AuthService, client: &str, by: &By) -> Result<(), Problem> {
    loop {
        let open = grants::open_of_client(&service.database, client, BATCH).await?;
        for grant in &open {
            end(service, grant, EndOfGrant::ClientRemoved, by).await?;
        }
        if open.is_empty() {
            return Ok(());
        }
    }
}

/// A user takes a client's consent back: what it was given ends, also what it was answered and has not fetched; it is told,
/// and it must ask again. `false` when it had none.
///
/// # Errors
/// 503 when something needed does not answer; to try again goes on.
pub async fn withdraw(service: &AuthService, user: UserId, client: &str, by: &By) -> Result<bool, Problem> {
    let had_consent = withdraw_consent(service, user, client).await?;
    let mut had_grant = false;
    for grant in grants::open_of_user(&service.database, user).await? {
        if grant.client_id == client {
            had_grant = true;
            end(service, &grant, EndOfGrant::ConsentWithdrawn, by).await?;
        }
    }
    Ok(had_consent || had_grant)
}

/// The consent's own part, before its grants: what begins from here on is refused, what has begun is found.
async fn withdraw_consent(service: &AuthService, user: UserId, client: &str) -> Result<bool, Problem> {
    let mut transaction = service.database.begin().await?;
    // A withdrawal leaves a row behind, so a made-up client is refused first.
    if !is_client_id(client) || clients::by_id_in(&mut transaction, client).await?.is_none() {
        return Ok(false);
    }
    let had_consent = consents::withdraw(&mut transaction, user, client).await?;
    transaction.commit().await?;
    Ok(had_consent)
}
