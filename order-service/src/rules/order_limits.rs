//! How many orders of a user may hold stock without being paid, and how many may come to nothing in a day.

use std::time::Duration;

/// The time over which abandoned orders count.
pub const ABANDONED_WITHIN: Duration = Duration::from_secs(86_400);

/// The orders of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Orders that are placed or being paid, and attempts that are under way.
    pub unpaid: i64,
    /// Attempts that stopped half-way, because a service did not answer: each may still hold stock for a quarter of an hour.
    pub given_up: i64,
    /// Orders of the last [`ABANDONED_WITHIN`] that were cancelled and never paid.
    pub cancelled: i64,
    /// Attempts of the same time that failed.
    pub failed: i64,
}

/// `MAX_UNPAID_ORDERS` and `MAX_ABANDONED_ORDERS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderLimits {
    pub unpaid: u32,
    pub abandoned: u32,
}

/// The limit that allows no further order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    Unpaid,
    Abandoned,
}

/// How many attempts may have stopped half-way. They do not count as orders, because an outage is not the user's doing, but
/// they have a bound of their own.
const MOST_GIVEN_UP: i64 = 10;

/// How many failed attempts count as one cancelled order: a person tries again with another basket.
const FAILED_FOR_ONE: i64 = 10;

impl OrderLimits {
    /// # Errors
    /// The limit that is reached.
    pub fn allow_another(self, counted: Counted) -> Result<(), Exceeded> {
        if counted.unpaid >= i64::from(self.unpaid) || counted.given_up >= MOST_GIVEN_UP {
            return Err(Exceeded::Unpaid);
        }
        // One that failed has held no stock for long, or none.
        if counted.cancelled + counted.failed / FAILED_FOR_ONE >= i64::from(self.abandoned) {
            Err(Exceeded::Abandoned)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_order_that_is_allowed_is_the_one_before_a_limit() {
        let allows = |unpaid, given_up, cancelled| {
            OrderLimits { unpaid: 3, abandoned: 5 }.allow_another(Counted { unpaid, given_up, cancelled, failed: 9 })
        };
        assert_eq!((allows(0, 0, 0), allows(2, 9, 4)), (Ok(()), Ok(())));
        for (unpaid, given_up) in [(3, 0), (4, 0), (0, 10)] {
            assert_eq!(allows(unpaid, given_up, 0), Err(Exceeded::Unpaid));
        }
        assert_eq!((allows(0, 0, 5), allows(0, 0, 6)), (Err(Exceeded::Abandoned), Err(Exceeded::Abandoned)));
        let failing = |failed| {
            OrderLimits { unpaid: 3, abandoned: 5 }.allow_another(Counted {
                unpaid: 0,
                given_up: 0,
                cancelled: 3,
                failed,
            })
        };
        assert_eq!((failing(19), failing(20)), (Ok(()), Err(Exceeded::Abandoned)));
    }
}
