//! What the provider has told of ended sessions, in memory, for as long as an access token of before could be shown. The
//! revocation feed tells the same; whichever comes first counts.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::logout_token::{LogoutToken, OLDEST};
use crate::authentication::Principal;
use crate::clock::Timestamp;

/// Longer than any access token lives where none says otherwise.
const KEPT: Duration = Duration::from_secs(24 * 3600);

#[derive(Default)]
pub(super) struct LoggedOut(Mutex<Told>);

#[derive(Default)]
struct Told {
    sessions: HashMap<String, Timestamp>,
    /// Logins of before that moment.
    users: HashMap<String, Timestamp>,
    seen: HashMap<String, Timestamp>,
}

impl LoggedOut {
    /// Remembers what the token says. Answers whether it is new: a token counts once.
    pub(super) fn remember(&self, token: LogoutToken, now: Timestamp) -> bool {
        let mut told = self.0.lock();
        told.seen.retain(|_, issued_at| now.since(*issued_at) <= OLDEST);
        told.sessions.retain(|_, at| now.since(*at) <= KEPT);
        told.users.retain(|_, at| now.since(*at) <= KEPT);
        if told.seen.insert(token.jti, token.issued_at).is_some() {
            return false;
        }
        match (token.sid, token.sub) {
            // One with a session ends that session, not the user's others.
            (Some(sid), _) => drop(told.sessions.insert(sid, token.issued_at)),
            (None, Some(sub)) => {
                let at = told.users.entry(sub).or_insert(token.issued_at);
                *at = (*at).max(token.issued_at);
            }
            (None, None) => {}
        }
        true
    }

    /// Whether the principal's session is among them.
    pub(super) fn has(&self, principal: &Principal) -> bool {
        let told = self.0.lock();
        if told.sessions.is_empty() && told.users.is_empty() {
            return false;
        }
        let before = |at: &Timestamp| principal.auth_time <= *at;
        told.sessions.contains_key(&principal.session.to_string())
            || told.users.get(&principal.user.to_string()).is_some_and(before)
    }
}
