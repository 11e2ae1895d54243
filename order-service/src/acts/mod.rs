//! What can be done with an order, step by step: each step is recorded before the next begins, so that a crash anywhere
//! leaves something that a repeat or [`recover`] finishes. Knows no HTTP but the problems it answers with.

mod cancel;
mod pay;
mod place;
mod prune;
pub mod recover;

use std::time::Duration;

use actix_web::http::StatusCode;
use shared::clock::Timestamp;
use shared::problem::Problem;

use crate::OrderService;
use crate::rules::order::Order;
use crate::rules::order_status::{IllegalMove, Transition};
use crate::rules::recovery::{LEASE, back_off};
use crate::storage::orders;

impl OrderService {
    /// Moves an order to a state in which nothing is under way, or answers how it stands when another was first.
    async fn settle(&self, order: &Order, transition: Transition) -> Result<Settled, Problem> {
        let now = self.clock.now();
        match orders::advance(&self.database, order, transition, now, now, now + self.payment_deadline).await? {
            Some(moved) => Ok(Settled::Moved(moved)),
            None => self.reload(order).await.map(Settled::MovedBefore),
        }
    }

    async fn reload(&self, order: &Order) -> Result<Order, Problem> {
        orders::load(&self.database, order.id).await?.ok_or_else(|| Problem::not_found("order"))
    }

    /// Gives an order back after a failure, to be looked at by recovery a little later each time. That this fails too is
    /// no loss: the lease ends by itself.
    async fn put_off(&self, order: &Order) {
        let next = self.clock.now() + back_off(order.failures);
        if let Err(error) = orders::put_off(&self.database, order, next).await {
            tracing::warn!(order = %order.id, %error, "an order could not be given back; its lease ends by itself");
        }
    }

    fn lease(&self) -> Timestamp {
        self.clock.now() + LEASE
    }
}

/// What became of a move.
enum Settled {
    /// It was made here.
    Moved(Order),
    /// Another made it, or another move, before.
    MovedBefore(Order),
}

impl Settled {
    fn into_order(self) -> Order {
        match self {
            Self::Moved(order) | Self::MovedBefore(order) => order,
        }
    }
}

/// 409: the order's status, as it is now, does not allow it.
fn refused_move(error: IllegalMove) -> Problem {
    Problem::conflict("invalid_order_status", error.to_string())
}

/// 503 with what the client may rely on.
fn unavailable(cause: impl std::fmt::Display, detail: &'static str) -> Problem {
    tracing::warn!(%cause, "a dependency does not answer");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(Duration::from_secs(1))
}

fn count_order(outcome: &'static str) {
    metrics::counter!("roam_orders_total", "outcome" => outcome).increment(1);
}

fn count_payment(outcome: &'static str) {
    metrics::counter!("roam_payments_total", "outcome" => outcome).increment(1);
}
