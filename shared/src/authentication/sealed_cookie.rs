//! The sealed cookie: a session in the client's own keeping, that it can neither read nor change. Owns the sealed form and
//! its size; whether the session was ended, only its user's epoch tells.

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use serde::{Deserialize, Serialize};

use super::{CookieKeys, SessionCookie};
use crate::clock::Timestamp;
use crate::problem::Problem;
use crate::session::{Attributes, Session, SessionId, UserId};

/// The longest `Set-Cookie` header, in bytes: browsers drop a cookie of more than 4,096 without a word.
const LONGEST: usize = 4_050;
/// How far a server's clock may be ahead of another's.
const CLOCKS_DIFFER: std::time::Duration = std::time::Duration::from_secs(60);

/// The cookie of the strategy `cookie`: its settings, and the keys that all services share.
#[derive(Debug, Clone)]
pub struct SealedCookie {
    pub cookie: SessionCookie,
    pub keys: CookieKeys,
}

/// A session as it is sealed. Times are microseconds.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: SessionId,
    user: UserId,
    roles: Vec<String>,
    amr: Vec<String>,
    created: i64,
    seen: i64,
    idle: u64,
    expires: i64,
    attributes: Attributes,
}

impl SealedCookie {
    /// This cookie as the host has it that the request is for.
    pub(super) fn at(&self, request: &HttpRequest) -> Self {
        Self { cookie: self.cookie.at(request), keys: self.keys.clone() }
    }

    /// The cookie that holds `session`. Where the login came from is not in it: it is long, and nobody can list it.
    ///
    /// # Errors
    /// 409 `session_too_large`, with the size, for one that browsers would drop.
    pub fn of(&self, session: &Session) -> Result<Cookie<'static>, Problem> {
        let kept = Kept {
            id: session.id,
            user: session.user,
            roles: session.roles.clone(),
            amr: session.amr.clone(),
            created: session.created_at.micros(),
            seen: session.last_seen_at.micros(),
            idle: u64::try_from(session.idle.as_micros()).unwrap_or(u64::MAX),
            expires: session.expires_at.micros(),
            attributes: session.attributes.clone(),
        };
        let text = serde_json::to_vec(&kept).map_err(Problem::internal)?;
        let cookie = self.cookie.with_value(session, self.keys.seal(&self.cookie.name, &text));
        let size = cookie.to_string().len();
        if size > LONGEST {
            let detail = format!(
                "the session takes {size} bytes in its cookie, and browsers keep {LONGEST}: the account has too many roles"
            );
            return Err(Problem::conflict("session_too_large", detail));
        }
        Ok(cookie)
    }

    /// The session in a cookie's value, if it lives: a key of ours opens it, and it has neither expired nor begun in the
    /// future.
    pub(super) fn open(&self, value: &str, now: Timestamp) -> Option<Session> {
        let kept: Kept = serde_json::from_slice(&self.keys.open(&self.cookie.name, value)?).ok()?;
        let session = Session {
            id: kept.id,
            user: kept.user,
            roles: kept.roles,
            amr: kept.amr,
            device: String::new(),
            address: String::new(),
            created_at: Timestamp::from_micros(kept.created),
            last_seen_at: Timestamp::from_micros(kept.seen),
            idle: std::time::Duration::from_micros(kept.idle),
            expires_at: Timestamp::from_micros(kept.expires),
            version: 0,
            clients: std::collections::BTreeMap::new(),
            attributes: kept.attributes,
        };
        (session.ends_at() > now && session.created_at <= now + CLOCKS_DIFFER).then_some(session)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::epoch_attribute;

    fn session(roles: usize, now: Timestamp) -> Session {
        let user = UserId::random();
        Session {
            id: SessionId::random_for(user),
            user,
            roles: (0..roles).map(|number| format!("a-role-with-a-long-name-{number}")).collect(),
            amr: vec!["pwd".to_owned()],
            device: String::new(),
            address: String::new(),
            created_at: now,
            last_seen_at: now,
            idle: Duration::from_secs(1800),
            expires_at: now + Duration::from_secs(7200),
            version: 0,
            clients: std::collections::BTreeMap::new(),
            attributes: [epoch_attribute(7)].into(),
        }
    }

    #[test]
    fn a_session_comes_back_from_its_cookie_until_it_ends() {
        let sealed = SealedCookie { cookie: SessionCookie::default(), keys: CookieKeys::random() };
        let now = Timestamp::from_seconds(1_000_000);
        let session = session(1, now);
        let cookie = sealed.of(&session).expect("it is small");
        assert_eq!(sealed.open(cookie.value(), now), Some(session));
        assert_eq!(sealed.open(cookie.value(), now + Duration::from_secs(1801)), None, "nobody saw it");
        assert_eq!(sealed.open(cookie.value(), now - Duration::from_secs(61)), None, "it begins in the future");
        let others = SealedCookie { keys: CookieKeys::random(), ..sealed.clone() };
        assert_eq!(others.open(cookie.value(), now), None, "sealed with another key");
        let renamed = SessionCookie { name: "other".to_owned(), ..SessionCookie::default() };
        assert_eq!(SealedCookie { cookie: renamed, ..sealed }.open(cookie.value(), now), None, "under another name");
    }

    #[test]
    fn one_that_browsers_would_drop_is_refused_with_its_size() {
        let sealed = SealedCookie { cookie: SessionCookie::default(), keys: CookieKeys::random() };
        let now = Timestamp::from_seconds(1_000_000);
        let sizes: Vec<_> = (0..120).map(|roles| sealed.of(&session(roles, now))).collect();
        let fits = sizes.iter().take_while(|sealed| sealed.is_ok()).count();
        assert!((50..110).contains(&fits), "{fits} roles fit");
        let last = sizes[fits - 1].as_ref().expect("it fits").to_string().len();
        assert!((3_900..=LONGEST).contains(&last), "{last}");
        let refused = sizes[fits].as_ref().expect_err("it is too large").to_string();
        assert!(refused.contains("session_too_large") && refused.contains("bytes in its cookie"), "{refused}");
    }
}
