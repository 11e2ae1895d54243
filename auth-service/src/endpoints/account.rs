//! One's own account.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Deserialize;
use shared::authentication::{ConfirmedPrincipal, Principal};
use shared::problem::Problem;
use shared::request::Json;
use utoipa::ToSchema;

use super::answers::{BadRequest, NotFound, Throttled, Unauthorized, Unavailable, UnreadableBody};
use super::origin::Origin;
use crate::AuthService;
use crate::accounts::{self, Profile};
use crate::known_browser::KnownBrowser;
use crate::password::{NewPassword, Password};

/// Who one is.
#[utoipa::path(
    tag = "account",
    security(("bearer" = [])),
    responses((status = 200, description = "The account", body = Profile), BadRequest, Unauthorized, NotFound, Unavailable)
)]
#[get("/auth/me")]
pub(super) async fn me(service: web::Data<AuthService>, principal: Principal) -> Result<HttpResponse, Problem> {
    let user = service.users.by_id(principal.user).await?;
    let user = user.ok_or_else(|| Problem::not_found("account"))?;
    Ok(HttpResponse::Ok().json(Profile::of(&user)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    current_password: Password,
    new_password: NewPassword,
}

/// Change the password. All other sessions end; this one stays.
#[utoipa::path(
    tag = "account",
    security(("bearer" = [])),
    responses(
        (status = 204, description = "The password is changed", headers(("Set-Cookie" = String, description = "The device cookie: those of before are worth nothing"))),
        (status = 403, description = "`wrong_password`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`account_changed`: by somebody else, meanwhile", body = Problem, content_type = "application/problem+json"),
        UnreadableBody, Unauthorized, NotFound, Throttled, Unavailable,
    )
)]
#[post("/auth/password")]
pub(super) async fn change_password(
    service: web::Data<AuthService>,
    http: HttpRequest,
    origin: Origin,
    caller: ConfirmedPrincipal,
    Json(body): Json<PasswordChange>,
) -> Result<HttpResponse, Problem> {
    let PasswordChange { current_password, new_password } = body;
    let user = accounts::change_password(&service, &caller, current_password, new_password, origin.address).await?;
    let device = KnownBrowser::of(&service, &http).learns(&service, &user);
    Ok(HttpResponse::NoContent().cookie(device).finish())
}
