//! What the tables forget: attempts that failed, orders that were given up, payments that were declined. An order that was
//! ever paid stays, whatever became of it. Safe on any number of replicas.

use crate::OrderService;
use crate::rules::recovery::{DECLINED_KEPT, FAILED_KEPT};
use crate::storage::{charges, orders};

/// How many rows one statement deletes.
const BATCH: u32 = 500;

impl OrderService {
    /// Forgets what is not kept any longer, batch by batch until nothing is left, and answers how many rows.
    ///
    /// # Errors
    /// The database does not answer; the next call goes on.
    pub async fn prune(&self) -> Result<u64, sqlx::Error> {
        let (database, now) = (&self.database, self.clock.now());
        let mut sum = 0;
        loop {
            let batches = [
                orders::forget_failed(database, now - FAILED_KEPT, BATCH).await?,
                orders::forget_given_up(database, now - self.cancelled_kept, BATCH).await?,
                charges::forget_declined(database, now - DECLINED_KEPT, BATCH).await?,
            ];
            sum += batches.iter().sum::<u64>();
            if batches.iter().all(|rows| *rows < u64::from(BATCH)) {
                return Ok(sum);
            }
        }
    }
}
