//! What a client is told (OpenID Connect Back-Channel Logout 1.0, section 2.4). Rules only.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use shared::clock::Timestamp;
use shared::session::{SessionId, UserId};

/// How a logout token calls itself: never to be taken for another token.
pub const TYP: &str = "logout+jwt";
/// What has happened.
pub const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How long a logout token is good: an attempt, and other machines' clocks.
const TTL: Duration = Duration::from_secs(120);

/// The claims of a logout token. There is never a `nonce` (section 2.4): it could be taken for an ID token.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LogoutClaims<'a> {
    iss: &'a str,
    sub: UserId,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    sid: SessionId,
    events: BTreeMap<&'static str, BTreeMap<(), ()>>,
}

impl<'a> LogoutClaims<'a> {
    pub(super) fn new(iss: &'a str, client: &'a str, user: UserId, session: SessionId, now: Timestamp) -> Self {
        Self {
            iss,
            sub: user,
            aud: client,
            iat: now.seconds(),
            exp: (now + TTL).seconds(),
            // Another one for each attempt: a client that was told, but whose answer was lost, refuses no repetition.
            jti: uuid::Uuid::new_v4().simple().to_string(),
            sid: session,
            events: BTreeMap::from([(EVENT, BTreeMap::new())]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C18
    #[test]
    fn a_logout_token_says_what_the_specification_asks_and_no_more() {
        let user = UserId::random();
        let session = SessionId::random_for(user);
        let now = Timestamp::from_micros(1_000_999_999);
        let claims = LogoutClaims::new("https://auth.example", "shop", user, session, now);
        let mut json = serde_json::to_value(&claims).expect("JSON");
        let jti = json.as_object_mut().expect("an object").remove("jti").expect("a jti");
        assert_eq!(jti.as_str().expect("text").len(), 32);
        assert_eq!(
            json,
            serde_json::json!({
                "iss": "https://auth.example", "sub": user, "aud": "shop", "iat": 1000, "exp": 1120, "sid": session,
                "events": {EVENT: {}},
            })
        );
        let again = LogoutClaims::new("https://auth.example", "shop", user, session, now);
        assert_ne!(serde_json::to_value(&again).expect("JSON")["jti"], jti);
    }
}
