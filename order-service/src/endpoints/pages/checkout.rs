//! From the basket to an order: what it will hold and cost, and the form that places it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;
use shared::pages::{Field, HtmlForm, Page};
use shared::problem::Problem;
use shared::relying_party::SignedIn;
use uuid::Uuid;

use super::texts::OrderTexts;
use super::{Row, price};
use crate::OrderService;
use crate::cart::CartError;
use crate::endpoints::on_behalf::OnBehalf;
use crate::rules::idempotency_key::IdempotencyKey;
use crate::rules::lines::Seen;
use crate::rules::request::OrderRequest;
use crate::storage;

#[derive(Template)]
#[template(path = "checkout.html")]
struct Checkout<'a> {
    page: &'a Page,
    t: OrderTexts,
    rows: Vec<Row>,
    total: String,
    /// What makes a form that is sent twice one order.
    key: String,
    /// What the visitor has seen: an order of anything else is not placed.
    seen: Seen,
    note: Field,
    alert: &'static str,
}

/// The checkout.
pub(super) async fn show(
    service: Data<OrderService>,
    visitor: OnBehalf<SignedIn>,
    page: Page,
) -> Result<HttpResponse, Problem> {
    let key = Uuid::new_v4().to_string();
    answer(&service, &visitor, page, StatusCode::OK, (key, Field::default(), "")).await
}

#[derive(Deserialize)]
pub(super) struct CheckoutForm {
    key: String,
    seen: Seen,
    note: Option<String>,
}

/// Places the order.
pub(super) async fn place(
    service: Data<OrderService>,
    visitor: OnBehalf<SignedIn>,
    page: Page,
    HtmlForm(form): HtmlForm<CheckoutForm>,
) -> Result<HttpResponse, Problem> {
    let t = OrderTexts(page.language);
    let refused = || Problem::bad_request("invalid_idempotency_key", "the form's key is not one of ours");
    let key = IdempotencyKey::parse(form.key.as_bytes()).ok_or_else(refused)?;
    let written = form.note.unwrap_or_default().replace("\r\n", "\n");
    let note = Some(written.trim().to_owned()).filter(|note| !note.is_empty()).map(TryInto::try_into).transpose();
    let Ok(note) = note else {
        let field = Field::new(written).error(t.problem_note());
        return answer(&service, &visitor, page, StatusCode::UNPROCESSABLE_ENTITY, (form.key, field, "")).await;
    };
    let authorization = &visitor.authorization;
    let (user, request) = (visitor.caller.principal().user, OrderRequest { note, ..OrderRequest::default() });
    // A repeat is answered with the order that there is, whatever is in the cart by now.
    let known = storage::orders::find_by_key(&service.database, user, &key).await?.is_some();
    if !known && Seen::of(&service.cart.show(authorization).await.map_err(from_cart)?.lines) != form.seen {
        return answer(&service, &visitor, page, StatusCode::CONFLICT, (form.key, Field::new(written), t.changed()))
            .await;
    }
    let problem = match service.place(user, authorization, &key, &request, Some(&form.seen)).await {
        Ok(order) => return Ok(page.see_other(&format!("/o/{}", order.id))),
        Err(problem) => problem,
    };
    let alert = match problem.code() {
        "insufficient_stock" => t.problem_stock(),
        "too_many_unpaid_orders" => t.problem_unpaid(),
        "too_many_abandoned_orders" => t.problem_abandoned(),
        "total_too_large" => t.problem_total(),
        "cart_changed" => t.changed(),
        "cart_empty" | "checkout_expired" | "cart_refused" => t.problem_cart(),
        _ => return Err(problem),
    };
    answer(&service, &visitor, page, problem.status(), (form.key, Field::new(written), alert)).await
}

async fn answer(
    service: &OrderService,
    visitor: &OnBehalf<SignedIn>,
    page: Page,
    status: StatusCode,
    (key, note, alert): (String, Field, &'static str),
) -> Result<HttpResponse, Problem> {
    let cart = service.cart.show(&visitor.authorization).await.map_err(from_cart)?;
    let page = visitor.caller.greeted_on(page);
    let (t, rows, total) = (OrderTexts(page.language), cart.lines.iter().map(Row::of).collect(), price(cart.total));
    let seen = Seen::of(&cart.lines);
    page.answer(status, &Checkout { page: &page, t, rows, total, key, seen, note, alert })
}

fn from_cart(error: CartError) -> Problem {
    match error {
        CartError::Refused(refusal) => Problem::conflict(refusal.code, refusal.detail),
        error => Problem::unavailable("the cart service", error),
    }
}
