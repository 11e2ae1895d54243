//! How far this machine's clock is from another: the session store's, the issuer's or the database's. Owns the bounds, the metric and the
//! log line; never sets a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;

/// From here on the log says so: 2 seconds.
pub const WORTH_A_LINE: Duration = Duration::from_secs(2);

/// From here on nothing can be said of a token's times: 30 seconds, by which a token may lie in the future.
pub const TOO_FAR: Duration = Duration::from_secs(30);

/// How often in a row it must be measured: a clock that was read through a pause is no clock that is wrong.
const TWICE: u32 = 2;

/// The difference between this machine's clock and another. A copy is the same.
#[derive(Clone)]
pub struct ClockSkew(Arc<Inner>);

struct Inner {
    /// Whose clock the other one is: the metric's label.
    other: &'static str,
    /// Microseconds; less than nought where this machine's clock is behind.
    ahead: AtomicI64,
    /// How often in a row it was too far.
    too_far: AtomicU32,
    is_told: AtomicBool,
}

/// One reading of another clock, between two of this machine's.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// This machine's clock before the other one was read,
    pub before: Timestamp,
    /// and after.
    pub after: Timestamp,
    /// The other clock.
    pub other: Timestamp,
    /// The unit of the other clock: its time may be cut to it.
    pub unit: Duration,
}

impl Reading {
    /// How far this machine's clock is ahead at least, in microseconds: less than nought where it is behind, and nought
    /// where the clocks may agree.
    pub fn ahead(&self) -> i64 {
        let least = (self.before - self.unit).micros().saturating_sub(self.other.micros());
        let most = self.after.micros().saturating_sub(self.other.micros());
        if least > 0 { least } else { most.min(0) }
    }
}

impl ClockSkew {
    /// `other` says whose clock it is: `store`, `issuer` or `database`.
    pub fn from(other: &'static str) -> Self {
        let (ahead, too_far, is_told) = (AtomicI64::new(0), AtomicU32::new(0), AtomicBool::new(false));
        Self(Arc::new(Inner { other, ahead, too_far, is_told }))
    }

    /// Takes in how far this machine's clock is ahead, in microseconds.
    pub fn measured(&self, ahead: i64) {
        let inner = &*self.0;
        inner.ahead.store(ahead, Ordering::Release);
        let distance = Duration::from_micros(ahead.unsigned_abs());
        if distance < TOO_FAR {
            inner.too_far.store(0, Ordering::Release);
        } else {
            inner.too_far.fetch_add(1, Ordering::AcqRel);
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let seconds = ahead as f64 / 1e6;
        metrics::gauge!("roam_clock_ahead_seconds", "of" => inner.other).set(seconds);
        let is_worth_a_line = distance >= WORTH_A_LINE;
        if is_worth_a_line != inner.is_told.swap(is_worth_a_line, Ordering::AcqRel) {
            if is_worth_a_line {
                tracing::warn!(
                    of = inner.other,
                    ahead_seconds = seconds,
                    "the clock of this machine differs from the other's; from 30 s on, this service is not ready"
                );
            } else {
                tracing::info!(of = inner.other, ahead_seconds = seconds, "the clock of this machine agrees again");
            }
        }
    }

    /// How far this machine's clock was ahead when it was last measured, in microseconds.
    pub fn ahead(&self) -> i64 {
        self.0.ahead.load(Ordering::Acquire)
    }

    /// Whether the difference is worth another look soon.
    pub fn is_in_doubt(&self) -> bool {
        Duration::from_micros(self.ahead().unsigned_abs()) >= WORTH_A_LINE
    }

    /// Whether it was measured twice that the clocks are 30 seconds or more apart.
    pub fn is_too_far(&self) -> bool {
        self.0.too_far.load(Ordering::Acquire) >= TWICE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn reading(before: i64, after: i64, other: i64) -> i64 {
        let at = Timestamp::from_seconds;
        Reading { before: at(before), after: at(after), other: at(other), unit: Duration::from_secs(1) }.ahead()
    }

    #[test]
    fn what_the_way_and_the_unit_explain_is_no_difference() {
        assert_eq!(reading(1_000, 1_000, 1_000), 0);
        assert_eq!(reading(1_000, 1_001, 1_000), 0);
        assert_eq!(reading(1_000, 1_060, 1_030), 0, "a pause of a minute while it was read");
        assert_eq!(reading(1_001, 1_001, 1_000), 0, "the other clock tells whole seconds");
        assert_eq!(reading(1_600, 1_601, 1_000), 599 * SECOND);
        assert_eq!(reading(400, 401, 1_000), -599 * SECOND);
    }

    #[test]
    fn a_clock_is_too_far_only_when_it_was_measured_twice() {
        let skew = ClockSkew::from("store");
        skew.measured(600 * SECOND);
        assert!(skew.is_in_doubt() && !skew.is_too_far());
        skew.measured(-600 * SECOND);
        assert!(skew.is_too_far());
        skew.measured(29 * SECOND);
        assert!(skew.is_in_doubt() && !skew.is_too_far());
        skew.measured(SECOND);
        assert!(!skew.is_in_doubt() && !skew.is_too_far());
    }
}
