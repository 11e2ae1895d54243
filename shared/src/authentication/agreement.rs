//! Whether this service is set up as the platform is: with the same store, strategy, lifetimes and issuer. Owns when that is
//! compared, and the outcome in memory; the rules are in `agreement/differences.rs`.
//!
//! Where it is not, the service hears of no ended session, and so lets nobody in.

#[cfg(feature = "redis")]
mod differences;
#[cfg(feature = "redis")]
mod looks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

#[cfg(feature = "redis")]
pub(super) use self::differences::Here;
#[cfg(feature = "redis")]
pub use self::looks::PlatformCheck;
#[cfg(feature = "redis")]
pub(super) use self::looks::keep_comparing;
use crate::token::TokenError;

const AGREES: u8 = 0;
const UNKNOWN: u8 = 1;
const DIFFERS: u8 = 2;

/// The outcome. A copy is the same; a look at it costs one read of memory.
#[derive(Clone)]
pub(super) struct Agreement(Arc<Inner>);

struct Inner {
    state: AtomicU8,
    /// What is unknown, or how the two differ: none where they agree.
    told: Mutex<Vec<String>>,
}

impl Agreement {
    /// Of a service in one process with the auth service: there is nothing to compare.
    pub(super) fn needless() -> Self {
        Self(Arc::new(Inner { state: AtomicU8::new(AGREES), told: Mutex::default() }))
    }

    /// Before the first look.
    #[cfg(feature = "redis")]
    pub(super) fn unknown() -> Self {
        let agreement = Self::needless();
        agreement
            .set(UNKNOWN, vec!["whether this service is set up as the platform is has not been compared".to_owned()]);
        agreement
    }

    /// # Errors
    /// [`TokenError::Misconfigured`] where the two differ, [`TokenError::RevocationsUnknown`] before that is known: an ended
    /// session could be taken for a live one.
    pub(super) fn check(&self) -> Result<(), TokenError> {
        match self.0.state.load(Ordering::Acquire) {
            AGREES => Ok(()),
            UNKNOWN => Err(TokenError::RevocationsUnknown),
            _ => Err(TokenError::Misconfigured),
        }
    }

    pub(super) fn differs(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == DIFFERS
    }

    /// What readiness says of it: nothing where the two agree.
    pub(super) fn missing(&self) -> Vec<String> {
        self.0.told.lock().clone()
    }

    /// Answers whether this is news.
    #[cfg(feature = "redis")]
    fn set(&self, state: u8, told: Vec<String>) -> bool {
        let mut known = self.0.told.lock();
        let was = self.0.state.swap(state, Ordering::AcqRel);
        let is_news = was != state || *known != told;
        *known = told;
        is_news
    }
}
