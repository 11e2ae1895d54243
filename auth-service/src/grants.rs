//! What clients are given in a session, and take-backs. A grant ends in three places: in the session, so that its refresh
//! token rotates no more; in the feed, so that its access tokens are refused everywhere; in SQL, last, where word is left
//! for a client that does not know of it yet. What ends with its session is [`end_session`](crate::end_session)'s.

use shared::problem::Problem;
use shared::session::{SessionId, UserId};

use crate::AuthService;
use crate::back_channel;
use crate::clients::Client;
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
}

/// Why a grant ends before its session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfGrant {
    /// Its code was used a second time.
    CodeReused,
    /// It was begun, and not given.
    NotGiven,
    /// The client gave it back.
    RevokedByClient,
    /// The client was deleted.
    ClientRemoved,
    /// The user has taken the consent back.
    ConsentWithdrawn,
}

impl EndOfGrant {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeReused => "code_reused",
            Self::NotGiven => "not_given",
            Self::RevokedByClient => "revoked_by_client",
            Self::ClientRemoved => "client_removed",
            Self::ConsentWithdrawn => "consent_withdrawn",
        }
    }

    /// Whether the client is signed out too. It is not for the misuse of one code: whoever found an old one could sign
    /// people out.
    const fn is_told(self) -> bool {
        matches!(self, Self::ClientRemoved | Self::ConsentWithdrawn)
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

/// Begins a grant in a live session: `None` when the session has ended.
///
/// # Errors
/// 503 when something needed does not answer: then nothing was given.
pub async fn begin(
    service: &AuthService,
    new: NewGrant,
    by: &By,
) -> Result<Option<(Grant, shared::session::Session)>, Problem> {
    let grant = Grant {
        id: new.id,
        session: StoredSession(new.session),
        user_id: new.user,
        client_id: new.client_id,
        scope: new.scope,
        audiences: new.audiences,
        claims: new.claims,
        dpop_jkt: new.dpop_jkt,
        created_at: service.clock.now(),
        ended_at: None,
    };
    // The row comes first: whoever ends the session from here on finds it, and tells the client.
    grants::insert(&service.database, &grant, grant.created_at + LOOK_EVERY).await?;
    let session = if new.refreshable {
        service.sessions.grant(new.session, &grant.id.to_string()).await?
    } else {
        service.sessions.load(new.session).await?
    };
    let Some(session) = session else {
        end_row(service, &grant, EndOfGrant::NotGiven).await?;
        return Ok(None);
    };
    let detail = format!("{}: {}", grant.client_id, grant.scope);
    let entry = Entry::done(Act::Grant, by).subject(grant.user_id).session(new.session).detail(detail);
    service.record(&entry).await?;
    Ok(Some((grant, session)))
}

/// Ends one grant: its refresh token, its access tokens, its row.
///
/// # Errors
/// 503 when something needed does not answer; to try again is safe.
pub async fn end(service: &AuthService, grant: &Grant, why: EndOfGrant, by: &By) -> Result<(), Problem> {
    service.sessions.end_grant(grant.session.0, &grant.id.to_string()).await?;
    end_session::revoke_token(service, grant.user_id, grant.id.number(), by).await?;
    if end_row(service, grant, why).await? {
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
    if why.is_told()
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

/// A user takes a client's consent back: what it was given ends, it is told, and it must ask again. `false` when it had
/// none.
///
/// # Errors
/// 503 when something needed does not answer; to try again goes on.
pub async fn withdraw(service: &AuthService, user: UserId, client: &str, by: &By) -> Result<bool, Problem> {
    let had_consent = consents::remove(&service.database, user, client).await?;
    let mut had_grant = false;
    for grant in grants::open_of_user(&service.database, user).await? {
        if grant.client_id == client {
            had_grant = true;
            end(service, &grant, EndOfGrant::ConsentWithdrawn, by).await?;
        }
    }
    Ok(had_consent || had_grant)
}
