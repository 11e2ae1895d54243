//! What the provider sends when a session has ended: the logout token (OpenID Connect Back-Channel Logout 1.0, section
//! 2.6). Rules but for the key set, which may be read again.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::signed::{self, Audience, Refused, read_object};
use crate::clock::Timestamp;
use crate::token::KeySet;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// How long ago it may have been issued: for so long its `jti` is remembered.
pub(super) const OLDEST: Duration = Duration::from_secs(600);

/// Whose sessions have ended: one, or all of a user.
#[derive(Debug)]
pub(super) struct LogoutToken {
    pub(super) sid: Option<String>,
    pub(super) sub: Option<String>,
    pub(super) jti: String,
    pub(super) issued_at: Timestamp,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: i64,
    exp: i64,
    jti: String,
    events: Map<String, Value>,
    sid: Option<String>,
    sub: Option<String>,
    nonce: Option<Value>,
}

fn is_logout_token(typ: Option<&str>) -> bool {
    let known = ["logout+jwt", "application/logout+jwt"];
    typ.is_some_and(|typ| known.iter().any(|known| typ.eq_ignore_ascii_case(known)))
}

/// # Errors
/// Why it is refused.
pub(super) async fn verify(
    token: &str,
    keys: &KeySet,
    (issuer, client_id): (&str, &str),
    now: Timestamp,
) -> Result<LogoutToken, Refused> {
    let (payload, _) = signed::payload(token, keys, is_logout_token).await?;
    let claims: Claims = read_object(&payload).ok_or(Refused::Malformed)?;
    if claims.iss != issuer {
        return Err(Refused::Issuer);
    }
    if !claims.aud.is_for(client_id, Some(client_id)) {
        return Err(Refused::Audience);
    }
    let (issued_at, expires_at) = (Timestamp::from_seconds(claims.iat), Timestamp::from_seconds(claims.exp));
    if issued_at > now + CLOCK_SKEW || now >= expires_at + CLOCK_SKEW || now.since(issued_at) > OLDEST {
        return Err(Refused::Time);
    }
    let is_event = claims.events.get(EVENT).is_some_and(Value::is_object);
    let bounded = |text: &Option<String>| text.as_ref().is_none_or(|text| (1..=255).contains(&text.len()));
    let names_somebody = claims.sid.is_some() || claims.sub.is_some();
    // A nonce would make it an ID token.
    if !is_event || !names_somebody || claims.nonce.is_some() || !bounded(&claims.sid) || !bounded(&claims.sub) {
        return Err(Refused::NoLogout);
    }
    if !(1..=255).contains(&claims.jti.len()) {
        return Err(Refused::NoLogout);
    }
    Ok(LogoutToken { sid: claims.sid, sub: claims.sub, jti: claims.jti, issued_at })
}
