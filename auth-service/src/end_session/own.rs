//! The endings that this process has written itself and carries out itself: the follower of the table passes them over.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::storage::endings::Ended;

/// Kept only where the table is followed, which takes each out again.
pub struct Own(Option<Mutex<HashSet<Ended>>>);

impl Own {
    pub(crate) fn new(is_followed: bool) -> Self {
        Self(is_followed.then(Mutex::default))
    }

    /// Notes an ending that is about to be written. The note is taken back unless [`Noted::stands`] follows.
    pub(crate) fn note(&self, what: Ended) -> Noted<'_> {
        if let Some(own) = &self.0 {
            own.lock().insert(what);
        }
        Noted { own: self, what: Some(what) }
    }

    /// Whether the ending is this process's own; it is not asked for again.
    pub(super) fn take(&self, what: Ended) -> bool {
        self.0.as_ref().is_some_and(|own| own.lock().remove(&what))
    }
}

/// A note of an ending whose transaction is under way. Dropped, it is taken back: the row may not be there, and a later one of
/// the same name would be passed over.
pub(crate) struct Noted<'a> {
    own: &'a Own,
    what: Option<Ended>,
}

impl Noted<'_> {
    /// The row is there, and this process carries it out.
    pub(crate) fn stands(mut self) {
        self.what = None;
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        if let Some(what) = self.what {
            self.own.take(what);
        }
    }
}
