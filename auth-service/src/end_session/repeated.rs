//! Endings that the database remembers, carried out again: at a node that did not take part in them, or in a store that has
//! lost them.

use shared::problem::Problem;
use shared::session::UserId;
use uuid::Uuid;

use super::settling::{Word, settle};
use super::{is_older, spares};
use crate::AuthService;
use crate::epoch;
use crate::storage::endings::{Ended, Ending};

/// Carries out an ending again. What has ended already is announced again, and no error.
///
/// # Errors
/// The store does not answer.
pub(super) async fn repeat(service: &AuthService, ending: &Ending) -> Result<(), Problem> {
    match ending.what {
        Ended::Token(token) => {
            let user = ending.user.unwrap_or(UserId(Uuid::nil()));
            service.sessions.revoke_token(user, token).await?;
        }
        Ended::Session(id) => {
            if let Some(session) = service.sessions.end(id, ending.reason).await? {
                settle(service, &[id], Word::of_session(Some(session.user), ending.reason, &ending.by)).await;
            }
        }
        Ended::Account(user, version) if service.sessions.keeps_sessions() => {
            let mut ended = Vec::new();
            for session in service.sessions.list(user).await? {
                if is_older(&session, version) && !spares(ending, session.id) {
                    service.sessions.end(session.id, ending.reason).await?;
                    ended.push(session.id);
                }
            }
            if !ended.is_empty() {
                settle(service, &ended, Word::of_all(user, ending.reason, &ending.by)).await;
            }
        }
        Ended::Account(user, version) => epoch::revoke_before(service, user, version).await?,
    }
    Ok(())
}
