//! Cancelling an order: record that it will be cancelled, give the money back, give the stock back.

use shared::problem::Problem;
use shared::session::UserId;
use uuid::Uuid;

use super::{Settled, count_order, count_payment, refused_move};
use crate::OrderService;
use crate::rules::order::Order;
use crate::rules::order_status::{OrderStatus, Step};
use crate::storage::orders;

impl OrderService {
    /// Cancels a user's placed or paid order. From the first record on it will be cancelled, whatever happens: the answer
    /// is a cancelled order, or one that is `cancelling` while the processor or the cart service does not answer.
    ///
    /// # Errors
    /// 404 for another user's, 409 `invalid_order_status`.
    pub async fn cancel(&self, user: UserId, id: Uuid) -> Result<Order, Problem> {
        let order = orders::find(&self.database, user, id).await?.ok_or_else(|| Problem::not_found("order"))?;
        let mine = match order.status {
            OrderStatus::Cancelled => return Ok(order),
            OrderStatus::Cancelling => {
                let taken = orders::take_lease(&self.database, &order, self.clock.now(), self.lease()).await?;
                taken.then_some(order.clone())
            }
            status => {
                let transition = status.after(Step::BeginCancelling).map_err(refused_move)?;
                let (now, lease) = (self.clock.now(), self.lease());
                orders::advance(&self.database, &order, transition, now, lease, now + self.payment_deadline).await?
            }
        };
        let Some(mine) = mine else {
            let order = self.reload(&order).await?;
            return match order.status {
                OrderStatus::Cancelling | OrderStatus::Cancelled => Ok(order),
                status => {
                    let detail = format!("the order is {status}: another request was first");
                    Err(Problem::conflict("invalid_order_status", detail))
                }
            };
        };
        self.finish_cancelling(mine).await
    }

    /// Gives money and stock back. The lease is the caller's.
    pub(super) async fn finish_cancelling(&self, order: Order) -> Result<Order, Problem> {
        if let Err(error) = self.give_back(&order).await {
            tracing::warn!(order = %order.id, %error, "cancelling goes on later");
            self.put_off(&order).await;
            return Ok(order);
        }
        let transition = order.status.after(Step::FinishCancelling).map_err(refused_move)?;
        let settled = self.settle(&order, transition).await?;
        if matches!(settled, Settled::Moved(_)) {
            count_order(if order.is_overdue(self.clock.now()) { "overdue" } else { "cancelled" });
            if order.paid_at.is_some() {
                count_payment("refunded");
            }
        }
        Ok(settled.into_order())
    }

    async fn give_back(&self, order: &Order) -> anyhow::Result<()> {
        if order.paid_at.is_some() {
            self.payments.refund(order.id).await?;
        }
        if let Some(reservation) = &order.reservation {
            self.cart.release(&reservation.checkout_id).await?;
        }
        Ok(())
    }
}
