//! An order as clients see it.

use serde::Serialize;
use shared::clock::Timestamp;
use shared::problem::Problem;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::rules::cancellation_reason::CancellationReason;
use crate::rules::cursor::OrderCursor;
use crate::rules::lines::OrderLine;
use crate::rules::money::Money;
use crate::rules::order::Order;
use crate::rules::order_status::OrderStatus;
use crate::rules::request::ShippingAddress;

/// An order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub(super) struct OrderView {
    id: Uuid,
    status: OrderStatus,
    lines: Vec<OrderLine>,
    total: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shipping_address: Option<ShippingAddress>,
    created_at: Timestamp,
    placed_at: Timestamp,
    /// Until then the order can be paid. Afterwards one that is not paid is cancelled, and its stock is free again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    payment_due_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    paid_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cancelled_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cancellation_reason: Option<CancellationReason>,
}

/// A page of orders, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrderPage {
    items: Vec<OrderView>,
    /// Pass it as `cursor` to get the next page; `null` on the last one.
    next: Option<String>,
}

impl OrderView {
    /// The order as it stands.
    pub(super) fn now(order: Order) -> Result<Self, Problem> {
        let (Some(reservation), Some(placed_at)) = (order.reservation, order.placed_at) else {
            return Err(Problem::internal(format!("the order {} was never placed", order.id)));
        };
        Ok(Self {
            id: order.id,
            status: order.status,
            lines: reservation.lines,
            total: reservation.total,
            note: order.request.note.map(String::from),
            shipping_address: order.request.shipping_address,
            created_at: order.created_at,
            placed_at,
            payment_due_at: order.payment_due_at,
            paid_at: order.paid_at,
            cancelled_at: order.cancelled_at,
            cancellation_reason: order.cancellation_reason,
        })
    }

    /// The order as it was when it was placed: a repeat gets the first answer again, whatever happened since.
    pub(super) fn as_placed(order: Order) -> Result<Self, Problem> {
        let now = Self::now(order)?;
        Ok(Self { status: OrderStatus::Placed, paid_at: None, cancelled_at: None, cancellation_reason: None, ..now })
    }
}

impl OrderPage {
    /// The first `limit` of `orders`; one more means that there is a next page.
    pub(super) fn of(mut orders: Vec<Order>, limit: usize) -> Result<Self, Problem> {
        let more = orders.len() > limit;
        orders.truncate(limit);
        let last = orders.last().filter(|_| more);
        let next = last.map(|order| OrderCursor { created_at: order.created_at, id: order.id }.to_string());
        Ok(Self { items: orders.into_iter().map(OrderView::now).collect::<Result<_, _>>()?, next })
    }
}
