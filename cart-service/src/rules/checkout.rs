//! The state machine of a checkout: stock that is held for an order, and the key that makes it once.

use shared::clock::Timestamp;

/// Where a checkout stands.
///
/// `Held` -> `Confirmed` -> `Released`, and `Held` -> `Released`. Nothing leaves `Released`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The stock is set aside, and the order not placed yet.
    Held,
    /// The order is placed: the stock is sold.
    Confirmed,
    /// The stock is back.
    Released,
}

/// The move is not one of the state machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a checkout that is {} cannot be {}", from.as_str(), to.as_str())]
pub struct IllegalMove {
    pub from: Status,
    pub to: Status,
}

/// What a release has to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It was released before.
    Nothing,
    /// An order was placed and taken back.
    Stock,
    /// No order came of it: the user shops on.
    StockAndCart,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Confirmed => "confirmed",
            Self::Released => "released",
        }
    }

    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Held, Self::Confirmed, Self::Released].into_iter().find(|status| status.as_str() == text)
    }

    /// What it counts as: a hold that is over counts as released, also before the stock is back.
    pub fn at(self, now: Timestamp, expires_at: Timestamp) -> Self {
        if self == Self::Held && now >= expires_at { Self::Released } else { self }
    }

    /// The order is placed. Confirming twice is once.
    ///
    /// # Errors
    /// It was released.
    pub fn confirm(self) -> Result<Self, IllegalMove> {
        match self {
            Self::Held | Self::Confirmed => Ok(Self::Confirmed),
            Self::Released => Err(IllegalMove { from: self, to: Self::Confirmed }),
        }
    }

    /// There is no order, or no longer. Every state may be released; what that gives back depends on it.
    pub fn release(self) -> Release {
        match self {
            Self::Held => Release::StockAndCart,
            Self::Confirmed => Release::Stock,
            Self::Released => Release::Nothing,
        }
    }
}

/// What makes a checkout once: 1 to 255 visible ASCII characters, in the scope of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub fn parse(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        ((1..=255).contains(&text.len()) && visible).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_released() {
        let illegal = IllegalMove { from: Status::Released, to: Status::Confirmed };
        assert_eq!(Status::Released.confirm(), Err(illegal));
        assert_eq!(Status::Released.release(), Release::Nothing);
    }

    #[test]
    fn confirming_twice_is_once() {
        assert_eq!(Status::Held.confirm().and_then(Status::confirm), Ok(Status::Confirmed));
    }

    #[test]
    fn only_a_hold_that_never_became_an_order_goes_back_into_the_cart() {
        assert_eq!(Status::Held.release(), Release::StockAndCart);
        assert_eq!(Status::Confirmed.release(), Release::Stock);
    }

    #[test]
    fn a_hold_that_is_over_counts_as_released_from_that_microsecond_on() {
        let end = Timestamp::from_seconds(100);
        let before = Timestamp::from_micros(end.micros() - 1);
        assert_eq!(Status::Held.at(before, end), Status::Held);
        assert_eq!(Status::Held.at(end, end), Status::Released);
        assert_eq!(Status::Confirmed.at(end, end), Status::Confirmed);
    }

    #[test]
    fn a_status_comes_back_from_its_text() {
        for status in [Status::Held, Status::Confirmed, Status::Released] {
            assert_eq!(Status::from_text(status.as_str()), Some(status));
        }
        assert_eq!(Status::from_text("paid"), None);
    }

    #[test]
    fn a_key_is_visible_ascii() {
        let longest = "k".repeat(255);
        for good in ["k", "9f8c-…".trim_end_matches('…'), "!~", &longest] {
            assert!(IdempotencyKey::parse(good).is_some(), "{good:?}");
        }
        for bad in ["", " ", "a b", "a\tb", "é", "\u{7f}", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(bad).is_none(), "{bad:?}");
        }
    }
}
