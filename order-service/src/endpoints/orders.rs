//! Placing, listing, showing and cancelling orders.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Json as Body};
use actix_web::{HttpResponse, get, post};
use shared::authentication::Principal;
use shared::problem::Problem;
use shared::request::{Path, Query};
use uuid::Uuid;

use super::answers::{BodyRefusals, OrderRefusals, Refusals};
use super::on_behalf::OnBehalf;
use super::requests::{KeyHeader, OptionalJson, Page};
use super::view::{OrderPage, OrderView};
use crate::OrderService;
use crate::rules::request::OrderRequest;
use crate::storage;

/// Place an order of everything in the cart.
///
/// Prices and quantities are the cart's; the body only adds a note and an address, and may be left out. A repeat with the
/// same key gets the same answer again, as it was, however many come at once. An attempt that was refused by the cart
/// (`cart_empty`, `insufficient_stock`, `checkout_expired`) frees its key; after a 503 the same key goes on where the first
/// request stopped. The order can be paid until its `payment_due_at`, and is cancelled after that.
#[utoipa::path(
    tag = "orders",
    security(("bearer" = [])),
    params((
        "Idempotency-Key" = String, Header, min_length = 1, max_length = 255, pattern = r"^[\x21-\x7e]{1,255}$",
        description = "The caller's own name for this order, the same in every repeat."
    )),
    request_body = Option<OrderRequest>,
    responses(
        (status = 201, description = "The order is placed and its stock set aside.", body = OrderView,
            headers(("Location" = String, description = "Where the order is shown."))),
        Refusals,
        (status = 409, description = "The key was used with another body (`idempotency_key_reused`), the caller \
            has too many orders that are not paid (`too_many_unpaid_orders`), or the cart is not as it must be (`cart_empty`, `insufficient_stock`, `total_too_large`, `checkout_expired`, `cart_refused`).",
            body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many of the caller's orders of the last day failed, or were cancelled and never paid \
            (`too_many_abandoned_orders`); `Retry-After` says when to try again.",
            body = Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds."))),
        BodyRefusals,
    )
)]
#[post("/orders")]
pub(super) async fn place(
    service: Data<OrderService>,
    OnBehalf { caller, authorization }: OnBehalf<Principal>,
    key: KeyHeader,
    request: OptionalJson<OrderRequest>,
) -> Result<HttpResponse, Problem> {
    let order = service.place(caller.user, &authorization, &key.0, &request.0, None).await?;
    let location = format!("/orders/{}", order.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(OrderView::as_placed(order)?))
}

/// The caller's orders, the newest first.
#[utoipa::path(
    tag = "orders",
    security(("bearer" = [])),
    params(Page),
    responses((status = 200, description = "A page of orders.", body = OrderPage), Refusals)
)]
#[get("/orders")]
pub(super) async fn list(
    service: Data<OrderService>,
    principal: Principal,
    page: Query<Page>,
) -> Result<Body<OrderPage>, Problem> {
    let (limit, after) = (page.0.limit()?, page.0.cursor()?);
    let orders = storage::orders::list(&service.database, principal.user, after, limit + 1).await?;
    OrderPage::of(orders, limit as usize).map(Body)
}

/// One of the caller's orders.
#[utoipa::path(
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The order's id.")),
    responses((status = 200, description = "The order as it stands.", body = OrderView), Refusals, OrderRefusals)
)]
#[get("/orders/{id}")]
pub(super) async fn show(
    service: Data<OrderService>,
    principal: Principal,
    id: Path<Uuid>,
) -> Result<Body<OrderView>, Problem> {
    let order = storage::orders::find(&service.database, principal.user, id.0).await?;
    OrderView::now(order.ok_or_else(|| Problem::not_found("order"))?).map(Body)
}

/// Cancel an order: a paid one is refunded, and its stock is given back.
///
/// Cancelling twice is once. The answer is `cancelling` while the payment processor or the cart service does not answer;
/// the service then finishes by itself.
#[utoipa::path(
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The order's id.")),
    responses(
        (status = 200, description = "The order, `cancelled` or `cancelling`.", body = OrderView),
        Refusals,
        OrderRefusals,
        (status = 409, description = "The order's status does not allow it (`invalid_order_status`).",
            body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/orders/{id}/cancel")]
pub(super) async fn cancel(
    service: Data<OrderService>,
    principal: Principal,
    id: Path<Uuid>,
) -> Result<Body<OrderView>, Problem> {
    OrderView::now(service.cancel(principal.user, id.0).await?).map(Body)
}
