//! Paying an order.

use actix_web::post;
use actix_web::web::{Data, Json as Body};
use serde::Deserialize;
use shared::authentication::ConfirmedPrincipal;
use shared::problem::Problem;
use shared::request::Path;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answers::{BodyRefusals, OrderRefusals, Refusals};
use super::requests::OptionalJson;
use super::view::OrderView;
use crate::OrderService;
use crate::rules::payment_method::PaymentMethod;

/// How to pay.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PaymentRequest {
    #[serde(default)]
    method: PaymentMethod,
}

/// Pay an order.
///
/// It needs a session that lives now and a recent login: else the 401 asks for another sign-in (RFC 9470). Paying an order
/// that is paid already answers it as it is; nothing is charged twice.
#[utoipa::path(
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The order's id.")),
    request_body = Option<PaymentRequest>,
    responses(
        (status = 200, description = "The order is paid.", body = OrderView),
        Refusals,
        (status = 402, description = "The payment was declined (`payment_declined`); the order stays placed.",
            body = Problem, content_type = "application/problem+json"),
        OrderRefusals,
        (status = 409, description = "The order's status does not allow it (`invalid_order_status`), or the time to pay \
            it is over (`payment_overdue`): nothing was charged.",
            body = Problem, content_type = "application/problem+json"),
        BodyRefusals,
    )
)]
#[post("/orders/{id}/pay")]
pub(super) async fn pay(
    service: Data<OrderService>,
    caller: ConfirmedPrincipal,
    id: Path<Uuid>,
    request: OptionalJson<PaymentRequest>,
) -> Result<Body<OrderView>, Problem> {
    OrderView::now(service.pay(caller.principal.user, id.0, request.0.method).await?).map(Body)
}
