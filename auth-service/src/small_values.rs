//! The service's small values, each write of which has a payer. Owns who that is: there is no way to leave something behind
//! without naming that.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use shared::key_value::{self, Budget, Count, Key, KeyValueStore};
use shared::problem::Problem;
use shared::request::Network;
use shared::session::{StoreUnavailable, UserId};
use shared::token::Thumbprint;

use crate::AuthService;
use crate::clients::Client;

/// Who pays for what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payer {
    /// A caller of whom no more than the address is known.
    Network(Network),
    /// A signed-in user: strangers in the same network cannot use up what is theirs.
    User(UserId),
    /// The holder of this key and of a good grant.
    Key(Thumbprint),
    /// A client that has proved who it is: strangers in its network cannot use up what is its own.
    Client(String),
    /// No payer: how much is written is bounded in another way. The reason stands where this is used.
    Platform,
}

impl Payer {
    pub fn network(address: Option<IpAddr>) -> Self {
        Self::Network(Network::of(address))
    }

    /// A client that an administrator made pays nothing when it has proved who it is. One that is only named, and one that has
    /// registered itself (also after its approval), pays as a stranger.
    pub fn client(service: &AuthService, client: &Client, http: &HttpRequest) -> Self {
        if client.is_public() || client.registered_itself() {
            Self::network(service.trusted_proxies.address_of(http))
        } else {
            Self::Platform
        }
    }
}

/// Small values that expire, as [`KeyValueStore`] keeps them.
pub struct SmallValues {
    store: Arc<dyn KeyValueStore>,
    budget: Budget,
}

impl SmallValues {
    pub fn new(store: Arc<dyn KeyValueStore>, budget: Budget) -> Self {
        Self { store, budget }
    }

    /// As [`KeyValueStore::put`].
    ///
    /// # Errors
    /// 429 when the payer has written too much; 503 when the store does not answer.
    pub async fn put(&self, key: &Key, value: &[u8], ttl: Duration, payer: &Payer) -> Result<(), Problem> {
        self.spend(key, value, payer).await?;
        Ok(self.store.put(key, value, ttl).await?)
    }

    /// As [`KeyValueStore::claim`].
    ///
    /// # Errors
    /// As [`SmallValues::put`].
    pub async fn claim(&self, key: &Key, value: &[u8], ttl: Duration, payer: &Payer) -> Result<bool, Problem> {
        self.spend(key, value, payer).await?;
        Ok(self.store.claim(key, value, ttl).await?)
    }

    /// # Errors
    /// The store does not answer.
    pub async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        self.store.get(key).await
    }

    /// # Errors
    /// The store does not answer.
    pub async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        self.store.take(key).await
    }

    /// As [`KeyValueStore::count`], for a key that only exists for something that was paid for.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn count(&self, key: &Key, window: Duration) -> Result<Count, StoreUnavailable> {
        self.store.count(key, window).await
    }

    /// # Errors
    /// The store does not answer.
    pub async fn remove(&self, key: &Key) -> Result<(), StoreUnavailable> {
        self.store.remove(key).await
    }

    /// As [`KeyValueStore::forget_expired`].
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn forget_expired(&self, limit: i64) -> Result<u64, StoreUnavailable> {
        self.store.forget_expired(limit).await
    }

    /// Whether values can be written: readiness.
    ///
    /// # Errors
    /// The store does not answer, or refuses to write.
    pub async fn ping(&self) -> Result<(), StoreUnavailable> {
        self.store.ping().await
    }

    async fn spend(&self, key: &Key, value: &[u8], payer: &Payer) -> Result<(), Problem> {
        let payer = match payer {
            Payer::Network(network) => key_value::Payer::Network(network),
            Payer::User(user) => key_value::Payer::Known("user", user.0.as_bytes()),
            Payer::Client(id) => key_value::Payer::Known("client", id.as_bytes()),
            Payer::Key(key) => key_value::Payer::Known("key", &key.0),
            Payer::Platform => return Ok(()),
        };
        self.budget.spend(key.purpose(), payer, value.len()).await
    }
}
