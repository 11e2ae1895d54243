//! A refresh token becomes new tokens: MAC, account, rotation, in this order. So garbage never reaches the store, and a
//! database that is away never costs a client its only token.

use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use secrecy::{ExposeSecret, SecretString};
use shared::arrival::TooLate;
use shared::problem::Problem;
use shared::session::{EndReason, Rotation, Session, SessionId};
use shared::token::PLATFORM_CLIENT;

use crate::AuthService;
use crate::end_session::{self, Look};
use crate::grants::{self, EndOfGrant};
use crate::issue::{TokenResponse, issue};
use crate::refresh_token::RefreshToken;
use crate::self_contained;
use crate::storage::audit::{Act, Actor, By, Entry};
use crate::storage::grants::{self as stored, Grant, GrantId};
use crate::storage::users::User;

/// Rotates the refresh token. The one before is answered with the same successor for `REFRESH_GRACE`; an older one ends
/// the session (of a client's, its grant), for a copy is in a stranger's hands.
///
/// # Errors
/// 401 `invalid_refresh_token`; 503 when something needed does not answer: then the token is still good.
pub async fn refresh(service: &AuthService, text: &SecretString, by: &By) -> Result<TokenResponse, Problem> {
    if self_contained::is_demanded(service) {
        let resumed = Box::pin(self_contained::resume(service, text)).await?;
        count(if resumed.is_some() { "rotated" } else { "gone" });
        let (user, session) = resumed.ok_or_else(invalid_refresh_token)?;
        return issue(service, &user, &session, 1);
    }
    read_own(service, text)?;
    let Rotated { user, session, generation } = rotate(service, text, by).await?;
    issue(service, &user, &session, generation)
}

/// What a rotation leads to: the account as it is now, and the generation that is good from now on.
pub struct Rotated {
    pub user: User,
    pub session: Session,
    pub generation: u64,
}

/// The grant that a client's refresh token belongs to, if it has not ended: nothing is rotated yet.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn grant_of(service: &AuthService, text: &SecretString) -> Result<Option<Grant>, Problem> {
    let Some(token) = service.refresh_tokens.read(text.expose_secret()) else { return Ok(None) };
    let Ok(id) = token.client.parse::<GrantId>() else { return Ok(None) };
    let grant = stored::by_id(&service.database, id).await?;
    Ok(grant.filter(|grant| grant.ended_at.is_none() && grant.session.0 == token.session))
}

/// Rotates a refresh token, whoever's it is.
///
/// What happens rarely is on the heap: a future is moved several times before it runs, with room for all that it may do.
///
/// # Errors
/// As [`refresh`].
pub async fn rotate(service: &AuthService, text: &SecretString, by: &By) -> Result<Rotated, Problem> {
    let RefreshToken { session, client, generation } = read(service, text)?;
    let Some(user) = account(service, session).await? else {
        return Err(Box::pin(outdated(service, session, by)).await);
    };
    let (outcome, session, generation) =
        match service.sessions.rotate(session, &client, generation, service.rules.refresh_grace).await? {
            Rotation::Rotated { session, generation } => ("rotated", session, generation),
            Rotation::Repeated { session, generation } => ("repeated", session, generation),
            Rotation::Stolen { session } => return Err(Box::pin(stolen(service, &session, by)).await),
            Rotation::StolenFromClient { session } => {
                return Err(Box::pin(stolen_from_client(service, &session, &client, by)).await);
            }
            Rotation::Late => return Err(late()),
            Rotation::Gone => return Err(gone()),
        };
    let user =
        if end_session::is_current(&user, &session) { user } else { Box::pin(settled(service, &session, by)).await? };
    count(outcome);
    Ok(Rotated { user, session, generation })
}

/// Reads a refresh token of the platform's own login: those of clients are for the token endpoint, and end no login.
///
/// # Errors
/// 401 `invalid_refresh_token`.
pub fn read_own(service: &AuthService, text: &SecretString) -> Result<RefreshToken, Problem> {
    let token = read(service, text)?;
    (token.client == PLATFORM_CLIENT).then_some(token).ok_or_else(invalid_refresh_token)
}

