//! A user's epoch: what each of their sessions names that no store keeps (strategies `cookie` and `jwt`), and what is revoked
//! to end them all. It follows from the account's version, which every change moves on that ends sessions.

use aws_lc_rs::digest::{SHA256, digest};
use shared::authentication::strategy::Place;
use shared::problem::Problem;
use shared::session::{EndReason, SessionId, UserId, epoch_attribute};

use crate::AuthService;
use crate::end_session::Change;
use crate::storage::audit::By;
use crate::storage::users::{self, User};

/// How many versions back epochs are revoked again: a change whose revocation failed may have been followed by others.
const BACK: i64 = 8;

/// The epoch of an account's version: no number that anything else is revoked by.
pub(crate) fn of(user: UserId, version: i64) -> u128 {
    let text = format!("epoch {user} {version}");
    let digest = digest(&SHA256, text.as_bytes());
    let bytes: [u8; 16] = digest.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes");
    u128::from_be_bytes(bytes)
}

/// The attribute by which a session that no store keeps names its account's epoch.
pub(crate) fn attribute(service: &AuthService, user: &User) -> Option<(String, String)> {
    (service.strategy.place() == Place::Client).then(|| epoch_attribute(of(user.id, user.version)))
}

/// Revokes the epochs before the account's version.
///
/// # Errors
/// 503 when the feed does not take it.
pub(crate) async fn revoke_before(service: &AuthService, user: UserId, version: i64) -> Result<(), Problem> {
    for version in (version - BACK).max(0)..version {
        service.sessions.revoke_token(user, of(user, version)).await?;
    }
    Ok(())
}

/// Begins a new epoch of an account: all its sessions are to end, but for one.
///
/// # Errors
/// 404 when the account is gone, 503 when the database does not answer.
pub(crate) async fn begin(
    service: &AuthService,
    user: UserId,
    keep: Option<SessionId>,
    reason: EndReason,
    by: &By,
) -> Result<Change, Problem> {
    let mut transaction = service.database.begin().await?;
    let user = users::begin_epoch(&mut transaction, user).await?.ok_or_else(|| Problem::not_found("account"))?;
    let change = Change::announce(service, &mut transaction, user, keep, reason, by).await?;
    transaction.commit().await?;
    Ok(change)
}
