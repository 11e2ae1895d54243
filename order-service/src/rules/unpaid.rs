//! How many orders of a user may be unpaid at once: they hold stock that others want.

/// Of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpaid {
    /// Orders that are placed or being paid, and attempts that are under way.
    pub orders: i64,
    /// Attempts that stopped half-way, because a service did not answer: each may still hold stock for a quarter of an hour.
    pub given_up: i64,
}

/// `MAX_UNPAID_ORDERS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpaidLimit(pub u32);

/// How many attempts may have stopped half-way. They do not count as orders, because an outage is not the user's doing, but
/// they have a bound of their own.
const MOST_GIVEN_UP: i64 = 10;

impl UnpaidLimit {
    pub fn allows_another(self, unpaid: Unpaid) -> bool {
        unpaid.orders < i64::from(self.0) && unpaid.given_up < MOST_GIVEN_UP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_order_that_is_allowed_is_the_one_before_the_limit() {
        let allows = |orders, given_up| UnpaidLimit(3).allows_another(Unpaid { orders, given_up });
        assert!(allows(0, 0) && allows(2, 0) && allows(2, 9));
        assert!(!allows(3, 0) && !allows(4, 0) && !allows(0, 10));
    }
}