/// Reads a refresh token of ours.
///
/// # Errors
/// 401 `invalid_refresh_token`.
pub fn read(service: &AuthService, text: &SecretString) -> Result<RefreshToken, Problem> {
    service.refresh_tokens.read(text.expose_secret()).ok_or_else(|| {
        count("malformed");
        invalid_refresh_token()
    })
}

/// The account as it is now, read before anything is rotated; none where it is gone.
async fn account(service: &AuthService, session: SessionId) -> Result<Option<User>, Problem> {
    let owner = match service.owners.get(session) {
        Some(known) => known,
        None => {
            let session = service.sessions.load(session).await?.ok_or_else(gone)?;
            service.owners.remember(session.id, session.user);
            session.user
        }
    };
    service.users.by_id(owner).await
}

/// The account that a session belongs to after all, which did not look like it. Until it is known which sessions a change
/// ends, the refresh token stays good.
async fn settled(service: &AuthService, session: &Session, by: &By) -> Result<User, Problem> {
    let load = async || Ok(service.sessions.load(session.id).await?);
    match end_session::look(service, session.user, load).await? {
        Look::Current(user, _) => Ok(user),
        Look::Gone => Err(gone()),
        Look::Outdated => Err(outdated(service, session.id, by).await),
    }
}

/// Ends the session of an account that is locked, gone, or has changed since the login.
async fn outdated(service: &AuthService, session: SessionId, by: &By) -> Problem {
    end_session::end(service, session, EndReason::AccountChanged, by).await.map_or_else(|error| error, |_| gone())
}

/// No theft: the request waited while its client went on elsewhere.
fn late() -> Problem {
    count("late");
    TooLate::Waited.into()
}

fn gone() -> Problem {
    count("gone");
    invalid_refresh_token()
}

async fn stolen(service: &AuthService, session: &Session, by: &By) -> Problem {
    count("stolen");
    tracing::warn!(user = %session.user, session = %session.id, "a refresh token was used again: the session has ended");
    let entry = Entry::refused(Act::Refresh, by, "refresh_token_reused").subject(session.user).session(session.id);
    service.record_or_log(&entry).await;
    let by = By { actor: Actor::Service, ..by.clone() };
    end_session::note_ended(service, session.user, session.id, EndReason::RefreshTokenReused, &by).await;
    invalid_refresh_token()
}

/// What the client was given ends, and nothing else: an old token that it has lost signs the person out nowhere (RFC 9700,
/// section 4.14.2).
async fn stolen_from_client(service: &AuthService, session: &Session, family: &str, by: &By) -> Problem {
    count("stolen");
    tracing::warn!(user = %session.user, session = %session.id, grant = family, "a client's refresh token was used again: its grant has ended");
    let entry = Entry::refused(Act::Refresh, by, "refresh_token_reused").subject(session.user).session(session.id);
    service.record_or_log(&entry).await;
    let by = By { actor: Actor::Service, ..by.clone() };
    match end_of_family(service, family, &by).await {
        Ok(()) => invalid_refresh_token(),
        Err(error) => error,
    }
}

async fn end_of_family(service: &AuthService, family: &str, by: &By) -> Result<(), Problem> {
    let Ok(id) = family.parse::<GrantId>() else { return Ok(()) };
    let Some(grant) = stored::by_id(&service.database, id).await? else { return Ok(()) };
    grants::end(service, &grant, EndOfGrant::RefreshTokenReused, by).await
}

/// One answer for all reasons: a thief is not told which it was.
fn invalid_refresh_token() -> Problem {
    let detail = "the refresh token is not valid, or its session has ended; sign in again";
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_refresh_token", detail)
        .header(WWW_AUTHENTICATE, "Bearer error=\"invalid_refresh_token\"")
}

fn count(outcome: &'static str) {
    metrics::counter!("roam_refreshes_total", "outcome" => outcome).increment(1);
}
