//! Grants that were begun and not given, for the service failed in between: no client holds their tokens, so they end. What is
//! needed for that may be away: then they end as soon as it is back.

use std::collections::VecDeque;

use parking_lot::Mutex;
use shared::problem::Problem;

use super::{EndOfGrant, end};
use crate::AuthService;
use crate::storage::audit::By;
use crate::storage::grants::Grant;

/// How many wait at most. What is beyond ends with its session.
const MOST: usize = 10_000;

/// What this process has still to end.
#[derive(Debug, Default)]
pub struct Ungiven(Mutex<VecDeque<(Grant, By)>>);

impl Ungiven {
    fn add(&self, left: (Grant, By)) {
        let mut kept = self.0.lock();
        if kept.len() < MOST {
            kept.push_back(left);
        }
    }
}

/// Ends a grant that may have been begun, now or later.
pub async fn take_back(service: &AuthService, grant: Grant, by: &By) {
    if let Err(problem) = end(service, &grant, EndOfGrant::NotGiven, by).await {
        tracing::warn!(%problem, grant = %grant.id, "a grant that was not given is ended later");
        service.ungiven.add((grant, by.clone()));
    }
}

/// Ends what could not be ended when it was due.
///
/// # Errors
/// 503 when something needed does not answer; the next call goes on.
pub async fn take_back_rest(service: &AuthService) -> Result<(), Problem> {
    loop {
        let Some((grant, by)) = service.ungiven.0.lock().pop_front() else { return Ok(()) };
        if let Err(problem) = end(service, &grant, EndOfGrant::NotGiven, &by).await {
            service.ungiven.add((grant, by));
            return Err(problem);
        }
    }
}
