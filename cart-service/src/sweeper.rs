//! The sweeper: gives back what was held too long and forgets guests' carts that have expired. Several replicas may sweep
//! at once, for each step decides again under the row's lock.

use std::time::Duration;

use shared::calls;
use shared::clock::Clock;
use shared::database::Database;

use crate::storage;

/// How often a replica looks.
const EVERY: Duration = Duration::from_secs(1);
/// How many of each kind one look takes at most before it looks again.
const BATCH: i64 = 100;

/// Sweeps until it is dropped. A failure is logged, counted, and tried again with the next look.
pub(crate) async fn sweep_forever(database: Database, clock: Clock) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = sweep(&database, &clock).await {
            metrics::counter!("roam_sweep_failures_total").increment(1);
            tracing::warn!(%error, "expired holds and carts could not be swept; the next look tries again");
        }
    }
}

/// Sweeps until nothing is due. One hold that cannot be released does not keep the others.
///
/// # Errors
/// The first failure, after everything was tried.
pub async fn sweep(database: &Database, clock: &Clock) -> sqlx::Result<()> {
    let mut failure = None;
    loop {
        let now = clock.now();
        let mut released = 0;
        for id in storage::checkouts::due(database, now, BATCH).await? {
            match calls::task("release a hold", storage::checkouts::expire(database, id, now)).await {
                Ok(true) => released += 1,
                Ok(false) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        metrics::counter!("roam_checkouts_total", "outcome" => "expired").increment(released);
        let removed = storage::carts::remove_expired(database, now, BATCH).await?;
        metrics::counter!("roam_guest_carts_total", "outcome" => "expired").increment(removed);
        if released + removed == 0 {
            return failure.map_or(Ok(()), Err);
        }
        tracing::info!(released, removed, "swept expired holds and guest carts");
    }
}
