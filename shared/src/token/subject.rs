//! Whom a token speaks for, and who acts for them. Rules only.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::present;
use crate::session::UserId;

/// Whom a token speaks for: its `sub`.
///
/// A text that reads as a user's id is a user, so no client may have an id that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    User(UserId),
    /// A client that acts for itself (RFC 6749, section 4.4), by its client id.
    Client(String),
}

impl From<UserId> for Subject {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Client(client) => client.fmt(f),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::User(user) => user.serialize(serializer),
            Self::Client(client) => client.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(text.parse().map_or_else(|_| Self::Client(text), Self::User))
    }
}

/// Who acts for the subject: the claim `act` (RFC 8693, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub sub: Subject,
    /// Who acted before, and is no longer asked: it decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub act: Option<Box<Actor>>,
}

impl Actor {
    /// How many may have acted one for the other: a token that names more is malformed.
    pub const MOST: usize = 8;

    /// The one who acts now, then those before it.
    pub fn chain(&self) -> impl Iterator<Item = &Subject> {
        std::iter::successors(Some(self), |actor| actor.act.as_deref()).map(|actor| &actor.sub)
    }
}
