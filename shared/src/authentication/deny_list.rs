//! `JWT_DENY_LIST`: whether and how services learn that a session was ended, where nobody keeps sessions.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Setting, Settings};
use crate::key_value::KeyValueStore;
use crate::session::{DenyList, Endings, SessionStore};

/// The setting, for the strategy `jwt` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DenyListMode {
    /// A token is good until it expires.
    #[default]
    Off,
    /// Each service follows the feed, and looks in memory.
    Feed,
    /// Each service asks Redis with each request.
    Redis,
}

impl DenyListMode {
    pub fn read(settings: &mut Settings) -> Self {
        let meaning =
            "how services learn of ended sessions under the strategy jwt: off, feed or redis (asked with each request)";
        settings.or("JWT_DENY_LIST", "off", meaning)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Feed => "feed",
            Self::Redis => "redis",
        }
    }

    /// `feed` and `list` are where endings are written, for as long as an access token may live.
    pub fn endings(
        self,
        feed: Arc<dyn SessionStore>,
        list: Arc<dyn KeyValueStore>,
        longest_token: Duration,
    ) -> Endings {
        match self {
            Self::Off => Endings::Untold,
            Self::Feed => Endings::Announced(feed),
            Self::Redis => Endings::Listed(DenyList::new(list, longest_token)),
        }
    }
}

impl Setting for DenyListMode {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "feed" => Ok(Self::Feed),
            "redis" => Ok(Self::Redis),
            _ => Err(format!("expected off, feed or redis, found {text:?}")),
        }
    }
}
