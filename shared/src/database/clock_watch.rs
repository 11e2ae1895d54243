//! Whether this machine's clock agrees with the database server's. Owns the comparison; each task that deletes or ends by
//! the time asks it first, for such a step cannot be undone when the clock is set right.
//!
//! The system's clock is compared, not the service's [`Clock`]: a test moves that one. A SQLite file has no clock of its own.

use std::time::Duration;

use sqlx::Error;

use super::Database;
use crate::clock::{Clock, Timestamp};
use crate::clock_skew::{ClockSkew, Reading, TOO_FAR};
use crate::on_database;

/// How often it is compared.
const EVERY: Duration = Duration::from_secs(1);

/// Compares the clocks of this machine and of one database. A copy is the same.
#[derive(Clone)]
pub struct ClockWatch {
    database: Database,
    skew: ClockSkew,
}

impl ClockWatch {
    pub fn new(database: Database) -> Self {
        Self { database, skew: ClockSkew::from("database") }
    }

    /// Compares now: `false` where the clocks are 30 seconds or more apart.
    ///
    /// # Errors
    /// The database does not answer: nothing is known of the clock.
    pub async fn is_right(&self) -> Result<bool, Error> {
        Ok(Duration::from_micros(self.measure().await?.unsigned_abs()) < TOO_FAR)
    }

    /// Whether the last two comparisons found the clocks 30 seconds or more apart. Asks nothing.
    pub fn is_in_doubt(&self) -> bool {
        self.skew.is_too_far()
    }

    /// Compares for ever.
    pub async fn keep_comparing(self) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            // A database that does not answer shows elsewhere.
            let _ = self.measure().await;
        }
    }

    /// How far this machine's clock is ahead, in microseconds.
    async fn measure(&self) -> Result<i64, Error> {
        let wall = Clock::default();
        let Database::Postgres(_) = &self.database else { return Ok(0) };
        let before = wall.now();
        let (other,): (i64,) = on_database!(&self.database, |pool| {
            sqlx::query_as("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT").fetch_one(pool).await
        })?;
        let (after, other) = (wall.now(), Timestamp::from_micros(other));
        let ahead = Reading { before, after, other, unit: Duration::from_micros(1) }.ahead();
        self.skew.measured(ahead);
        Ok(ahead)
    }
}

#[cfg(any(test, feature = "testing"))]
impl ClockWatch {
    /// Takes in a comparison that a test makes up, in microseconds.
    pub fn made_up(&self, ahead: i64) {
        self.skew.measured(ahead);
    }
}
