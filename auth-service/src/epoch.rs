//! A user's epoch: what every sealed session of theirs names, and what is revoked to end them all where nobody keeps sessions
//! (strategy `cookie`). It follows from the account's version, which every change moves on that ends sessions.

use aws_lc_rs::digest::{SHA256, digest};
use shared::problem::Problem;
use shared::session::UserId;

use crate::AuthService;
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

/// Begins a new epoch, and revokes those before it: all of the user's sealed sessions end.
///
/// # Errors
/// 404 when the account is gone, 503 when something needed does not answer.
pub(crate) async fn begin_another(service: &AuthService, user: UserId) -> Result<User, Problem> {
    let user = users::begin_epoch(&service.database, user).await?.ok_or_else(|| Problem::not_found("account"))?;
    revoke_before(service, user.id, user.version).await?;
    Ok(user)
}
