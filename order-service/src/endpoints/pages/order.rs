//! One order: how it stands, and what can be done with it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;
use shared::clock::Timestamp;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::relying_party::SignedIn;
use shared::request::Path;
use uuid::Uuid;

use super::texts::OrderTexts;
use super::{Row, price};
use crate::OrderService;
use crate::rules::order::Order;
use crate::rules::order_status::{OrderStatus, Step};
use crate::storage;

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage<'a> {
    page: &'a Page,
    t: OrderTexts,
    id: Uuid,
    status: &'static str,
    status_text: &'static str,
    rows: Vec<Row>,
    total: String,
    /// What happened, and when.
    moments: Vec<(&'static str, String)>,
    /// Until when it can be paid, while it can.
    due: Option<String>,
    was_overdue: bool,
    note: Option<String>,
    address: Vec<String>,
    may_be_paid: bool,
    may_be_cancelled: bool,
    is_paid: bool,
    alert: &'static str,
}

/// The order.
pub(super) async fn show(
    service: Data<OrderService>,
    visitor: SignedIn,
    page: Page,
    Path(id): Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let order = find(&service, &visitor, id).await?;
    answer(visitor.greeted_on(page), &order, service.clock.now(), (StatusCode::OK, ""))
}

/// A form with nothing but its token.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Cancels the order.
pub(super) async fn cancel(
    service: Data<OrderService>,
    visitor: SignedIn,
    page: Page,
    Path(id): Path<Uuid>,
    _form: HtmlForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    match service.cancel(visitor.principal().user, id).await {
        Ok(order) => Ok(page.see_other(&format!("/o/{}", order.id))),
        Err(problem) if problem.code() == "invalid_order_status" => {
            let alert = OrderTexts(page.language).cannot_cancel();
            let order = find(&service, &visitor, id).await?;
            answer(visitor.greeted_on(page), &order, service.clock.now(), (problem.status(), alert))
        }
        Err(problem) => Err(problem),
    }
}

/// One of the visitor's own orders that were placed.
pub(super) async fn find(service: &OrderService, visitor: &SignedIn, id: Uuid) -> Result<Order, Problem> {
    let order = storage::orders::find(&service.database, visitor.principal().user, id).await?;
    order.filter(|order| order.placed_at.is_some()).ok_or_else(|| Problem::not_found("order"))
}

fn answer(
    page: Page,
    order: &Order,
    now: Timestamp,
    (status, alert): (StatusCode, &'static str),
) -> Result<HttpResponse, Problem> {
    let t = OrderTexts(page.language);
    let Some(reservation) = &order.reservation else {
        return Err(Problem::internal(format!("the order {} was never placed", order.id)));
    };
    let due = order.payment_due_at.filter(|_| order.may_be_paid(now) || order.is_overdue(now));
    let moments = [
        (t.placed_at(), order.placed_at),
        (t.payment_due_at(), due),
        (t.paid_at(), order.paid_at),
        (t.cancelled_at(), order.cancelled_at),
    ];
    let moments = moments.into_iter().filter_map(|(what, at)| Some((what, page.moment(&at?)))).collect();
    let shown = OrderPage {
        t,
        id: order.id,
        status: order.status.as_str(),
        status_text: t.status_name(order.status),
        rows: reservation.lines.iter().map(Row::of).collect(),
        total: price(reservation.total),
        moments,
        due: due.filter(|_| order.may_be_paid(now)).map(|due| page.moment(&due)),
        was_overdue: order.is_overdue(now),
        note: order.request.note.clone().map(String::from),
        address: address(order),
        may_be_paid: order.may_be_paid(now),
        may_be_cancelled: order.status.after(Step::BeginCancelling).is_ok(),
        is_paid: order.status == OrderStatus::Paid,
        alert,
        page: &page,
    };
    page.answer(status, &shown)
}

/// The lines of the address, as they were given.
fn address(order: &Order) -> Vec<String> {
    let Some(address) = order.request.shipping_address.clone() else { return Vec::new() };
    let city = format!("{} {}", String::from(address.postal_code), String::from(address.city));
    let lines = [Some(String::from(address.name)), Some(address.line1.into()), address.line2.map(String::from)];
    let rest = [Some(city), address.region.map(String::from), Some(address.country.into())];
    lines.into_iter().chain(rest).flatten().filter(|line| !line.trim().is_empty()).collect()
}
