//! How often a password may be guessed. Owns the counters' keys and limits; counts before any hash is computed, so that
//! parallel guesses cannot outrun it, and gives back what a right password has used up.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use shared::key_value::{Key, KeyValueStore};
use shared::problem::Problem;
use shared::ration::Ration;
use shared::request::{NETWORKS_OF_A_SITE, Network};
use shared::session::{SessionId, StoreUnavailable, UserId};

use crate::email::Email;

/// `LOGIN_ATTEMPTS_PER_ACCOUNT` and its like: so many in each window.
#[derive(Debug, Clone)]
pub struct ThrottleLimits {
    /// Of one account, from one network or one browser that knows the account.
    pub attempts_per_account: u64,
    /// Of one account, from all networks together.
    pub attempts_per_account_overall: u64,
    pub attempts_per_address: u64,
    pub registrations_per_address: u64,
    pub client_failures: u64,
    pub client_registrations_per_address: u64,
    pub changes_per_owner: u64,
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
        static LINES: Ration = Ration::new();
        LINES.tell("a request is refused for too many attempts", |left_out| {
            let seconds = throttled.retry_after.as_secs();
            tracing::info!(
                seconds,
                left_out,
                "too many attempts (the limits are in docs/operations.md): a request is refused"
            );
        });
        let detail = "too many attempts; those who are signed in stay so, others try again later";
        Self::too_many_requests("too_many_attempts", detail, throttled.retry_after)
    }
}

/// From where a password is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriedFrom {
    /// A browser that has shown that it knows the account: it has a counter of its own, which strangers do not reach.
    KnownBrowser(String),
    Network(Network),
}

impl TriedFrom {
    /// A live session of the account's.
    pub fn session(session: SessionId) -> Self {
        Self::KnownBrowser(format!("session {session}"))
    }

    /// A device cookie of the account's.
    pub fn device(id: &str) -> Self {
        Self::KnownBrowser(format!("device {id}"))
    }
}

/// What one attempt was counted under: give it to [`Throttle::succeeded`] or [`Throttle::untried`], or drop it after a wrong
/// password.
#[must_use]
#[derive(Debug)]
pub struct Attempted {
    /// Of this account and this place alone.
    narrow: Key,
    /// Those that the attempt shares with other accounts or places.
    wide: Vec<Key>,
    /// Counts the account's right passwords.
    right: Key,
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

    /// Counts an attempt with a password, whether there is such an account or not. From a network: for the network first,
    /// then for the account there, then for the account everywhere; where the network is one of a site, for the site before it. A refusal by one counter leaves those before it as they
    /// were: a network that is shut out shuts out no account, and a repeated refusal uses up no budget.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be tried.
    pub async fn attempt(
        &self,
        email: &Email,
        from: &TriedFrom,
    ) -> Result<Result<Attempted, Throttled>, StoreUnavailable> {
        let limits = &self.limits;
        let (narrow, counters) = match from {
            TriedFrom::KnownBrowser(id) => {
                let narrow = Key::new("login-browser", format!("{id} {email}").as_bytes());
                (narrow.clone(), vec![(narrow, limits.attempts_per_account)])
            }
            TriedFrom::Network(network) => {
                let mut counters = from_network("login-address", "", network, limits.attempts_per_address);
                let there = from_network("login-account-network", email.as_str(), network, limits.attempts_per_account);
                let narrow = there[there.len() - 1].0.clone();
                counters.extend(there);
                let everywhere = Key::new("login-account", email.as_str().as_bytes());
                counters.push((everywhere, limits.attempts_per_account_overall));
                (narrow, counters)
            }
        };
        if let Err(throttled) = self.count_all(&counters).await? {
            return Ok(Err(throttled));
        }
        let right = Key::new("login-right", email.as_str().as_bytes());
        let wide = counters.into_iter().map(|(key, _)| key).filter(|key| *key != narrow).collect();
        Ok(Ok(Attempted { narrow, wide, right }))
    }

