//! How an order can be paid.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The methods that the test processor knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethod {
    /// Always approved.
    #[default]
    TestCard,
    /// Always declined.
    TestCardDeclined,
}

impl PaymentMethod {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TestCard => "test_card",
            Self::TestCardDeclined => "test_card_declined",
        }
    }
}

impl fmt::Display for PaymentMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for PaymentMethod {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = [Self::TestCard, Self::TestCardDeclined].into_iter().find(|method| method.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no payment method"))
    }
}
