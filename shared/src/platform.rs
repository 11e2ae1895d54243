//! What the auth service says of itself, so that a service which is set up otherwise notices it: a member of the provider's
//! metadata, and a mark in its Redis. Owns the form of both and the key; compares nothing.

use serde::{Deserialize, Serialize};

/// The member of the provider's metadata. RFC 8414, section 2, lets a provider add members of its own.
pub const METADATA_MEMBER: &str = "roam_platform";

/// How the auth service is set up, as far as the other services must be set up alike. Times are whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `SESSION_STRATEGY`.
    pub session_strategy: String,
    /// `JWT_DENY_LIST`.
    pub jwt_deny_list: String,
    /// `ACCESS_TOKEN_TTL`.
    pub access_token_ttl: u64,
    /// How long the end of a session matters: `ACCESS_TOKEN_TTL`, or under `cookie` `SESSION_ABSOLUTE_TTL`.
    pub endings_matter: u64,
    pub session_store: PlatformStore,
}

/// Where ends of sessions are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum PlatformStore {
    /// In a Redis. `id` is the one that its mark has; none where Redis has not answered yet.
    Redis {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<String>,
    },
    /// In the memory of the auth service's own processes: no other process hears of them.
    Memory,
}

#[cfg(feature = "redis")]
pub use self::mark::{StoreMark, StoreMarked};

#[cfg(feature = "redis")]
mod mark {
    use std::collections::HashMap;

    use deadpool_redis::redis::{cmd, pipe};

    use super::Platform;
    use crate::redis::{Redis, Slot};
    use crate::session::StoreUnavailable;

    /// A hash: `id`, `issuer`, `session_strategy`, `access_token_ttl`. It has no time to live.
    const KEY: &str = "roam:platform";

    /// The mark of a Redis: whose it is, and a random id by which it is told from every other Redis and database. A copy shares
    /// its connections.
    #[derive(Debug, Clone)]
    pub struct StoreMark(Redis);

    /// What the mark says.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct StoreMarked {
        pub id: String,
        /// Of the platform that wrote it last.
        pub issuer: String,
        pub session_strategy: String,
    }

    impl StoreMark {
        pub fn of(redis: Redis) -> Self {
            Self(redis)
        }

        /// Marks the store, and answers the mark that it has now: `id` counts where it had none.
        ///
        /// # Errors
        /// Redis does not answer, or does not take writes.
        pub async fn write(
            &self,
            id: &str,
            issuer: &str,
            platform: &Platform,
        ) -> Result<StoreMarked, StoreUnavailable> {
            let mut both = pipe();
            both.cmd("HSETNX").arg(KEY).arg("id").arg(id).ignore();
            both.cmd("HSET").arg(KEY).arg("issuer").arg(issuer);
            both.arg("session_strategy").arg(&platform.session_strategy);
            both.arg("access_token_ttl").arg(platform.access_token_ttl).ignore();
            both.cmd("HGETALL").arg(KEY);
            let (fields,): (HashMap<String, String>,) = self.0.pipeline(Slot::of(KEY), &both).await?;
            marked(fields).ok_or_else(|| StoreUnavailable("the mark of the store is not what was written".to_owned()))
        }

        /// The mark, or none where no auth service has this database of this Redis.
        ///
        /// # Errors
        /// Redis does not answer.
        pub async fn read(&self) -> Result<Option<StoreMarked>, StoreUnavailable> {
            let mut get = cmd("HGETALL");
            get.arg(KEY);
            self.0.poll(Slot::of(KEY), &get).await.map(marked)
        }
    }

    fn marked(mut fields: HashMap<String, String>) -> Option<StoreMarked> {
        let id = fields.remove("id")?;
        let mut field = |name: &str| fields.remove(name).unwrap_or_default();
        Some(StoreMarked { id, issuer: field("issuer"), session_strategy: field("session_strategy") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_in_the_metadata_is_a_contract_with_services_of_other_releases() {
        let platform = |session_store| Platform {
            session_strategy: "hybrid".to_owned(),
            jwt_deny_list: "off".to_owned(),
            access_token_ttl: 300,
            endings_matter: 300,
            session_store,
        };
        for (store, told) in [
            (PlatformStore::Redis { id: Some("x".to_owned()) }, serde_json::json!({"kind": "redis", "id": "x"})),
            (PlatformStore::Redis { id: None }, serde_json::json!({"kind": "redis"})),
            (PlatformStore::Memory, serde_json::json!({"kind": "memory"})),
        ] {
            let written = serde_json::to_value(platform(store.clone())).expect("it is written");
            let form = serde_json::json!({
                "session_strategy": "hybrid", "jwt_deny_list": "off", "access_token_ttl": 300, "endings_matter": 300,
                "session_store": told,
            });
            assert_eq!(written, form);
            let mut later = form;
            later["of_a_later_release"] = true.into();
            assert_eq!(serde_json::from_value::<Platform>(later).expect("it is read"), platform(store));
        }
    }
}