    /// The password was right: the wrong ones before it, on this account from this place, are forgotten, and the other
    /// counters get back what this attempt has used up. So it is for as many logins of an account in a window as may be tried of it
    /// from everywhere. Right passwords beyond that count as attempts do: each costs a hash, a session and an entry in the audit.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn succeeded(&self, attempted: &Attempted) -> Result<(), StoreUnavailable> {
        if self.count(&attempted.right, self.limits.attempts_per_account_overall).await?.is_err() {
            return Ok(());
        }
        self.store.remove(&attempted.narrow).await?;
        self.give_back(&attempted.wide).await
    }

    /// No password was compared, for a want of ours.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn untried(&self, attempted: &Attempted) -> Result<(), StoreUnavailable> {
        self.give_back(attempted.wide.iter().chain([&attempted.narrow])).await
    }

    async fn give_back(&self, keys: impl IntoIterator<Item = &Key>) -> Result<(), StoreUnavailable> {
        try_join_all(keys.into_iter().map(|key| self.store.uncount(key))).await.map(drop)
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be registered.
    pub async fn registration(&self, address: Option<IpAddr>) -> Result<Result<(), Throttled>, StoreUnavailable> {
        let most = self.limits.registrations_per_address;
        self.count_all(&from_network("register-address", "", &Network::of(address), most)).await
    }

    /// A registration came to nothing for a want of ours.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn not_registered(&self, address: Option<IpAddr>) -> Result<(), StoreUnavailable> {
        let most = self.limits.registrations_per_address;
        let counters = from_network("register-address", "", &Network::of(address), most);
        self.give_back(counters.iter().map(|(key, _)| key)).await
    }

    /// Counts an attempt to name a device's code (RFC 8628, section 5.1): there are few enough to be guessed.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be tried.
    pub async fn user_code(&self, user: UserId) -> Result<Result<(), Throttled>, StoreUnavailable> {
        self.count(&user_code_key(user), self.limits.attempts_per_account).await
    }

    /// There is such a code: naming it uses up nothing.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn user_code_exists(&self, user: UserId) -> Result<(), StoreUnavailable> {
        self.store.uncount(&user_code_key(user)).await
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
        let most = self.limits.client_failures;
        self.count_all(&from_network("client-failure", client_id, &Network::of(address), most)).await
    }

    /// Counts an attempt to register a client.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be registered.
    pub async fn client_registration(
        &self,
        address: Option<IpAddr>,
    ) -> Result<Result<(), Throttled>, StoreUnavailable> {
        let most = self.limits.client_registrations_per_address;
        self.count_all(&from_network("register-client-address", "", &Network::of(address), most)).await
    }

    /// Counts a change that an account or a client makes to what is its own (a name, a registration, a consent): each is a row of
    /// the audit.
    ///
    /// # Errors
    /// Nothing can be counted: nothing may be changed.
    pub async fn own_change(&self, owner: &str) -> Result<Result<(), Throttled>, StoreUnavailable> {
        self.count(&Key::new("own-change", owner.as_bytes()), self.limits.changes_per_owner).await
    }

    /// Counts under each in turn. What one refuses leaves those before it as they were.
    async fn count_all(&self, counters: &[(Key, u64)]) -> Result<Result<(), Throttled>, StoreUnavailable> {
        for (index, (key, limit)) in counters.iter().enumerate() {
            if let Err(throttled) = self.count(key, *limit).await? {
                self.give_back(counters[..index].iter().map(|(key, _)| key)).await?;
                return Ok(Err(throttled));
            }
        }
        Ok(Ok(()))
    }

    async fn count(&self, key: &Key, limit: u64) -> Result<Result<(), Throttled>, StoreUnavailable> {
        let counted = self.store.count(key, self.limits.window).await?;
        let throttled = Throttled { retry_after: counted.ends_in, is_first: counted.count == limit.saturating_add(1) };
        Ok(if counted.count > limit { Err(throttled) } else { Ok(()) })
    }
}

/// The counters of a network and, before it, of its site: a site that is used up makes no counter for each of its networks.
fn from_network(purpose: &'static str, of: &str, network: &Network, limit: u64) -> Vec<(Key, u64)> {
    let counter = |place: &str, limit| (Key::new(purpose, format!("{of} {place}").as_bytes()), limit);
    let site = network.site().map(|site| counter(site, limit.saturating_mul(NETWORKS_OF_A_SITE)));
    site.into_iter().chain([counter(network.as_str(), limit)]).collect()
}

fn user_code_key(user: UserId) -> Key {
    Key::new("user-code", user.0.as_bytes())
}
