//! How this service is set up, as it tells the services that join: in its metadata, and by a mark in its Redis. Owns when the
//! mark is written.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use shared::platform::{Platform, PlatformStore, StoreMark, StoreMarked};
use shared::redis::Redis;
use shared::session::StoreUnavailable;
use uuid::Uuid;

use crate::Config;

/// What this process tells of itself.
pub struct OwnPlatform {
    issuer: String,
    told: Platform,
    /// None where sessions are in memory.
    mark: Option<StoreMark>,
    /// What the store's mark is called, once it was read.
    id: Mutex<Option<String>>,
    is_shared: AtomicBool,
}

impl OwnPlatform {
    /// Touches no network.
    pub(crate) fn new(config: &Config, redis: Option<Redis>) -> Self {
        let told = Platform {
            session_strategy: config.strategy.as_str().to_owned(),
            jwt_deny_list: config.deny_list.as_str().to_owned(),
            access_token_ttl: config.sessions.access_token_ttl.as_secs(),
            endings_matter: config.remember().as_secs(),
            session_store: PlatformStore::Memory,
        };
        let issuer = config.issuer.clone();
        Self { issuer, told, mark: redis.map(StoreMark::of), id: Mutex::default(), is_shared: AtomicBool::new(false) }
    }

    /// How this service is set up.
    pub fn told(&self) -> Platform {
        let session_store = match &self.mark {
            Some(_) => PlatformStore::Redis { id: self.id.lock().clone() },
            None => PlatformStore::Memory,
        };
        Platform { session_store, ..self.told.clone() }
    }

    /// Looks at the store's mark, and writes it at the first look, and where the store has lost it since: under the name that it
    /// had. Safe on several replicas: the first names the store, and the others take that name over.
    ///
    /// # Errors
    /// Redis does not answer; the next call tries again.
    pub async fn keep_marked(&self) -> Result<(), StoreUnavailable> {
        let Some(mark) = &self.mark else { return Ok(()) };
        let known = self.id.lock().clone();
        let found = mark.read().await?;
        self.notice(found.as_ref());
        let now = match (found, &known) {
            (Some(found), Some(_)) => found,
            (_, known) => {
                let made_up = || Uuid::new_v4().simple().to_string();
                mark.write(&known.clone().unwrap_or_else(made_up), &self.issuer, &self.told).await?
            }
        };
        *self.id.lock() = Some(now.id);
        Ok(())
    }

    /// For a command that ends sessions, in a process of its own: with other settings than the service's it would end none, and
    /// say so as if there were none.
    ///
    /// # Errors
    /// Redis does not answer, or its mark is not this platform's.
    pub async fn must_be_the_services(&self) -> anyhow::Result<()> {
        let Some(mark) = &self.mark else { return Ok(()) };
        let next = "set REDIS_URL, SESSION_STRATEGY and ISSUER here to what they are at the auth service that runs; nothing was changed";
        let Some(found) = mark.read().await? else {
            anyhow::bail!("REDIS_URL leads to a Redis, or to a database of it, that no auth service uses: {next}");
        };
        let pairs = [
            ("ISSUER", &found.issuer, &self.issuer),
            ("SESSION_STRATEGY", &found.session_strategy, &self.told.session_strategy),
        ];
        for (setting, there, here) in pairs {
            anyhow::ensure!(
                there == here,
                "{setting} is {here} here, and {there} at the auth service that uses this Redis: {next}"
            );
        }
        Ok(())
    }

    /// Two platforms on one store end each other's sessions, and take each other's marks for their own.
    fn notice(&self, found: Option<&StoreMarked>) {
        let other = found.map(|found| found.issuer.as_str()).filter(|issuer| *issuer != self.issuer);
        if let Some(other) = other
            && !self.is_shared.swap(true, Ordering::AcqRel)
        {
            tracing::warn!(
                other,
                issuer = self.issuer,
                "a platform with another ISSUER has used this Redis (REDIS_URL): if it still runs, give each a database of its own"
            );
        }
    }
}
