//! When keys are made and taken away, and which of a ring signs. Rules only.

use std::time::Duration;

use serde::Serialize;
use shared::clock::Timestamp;

use super::SigningAlg;
use crate::storage::keys::StoredKey;

/// The shortest time for which a key may be published before it signs.
pub const SHORTEST_LEAD: Duration = Duration::from_secs(30);
/// The longest time for which others may keep the published keys.
const LONGEST_MAX_AGE: Duration = Duration::from_secs(300);
/// The longest time between two reads of the keys.
const LONGEST_RELOAD: Duration = Duration::from_secs(30);
/// How much longer than its last token a retired key is published: other replicas' reload and other machines' clocks.
const MARGIN: Duration = Duration::from_secs(120);

/// When keys are made and taken away. Each algorithm has a ring of keys of its own, and all rings follow the same plan.
#[derive(Debug, Clone)]
pub struct KeyPlan {
    /// The algorithm of access tokens.
    pub alg: SigningAlg,
    /// How long a key signs.
    pub rotation: Duration,
    /// How long it is published before it signs: longer than others keep the published keys.
    pub publish_lead: Duration,
    /// The life of the longest token that a key signs.
    pub token_life: Duration,
}

/// How a new key comes into use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    /// It is published first. A key that is on its way already is not overtaken.
    Planned,
    /// It signs from now on, all others are withdrawn, and nothing that they signed is believed any more: a private key is
    /// in a stranger's hands.
    AtOnce,
}

/// What may be said of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeyStatus {
    pub kid: String,
    #[schema(example = "EdDSA")]
    pub alg: String,
    #[schema(minimum = 1)]
    pub generation: i64,
    /// It signs from here.
    pub activates_at: Timestamp,
    /// Whether it was made by this request; `false` when one was on its way already.
    pub made_now: bool,
}

impl KeyStatus {
    pub(super) fn of(key: &StoredKey, made_now: bool) -> Self {
        Self {
            kid: key.kid.clone(),
            alg: key.alg.clone(),
            generation: key.generation,
            activates_at: key.activates_at,
            made_now,
        }
    }
}

impl KeyPlan {
    /// How long others may keep the published keys (`Cache-Control: max-age`). They may have them from a cache that kept
    /// them as long, and from a replica that is about to read them again: together, that is less than the lead.
    pub fn jwks_max_age(&self) -> Duration {
        (self.publish_lead / 3).min(LONGEST_MAX_AGE)
    }

    /// How often each replica reads the keys again.
    pub fn reload_every(&self) -> Duration {
        (self.publish_lead / 6).min(LONGEST_RELOAD)
    }

    /// Whether the time has come to make the key after a ring's `newest`.
    pub(super) fn is_due(&self, newest: &StoredKey, now: Timestamp) -> bool {
        newest.activates_at + self.rotation <= now + self.publish_lead
    }

    /// When the key after `newest` signs: a ring's first one, and one that replaces a stolen one, at once.
    pub(super) fn activation(&self, newest: Option<&StoredKey>, how: Rotate, now: Timestamp) -> Timestamp {
        match (newest, how) {
            (Some(_), Rotate::Planned) => now + self.publish_lead,
            (None, _) | (_, Rotate::AtOnce) => now,
        }
    }

    /// How long the keys before `next` are published.
    pub(super) fn withdrawal(&self, next: &StoredKey, how: Rotate) -> Timestamp {
        match how {
            Rotate::Planned => next.activates_at + self.token_life + MARGIN,
            Rotate::AtOnce => next.activates_at,
        }
    }
}

pub(super) fn is_published(key: &StoredKey, now: Timestamp) -> bool {
    key.withdrawn_at.is_none_or(|withdrawn_at| withdrawn_at > now)
}

/// Whether it may sign. Of several, the newest does.
pub(super) fn is_in_use(key: &StoredKey, now: Timestamp) -> bool {
    key.activates_at <= now && is_published(key, now)
}
