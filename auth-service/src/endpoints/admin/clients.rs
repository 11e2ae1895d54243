//! Clients, as administrators make, see, change and remove them.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, delete, get, post, put, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::request::{Json, Path, Query};
use utoipa::{IntoParams, ToSchema};

use super::super::answers::{BadRequest, NotAllowed, NotFound, Unauthorized, Unavailable, UnreadableBody};
use super::{Administrator, PageSize, cursor, position};
use crate::AuthService;
use crate::clients::administered::{ChangedClient, NewClient};
use crate::clients::information::AdministeredClient;
use crate::clients::registration::{self, InitialTokenPlan};
use crate::clients::registry;
use crate::clients::{Metadata, is_client_id};
use crate::storage::clients as storage;

/// A client to be made: metadata (RFC 7591), and what only an administrator decides.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its documentation is used")]
struct NewClientBody {
    /// A random one when it is left out.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,40}$")]
    client_id: Option<String>,
    /// It belongs to the platform: no consent is asked.
    first_party: Option<bool>,
    /// Whether a browser may be sent to it without a person's act; true when it is left out.
    approved: Option<bool>,
    disabled: Option<bool>,
    #[schema(inline)]
    #[serde(flatten)]
    metadata: Metadata,
}

/// What a client is to become: all of it, for what is left out gets its default.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its documentation is used")]
struct ChangedClientBody {
    first_party: Option<bool>,
    /// Whether a browser may be sent to it without a person's act. It stays as it is when it is left out; a client that
    /// registered itself loses it when it changes what people see of it.
    approved: Option<bool>,
    disabled: Option<bool>,
    /// Make a new secret up; the old one is good for a while beside it.
    new_secret: Option<bool>,
    /// For how many seconds: 0 where it was stolen.
    #[schema(minimum = 0, maximum = 2_592_000, default = 86400)]
    old_secret_expires_in: Option<u64>,
    #[schema(inline)]
    #[serde(flatten)]
    metadata: Metadata,
}

#[derive(Serialize, ToSchema)]
struct Clients {
    /// In the order of their ids.
    items: Vec<AdministeredClient>,
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ClientQuery {
    cursor: Option<String>,
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: PageSize,
}

/// The clients.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(ClientQuery),
    responses((status = 200, description = "A page", body = Clients), BadRequest, Unauthorized, NotAllowed, Unavailable)
)]
#[get("/admin/clients")]
pub(in crate::endpoints) async fn list(
    service: web::Data<AuthService>,
    _administrator: Administrator,
    Query(query): Query<ClientQuery>,
) -> Result<HttpResponse, Problem> {
    let after = position(query.cursor.as_deref(), |text| is_client_id(text).then(|| text.to_owned()))?;
    let size = usize::from(query.limit.0);
    let mut found = storage::page(&service.database, &after.unwrap_or_default(), size as i64 + 1).await?;
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|last| cursor(&last.id));
    Ok(HttpResponse::Ok().json(Clients { items: found.into_iter().map(AdministeredClient::from).collect(), next }))
}

/// Make a client. A secret, where it needs one, is made up and shown in this answer only.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    request_body = NewClientBody,
    responses(
        (status = 201, description = "The client", body = AdministeredClient, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 409, description = "`client_exists`", body = Problem, content_type = "application/problem+json"),
        UnreadableBody, Unauthorized, NotAllowed, Unavailable,
    )
)]
#[post("/admin/clients")]
pub(in crate::endpoints) async fn create(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Json(body): Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let new = NewClient::read(body)?;
    let made = registry::create(&service, new.id, new.decided, &administrator.by).await?;
    let made = AdministeredClient::from(made);
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(made))
}

/// One client.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The client's id")),
    responses((status = 200, description = "The client", body = AdministeredClient), BadRequest, Unauthorized, NotAllowed, NotFound, Unavailable)
)]
#[get("/admin/clients/{id}")]
pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    _administrator: Administrator,
    Path(id): Path<String>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(AdministeredClient::from(registry::by_id(&service, &id).await?)))
}

/// Change a client: what is left out gets its default. One that is disabled gets nothing any more.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The client's id")),
    request_body = ChangedClientBody,
    responses(
        (status = 200, description = "The client, with a secret if one was made up", body = AdministeredClient, headers(("Cache-Control" = String, description = "`no-store`"))),
        UnreadableBody, Unauthorized, NotAllowed, NotFound, Unavailable,
    )
)]
#[put("/admin/clients/{id}")]
pub(in crate::endpoints) async fn replace(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Path(id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let changed = ChangedClient::read(&id, body)?;
    let client = registry::replace(&service, &id, changed.decided, changed.new_secret, &administrator.by).await?;
    let client = AdministeredClient::from(client);
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(client))
}

/// Remove a client.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The client's id")),
    responses((status = 204, description = "It is gone"), BadRequest, Unauthorized, NotAllowed, NotFound, Unavailable)
)]
#[delete("/admin/clients/{id}")]
pub(in crate::endpoints) async fn remove(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Path(id): Path<String>,
) -> Result<HttpResponse, Problem> {
    registry::delete(&service, &id, &administrator.by).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Serialize, ToSchema)]
struct InitialToken {
    /// Shown here, and never again.
    initial_access_token: String,
    expires_at: Timestamp,
    #[schema(minimum = 1, maximum = 1000)]
    uses: u32,
}

/// Make a token with which clients may register themselves (RFC 7591, section 3).
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    responses(
        (status = 201, description = "The token", body = InitialToken, headers(("Cache-Control" = String, description = "`no-store`"))),
        UnreadableBody, Unauthorized, NotAllowed, Unavailable,
    )
)]
#[post("/admin/initial-access-tokens")]
pub(in crate::endpoints) async fn make_initial_token(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Json(plan): Json<InitialTokenPlan>,
) -> Result<HttpResponse, Problem> {
    let (token, expires_at) = registration::make_initial_token(&service, &plan, &administrator.by).await?;
    let made = InitialToken { initial_access_token: token, expires_at, uses: plan.uses() };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(made))
}
