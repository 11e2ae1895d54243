//! What a signature proves. Owns the access token's claims (RFC 9068), the key set (RFC 7517), the verifier, and the proofs
//! that a caller has a key (RFC 9449); knows no session, and never holds a private
//! key. A secret that all services share it holds only where `JWT_COMPATIBILITY` says so.

mod claims;
pub mod dpop;
mod header;
mod jwk;
mod key_refresh;
mod key_set;
mod published_key;
mod remembered;
mod shared_secret;
mod subject;
mod thumbprint;
mod verified;
mod verifier;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

pub use self::claims::{AccessClaims, Confirmation};
#[cfg(feature = "relying-party")]
pub(crate) use self::key_refresh::{UNIT_OF_DATE, date};
#[cfg(feature = "redis")]
pub(crate) use self::key_refresh::{client as direct_client, jittered, read_body};
pub use self::key_set::{KeySet, KeySetError};
pub use self::published_key::{Algorithm, KeyFault, PublishedKey};
pub use self::shared_secret::{SharedSecret, WeakSecret};
pub use self::subject::{Actor, Subject};
pub use self::thumbprint::{InvalidThumbprint, Thumbprint};
pub use self::verified::{ClientToken, PLATFORM_CLIENT, TokenError, UserToken, VerifiedToken};
pub use self::verifier::Verifier;

/// Reads a JSON object. An array is refused: serde would take it for a struct, member by member.
fn read_object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(json).ok()).flatten()
}

/// Whether a text may be a `kid`: 1 to 128 letters, digits, `-`, `_`, `.` or `~`. It is harmless in a path, a query, a
/// log line and a map.
fn is_key_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

/// Reads a member that is there: `null` is no value of ours, and never stands for a claim that is left out.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
