//! One's own sessions: where one is signed in.

use actix_web::{HttpResponse, delete, get, web};
use serde::Serialize;
use shared::authentication::Principal;
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::request::Path;
use shared::session::{EndReason, Session, SessionId};
use utoipa::ToSchema;

use super::answers::{BadRequest, NotFound, StrategyCannot, Unauthorized, Unavailable};
use super::origin::Origin;
use crate::AuthService;
use crate::end_session;
use crate::self_contained;

/// A session, as its user sees it.
#[derive(Serialize, ToSchema)]
struct OwnSession {
    id: SessionId,
    /// What it was called at the login, or what the browser is.
    device: String,
    /// Where the login came from.
    address: String,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    /// When it ends if it is not seen again.
    expires_at: Timestamp,
    /// Whether this request belongs to it.
    current: bool,
}

#[derive(Serialize, ToSchema)]
struct OwnSessions {
    /// The newest first.
    items: Vec<OwnSession>,
    /// Always null: a user's sessions fit one page.
    next: Option<String>,
}

/// Where one is signed in.
#[utoipa::path(
    tag = "sessions",
    security(("bearer" = [])),
    responses((status = 200, description = "The live sessions", body = OwnSessions), BadRequest, Unauthorized, StrategyCannot, Unavailable)
)]
#[get("/auth/sessions")]
pub(super) async fn list(service: web::Data<AuthService>, principal: Principal) -> Result<HttpResponse, Problem> {
    self_contained::needs_kept_sessions(&service)?;
    let sessions = service.sessions.list(principal.user).await?;
    let items = sessions.into_iter().map(|session| shown(session, principal.session)).collect();
    Ok(HttpResponse::Ok().json(OwnSessions { items, next: None }))
}

fn shown(session: Session, current: SessionId) -> OwnSession {
    OwnSession {
        id: session.id,
        current: session.id == current,
        expires_at: session.ends_at(),
        created_at: session.created_at,
        last_seen_at: session.last_seen_at,
        device: session.device,
        address: session.address,
    }
}

/// End one of one's sessions, on every service.
#[utoipa::path(
    tag = "sessions",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 204, description = "It has ended"), BadRequest, Unauthorized, NotFound, StrategyCannot, Unavailable)
)]
#[delete("/auth/sessions/{id}")]
pub(super) async fn end(
    service: web::Data<AuthService>,
    origin: Origin,
    principal: Principal,
    Path(id): Path<SessionId>,
) -> Result<HttpResponse, Problem> {
    self_contained::needs_kept_sessions(&service)?;
    let session = service.sessions.load(id).await?;
    session.filter(|session| session.user == principal.user).ok_or_else(|| Problem::not_found("session"))?;
    let reason = if id == principal.session { EndReason::Logout } else { EndReason::EndedByUser };
    end_session::end(&service, id, reason, &origin.by(&principal)).await?;
    Ok(HttpResponse::NoContent().finish())
}
