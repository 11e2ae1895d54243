//! Whose session it is, remembered: that never changes, and so a refresh asks the session store once, not twice. Whether
//! the session lives is never remembered.

use quick_cache::sync::Cache;
use shared::session::{SessionId, UserId};

/// How many are remembered: some 5 MB. Beyond it, those that are used least are asked for again.
const MOST: usize = 50_000;

pub struct SessionOwners(Cache<SessionId, UserId>);

impl Default for SessionOwners {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl SessionOwners {
    pub fn get(&self, session: SessionId) -> Option<UserId> {
        self.0.get(&session)
    }

    pub fn remember(&self, session: SessionId, user: UserId) {
        self.0.insert(session, user);
    }
}
