//! The audit, as administrators read it.

use actix_web::{HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::request::Query;
use shared::session::UserId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::answers::{BadRequest, NotAllowed, Unauthorized, Unavailable};
use super::{Administrator, PageSize, cursor, position};
use crate::AuthService;
use crate::storage::audit::{self, StoredEntry};

/// Who did what to whom.
#[derive(Serialize, ToSchema)]
struct AuditEntry {
    id: Uuid,
    /// When it happened; of a refusal that repeats, when it happened first.
    at: Timestamp,
    /// When it happened last: `at`, unless `count` is more than 1.
    last_at: Timestamp,
    /// How often it happened. Refusals of one kind from one network, about one account or client, within one hour are one entry; what
    /// was done is always an entry of its own.
    #[schema(minimum = 1, example = 1)]
    count: i64,
    #[schema(example = "log_in")]
    act: String,
    /// `done`, or why it was refused.
    #[schema(example = "done")]
    outcome: String,
    /// A user's id, `anonymous`, `command_line` or `service`.
    actor: String,
    /// The user it was done to.
    subject: Option<UserId>,
    session: Option<String>,
    /// Of several refusals, where the first one came from.
    address: Option<String>,
    detail: String,
}

impl From<StoredEntry> for AuditEntry {
    fn from(entry: StoredEntry) -> Self {
        let StoredEntry { id, at, act, outcome, actor, subject, session, address, detail, count, last_at } = entry;
        Self { id, at, last_at, count, act, outcome, actor, subject, session, address, detail }
    }
}

#[derive(Serialize, ToSchema)]
struct AuditEntries {
    /// The newest first.
    items: Vec<AuditEntry>,
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Only what was done to this user.
    subject: Option<Uuid>,
    cursor: Option<String>,
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: PageSize,
}

/// The audit.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(AuditQuery),
    responses((status = 200, description = "A page", body = AuditEntries), BadRequest, Unauthorized, NotAllowed, Unavailable)
)]
#[get("/admin/audit")]
pub(in crate::endpoints) async fn list(
    service: web::Data<AuthService>,
    _administrator: Administrator,
    Query(query): Query<AuditQuery>,
) -> Result<HttpResponse, Problem> {
    let before = position(query.cursor.as_deref(), |text| {
        let (at, id) = text.split_once(' ')?;
        Some((Timestamp::from_micros(at.parse().ok()?), id.parse().ok()?))
    })?;
    let size = usize::from(query.limit.0);
    let mut found = audit::page(&service.database, query.subject.map(UserId), before, size as i64 + 1).await?;
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|last| cursor(&format!("{} {}", last.at.micros(), last.id)));
    Ok(HttpResponse::Ok().json(AuditEntries { items: found.into_iter().map(AuditEntry::from).collect(), next }))
}
