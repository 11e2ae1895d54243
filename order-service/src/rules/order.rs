//! An order, as the other rules and the storage speak of it.

use shared::clock::Timestamp;
use shared::session::UserId;
use uuid::Uuid;

use super::cancellation_reason::CancellationReason;
use super::lines::Reservation;
use super::order_status::{OrderStatus, Step};
use super::payment_method::PaymentMethod;
use super::request::OrderRequest;

/// One order, from the first attempt to place it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: Uuid,
    pub user: UserId,
    pub status: OrderStatus,
    pub request: OrderRequest,
    /// SHA-256 of the request that made it.
    pub request_hash: Vec<u8>,
    /// Set from `reserved` on.
    pub reservation: Option<Reservation>,
    /// The payment that was begun last; 0 before the first.
    pub payment: Payment,
    pub created_at: Timestamp,
    /// Set once the stock is the order's: from then on clients see it.
    pub placed_at: Option<Timestamp>,
    /// Until then it can be paid; afterwards it is cancelled. Set when it is placed.
    pub payment_due_at: Option<Timestamp>,
    pub paid_at: Option<Timestamp>,
    pub cancelled_at: Option<Timestamp>,
    /// Set from `cancelling` on.
    pub cancellation_reason: Option<CancellationReason>,
    /// When recovery looks at it next, if it is under way.
    pub next_attempt_at: Timestamp,
    /// How often in a row finishing it failed.
    pub failures: u32,
}

impl Order {
    /// Whether the time to pay it is over, or was when it was cancelled. A payment that was begun in time is not overdue.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        match self.status {
            OrderStatus::Placed => self.payment_due_at.is_some_and(|due| due <= now),
            OrderStatus::Cancelling | OrderStatus::Cancelled => {
                self.cancellation_reason == Some(CancellationReason::PaymentOverdue)
            }
            _ => false,
        }
    }

    /// Whether a payment may begin now.
    pub fn may_be_paid(&self, now: Timestamp) -> bool {
        self.status.after(Step::BeginPayment).is_ok() && !self.is_overdue(now)
    }
}

/// A payment that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    pub attempt: i64,
    pub method: Option<PaymentMethod>,
}
