//! Who writes to a SQLite file next: one after the other, in the order in which they came.
//!
//! SQLite lets a writer wait by asking again and again, ever more seldom (`sqlite3_busy_timeout`): the writer that has waited longest
//! asks least often, and those that have just come go first. Other processes that write to the file still wait so.

use std::sync::Arc;

use sqlx::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::PATIENCE;

/// A copy is the same queue.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Semaphore>);

/// The turn to write, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Turns {
    /// Waits for all who came before.
    ///
    /// # Errors
    /// The turn did not come within 5 seconds.
    pub(super) async fn take(&self) -> Result<Turn, Error> {
        let permit = timeout(PATIENCE, self.0.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| Error::PoolTimedOut)?.map_err(|_| Error::PoolClosed)?;
        Ok(Turn { _permit: permit })
    }
}
