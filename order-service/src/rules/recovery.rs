//! When what a crash or an outage left is finished.

use std::time::Duration;

/// How long one worker has an order for itself: longer than the outside calls of any step together. Past it the worker
/// counts as dead; should it only be slow, the guarded moves keep the two apart.
pub const LEASE: Duration = Duration::from_secs(12);

/// After how long an attempt that never got its stock has failed. The cart service lets a hold go after 15 minutes: until
/// then a repeat by the client still finds it, and afterwards the stock is back by itself.
pub const PLACING_PATIENCE: Duration = Duration::from_secs(20 * 60);

/// How long a failed attempt is kept.
pub const FAILED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How long a declined payment is kept in the test processor's books: longer than any payment is under way.
pub const DECLINED_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// How long to wait after so many failures in a row: 1, 2, 4 seconds, at most a minute.
pub fn back_off(failures: u32) -> Duration {
    Duration::from_secs(1_u64.checked_shl(failures).unwrap_or(u64::MAX).clamp(1, 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_up_to_a_minute() {
        let seconds: Vec<u64> = [0, 1, 2, 5, 6, 63, 64, u32::MAX].map(|failures| back_off(failures).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60, 60, 60]);
    }
}
