//! What an administrator sends about a client: metadata (RFC 7591) with what only an administrator decides. Rules only.

use std::time::Duration;

use serde_json::{Map, Value};

use super::registry::Decided;
use super::secret::{FORMER_SECRET_LIFE, LONGEST_FORMER_LIFE};
use super::{EXPECTED_CLIENT_ID, InvalidMetadata, Metadata, Registrar, is_client_id};

/// Shown to administrators, and of no effect when they send it back.
const READ_ONLY: [&str; 5] =
    ["client_id_issued_at", "disabled_at", "looks", "old_secret_expires_at", "registered_itself"];

/// A client that is to be.
#[derive(Debug)]
pub struct NewClient {
    /// A random one when it is left out.
    pub id: Option<String>,
    pub decided: Decided,
}

/// What a client is to become.
#[derive(Debug)]
pub struct ChangedClient {
    pub decided: Decided,
    /// Make a new secret up; the old one is good for so long beside it.
    pub new_secret: Option<Duration>,
}

impl NewClient {
    /// # Errors
    /// The first field that is against a rule.
    pub fn read(mut members: Map<String, Value>) -> Result<Self, InvalidMetadata> {
        let id = take_id(&mut members)?;
        Ok(Self { id, decided: Decided::read(members)? })
    }
}

impl ChangedClient {
    /// Reads what is to become of the client `id`: all of it, for what is left out gets its default.
    ///
    /// # Errors
    /// The first field that is against a rule.
    pub fn read(id: &str, mut members: Map<String, Value>) -> Result<Self, InvalidMetadata> {
        if take_id(&mut members)?.is_some_and(|named| named != id) {
            return Err(InvalidMetadata::at("client_id", "a client keeps its id"));
        }
        members.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
        let keep = take_keep(&mut members)?;
        let new_secret = take_flag(&mut members, "new_secret")?.unwrap_or_default().then_some(keep);
        Ok(Self { decided: Decided::read(members)?, new_secret })
    }
}

impl Decided {
    fn read(mut members: Map<String, Value>) -> Result<Self, InvalidMetadata> {
        let mut flag = |name| take_flag(&mut members, name);
        let (first_party, approved, disabled) = (flag("first_party")?, flag("approved")?, flag("disabled")?);
        let (first_party, disabled) = (first_party.unwrap_or_default(), disabled.unwrap_or_default());
        Ok(Self { metadata: Metadata::read(members, Registrar::Administrator)?, first_party, approved, disabled })
    }
}

fn take_id(members: &mut Map<String, Value>) -> Result<Option<String>, InvalidMetadata> {
    match members.remove("client_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if is_client_id(&id) => Ok(Some(id)),
        Some(_) => Err(InvalidMetadata::at("client_id", EXPECTED_CLIENT_ID)),
    }
}

/// How long the old secret is good: `old_secret_expires_in`, in seconds.
fn take_keep(members: &mut Map<String, Value>) -> Result<Duration, InvalidMetadata> {
    match members.remove("old_secret_expires_in") {
        None | Some(Value::Null) => Ok(FORMER_SECRET_LIFE),
        Some(given) => {
            given.as_u64().map(Duration::from_secs).filter(|keep| *keep <= LONGEST_FORMER_LIFE).ok_or_else(|| {
                InvalidMetadata::at("old_secret_expires_in", "expected seconds, at most 2592000 (30 days)")
            })
        }
    }
}

fn take_flag(members: &mut Map<String, Value>, name: &str) -> Result<Option<bool>, InvalidMetadata> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(_) => Err(InvalidMetadata::at(name, "expected true or false")),
    }
}
