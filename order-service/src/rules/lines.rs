//! The lines of an order, as the cart service priced them. A reservation whose sums are wrong is never taken.

use serde::{Deserialize, Serialize};

use super::money::{Money, MoneyError};

/// One product of an order, at the price of the moment it was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OrderLine {
    pub product_id: String,
    pub name: String,
    #[schema(minimum = 1)]
    pub quantity: u32,
    /// Of one.
    pub price: Money,
    /// Of all: price times quantity.
    pub total: Money,
}

/// What the cart service holds for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The cart service's name for the hold.
    pub checkout_id: String,
    pub lines: Vec<OrderLine>,
    pub total: Money,
}

/// What a person saw of lines before they ordered: products, quantities and prices, in a few characters. Names may change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Seen(String);

impl Seen {
    pub fn of(lines: &[OrderLine]) -> Self {
        use aws_lc_rs::digest::{SHA256, digest};
        use base64::Engine as _;
        let lines =
            lines.iter().map(|line| (&line.product_id, line.quantity, line.price.amount, line.price.currency.as_str()));
        let text = format!("{:?}", lines.collect::<Vec<_>>());
        Self(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..16]))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The cart service's arithmetic is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mispriced {
    #[error("there are no lines")]
    NoLines,
    #[error("a quantity is nought")]
    NoQuantity,
    #[error("a line's total is not its price times its quantity")]
    LineTotal,
    #[error("the total is not the sum of the lines")]
    Total,
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Reservation {
    /// # Errors
    /// The first sum that is wrong.
    pub fn check(&self) -> Result<(), Mispriced> {
        if self.lines.is_empty() {
            return Err(Mispriced::NoLines);
        }
        let mut sum = Money { amount: 0, currency: self.total.currency };
        for line in &self.lines {
            if line.quantity == 0 {
                return Err(Mispriced::NoQuantity);
            }
            if line.price.times(line.quantity)? != line.total {
                return Err(Mispriced::LineTotal);
            }
            sum = sum.plus(line.total)?;
        }
        if sum == self.total { Ok(()) } else { Err(Mispriced::Total) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: i64) -> Money {
        Money { amount, currency: "EUR".parse().expect("a currency") }
    }

    fn line(quantity: u32, price: i64, total: i64) -> OrderLine {
        OrderLine {
            product_id: "p".to_owned(),
            name: "Lamp".to_owned(),
            quantity,
            price: money(price),
            total: money(total),
        }
    }

    fn checked(lines: Vec<OrderLine>, total: i64) -> Result<(), Mispriced> {
        Reservation { checkout_id: "c".to_owned(), lines, total: money(total) }.check()
    }

    #[test]
    fn whatever_costs_more_or_otherwise_was_not_seen_and_another_name_was() {
        let seen = Seen::of(&[line(2, 150, 300), line(1, 50, 50)]);
        assert_eq!(serde_json::from_value(seen.as_str().into()).ok(), Some(seen.clone()), "it comes back from a form");
        let mut renamed = line(2, 150, 300);
        renamed.name = "Light".to_owned();
        assert_eq!(Seen::of(&[renamed, line(1, 50, 50)]), seen);
        let (mut foreign, mut other) = (line(2, 150, 300), line(2, 150, 300));
        foreign.price.currency = "USD".parse().expect("a currency");
        other.product_id = "q".to_owned();
        for first in [line(3, 150, 450), line(2, 151, 302), foreign, other] {
            assert_ne!(Seen::of(&[first, line(1, 50, 50)]), seen);
        }
        assert_ne!(Seen::of(&[line(2, 150, 300)]), seen);
    }

    #[test]
    fn sums_are_checked() {
        assert_eq!(checked(vec![line(2, 150, 300), line(1, 50, 50)], 350), Ok(()));
        assert_eq!(checked(vec![line(2, 150, 300)], 299), Err(Mispriced::Total));
        assert_eq!(checked(vec![line(2, 150, 150)], 150), Err(Mispriced::LineTotal));
        assert_eq!(checked(vec![line(0, 150, 0)], 0), Err(Mispriced::NoQuantity));
        assert_eq!(checked(vec![], 0), Err(Mispriced::NoLines));
        assert_eq!(checked(vec![line(3, i64::MAX, 5)], 5), Err(Mispriced::Money(MoneyError::Overflow)));
        let mut foreign = line(1, 5, 5);
        foreign.price.currency = "USD".parse().expect("a currency");
        foreign.total = foreign.price;
        assert_eq!(checked(vec![foreign], 5), Err(Mispriced::Money(MoneyError::MixedCurrencies)));
    }
}
