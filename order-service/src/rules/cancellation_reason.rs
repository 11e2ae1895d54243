//! Why an order was cancelled.

use std::str::FromStr;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancellationReason {
    /// Its owner asked for it.
    Requested,
    /// It was not paid by its deadline.
    PaymentOverdue,
}

impl CancellationReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::PaymentOverdue => "payment_overdue",
        }
    }
}

/// The text names no reason.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no reason for a cancellation")]
pub struct UnknownReason(String);

impl FromStr for CancellationReason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let found = [Self::Requested, Self::PaymentOverdue].into_iter().find(|reason| reason.as_str() == text);
        found.ok_or_else(|| UnknownReason(text.to_owned()))
    }
}
