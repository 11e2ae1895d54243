//! Money: whole minor units of the shop's one currency. Every operation is checked; there is no float and no rounding.

use super::cart::Quantity;

/// The shop's currency (ISO 4217). Amounts are cents.
pub const CURRENCY: &str = "EUR";

/// An amount from 0 to 2^53 - 1 minor units: the largest integer that every JSON reader keeps exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(i64);

/// The amount is negative or larger than [`Money::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the amount is too large")]
pub struct AmountOutOfRange;

impl Money {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self((1 << 53) - 1);

    /// # Errors
    /// The amount is out of range.
    pub fn new(minor_units: i64) -> Result<Self, AmountOutOfRange> {
        (0..=Self::MAX.0).contains(&minor_units).then_some(Self(minor_units)).ok_or(AmountOutOfRange)
    }

    pub const fn minor_units(self) -> i64 {
        self.0
    }

    /// # Errors
    /// The sum is out of range.
    pub fn plus(self, other: Self) -> Result<Self, AmountOutOfRange> {
        self.0.checked_add(other.0).ok_or(AmountOutOfRange).and_then(Self::new)
    }

    /// # Errors
    /// The product is out of range.
    pub fn times(self, quantity: Quantity) -> Result<Self, AmountOutOfRange> {
        self.0.checked_mul(quantity.get()).ok_or(AmountOutOfRange).and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(count: i64) -> Quantity {
        Quantity::try_from(count).expect("a quantity from 1 to 99")
    }

    #[test]
    fn what_is_out_of_range_is_no_money() {
        for refused in [-1, i64::MIN, Money::MAX.minor_units() + 1, i64::MAX] {
            assert_eq!(Money::new(refused), Err(AmountOutOfRange), "{refused}");
        }
        assert_eq!(Money::MAX.plus(Money(1)), Err(AmountOutOfRange));
        assert_eq!(Money::MAX.times(quantity(2)), Err(AmountOutOfRange));
        assert_eq!(Money::MAX.times(quantity(1)), Ok(Money::MAX));
    }

    proptest! {
        #[test]
        fn a_result_is_exact_or_refused(a in 0..=Money::MAX.0, b in 0..=Money::MAX.0, count in 1_i64..=99) {
            let exact = |amount: i128| i64::try_from(amount).map_err(|_| AmountOutOfRange).and_then(Money::new);
            prop_assert_eq!(Money(a).plus(Money(b)), exact(i128::from(a) + i128::from(b)));
            prop_assert_eq!(Money(a).times(quantity(count)), exact(i128::from(a) * i128::from(count)));
        }
    }
}
