//! Paying an order: record that a payment begins, ask the processor, record its answer.

use actix_web::http::StatusCode;
use shared::problem::Problem;
use shared::session::UserId;
use uuid::Uuid;

use super::{Settled, count_payment, refused_move, unavailable};
use crate::OrderService;
use crate::payment::{ChargeId, ChargeOutcome, ProcessorUnavailable};
use crate::rules::order::Order;
use crate::rules::order_status::{OrderStatus, Step};
use crate::rules::payment_method::PaymentMethod;
use crate::storage::orders;

impl OrderService {
    /// Pays a user's placed order. One that is paid already is answered as it is: nothing is charged twice.
    ///
    /// # Errors
    /// 404 for another user's, 409 `invalid_order_status`, 409 `payment_overdue` after its deadline, 402 `payment_declined` (the order stays placed), 503 when the
    /// processor does not answer: recovery then asks what became of the charge.
    pub async fn pay(&self, user: UserId, id: Uuid, method: PaymentMethod) -> Result<Order, Problem> {
        let order = orders::find(&self.database, user, id).await?.ok_or_else(|| Problem::not_found("order"))?;
        if order.status == OrderStatus::Paid {
            return Ok(order);
        }
        if order.is_overdue(self.clock.now()) {
            return Err(payment_overdue());
        }
        let transition = order.status.after(Step::BeginPayment).map_err(refused_move)?;
        let (now, lease) = (self.clock.now(), self.lease());
        let Some(begun) = orders::begin_payment(&self.database, &order, transition, method, now, lease).await? else {
            return self.paid_meanwhile(self.reload(&order).await?);
        };
        let outcome = self.charge(&begun, method).await;
        self.record_outcome(&begun, outcome).await
    }

    async fn charge(&self, order: &Order, method: PaymentMethod) -> Result<ChargeOutcome, ProcessorUnavailable> {
        let Some(reservation) = &order.reservation else {
            return Err(ProcessorUnavailable("the order has no total".to_owned()));
        };
        self.payments.charge(charge_id(order), reservation.total, method).await
    }

    /// Finds out what became of a payment that was begun, and finishes it: a charge that never reached the processor is
    /// sent now, under the same id, for one that is still on its way must not become a second one.
    pub(super) async fn finish_payment(&self, order: &Order) -> Result<Order, Problem> {
        let outcome = match (self.payments.status(charge_id(order)).await, order.payment.method) {
            (Ok(None), Some(method)) => self.charge(order, method).await,
            (Ok(None), None) => Ok(ChargeOutcome::Declined),
            (Ok(Some(outcome)), _) => Ok(outcome),
            (Err(error), _) => Err(error),
        };
        self.record_outcome(order, outcome).await
    }

    async fn record_outcome(
        &self,
        order: &Order,
        outcome: Result<ChargeOutcome, ProcessorUnavailable>,
    ) -> Result<Order, Problem> {
        match outcome {
            Ok(ChargeOutcome::Approved) => {
                let transition = order.status.after(Step::PaymentApproved).map_err(refused_move)?;
                match self.settle(order, transition).await? {
                    Settled::Moved(paid) => {
                        count_payment("paid");
                        Ok(paid)
                    }
                    Settled::MovedBefore(order) => self.paid_meanwhile(order),
                }
            }
            Ok(ChargeOutcome::Declined) => {
                let transition = order.status.after(Step::PaymentDeclined).map_err(refused_move)?;
                if matches!(self.settle(order, transition).await?, Settled::Moved(_)) {
                    count_payment("declined");
                }
                let detail = "the payment was declined; the order stays placed, and another method may be tried";
                Err(Problem::new(StatusCode::PAYMENT_REQUIRED, "payment_declined", detail))
            }
            Err(error) => {
                self.put_off(order).await;
                count_payment("unavailable");
                let detail = "the payment processor does not answer; the payment is finished as soon as it does, once";
                Err(unavailable(error, detail))
            }
        }
    }

    /// The answer to a payment that another one overtook.
    fn paid_meanwhile(&self, order: Order) -> Result<Order, Problem> {
        if order.status == OrderStatus::Paid {
            return Ok(order);
        }
        if order.is_overdue(self.clock.now()) {
            return Err(payment_overdue());
        }
        let now = order.status;
        let detail = format!("the order is {now}: another request was first");
        Err(Problem::conflict("invalid_order_status", detail))
    }
}

/// 409: nothing was charged, and recovery cancels the order.
fn payment_overdue() -> Problem {
    let detail = "the time to pay this order is over: nothing was charged, and it is cancelled; place a new one";
    Problem::conflict("payment_overdue", detail)
}

fn charge_id(order: &Order) -> ChargeId {
    ChargeId { order: order.id, attempt: order.payment.attempt }
}
