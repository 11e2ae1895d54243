//! One's own account.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use shared::authentication::{ConfirmedPrincipal, Principal};
use shared::problem::Problem;
use shared::request::Json;
use utoipa::ToSchema;

use super::answers::{BadRequest, NotFound, Throttled, Unauthorized, Unavailable, UnreadableBody};
use super::origin::Origin;
use crate::AuthService;
use crate::accounts::{self, PasswordSet, Profile};
use crate::issue::TokenResponse;
use crate::known_browser::KnownBrowser;
use crate::password::{NewPassword, Password};
use crate::self_contained;
use crate::session_cookie;

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

/// What a new password gives where no store keeps sessions (`SESSION_STRATEGY=jwt`): the tokens of this session that go on.
#[derive(Serialize, ToSchema)]
struct PasswordChanged {
    #[serde(flatten)]
    tokens: TokenResponse,
    /// After how many seconds no access token of another session is taken any more. Their refresh tokens are refused at once.
    #[schema(example = 0)]
    other_access_tokens_end_within: u64,
}

/// Change the password. All other sessions end; this one stays. Under `SESSION_STRATEGY=jwt` it stays by the new tokens of the
/// answer; where a cookie opens or holds it, by the new cookie of the answer: what was given before the change ends. With
/// `JWT_DENY_LIST=off` nothing tells the services, and access tokens of other sessions are good until they expire: the answer
/// says within how many seconds. Under `hybrid`, the tokens of this session stay as they are: a copy of its refresh token
/// stays good by this, and is found when both are used. A client that fears a copy ends the session (`/auth/logout`) and signs
/// in again.
#[utoipa::path(
    tag = "account",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The password is changed, under `SESSION_STRATEGY=jwt`", body = PasswordChanged, headers(
            ("Cache-Control" = String, description = "`no-store`"),
            ("Set-Cookie" = String, description = "The device cookie: those of before are worth nothing"))),
        (status = 204, description = "The password is changed", headers(
            ("Set-Cookie" = String, description = "The device cookie: those of before are worth nothing; and the session's new cookie, where it has one: the one of before is refused"))),
        (status = 403, description = "`wrong_password`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`account_changed`: by somebody else, meanwhile", body = Problem, content_type = "application/problem+json"),
        UnreadableBody, Unauthorized, NotFound, Throttled, Unavailable,
    )
)]
#[post("/auth/password")]
pub(super) async fn change_password(
    service: web::Data<AuthService>,
    origin: Origin,
    caller: ConfirmedPrincipal,
    request: HttpRequest,
    Json(body): Json<PasswordChange>,
) -> Result<HttpResponse, Problem> {
    let (current, new) = (body.current_password, body.new_password);
    let PasswordSet { user, secret } =
        accounts::change_password(&service, &caller, current, new, origin.address).await?;
    let device = KnownBrowser::of(&service, &request).learns(&service, &user);
    if !self_contained::is_demanded(&service) {
        let mut answer = HttpResponse::NoContent();
        if let Some(secret) = secret {
            answer.cookie(session_cookie::reopening(&service, &caller.session, &secret, &request));
        }
        return Ok(answer.cookie(device).finish());
    }
    let session = self_contained::continued(&service, &caller.session, &user);
    if let Some(cookie) = session_cookie::renewed(&service, &session, &request)? {
        return Ok(HttpResponse::NoContent().cookie(cookie).cookie(device).finish());
    }
    let is_told = service.sessions.tells_of_endings();
    let other_access_tokens_end_within = if is_told { 0 } else { service.rules.access_token_ttl.as_secs() };
    let tokens = crate::issue::issue(&service, &user, &session, 1)?;
    let changed = PasswordChanged { tokens, other_access_tokens_end_within };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).cookie(device).json(changed))
}
