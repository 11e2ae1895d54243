//! Recovery: finishes what a crash or an outage left under way, and cancels what was not paid in time. Safe on any number of replicas, for an order is leased
//! before it is touched and moved by guarded statements.

use std::time::Duration;

use shared::calls;
use shared::clock::Timestamp;
use shared::database::ClockWatch;
use shared::problem::Problem;

use crate::OrderService;
use crate::rules::order::Order;
use crate::rules::order_status::{OrderStatus, Step};
use crate::storage::{deadlines, orders};

/// How many orders are looked at in one go.
const BATCH: u32 = 50;

/// Recovers for ever, every `interval`, but not while this machine's clock is in doubt.
pub async fn keep_recovering(service: OrderService, interval: Duration, clock_watch: ClockWatch) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let recovered = match clock_watch.is_right().await {
            Ok(true) => service.recover().await.map(drop),
            Ok(false) => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = recovered {
            tracing::warn!(%error, "recovery goes on later");
        }
    }
}

impl OrderService {
    /// Looks once at every order whose time has come, and answers how many it leased.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn recover(&self) -> Result<usize, sqlx::Error> {
        let mut leased = 0;
        deadlines::set_missing(&self.database, self.clock.now() + self.payment_deadline).await?;
        loop {
            let now = self.clock.now();
            self.begin_cancelling_overdue(now).await?;
            let due = orders::due(&self.database, now, BATCH).await?;
            if due.is_empty() {
                break;
            }
            let before = leased;
            for order in due {
                if orders::take_lease(&self.database, &order, self.clock.now(), self.lease()).await? {
                    leased += 1;
                    calls::task("recover an order", self.finish(order)).await;
                }
            }
            // All of them were another replica's.
            if leased == before {
                break;
            }
        }
        self.prune().await?;
        Ok(leased)
    }

    /// From then on the orders that were not paid in time are cancelled as any other: money (there is none) and stock are
    /// given back once, by whichever replica leases each.
    async fn begin_cancelling_overdue(&self, now: Timestamp) -> Result<(), sqlx::Error> {
        let transition = OrderStatus::Placed.after(Step::BeginCancelling);
        let transition = transition.map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
        let overdue = deadlines::begin_cancelling(&self.database, transition, now, BATCH).await?;
        if overdue > 0 {
            tracing::info!(overdue, "orders were not paid in time, and are cancelled");
        }
        Ok(())
    }

    /// Brings one order to where nothing is under way. A failure puts it off; the next look tries again.
    async fn finish(&self, order: Order) {
        let id = order.id;
        let from = order.status;
        let finished = match from {
            OrderStatus::Placing => self.fail(&order, "abandoned").await,
            OrderStatus::Reserved => self.confirm(order).await.map(drop),
            OrderStatus::Paying => self.finish_payment(&order).await.map(drop),
            OrderStatus::Cancelling => self.finish_cancelling(order).await.map(drop),
            OrderStatus::Placed | OrderStatus::Paid | OrderStatus::Cancelled | OrderStatus::Failed => Ok(()),
        };
        log(id, from, &finished);
    }
}

fn log(id: uuid::Uuid, from: OrderStatus, finished: &Result<(), Problem>) {
    match finished {
        Ok(()) => tracing::info!(order = %id, %from, "recovered"),
        Err(problem) => tracing::info!(order = %id, %from, outcome = problem.code(), "recovered as far as possible"),
    }
}
