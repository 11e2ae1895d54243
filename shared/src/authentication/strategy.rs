//! The ways to share a session between servers: a store and a credential each. The only file that names them.

use std::time::Duration;

use crate::config::Setting;
use crate::session::SessionStore;

/// `SESSION_STRATEGY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// A cookie with the session's id, and the session in the memory of the one node to which the gateway pins the client.
    Sticky,
    /// A cookie with the session's id, and the session in the memory of every node.
    Replicated,
    /// A cookie with the session's id, which each request looks up in Redis.
    Redis,
    /// An access token that services check in memory, and nothing kept of the session.
    Jwt,
    /// The session itself, sealed, in one cookie.
    Cookie,
    /// A short access token that services check in memory, and a rotating refresh token that the store checks.
    #[default]
    Hybrid,
}

/// What a client shows with each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The session's id with a secret: see [`SessionCookie`](super::SessionCookie).
    SessionCookie,
    /// The session: see [`SealedCookie`](super::SealedCookie).
    SealedCookie,
    /// An access token.
    BearerToken,
}

/// Where sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the process, with all three services in it.
    Memory,
    /// In the memory of each of several such processes, the same everywhere.
    EachNode,
    Redis,
    /// Nowhere: it stands in the client's token or cookie.
    Client,
    /// In Redis; in one process with all services, its memory does.
    RedisOrMemory,
}

/// What a strategy promises; the contract suite tests exactly this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarantees {
    /// Any node answers for any session.
    pub any_node: bool,
    /// A session outlives the node that it began on.
    pub survives_a_node: bool,
    /// A session outlives a restart of all nodes.
    pub survives_a_restart: bool,
    /// An ended session is refused everywhere within a second.
    pub revokes_at_once: bool,
    /// A user's sessions can be listed.
    pub lists_sessions: bool,
}

impl Strategy {
    pub const ALL: [Self; 6] = [Self::Sticky, Self::Replicated, Self::Redis, Self::Jwt, Self::Cookie, Self::Hybrid];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sticky => "sticky",
            Self::Replicated => "replicated",
            Self::Redis => "redis",
            Self::Jwt => "jwt",
            Self::Cookie => "cookie",
            Self::Hybrid => "hybrid",
        }
    }

    pub const fn credential(self) -> Credential {
        match self {
            Self::Sticky | Self::Replicated | Self::Redis => Credential::SessionCookie,
            Self::Cookie => Credential::SealedCookie,
            Self::Jwt | Self::Hybrid => Credential::BearerToken,
        }
    }

    pub const fn place(self) -> Place {
        match self {
            Self::Sticky => Place::Memory,
            Self::Replicated => Place::EachNode,
            Self::Redis => Place::Redis,
            Self::Jwt | Self::Cookie => Place::Client,
            Self::Hybrid => Place::RedisOrMemory,
        }
    }

    /// Why a service that is a process of its own cannot have it, where it cannot.
    pub fn refuses_separate_services(self) -> Option<String> {
        let place = match self.place() {
            Place::Memory => "the memory of one process with all services in it",
            Place::EachNode => "the memory of every node, each of which is one process with all services in it",
            Place::Redis | Place::Client | Place::RedisOrMemory => return None,
        };
        Some(format!("SESSION_STRATEGY: {} keeps sessions in {place}: run all-in-one", self.as_str()))
    }

    /// How long a revocation matters: as long as what it takes back may be shown. A sealed cookie is shown for as long as a
    /// session lives, everything else is looked up or lives as long as an access token.
    pub fn remembers(self, absolute_ttl: Duration, access_token_ttl: Duration) -> Duration {
        match self.credential() {
            Credential::SealedCookie => absolute_ttl.max(access_token_ttl),
            Credential::SessionCookie | Credential::BearerToken => access_token_ttl,
        }
    }

    /// What it promises with this store of sessions.
    pub fn guarantees(self, sessions: &dyn SessionStore) -> Guarantees {
        let outlives_the_process = sessions.remembers_since().is_none();
        Guarantees {
            any_node: self.place() != Place::Memory,
            survives_a_node: outlives_the_process || self.place() == Place::EachNode,
            survives_a_restart: outlives_the_process,
            revokes_at_once: sessions.tells_of_endings(),
            // Under `sticky`, those that began on the node which is asked.
            lists_sessions: sessions.keeps_sessions(),
        }
    }
}

impl Setting for Strategy {
    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|strategy| strategy.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("expected one of {names}, found {text:?}")
        })
    }
}
