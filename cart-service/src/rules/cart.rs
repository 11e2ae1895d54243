//! What a cart may hold, what a change makes of it, and how a guest's becomes part of a user's.

use std::fmt;

use serde::Deserialize;
use uuid::Uuid;

use super::money::{AmountOutOfRange, Money};

/// How many of one product: 1 to 99.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "i64")]
pub struct Quantity(i64);

impl Quantity {
    pub const MAX: i64 = 99;

    pub const fn get(self) -> i64 {
        self.0
    }
}

/// The number is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number from 1 to 99")]
pub struct InvalidQuantity;

impl TryFrom<i64> for Quantity {
    type Error = InvalidQuantity;

    fn try_from(count: i64) -> Result<Self, InvalidQuantity> {
        (1..=Self::MAX).contains(&count).then_some(Self(count)).ok_or(InvalidQuantity)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A product as it is offered now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub product: Uuid,
    pub name: String,
    pub price: Money,
    /// How many are free to be held.
    pub stock: i64,
}

/// So many of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub offer: Offer,
    pub quantity: Quantity,
}

impl Line {
    /// # Errors
    /// The amount is out of range.
    pub fn total(&self) -> Result<Money, AmountOutOfRange> {
        self.offer.price.times(self.quantity)
    }
}

/// A user's or a guest's cart, in the order in which its lines were added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cart {
    pub lines: Vec<Line>,
    /// Counts the changes.
    pub version: i64,
}

/// What is to happen to one product's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// So many more.
    Add(Quantity),
    /// Exactly so many.
    Set(Quantity),
}

/// Why a change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("a line holds at most {max} of a product", max = Quantity::MAX)]
    LineTooLarge,
    #[error("a cart holds at most {max} lines", max = Cart::MAX_LINES)]
    CartFull,
    #[error("only {stock} are left")]
    InsufficientStock { stock: i64 },
    #[error(transparent)]
    TotalTooLarge(#[from] AmountOutOfRange),
}

impl Cart {
    pub const MAX_LINES: usize = 100;

    /// # Errors
    /// The amount is out of range.
    pub fn total(&self) -> Result<Money, AmountOutOfRange> {
        total(&self.lines)
    }

    /// Makes a change, and answers the product's new quantity, or `None` where the cart is as it was before.
    ///
    /// # Errors
    /// The change is refused; the cart is as it was before.
    pub fn change(&mut self, offer: Offer, change: Change) -> Result<Option<Quantity>, Refusal> {
        let present = self.lines.iter().position(|line| line.offer.product == offer.product);
        let before = present.map(|index| self.lines[index].quantity);
        let quantity = match change {
            Change::Set(quantity) => quantity,
            Change::Add(more) => {
                let sum = before.map_or(0, Quantity::get) + more.get();
                sum.try_into().map_err(|InvalidQuantity| Refusal::LineTooLarge)?
            }
        };
        if present.is_none() && self.lines.len() >= Self::MAX_LINES {
            return Err(Refusal::CartFull);
        }
        if quantity.get() > offer.stock {
            return Err(Refusal::InsufficientStock { stock: offer.stock });
        }
        let mut lines = self.lines.clone();
        match present {
            Some(index) => lines[index] = Line { offer, quantity },
            None => lines.push(Line { offer, quantity }),
        }
        total(&lines)?;
        self.lines = lines;
        Ok((before != Some(quantity)).then_some(quantity))
    }

    /// Takes in the lines of another cart, as far as they fit: a sum is cut at 99 and at the stock, and never lowers
    /// what was there; a line is left out when there is no stock, no room or no amount large enough. Answers the
    /// quantities that changed.
    pub fn absorb(&mut self, others: Vec<Line>) -> Vec<(Uuid, Quantity)> {
        let mut changed = Vec::new();
        for other in others {
            let product = other.offer.product;
            let own =
                self.lines.iter().find(|line| line.offer.product == product).map_or(0, |line| line.quantity.get());
            let fits = (own + other.quantity.get()).min(Quantity::MAX).min(other.offer.stock).max(own);
            let Ok(quantity) = Quantity::try_from(fits) else { continue };
            if fits > own && matches!(self.change(other.offer, Change::Set(quantity)), Ok(Some(_))) {
                changed.push((product, quantity));
            }
        }
        changed
    }
}

