//! Sessions that have ended while the database was away: what clients had in them is ended as soon as it is back. A process
//! that dies before leaves it to [`notice_gone`](super::notice_gone).

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use shared::session::SessionId;

use super::settle_now;
use crate::AuthService;

/// How many are remembered. Others are noticed later, with those of processes that died.
const MOST: usize = 100_000;

/// What this process has still to settle.
#[derive(Debug, Default)]
pub struct Unsettled(Mutex<BTreeSet<SessionId>>);

impl Unsettled {
    pub(super) fn add(&self, sessions: &[SessionId]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = MOST.saturating_sub(kept.len());
        kept.extend(sessions.iter().take(free));
    }

    fn next(&self) -> Option<SessionId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }
}

/// Settles what could not be settled when it was due.
///
/// # Errors
/// The database does not answer; the next call goes on.
pub async fn settle_rest(service: &AuthService) -> Result<(), sqlx::Error> {
    while let Some(session) = service.unsettled.next() {
        if let Err(error) = settle_now(service, &[session], None).await {
            service.unsettled.add(&[session]);
            return Err(error);
        }
    }
    Ok(())
}
