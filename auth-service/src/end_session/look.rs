//! An account and one of its sessions, read until both are of one time: whether that session speaks for the account now.

use std::time::Duration;

use actix_web::http::StatusCode;
use shared::problem::Problem;
use shared::session::{Session, UserId};

use super::{Standing, standing};
use crate::AuthService;
use crate::storage::users::User;

/// How often an account and its session are read again that were not of one time.
const LOOKS: usize = 3;

/// What a look at an account and its session has found.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one is made for each look, and it is nearly always the large one")]
pub enum Look {
    Current(User, Session),
    /// The session has ended.
    Gone,
    /// The account is locked, gone, or has changed since the login.
    Outdated,
}

/// Looks at the account and at the session, which `load` reads anew.
///
/// # Errors
/// 503 `account_changing` in the moment in which a change says which session goes on; 503 when something needed does not
/// answer.
pub async fn look(
    service: &AuthService,
    user: UserId,
    load: impl AsyncFn() -> Result<Option<Session>, Problem>,
) -> Result<Look, Problem> {
    for _ in 0..LOOKS {
        // The account comes first: a session that is older than it stays so.
        let Some(user) = service.users.by_id(user).await? else { break };
        let Some(session) = load().await?.filter(|session| session.user == user.id) else { return Ok(Look::Gone) };
        match standing(&user, &session) {
            Standing::Current => return Ok(Look::Current(user, session)),
            Standing::ReadTooEarly => {}
            // What a client holds is never brought up to date.
            Standing::Unsettled if service.sessions.keeps_sessions() => return Err(unsettled()),
            Standing::Unsettled | Standing::Outdated => break,
        }
    }
    Ok(Look::Outdated)
}

/// The session goes on, or ends with the change.
fn unsettled() -> Problem {
    let detail = "the account is being changed; try again in a moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "account_changing", detail).retry_after(Duration::from_secs(1))
}
