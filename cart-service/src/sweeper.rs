//! The sweeper: gives back what was held too long, and forgets what is not kept any longer: guests' carts that have expired,
//! checkouts that were released long ago, counts of guests' writes. Several replicas may sweep
//! at once, for each step decides again under the row's lock.

use std::time::Duration;

use shared::calls;
use shared::clock::Clock;
use shared::database::{ClockWatch, Database};
use shared::key_value::{DatabaseKeyValueStore, KeyValueStore as _};

use crate::storage;

/// How often a replica looks.
const EVERY: Duration = Duration::from_secs(1);
/// How many of each kind one look takes at most before it looks again.
const BATCH: i64 = 100;
/// How long a checkout that was released is kept, from the end of its hold on. Releasing it again later finds nothing, which
/// the order service takes for done.
const RELEASED_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Sweeps until it is dropped, but not while this machine's clock is in doubt. A failure is logged, counted, and tried again with
/// the next look.
pub(crate) async fn sweep_forever(database: Database, clock: Clock, clock_watch: ClockWatch) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let swept = match clock_watch.is_right().await {
            Ok(true) => sweep(&database, &clock).await,
            Ok(false) => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
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
    let counts = DatabaseKeyValueStore::new(database.clone(), clock.clone());
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
        let forgotten = storage::checkouts::forget_released(database, now - RELEASED_KEPT, BATCH).await?
            + counts.forget_expired(BATCH).await.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?;
        if released + removed + forgotten == 0 {
            return failure.map_or(Ok(()), Err);
        }
        tracing::info!(released, removed, forgotten, "swept expired holds, guest carts, old checkouts and counts");
    }
}
