//! Paying an order, by whoever has signed in a short while ago.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::relying_party::RecentlySignedIn;
use shared::request::Path;
use uuid::Uuid;

use super::order::find;
use super::price;
use super::texts::OrderTexts;
use crate::OrderService;
use crate::rules::order::Order;
use crate::rules::payment_method::PaymentMethod;

#[derive(Template)]
#[template(path = "payment.html")]
struct Payment<'a> {
    page: &'a Page,
    t: OrderTexts,
    id: Uuid,
    amount: String,
    /// Until when.
    due: Option<String>,
    alert: &'static str,
}

/// The payment, or the order where there is nothing to pay.
pub(super) async fn show(
    service: Data<OrderService>,
    visitor: RecentlySignedIn,
    page: Page,
    Path(id): Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let order = find(&service, &visitor, id).await?;
    if !order.may_be_paid(service.clock.now()) {
        return Ok(page.see_other(&format!("/o/{id}")));
    }
    answer(visitor.greeted_on(page), &order, StatusCode::OK, "")
}

#[derive(Deserialize)]
pub(super) struct PaymentForm {
    method: Option<String>,
}

/// Pays the order.
pub(super) async fn pay(
    service: Data<OrderService>,
    visitor: RecentlySignedIn,
    page: Page,
    Path(id): Path<Uuid>,
    HtmlForm(form): HtmlForm<PaymentForm>,
) -> Result<HttpResponse, Problem> {
    let t = OrderTexts(page.language);
    let order = find(&service, &visitor, id).await?;
    let Some(Ok(method)) = form.method.map(PaymentMethod::try_from) else {
        return answer(visitor.greeted_on(page), &order, StatusCode::UNPROCESSABLE_ENTITY, t.problem_method());
    };
    let problem = match service.pay(visitor.principal().user, id, method).await {
        Ok(order) => return Ok(page.see_other(&format!("/o/{}", order.id))),
        Err(problem) => problem,
    };
    let alert = match problem.code() {
        "payment_declined" => t.problem_declined(),
        "payment_overdue" => t.problem_overdue(),
        "invalid_order_status" => t.problem_status(),
        _ => return Err(problem),
    };
    answer(visitor.greeted_on(page), &order, problem.status(), alert)
}

fn answer(page: Page, order: &Order, status: StatusCode, alert: &'static str) -> Result<HttpResponse, Problem> {
    let Some(reservation) = &order.reservation else {
        return Err(Problem::internal(format!("the order {} was never placed", order.id)));
    };
    let (t, amount) = (OrderTexts(page.language), price(reservation.total));
    let due = order.payment_due_at.map(|due| page.moment(&due));
    page.answer(status, &Payment { page: &page, t, id: order.id, amount, due, alert })
}
