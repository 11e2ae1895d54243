//! The refresh token of a platform that keeps no session (strategy `jwt`): a JWT that carries what a store would remember.
//! It can be used until its session's end, as often as anybody likes; that is what the strategy gives up.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::authentication::strategy::Place;
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::session::{Attributes, Session, SessionId, UserId};

use crate::AuthService;
use crate::end_session;
use crate::epoch;
use crate::signing_keys::SigningAlg;
use crate::storage::endings;
use crate::storage::users::User;

/// The JWT's `typ`: it is good for nothing else.
const REFRESH_TOKEN: &str = "rt+jwt";

/// What the store would remember. Times are microseconds since 1970, but for `exp`: whole seconds.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: UserId,
    sid: SessionId,
    exp: i64,
    created_at: i64,
    ends_at: i64,
    auth_time: i64,
    amr: Vec<String>,
    attributes: Attributes,
}

/// Whether the platform's strategy keeps no sessions.
pub fn is_demanded(service: &AuthService) -> bool {
    service.strategy.place() == Place::Client
}

/// # Errors
/// 503 when no signing key is in use.
pub fn write(service: &AuthService, session: &Session) -> Result<String, Problem> {
    let claims = Claims {
        iss: service.issuer.clone(),
        sub: session.user,
        sid: session.id,
        exp: session.expires_at.seconds(),
        created_at: session.created_at.micros(),
        ends_at: session.expires_at.micros(),
        auth_time: session.auth_time().micros(),
        amr: session.amr.clone(),
        attributes: session.attributes.clone(),
    };
    service.keys.sign(REFRESH_TOKEN, SigningAlg::EdDsa, &claims)
}

/// The session that a refresh token of ours speaks of, if it has not expired. One that began before its end would be
/// remembered may have ended.
pub fn read(service: &AuthService, text: &SecretString) -> Option<Session> {
    let claims = service.keys.verify_own(text.expose_secret(), REFRESH_TOKEN)?;
    let claims: Claims = serde_json::from_value(Value::Object(claims)).ok()?;
    let created_at = Timestamp::from_micros(claims.created_at);
    // Also within the greatest age of today: ends are remembered for as long.
    let oldest = created_at + service.rules.absolute_ttl;
    let (now, expires_at) = (service.clock.now(), Timestamp::from_micros(claims.ends_at).min(oldest));
    let is_remembered = service.sessions.remembers_since().is_none_or(|since| created_at >= since);
    (claims.iss == service.issuer && expires_at > now && is_remembered).then(|| Session {
        id: claims.sid,
        user: claims.sub,
        roles: Vec::new(),
        amr: claims.amr,
        device: String::new(),
        address: String::new(),
        created_at,
        last_seen_at: now,
        idle: expires_at.since(now),
        expires_at,
        version: 0,
        clients: BTreeMap::new(),
        attributes: claims.attributes,
    })
}

/// The account and the session of a refresh token, as they are now: none where the account is locked or has changed since
/// the login, or the session was ended, as SQL remembers it whatever `JWT_DENY_LIST` says.
///
/// # Errors
/// 503 when something needed does not answer.
pub async fn resume(service: &AuthService, text: &SecretString) -> Result<Option<(User, Session)>, Problem> {
    let Some(session) = read(service, text) else { return Ok(None) };
    if endings::has_session(&service.database, session.id).await? {
        return Ok(None);
    }
    let user = service.users.by_id(session.user).await?;
    Ok(user.filter(|user| end_session::is_current(user, &session)).map(|user| (user, session)))
}

/// The session as it goes on after a change of its account that ended the others: at the account's version of now.
pub(crate) fn continued(service: &AuthService, session: &Session, user: &User) -> Session {
    let mut attributes = session.attributes.clone();
    attributes.extend(end_session::at_version(user.version));
    attributes.extend(epoch::attribute(service, user));
    // An access token tells its beginning in whole seconds. The verdict has found it no older than the memory of ends.
    let remembered = service.sessions.remembers_since().unwrap_or(session.created_at);
    let created_at = session.created_at.max(remembered);
    Session {
        roles: user.roles.to_vec(),
        created_at,
        last_seen_at: service.clock.now(),
        idle: service.rules.idle_ttl,
        expires_at: created_at + service.rules.absolute_ttl,
        attributes,
        ..session.clone()
    }
}

/// 409 `strategy_cannot`: this needs sessions that somebody keeps.
///
/// # Errors
/// Where nobody keeps them.
pub fn needs_kept_sessions(service: &AuthService) -> Result<(), Problem> {
    if !is_demanded(service) {
        return Ok(());
    }
    let name = service.strategy.as_str();
    let detail = format!(
        "SESSION_STRATEGY is {name}: nobody keeps sessions, so that none can be listed, ended together or opened by a page"
    );
    Err(Problem::conflict("strategy_cannot", detail))
}
