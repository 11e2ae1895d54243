//! The states of an order and the moves between them. Every other move is an error.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an order stands. Clients see it from `placed` on; what is before is an attempt, which may still come to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// The intent is recorded; the cart service may or may not have been asked.
    Placing,
    /// The cart service holds the stock for it; the hold is not confirmed.
    Reserved,
    /// The stock is the order's. It can be paid or cancelled.
    Placed,
    /// The payment processor was asked, and its answer is not recorded.
    Paying,
    Paid,
    /// It will be cancelled: the refund or the return of the stock is under way.
    Cancelling,
    Cancelled,
    /// The attempt came to nothing; no stock is held.
    Failed,
}

/// What can happen to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The cart service holds the stock.
    Reserve,
    /// The hold is confirmed.
    Place,
    /// The cart service refuses, or has let the hold go.
    Fail,
    BeginPayment,
    PaymentApproved,
    PaymentDeclined,
    BeginCancelling,
    FinishCancelling,
}

/// A legal move. Only [`OrderStatus::after`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    from: OrderStatus,
    to: OrderStatus,
}

/// The order is not in a state that allows the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the order is {from}: it {}", .step.refusal())]
pub struct IllegalMove {
    pub from: OrderStatus,
    pub step: Step,
}

impl OrderStatus {
    pub const ALL: [Self; 8] = [
        Self::Placing,
        Self::Reserved,
        Self::Placed,
        Self::Paying,
        Self::Paid,
        Self::Cancelling,
        Self::Cancelled,
        Self::Failed,
    ];

    /// # Errors
    /// The step is not open to an order in this state.
    pub fn after(self, step: Step) -> Result<Transition, IllegalMove> {
        let to = match (self, step) {
            (Self::Placing, Step::Reserve) => Self::Reserved,
            (Self::Placing | Self::Reserved, Step::Fail) => Self::Failed,
            (Self::Reserved, Step::Place) => Self::Placed,
            (Self::Placed, Step::BeginPayment) => Self::Paying,
            (Self::Paying, Step::PaymentApproved) => Self::Paid,
            (Self::Paying, Step::PaymentDeclined) => Self::Placed,
            (Self::Placed | Self::Paid, Step::BeginCancelling) => Self::Cancelling,
            (Self::Cancelling, Step::FinishCancelling) => Self::Cancelled,
            _ => return Err(IllegalMove { from: self, step }),
        };
        Ok(Transition { from: self, to })
    }

    /// Whether a step was begun whose end is not recorded yet: what recovery looks for.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Placing | Self::Reserved | Self::Paying | Self::Cancelling)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placing => "placing",
            Self::Reserved => "reserved",
            Self::Placed => "placed",
            Self::Paying => "paying",
            Self::Paid => "paid",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl Transition {
    pub fn from(self) -> OrderStatus {
        self.from
    }

    pub fn to(self) -> OrderStatus {
        self.to
    }
}

impl Step {
    const fn refusal(self) -> &'static str {
        match self {
            Self::Reserve | Self::Place | Self::Fail => "is not being placed",
            Self::BeginPayment => "cannot be paid",
            Self::PaymentApproved | Self::PaymentDeclined => "is not being paid",
            Self::BeginCancelling => "cannot be cancelled",
            Self::FinishCancelling => "is not being cancelled",
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no status.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no status of an order")]
pub struct UnknownStatus(String);

impl FromStr for OrderStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

impl TryFrom<String> for OrderStatus {
    type Error = UnknownStatus;

    fn try_from(text: String) -> Result<Self, UnknownStatus> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEPS: [Step; 8] = [
        Step::Reserve,
        Step::Place,
        Step::Fail,
        Step::BeginPayment,
        Step::PaymentApproved,
        Step::PaymentDeclined,
        Step::BeginCancelling,
        Step::FinishCancelling,
    ];

    #[test]
    fn ten_of_all_moves_are_legal() {
        let legal: Vec<String> = OrderStatus::ALL
            .into_iter()
            .flat_map(|from| STEPS.into_iter().filter_map(move |step| from.after(step).ok()))
            .map(|transition| format!("{}-{}", transition.from(), transition.to()))
            .collect();
        let expected = [
            "placing-reserved",
            "placing-failed",
            "reserved-placed",
            "reserved-failed",
            "placed-paying",
            "placed-cancelling",
            "paying-paid",
            "paying-placed",
            "paid-cancelling",
            "cancelling-cancelled",
        ];
        assert_eq!(legal, expected);
    }

    #[test]
    fn recovery_looks_for_what_was_begun_alone() {
        let under_way: Vec<_> = OrderStatus::ALL.into_iter().filter(|status| status.is_under_way()).collect();
        let begun = [OrderStatus::Placing, OrderStatus::Reserved, OrderStatus::Paying, OrderStatus::Cancelling];
        assert_eq!(under_way, begun);
    }

    #[test]
    fn a_status_comes_back_from_its_text() {
        for status in OrderStatus::ALL {
            assert_eq!(status.as_str().parse::<OrderStatus>().expect("its own text"), status);
            assert_eq!(serde_json::to_value(status).expect("JSON"), status.as_str());
        }
        assert!("PAID".parse::<OrderStatus>().is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_tried_an_end_stays_an_end_and_money_is_taken_only_while_paying(
            tries in proptest::collection::vec(0..STEPS.len(), 0..200)
        ) {
            let mut status = OrderStatus::Placing;
            let (mut taken, mut held) = (false, false);
            for step in tries.into_iter().map(|index| STEPS[index]) {
                let Ok(transition) = status.after(step) else { continue };
                prop_assert_eq!(transition.from(), status);
                prop_assert!(!matches!(status, OrderStatus::Cancelled | OrderStatus::Failed));
                match step {
                    Step::Reserve => held = true,
                    Step::PaymentApproved => {
                        prop_assert!(held && !taken, "money is taken once, for stock that is held");
                        taken = true;
                    }
                    Step::Fail => prop_assert!(!taken, "an order that failed took no money"),
                    Step::FinishCancelling => (taken, held) = (false, false),
                    _ => {}
                }
                status = transition.to();
                prop_assert_eq!(taken, status == OrderStatus::Paid || (taken && status == OrderStatus::Cancelling));
            }
        }
    }
}
