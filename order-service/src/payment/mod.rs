//! Payment, as the acts see it. Owns the processor's contract; a real processor is another implementation of it.

mod test_processor;

use std::fmt;

use async_trait::async_trait;
use uuid::Uuid;

pub use self::test_processor::TestPaymentProcessor;
use crate::rules::money::Money;
use crate::rules::payment_method::PaymentMethod;

/// A charge's name at the processor: asked for again under the same name, it is the same charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChargeId {
    pub order: Uuid,
    /// Which payment of the order: one that was declined may be followed by another.
    pub attempt: i64,
}

/// What became of a charge. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChargeOutcome {
    Approved,
    Declined,
}

/// The processor does not answer; what it did is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the payment processor does not answer: {0}")]
pub struct ProcessorUnavailable(pub String);

/// Takes money and gives it back.
#[async_trait]
pub trait PaymentProcessor: fmt::Debug + Send + Sync + 'static {
    /// Takes the money, once, however often it is asked under one id; an order's money is never taken twice.
    async fn charge(
        &self,
        id: ChargeId,
        amount: Money,
        method: PaymentMethod,
    ) -> Result<ChargeOutcome, ProcessorUnavailable>;

    /// What became of a charge; `None` when the processor has never heard of it.
    async fn status(&self, id: ChargeId) -> Result<Option<ChargeOutcome>, ProcessorUnavailable>;

    /// Gives an order's money back, once, however often it is asked. No charge, no refund: that is no error.
    async fn refund(&self, order: Uuid) -> Result<(), ProcessorUnavailable>;
}
