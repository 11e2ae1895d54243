//! How often a password may be guessed. Owns the counters' keys and limits; counts before any hash is computed, so that
//! parallel guesses cannot outrun it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::key_value::{Key, KeyValueStore};
use shared::problem::Problem;
use shared::request::Network;
use shared::session::{StoreUnavailable, UserId};

use crate::email::Email;

/// `LOGIN_ATTEMPTS_PER_ACCOUNT` and its like: so many in each window.
#[derive(Debug, Clone)]
pub struct ThrottleLimits {
    pub attempts_per_account: u64,
    pub attempts_per_address: u64,
    pub registrations_per_address: u64,
    pub client_failures: u64,
    pub client_registrations_per_address: u64,
    pub window: Duration,
}

/// Too many in this window.
#[derive(Debug, Clone, Copy)]
pub struct Throttled {
    pub retry_after: Duration,
    /// The first one too many of the window: worth an entry in the audit, where each would be a way to fill it.
    pub is_first: bool,
}

impl From<Throttled> for Problem {
    fn from(throttled: Throttled) -> Self {
        let detail = "too many attempts; those who are signed in stay so, others try again later";
        Self::too_many_requests("too_many_attempts", detail, throttled.retry_after)
    }
}

/// Counts attempts. Live sessions and refreshes are never throttled: a victim of guessing stays in.
pub struct Throttle {
    store: Arc<dyn KeyValueStore>,
    limits: ThrottleLimits,
}

impl Throttle {
    pub fn new(store: Arc<dyn KeyValueStore>, limits: ThrottleLimits) -> Self {
        Self { store, limits }
    }

    /// Counts an attempt with a password, for the address and then for the account, whether there is one or not.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be tried.
    pub async fn attempt(
        &self,
        email: &Email,
        address: Option<IpAddr>,
    ) -> Result<Result<(), Throttled>, StoreUnavailable> {
        let by_address = Key::new("login-address", Network::of(address).as_bytes());
        if let Err(throttled) = self.count(&by_address, self.limits.attempts_per_address).await? {
            // An address that is shut out must not go on shutting out accounts.
            return Ok(Err(throttled));
        }
        self.count(&account_key(email), self.limits.attempts_per_account).await
    }

    /// Forgets the attempts on an account: its password was right.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn forget(&self, email: &Email) -> Result<(), StoreUnavailable> {
        self.store.remove(&account_key(email)).await
    }

    /// Counts an attempt to name the current password before it is changed. It has a counter of its own: strangers who
    /// guess at the login must not keep the user from changing it.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be tried.
    pub async fn password_change(&self, user: UserId) -> Result<Result<(), Throttled>, StoreUnavailable> {
        self.count(&password_change_key(user), self.limits.attempts_per_account).await
    }

    /// Forgets those attempts: the password was right.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn forget_password_change(&self, user: UserId) -> Result<(), StoreUnavailable> {
        self.store.remove(&password_change_key(user)).await
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be registered.
    pub async fn registration(&self, address: Option<IpAddr>) -> Result<Result<(), Throttled>, StoreUnavailable> {
        let key = Key::new("register-address", Network::of(address).as_bytes());
        self.count(&key, self.limits.registrations_per_address).await
    }

    /// Counts an attempt to name a device's code (RFC 8628, section 5.1): there are few enough to be guessed.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be tried.
    pub async fn user_code(&self, user: UserId) -> Result<Result<(), Throttled>, StoreUnavailable> {
        self.count(&Key::new("user-code", user.0.as_bytes()), self.limits.attempts_per_account).await
    }

    /// Counts a failure of a client to prove who it is, for the client (all that do not exist are "") and the address. What succeeds is
    /// not counted: a client's secret cannot be guessed, and nobody can shut a client out.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn client_failure(
        &self,
        client_id: &str,
        address: Option<IpAddr>,
    ) -> Result<Result<(), Throttled>, StoreUnavailable> {
        let key = Key::new("client-failure", format!("{client_id} {}", Network::of(address)).as_bytes());
        self.count(&key, self.limits.client_failures).await
    }

    /// Counts an attempt to register a client.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be registered.
    pub async fn client_registration(
        &self,
        address: Option<IpAddr>,
    ) -> Result<Result<(), Throttled>, StoreUnavailable> {
        let key = Key::new("register-client-address", Network::of(address).as_bytes());
        self.count(&key, self.limits.client_registrations_per_address).await
    }

    async fn count(&self, key: &Key, limit: u64) -> Result<Result<(), Throttled>, StoreUnavailable> {
        let counted = self.store.count(key, self.limits.window).await?;
        let throttled = Throttled { retry_after: counted.ends_in, is_first: counted.count == limit.saturating_add(1) };
        Ok(if counted.count > limit { Err(throttled) } else { Ok(()) })
    }
}

fn account_key(email: &Email) -> Key {
    Key::new("login-account", email.as_str().as_bytes())
}

fn password_change_key(user: UserId) -> Key {
    Key::new("password-change", user.0.as_bytes())
}
