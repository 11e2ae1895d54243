//! Accounts, as administrators see and change them.

use actix_web::{HttpResponse, get, post, put, web};
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::request::{Json, Path, Query};
use shared::session::UserId;
use utoipa::{IntoParams, ToSchema};

use super::super::answers::{BadRequest, NotAllowed, NotFound, Unauthorized, Unavailable, UnreadableBody};
use super::{Administrator, PageSize, cursor, position};
use crate::AuthService;
use crate::accounts::{self, Profile};
use crate::email::Email;
use crate::roles::Roles;
use crate::storage::users::{self, User};

/// An account, as administrators see it.
#[derive(Serialize, ToSchema)]
struct Account {
    #[serde(flatten)]
    profile: Profile,
    locked_at: Option<Timestamp>,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { profile: Profile::of(&user), locked_at: user.locked_at }
    }
}

#[derive(Serialize, ToSchema)]
struct Accounts {
    /// In the order of their addresses.
    items: Vec<Account>,
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AccountQuery {
    /// The beginning of the email address, in any case.
    email: Option<String>,
    cursor: Option<String>,
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: PageSize,
}

/// The accounts.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(AccountQuery),
    responses((status = 200, description = "A page", body = Accounts), BadRequest, Unauthorized, NotAllowed, Unavailable)
)]
#[get("/admin/users")]
pub(in crate::endpoints) async fn list(
    service: web::Data<AuthService>,
    _administrator: Administrator,
    Query(query): Query<AccountQuery>,
) -> Result<HttpResponse, Problem> {
    let prefix = prefix(query.email.as_deref().unwrap_or_default())?;
    let after = position(query.cursor.as_deref(), |text| text.parse::<Email>().ok())?;
    let size = usize::from(query.limit.0);
    let mut found = users::page(&service.database, &prefix, after.as_ref(), size as i64 + 1).await?;
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|last| cursor(last.email.as_str()));
    Ok(HttpResponse::Ok().json(Accounts { items: found.into_iter().map(Account::from).collect(), next }))
}

/// The beginning of an address in the case of the canonical form. A control character is in none, and NUL is no text to
/// PostgreSQL.
fn prefix(text: &str) -> Result<String, Problem> {
    let detail = "expected the beginning of an email address";
    let good = text.len() <= 254 && !text.chars().any(char::is_control);
    let refused = || Problem::bad_request("invalid_query", detail).at("#query/email", detail);
    good.then(|| text.to_lowercase()).ok_or_else(refused)
}

/// Lock an account: its sessions end, and nobody can sign in to it.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The account is locked", body = Account),
        (status = 409, description = "`own_account`, `last_administrator`", body = Problem, content_type = "application/problem+json"),
        BadRequest, Unauthorized, NotAllowed, NotFound, Unavailable,
    )
)]
#[post("/admin/users/{id}/lock")]
pub(in crate::endpoints) async fn lock(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Path(id): Path<UserId>,
) -> Result<HttpResponse, Problem> {
    let user = accounts::lock(&service, id, &administrator.by).await?;
    Ok(HttpResponse::Ok().json(Account::from(user)))
}

/// Unlock an account.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The account is not locked", body = Account), BadRequest, Unauthorized, NotAllowed, NotFound, Unavailable)
)]
#[post("/admin/users/{id}/unlock")]
pub(in crate::endpoints) async fn unlock(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Path(id): Path<UserId>,
) -> Result<HttpResponse, Problem> {
    let user = accounts::unlock(&service, id, &administrator.by).await?;
    Ok(HttpResponse::Ok().json(Account::from(user)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRoles {
    roles: Roles,
}

/// Set an account's roles. Its sessions end: the new roles need a new login.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The account has these roles", body = Account),
        (status = 409, description = "`own_account`, `last_administrator`", body = Problem, content_type = "application/problem+json"),
        UnreadableBody, Unauthorized, NotAllowed, NotFound, Unavailable,
    )
)]
#[put("/admin/users/{id}/roles")]
pub(in crate::endpoints) async fn set_roles(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Path(id): Path<UserId>,
    Json(body): Json<NewRoles>,
) -> Result<HttpResponse, Problem> {
    let user = accounts::set_roles(&service, id, &body.roles, &administrator.by).await?;
    Ok(HttpResponse::Ok().json(Account::from(user)))
}
