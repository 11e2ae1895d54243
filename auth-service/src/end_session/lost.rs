//! Sessions that the store has lost: it was emptied, or a failover took the last moments. They sign in no browser any more,
//! but the access tokens that they gave live on for some minutes, and are checked where no store is asked. The audit knows
//! which sessions began, so an end of all of an account ends these too.

use shared::authentication::strategy::Credential;
use shared::session::{SessionId, UserId};

use crate::AuthService;
use crate::storage::audit;

/// How many are ended with an account at most: ten times what it may have at once.
const MOST: i64 = 500;

/// The sessions of a user that began, and whose end has no entry. Ask before the store is asked for those that live: what
/// is here and not there is lost, or has expired.
///
/// # Errors
/// The database does not answer.
pub(super) async fn begun(service: &AuthService, user: UserId) -> Result<Vec<SessionId>, sqlx::Error> {
    // Elsewhere the store is asked each time, or SQL tells the ends of all.
    let by_token = service.strategy.credential() == Credential::BearerToken;
    if !by_token || !service.sessions.keeps_sessions() {
        return Ok(Vec::new());
    }
    let since = service.clock.now() - service.rules.absolute_ttl;
    audit::begun_and_not_ended(&service.database, user, since, MOST).await
}
