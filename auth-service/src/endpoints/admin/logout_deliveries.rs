//! Clients that were not told of a logout yet, or would not hear of it.

use actix_web::{HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::request::{Path, Query};
use shared::session::UserId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::answers::{BadRequest, NotAllowed, NotFound, Unauthorized, Unavailable};
use super::{Administrator, PageSize, cursor, position};
use crate::AuthService;
use crate::back_channel;
use crate::storage::outbox::{self, Delivery, Which};

/// A client that is to be told of the end of one session.
#[derive(Serialize, ToSchema)]
struct LogoutDelivery {
    id: Uuid,
    client_id: String,
    session: String,
    user_id: UserId,
    created_at: Timestamp,
    /// How often it was tried since it began, or was begun anew.
    #[schema(minimum = 0)]
    attempts: i64,
    /// When it is tried again at the earliest. Null when it is not: see `dead_at`.
    next_at: Option<Timestamp>,
    /// When it was tried for the last time: it was tried often enough, or the client has refused the token.
    dead_at: Option<Timestamp>,
    /// Why the last attempt failed: `timeout`, `connect`, `status 500`, …; with `status 400` and most others of its kind the client
    /// has refused the token, and is not told again.
    last_error: Option<String>,
}

impl From<Delivery> for LogoutDelivery {
    fn from(delivery: Delivery) -> Self {
        let Delivery { id, client_id, session, user_id, created_at, attempts, next_at, dead_at, last_error, .. } =
            delivery;
        let next_at = Some(next_at).filter(|_| dead_at.is_none());
        let session = session.0.to_string();
        Self { id, client_id, session, user_id, created_at, attempts, next_at, dead_at, last_error }
    }
}

#[derive(Serialize, ToSchema)]
struct LogoutDeliveries {
    /// The newest first.
    items: Vec<LogoutDelivery>,
    next: Option<String>,
}

/// Those that wait, or those that are not tried any more.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    Waiting,
    Dead,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveriesQuery {
    /// `waiting` or `dead`; both when it is left out.
    #[param(inline)]
    state: Option<State>,
    cursor: Option<String>,
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: PageSize,
}

/// Clients that were not told of a logout.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(DeliveriesQuery),
    responses((status = 200, description = "A page", body = LogoutDeliveries), BadRequest, Unauthorized, NotAllowed, Unavailable)
)]
#[get("/admin/logout-deliveries")]
pub(in crate::endpoints) async fn list(
    service: web::Data<AuthService>,
    _administrator: Administrator,
    Query(query): Query<DeliveriesQuery>,
) -> Result<HttpResponse, Problem> {
    let before = position(query.cursor.as_deref(), |text| {
        let (at, id) = text.split_once(' ')?;
        Some((Timestamp::from_micros(at.parse().ok()?), id.parse().ok()?))
    })?;
    let which = match query.state {
        None => Which::All,
        Some(State::Waiting) => Which::Waiting,
        Some(State::Dead) => Which::Dead,
    };
    let size = usize::from(query.limit.0);
    let mut found = outbox::page(&service.database, which, before, size as i64 + 1).await?;
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|last| cursor(&format!("{} {}", last.created_at.micros(), last.id)));
    Ok(HttpResponse::Ok().json(LogoutDeliveries { items: found.into_iter().map(LogoutDelivery::from).collect(), next }))
}

/// Tell a client again, from the first attempt on. One that still waits is tried at once.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The delivery's id")),
    responses((status = 200, description = "It is tried again", body = LogoutDelivery), BadRequest, Unauthorized, NotAllowed, NotFound, Unavailable)
)]
#[post("/admin/logout-deliveries/{id}/retry")]
pub(in crate::endpoints) async fn retry(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Path(id): Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let delivery = back_channel::retry(&service, id, &administrator.by).await?;
    Ok(HttpResponse::Ok().json(LogoutDelivery::from(delivery)))
}
