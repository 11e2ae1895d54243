//! Money: whole minor units of one currency. Arithmetic that overflows or mixes currencies is an error.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 4217 code: three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Currency([u8; 3]);

/// An amount, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Money {
    /// Minor units: cents.
    #[serde(deserialize_with = "not_negative")]
    #[schema(minimum = 0, example = 1999)]
    pub amount: i64,
    /// ISO 4217.
    #[schema(value_type = String, min_length = 3, max_length = 3, pattern = "^[A-Z]{3}$", example = "EUR")]
    pub currency: Currency,
}

/// A sum that has no right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("the amount is too large")]
    Overflow,
    #[error("the currencies differ")]
    MixedCurrencies,
}

impl Money {
    /// # Errors
    /// The result is too large.
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        let amount = self.amount.checked_mul(i64::from(quantity)).ok_or(MoneyError::Overflow)?;
        Ok(Self { amount, ..self })
    }

    /// # Errors
    /// The result is too large, or the currencies differ.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::MixedCurrencies);
        }
        let amount = self.amount.checked_add(other.amount).ok_or(MoneyError::Overflow)?;
        Ok(Self { amount, ..self })
    }
}

fn not_negative<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let amount = i64::deserialize(deserializer)?;
    if amount < 0 {
        return Err(serde::de::Error::custom("an amount is not negative"));
    }
    Ok(amount)
}

impl Currency {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only letters are let in")
    }
}

impl FromStr for Currency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code: Option<[u8; 3]> = text.as_bytes().try_into().ok();
        let code = code.filter(|code| code.iter().all(u8::is_ascii_uppercase));
        code.map(Self).ok_or("a currency is three capital letters")
    }
}

impl TryFrom<String> for Currency {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(amount: i64, currency: &str) -> Money {
        Money { amount, currency: currency.parse().expect("a currency") }
    }

    #[test]
    fn currencies_do_not_mix() {
        assert_eq!(money(1, "EUR").plus(money(1, "USD")), Err(MoneyError::MixedCurrencies));
    }

    #[test]
    fn money_comes_back_from_its_text() {
        for amount in [0, 1, i64::MAX] {
            let text = serde_json::to_string(&money(amount, "EUR")).expect("JSON");
            assert_eq!(text, format!(r#"{{"amount":{amount},"currency":"EUR"}}"#));
            assert_eq!(serde_json::from_str::<Money>(&text).expect("money"), money(amount, "EUR"));
        }
        assert_eq!(money(1, "USD").currency.to_string(), "USD");
    }

    #[test]
    fn a_negative_amount_or_an_odd_currency_is_not_read() {
        for refused in [
            r#"{"amount":-1,"currency":"EUR"}"#,
            r#"{"amount":1.5,"currency":"EUR"}"#,
            r#"{"amount":9223372036854775808,"currency":"EUR"}"#,
            r#"{"amount":1,"currency":"eur"}"#,
            r#"{"amount":1,"currency":"EURO"}"#,
            r#"{"amount":1,"currency":"ÄÖ"}"#,
        ] {
            assert!(serde_json::from_str::<Money>(refused).is_err(), "{refused} was taken");
        }
    }

    proptest! {
        #[test]
        fn arithmetic_is_exact_or_refused(a in 0..=i64::MAX, b in 0..=i64::MAX, quantity: u32) {
            let exact = |wide: i128| i64::try_from(wide).map_err(|_| MoneyError::Overflow);
            let product = money(a, "EUR").times(quantity).map(|money| money.amount);
            prop_assert_eq!(product, exact(i128::from(a) * i128::from(quantity)));
            let sum = money(a, "EUR").plus(money(b, "EUR")).map(|money| money.amount);
            prop_assert_eq!(sum, exact(i128::from(a) + i128::from(b)));
        }
    }
}
