//! Sealed values of attributes. Owns what binds a value to its place; never decides what an attribute means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secrecy::SecretString;

use super::super::SessionId;
use crate::authentication::{CookieKeys, InvalidCookieKey};
use crate::config::Setting;

/// `SESSION_ATTRIBUTE_KEY`: the keys by which the values of attributes are sealed in Redis. The first seals, all open.
#[derive(Debug, Clone)]
pub struct AttributeKeys {
    keys: CookieKeys,
    /// A missing key fails for every session: it is told once.
    told: Arc<AtomicBool>,
}

impl AttributeKeys {
    /// One key, or up to four with commas between: each 32 random bytes in base64.
    ///
    /// # Errors
    /// The text is no list of keys.
    pub fn parse(text: &SecretString) -> Result<Self, InvalidCookieKey> {
        CookieKeys::parse(text).map(|keys| Self { keys, told: Arc::default() })
    }

    pub(super) fn seal(&self, session: SessionId, name: &str, value: &str) -> String {
        self.keys.seal(&place(session, name), value.as_bytes())
    }

    /// The value, or none where no key opens it here: the attribute is then absent.
    pub(super) fn open(&self, session: SessionId, name: &str, sealed: &str) -> Option<String> {
        let opened = self.keys.open(&place(session, name), sealed).and_then(|text| String::from_utf8(text).ok());
        if opened.is_none() && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(%session, name, "no key of SESSION_ATTRIBUTE_KEY opens an attribute: such ones count as absent");
        }
        opened
    }
}

/// A session's id has a fixed length: no two places have the same text, and no cookie has the name of one.
fn place(session: SessionId, name: &str) -> String {
    format!("session attribute {session} {name}")
}

impl Setting for AttributeKeys {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(&text.into()).map_err(|error| error.to_string())
    }
}
