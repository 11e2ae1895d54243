//! The endings that this process has written itself and carries out itself: whoever follows the table passes them over.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::storage::endings::Ended;

/// Kept only where the table is followed, which takes each out again.
pub struct Own(Option<Mutex<HashSet<Ended>>>);

impl Own {
    pub(crate) fn new(is_followed: bool) -> Self {
        Self(is_followed.then(Mutex::default))
    }

    pub(crate) fn note(&self, what: Ended) {
        if let Some(own) = &self.0 {
            own.lock().insert(what);
        }
    }

    /// Whether it is this process's own; it is not asked for again.
    pub(super) fn take(&self, what: Ended) -> bool {
        self.0.as_ref().is_some_and(|own| own.lock().remove(&what))
    }
}
