//! Who is online, and ending anybody's session.

use std::collections::HashMap;

use actix_web::{HttpResponse, delete, get, web};
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::request::{Path, Query};
use shared::session::{EndReason, OnlineCursor, Session, SessionId, UserId};
use utoipa::{IntoParams, ToSchema};

use super::super::answers::{BadRequest, NotAllowed, NotFound, StrategyCannot, Unauthorized, Unavailable};
use super::{Administrator, PageSize, cursor, position};
use crate::AuthService;
use crate::email::Email;
use crate::end_session;
use crate::self_contained;
use crate::storage::users;

/// A live session of anybody's.
#[derive(Serialize, ToSchema)]
struct OnlineSession {
    id: SessionId,
    user_id: UserId,
    /// Null when the account is gone.
    email: Option<Email>,
    device: String,
    address: String,
    created_at: Timestamp,
    last_seen_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
struct OnlineSessions {
    /// The last seen first.
    items: Vec<OnlineSession>,
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OnlineQuery {
    cursor: Option<String>,
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: PageSize,
}

/// Who is online.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(OnlineQuery),
    responses((status = 200, description = "A page", body = OnlineSessions), BadRequest, Unauthorized, NotAllowed, StrategyCannot, Unavailable)
)]
#[get("/admin/sessions")]
pub(in crate::endpoints) async fn online(
    service: web::Data<AuthService>,
    _administrator: Administrator,
    Query(query): Query<OnlineQuery>,
) -> Result<HttpResponse, Problem> {
    self_contained::needs_kept_sessions(&service)?;
    let after = position(query.cursor.as_deref(), read_cursor)?;
    let page = service.sessions.online(after, usize::from(query.limit.0)).await?;
    let users: Vec<UserId> = page.sessions.iter().map(|session| session.user).collect();
    let mut emails: HashMap<_, _> = users::emails_of(&service.database, &users).await?.into_iter().collect();
    let next = page.next.map(|next| cursor(&format!("{} {}", next.last_seen_at.micros(), next.session)));
    let mut shown = |session: Session| OnlineSession {
        id: session.id,
        user_id: session.user,
        email: emails.get_mut(&session.user).map(|email: &mut Email| email.clone()),
        device: session.device,
        address: session.address,
        created_at: session.created_at,
        last_seen_at: session.last_seen_at,
    };
    let items = page.sessions.into_iter().map(&mut shown).collect();
    Ok(HttpResponse::Ok().json(OnlineSessions { items, next }))
}

fn read_cursor(text: &str) -> Option<OnlineCursor> {
    let (last_seen_at, session) = text.split_once(' ')?;
    let last_seen_at = Timestamp::from_micros(last_seen_at.parse().ok()?);
    Some(OnlineCursor { last_seen_at, session: session.parse().ok()? })
}

/// End anybody's session, on every service.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 204, description = "It has ended"), BadRequest, Unauthorized, NotAllowed, NotFound, StrategyCannot, Unavailable)
)]
#[delete("/admin/sessions/{id}")]
pub(in crate::endpoints) async fn end(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Path(id): Path<SessionId>,
) -> Result<HttpResponse, Problem> {
    if !service.sessions.tells_of_endings() {
        self_contained::needs_kept_sessions(&service)?;
    }
    let ended = end_session::end(&service, id, EndReason::EndedByAdministrator, &administrator.by).await?;
    // Where no store keeps sessions, or other nodes have their own, this node cannot know whether it was one.
    if service.sessions.keeps_sessions() && service.strategy.guarantees(&*service.sessions).any_node {
        ended.ok_or_else(|| Problem::not_found("session"))?;
    }
    Ok(HttpResponse::NoContent().finish())
}
