//! Checkouts: for the order service, which proves itself with its credential. Opening one also needs the user's token.

use actix_web::http::header::HeaderMap;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use shared::authentication::Principal;
use shared::problem::Problem;
use shared::request::Path;
use uuid::Uuid;

use super::answers::CheckoutAnswer;
use super::refusals::{NotFound, NotTheOrderService, TokenRefused, Unavailable};
use super::service_credential::OrderService;
use crate::CartService;
use crate::rules::checkout::{IdempotencyKey, Release};
use crate::storage::checkouts::{self, CheckoutError, Opened};

fn idempotency_key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let mut values = headers.get_all("idempotency-key");
    let key = match (values.next(), values.next()) {
        (Some(one), None) => one.to_str().ok().and_then(IdempotencyKey::parse),
        _ => None,
    };
    key.ok_or_else(|| {
        let detail = "send one Idempotency-Key of 1 to 255 visible ASCII characters";
        Problem::bad_request("invalid_idempotency_key", detail).at("#header/Idempotency-Key", detail)
    })
}

fn count(outcome: &'static str) {
    metrics::counter!("roam_checkouts_total", "outcome" => outcome).increment(1);
}

/// Hold the stock of all that is in the user's cart, at the prices of now, and empty the cart; once for each key of the
/// user's. The same key again answers the same checkout, as it stands.
#[utoipa::path(tag = "checkouts (for the order service)", operation_id = "open_checkout", security(("bearer" = [])), params(
    ("Service-Secret" = String, Header, description = "The order service's credential"),
    ("Idempotency-Key" = String, Header, description = "Makes it once", min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
), responses(
    (status = 201, description = "The checkout", body = CheckoutAnswer),
    (status = 409, description = "`cart_empty`, `insufficient_stock` or `total_too_large`; the cart is as it was", body = Problem, content_type = "application/problem+json"),
    TokenRefused, NotTheOrderService, Unavailable,
))]
#[post("/checkouts")]
pub(super) async fn open(
    _: OrderService,
    principal: Principal,
    service: Data<CartService>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let key = idempotency_key(request.headers())?;
    let now = service.clock.now();
    let opened = checkouts::open(&service.database, principal.user, &key, now, now + service.checkout_hold).await;
    count(match &opened {
        Ok(Opened::New(_)) => "held",
        Ok(Opened::Again(_)) => "repeated",
        Err(CheckoutError::CartEmpty) => "cart_empty",
        Err(CheckoutError::InsufficientStock(_)) => "insufficient_stock",
        Err(_) => "failed",
    });
    let (Opened::New(checkout) | Opened::Again(checkout)) = opened?;
    Ok(HttpResponse::Created().json(CheckoutAnswer::at(now, &checkout)?))
}

/// Show a checkout.
#[utoipa::path(tag = "checkouts (for the order service)", operation_id = "show_checkout", security(()), params(
    ("id" = Uuid, Path),
    ("Service-Secret" = String, Header, description = "The order service's credential"),
), responses(
    (status = 200, description = "The checkout", body = CheckoutAnswer),
    NotTheOrderService, NotFound, Unavailable,
))]
#[get("/checkouts/{id}")]
pub(super) async fn show(
    _: OrderService,
    service: Data<CartService>,
    Path(id): Path<Uuid>,
) -> Result<web::Json<CheckoutAnswer>, Problem> {
    let checkout = checkouts::find(&service.database, id).await?;
    let checkout = checkout.ok_or_else(|| Problem::not_found("checkout"))?;
    Ok(web::Json(CheckoutAnswer::at(service.clock.now(), &checkout)?))
}

/// The order is placed: the stock stays sold. Confirming twice is once.
#[utoipa::path(tag = "checkouts (for the order service)", operation_id = "confirm_checkout", security(()), params(
    ("id" = Uuid, Path),
    ("Service-Secret" = String, Header, description = "The order service's credential"),
), responses(
    (status = 200, description = "The checkout", body = CheckoutAnswer),
    (status = 409, description = "`checkout_released`: it was released, or its time is over", body = Problem, content_type = "application/problem+json"),
    NotTheOrderService, NotFound, Unavailable,
))]
#[post("/checkouts/{id}/confirm")]
pub(super) async fn confirm(
    _: OrderService,
    service: Data<CartService>,
    Path(id): Path<Uuid>,
) -> Result<web::Json<CheckoutAnswer>, Problem> {
    let now = service.clock.now();
    let checkout = checkouts::confirm(&service.database, id, now).await?;
    count("confirmed");
    Ok(web::Json(CheckoutAnswer::at(now, &checkout)?))
}

/// There is no order, or no longer: the stock comes back. What was held and never confirmed goes back into the user's
/// cart. Releasing twice is once.
#[utoipa::path(tag = "checkouts (for the order service)", operation_id = "release_checkout", security(()), params(
    ("id" = Uuid, Path),
    ("Service-Secret" = String, Header, description = "The order service's credential"),
), responses(
    (status = 204, description = "It is released"),
    NotTheOrderService, NotFound, Unavailable,
))]
#[delete("/checkouts/{id}")]
pub(super) async fn release(
    _: OrderService,
    service: Data<CartService>,
    Path(id): Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    match checkouts::release(&service.database, id, service.clock.now()).await? {
        Release::StockAndCart => count("given_up"),
        Release::Stock => count("cancelled"),
        Release::Nothing => {}
    }
    Ok(HttpResponse::NoContent().finish())
}
