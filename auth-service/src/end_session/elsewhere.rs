//! What other nodes have ended, where each keeps sessions or their ends in its own memory: every node follows the table of
//! endings, and ends its own.

use std::sync::Arc;
use std::time::Duration;

use shared::authentication::strategy::Place;
use shared::clock::Timestamp;
use shared::pauses::Pauses;
use shared::problem::Problem;
use tokio::time::MissedTickBehavior;

use super::repeated::repeat;
use crate::AuthService;
use crate::storage::endings::{self, Ended};

/// How often the table is looked at: an end is seen elsewhere after half of it in the mean.
const EVERY: Duration = Duration::from_millis(200);
/// How many endings are read in one go.
const BATCH: i64 = 500;

/// Whether this process learns of the ends at others by the table: its own memory is told nothing, and several such
/// processes may serve the same accounts.
pub fn is_followed(service_place: Place, ends_with_the_process: bool) -> bool {
    ends_with_the_process && matches!(service_place, Place::Memory | Place::Client)
}

/// Follows the table for ever, from an ending on that was there before any session here. While it cannot be read, the
/// revocations of this node are not current.
pub async fn follow_others(service: Arc<AuthService>, mut from: i64) {
    let ends_with_the_process = service.sessions.remembers_since().is_some();
    if !is_followed(service.strategy.place(), ends_with_the_process) {
        return;
    }
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hears = true;
    loop {
        tick.tick().await;
        let pause = Pauses::of_this_process().count();
        let heard = hear(&service, &mut from).await;
        if let (Err(problem), true) = (&heard, hears) {
            tracing::warn!(%problem, "what other nodes end is not heard; sensitive requests are refused until it is");
        }
        hears = heard.is_ok();
        service.sessions.hears_of_others(hears.then_some(pause));
    }
}

async fn hear(service: &AuthService, from: &mut i64) -> Result<(), Problem> {
    loop {
        let ever = Timestamp::from_micros(0);
        let (page, next) = endings::after(&service.database, *from, ever, BATCH).await?;
        for ending in &page {
            // A change of an account is carried out in any case, which does nothing twice: its number may have been used before,
            // by a transaction that came to nothing.
            let is_own = service.own_endings.take(ending.what);
            if !is_own || matches!(ending.what, Ended::Account(..)) {
                repeat(service, ending).await?;
            }
        }
        let Some(next) = next else { return Ok(()) };
        *from = next;
    }
}
