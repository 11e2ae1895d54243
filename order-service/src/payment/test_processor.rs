//! A processor that moves no money: it approves or declines by the method's name, and keeps books like a real one.

use async_trait::async_trait;
use shared::clock::Clock;
use shared::database::Database;
use uuid::Uuid;

use super::{ChargeId, ChargeOutcome, PaymentProcessor, ProcessorUnavailable};
use crate::rules::money::Money;
use crate::rules::payment_method::PaymentMethod;
use crate::storage::charges;

/// For trying out and for tests. No money moves.
#[derive(Debug, Clone)]
pub struct TestPaymentProcessor {
    database: Database,
    clock: Clock,
}

impl TestPaymentProcessor {
    pub fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock }
    }
}

#[async_trait]
impl PaymentProcessor for TestPaymentProcessor {
    async fn charge(
        &self,
        id: ChargeId,
        amount: Money,
        method: PaymentMethod,
    ) -> Result<ChargeOutcome, ProcessorUnavailable> {
        let outcome = match method {
            PaymentMethod::TestCard => "approved",
            PaymentMethod::TestCardDeclined => "declined",
        };
        let recorded = charges::record(&self.database, (id.order, id.attempt), amount, outcome, self.clock.now()).await;
        recorded.map_err(unavailable)?;
        self.status(id).await?.ok_or_else(|| ProcessorUnavailable("the charge was not recorded".to_owned()))
    }

    async fn status(&self, id: ChargeId) -> Result<Option<ChargeOutcome>, ProcessorUnavailable> {
        let charge = charges::find(&self.database, (id.order, id.attempt)).await.map_err(unavailable)?;
        Ok(charge.map(|charge| match charge.outcome.as_str() {
            "approved" => ChargeOutcome::Approved,
            _ => ChargeOutcome::Declined,
        }))
    }

    async fn refund(&self, order: Uuid) -> Result<(), ProcessorUnavailable> {
        charges::refund(&self.database, order, self.clock.now()).await.map_err(unavailable)
    }
}

fn unavailable(error: sqlx::Error) -> ProcessorUnavailable {
    ProcessorUnavailable(error.to_string())
}