/// # Errors
/// The amount is out of range.
pub fn total(lines: &[Line]) -> Result<Money, AmountOutOfRange> {
    lines.iter().try_fold(Money::ZERO, |sum, line| sum.plus(line.total()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(count: i64) -> Quantity {
        Quantity::try_from(count).expect("a quantity from 1 to 99")
    }

    fn offer(number: u128, amount: i64, stock: i64) -> Offer {
        let price = Money::new(amount).expect("an amount");
        Offer { product: Uuid::from_u128(number), name: format!("product {number}"), price, stock }
    }

    fn cart(lines: &[(u128, i64)]) -> Cart {
        let line =
            |&(number, count): &(u128, i64)| Line { offer: offer(number, 100, 1_000), quantity: quantity(count) };
        Cart { lines: lines.iter().map(line).collect(), version: 0 }
    }

    #[test]
    fn adding_sums_up_and_setting_replaces() {
        let mut cart = cart(&[(1, 2)]);
        assert_eq!(cart.change(offer(1, 100, 10), Change::Add(quantity(3))), Ok(Some(quantity(5))));
        assert_eq!(cart.change(offer(1, 100, 10), Change::Set(quantity(4))), Ok(Some(quantity(4))));
        assert_eq!(cart.change(offer(1, 100, 10), Change::Set(quantity(4))), Ok(None));
        assert_eq!(cart.total().map(Money::minor_units), Ok(400));
    }

    #[test]
    fn a_refused_change_leaves_the_cart_alone() {
        let numbers: Vec<(u128, i64)> = (1..=100).map(|number| (number, 1)).collect();
        let huge = Money::MAX.minor_units();
        for (before, offer, change, refusal) in [
            (cart(&[(1, 98)]), offer(1, 1, 1_000), Change::Add(quantity(2)), Refusal::LineTooLarge),
            (cart(&numbers), offer(101, 1, 1_000), Change::Set(quantity(1)), Refusal::CartFull),
            (cart(&[]), offer(1, 1, 4), Change::Set(quantity(5)), Refusal::InsufficientStock { stock: 4 }),
            (cart(&[]), offer(1, 1, 0), Change::Add(quantity(1)), Refusal::InsufficientStock { stock: 0 }),
            (cart(&[(1, 1)]), offer(2, huge, 9), Change::Add(quantity(1)), Refusal::TotalTooLarge(AmountOutOfRange)),
        ] {
            let mut after = before.clone();
            assert_eq!(after.change(offer, change), Err(refusal));
            assert_eq!(after, before);
        }
    }

    #[test]
    fn a_full_cart_still_takes_more_of_what_it_holds() {
        let numbers: Vec<(u128, i64)> = (1..=100).map(|number| (number, 1)).collect();
        assert_eq!(cart(&numbers).change(offer(7, 1, 9), Change::Add(quantity(1))), Ok(Some(quantity(2))));
    }

    proptest! {
        #[test]
        fn absorbing_loses_nothing_that_fits_and_never_breaks_a_limit(
            own in prop::collection::btree_map(1_u128..130, 1_i64..=99, 0..=100),
            others in prop::collection::btree_map(1_u128..130, (1_i64..=99, 0_i64..200), 0..=100),
        ) {
            let own: Vec<(u128, i64)> = own.into_iter().collect();
            let before = cart(&own);
            let mut after = before.clone();
            let lines = others.iter().map(|(&number, &(count, stock))| {
                Line { offer: offer(number, 100, stock), quantity: quantity(count) }
            });
            let changed = after.absorb(lines.collect());
            let count_in = |cart: &Cart, number: u128| {
                let found = cart.lines.iter().find(|line| line.offer.product == Uuid::from_u128(number));
                found.map_or(0, |line| line.quantity.get())
            };
            prop_assert!(after.lines.len() <= Cart::MAX_LINES);
            for number in 1..130 {
                let (had, has) = (count_in(&before, number), count_in(&after, number));
                let (more, stock) = others.get(&number).copied().unwrap_or((0, 0));
                prop_assert!(has >= had);
                prop_assert!(has <= had + more);
                let full = after.lines.len() == Cart::MAX_LINES && had == 0;
                let fits = (had + more).min(Quantity::MAX).min(stock).max(had);
                prop_assert!(has == fits || (full && has == 0), "{} of {} for {}", has, fits, number);
                prop_assert_eq!(changed.iter().any(|(id, _)| *id == Uuid::from_u128(number)), has != had);
            }
        }

        #[test]
        fn a_total_is_the_sum_of_its_lines_or_refused(amounts in prop::collection::vec((0..=Money::MAX.minor_units(), 1_i64..=99), 0..20)) {
            let lines: Vec<Line> = amounts.iter().enumerate().map(|(index, &(amount, count))| {
                Line { offer: offer(index as u128, amount, 99), quantity: quantity(count) }
            }).collect();
            let exact: i128 = amounts.iter().map(|&(amount, count)| i128::from(amount) * i128::from(count)).sum();
            let expected = i64::try_from(exact).map_err(|_| AmountOutOfRange).and_then(Money::new);
            prop_assert_eq!(total(&lines), expected);
        }
    }
}
