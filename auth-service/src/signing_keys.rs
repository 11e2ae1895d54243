//! The keys that sign tokens: a ring of them for each algorithm. Owns their life: made, published before use, used, retired,
//! withdrawn; one replica of many makes the next. A private key leaves this room only sealed.

mod key_pair;
mod own_token;
mod plan;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use shared::calls;
use shared::clock::{Clock, Timestamp};
use shared::database::{ClockWatch, Database};
use shared::problem::Problem;
use shared::program::Fault;
use shared::token::{AccessClaims, PublishedKey, SharedSecret};

pub use self::key_pair::SigningAlg;
use self::key_pair::{KeyPair, append};
pub use self::plan::{KeyPlan, KeyStatus, Rotate, SHORTEST_LEAD};
use self::plan::{is_in_use, is_published};
use crate::seal::MasterKeys;
use crate::storage::audit::{self, Act, By, Entry};
use crate::storage::keys::{self, StoredKey};

/// How long after its withdrawal what a key signed can still be read back. No session lives longer.
const READ_BACK: Duration = Duration::from_secs(90 * 86_400);
const MASTER_KEY_HELP: &str = "to MASTER_KEY, where several stand with commas between, or at the all-in-one into \
                               DATA_DIR/master.key. If it is lost, \"A lost master key\" in docs/operations.md says how to go on without";
/// The type of access tokens (RFC 9068, section 2.1).
const ACCESS_TOKEN: &str = "at+jwt";

struct KnownKey {
    stored: StoredKey,
    public_jwk: Box<RawValue>,
    public: PublishedKey,
    /// Not there once it is withdrawn.
    private: Option<PrivateKey>,
}

struct PrivateKey {
    pair: KeyPair,
    /// The first part of an access token, which is the same for all of this key.
    header: String,
}

/// The keys as this replica knows them.
pub struct SigningKeys {
    database: Database,
    master_keys: MasterKeys,
    plan: KeyPlan,
    clock: Clock,
    clock_watch: ClockWatch,
    /// Whether `MASTER_KEY` did not open a key when they were last read.
    unreadable: AtomicBool,
    /// Signs access tokens in place of the keys, where there is one.
    shared_secret: Option<SharedSecret>,
    /// Ring by ring; in each, the oldest first.
    known: RwLock<Arc<Vec<Arc<KnownKey>>>>,
}

impl SigningKeys {
    /// Reads the keys, and makes the first ones where there are none: those that take no time. [`SigningKeys::tend`] makes
    /// the others.
    ///
    /// # Errors
    /// The database does not answer, or `MASTER_KEY` does not open a key.
    pub async fn open(
        database: Database,
        master_keys: MasterKeys,
        plan: KeyPlan,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let clock_watch = ClockWatch::new(database.clone());
        let (unreadable, shared_secret, known) = (AtomicBool::new(false), None, RwLock::default());
        let keys = Self { database, master_keys, plan, clock, clock_watch, unreadable, shared_secret, known };
        keys.reload().await?;
        for alg in keys.missing().into_iter().filter(|alg| alg.is_made_quickly()) {
            keys.make_first(alg).await?;
        }
        Ok(keys)
    }

    /// Has this secret sign access tokens, where there is one; all other tokens are the keys' as before.
    pub fn with_shared_secret(self, shared_secret: Option<SharedSecret>) -> Self {
        Self { shared_secret, ..self }
    }

    /// Nothing is signed while this is in doubt: a token's times would mean nothing.
    pub fn clock_watch(&self) -> &ClockWatch {
        &self.clock_watch
    }

    /// # Errors
    /// 503 while this machine's clock is in doubt: nothing that begins now has a time that others can go by.
    pub fn know_the_time(&self) -> Result<(), Problem> {
        if !self.clock_watch.is_in_doubt() {
            return Ok(());
        }
        Err(Problem::unavailable("the clock of this machine", "it differs by 30 s or more from the database's"))
    }

    pub fn plan(&self) -> &KeyPlan {
        &self.plan
    }

    /// Whether another replica has made or sealed keys that this one cannot read: those that it knows may be withdrawn by now.
    pub fn are_unreadable(&self) -> bool {
        self.unreadable.load(Ordering::Acquire)
    }

    /// The algorithms that nothing can be signed with yet.
    pub fn missing(&self) -> Vec<SigningAlg> {
        let known = self.known();
        SigningAlg::ALL.into_iter().filter(|alg| newest(&known, *alg).is_none()).collect()
    }

    /// Makes a ring's first key. Of several replicas that start at once, one makes it: never a second one, as a rotation
    /// would.
    async fn make_first(&self, alg: SigningAlg) -> anyhow::Result<()> {
        let first = self.make(alg, 1, self.clock.now()).await?;
        self.store(&first, Rotate::Planned, &By::SERVICE).await?;
        self.reload().await
    }

    /// Reads the keys again. What was read before stays when it fails.
    ///
    /// # Errors
    /// The database does not answer, or `MASTER_KEY` does not open a key.
    pub async fn reload(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let stored = keys::published(&self.database, now - READ_BACK).await?;
        let before = self.known();
        let mut read = Vec::with_capacity(stored.len());
        for stored in stored {
            // Parsing a private key checks it, which takes long for RSA.
            let kept = before
                .iter()
                .find(|known| known.stored == stored && known.private.is_some() == is_published(&stored, now));
            read.push(match kept {
                Some(kept) => kept.clone(),
                None => {
                    let opened = self.read(stored, now).await;
                    Arc::new(opened.inspect_err(|_| self.unreadable.store(true, Ordering::Release))?)
                }
            });
        }
        self.unreadable.store(false, Ordering::Release);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
        Ok(())
    }

    async fn read(&self, stored: StoredKey, now: Timestamp) -> anyhow::Result<KnownKey> {
        let public_jwk = RawValue::from_string(stored.public_jwk.clone())?;
        let public = PublishedKey::from_jwk(&stored.public_jwk);
        let public = public.with_context(|| format!("signing key {} cannot be read", stored.kid))?;
        let private = if is_published(&stored, now) { Some(self.open_private(&stored).await?) } else { None };
        Ok(KnownKey { public_jwk, public, private, stored })
    }

    async fn open_private(&self, stored: &StoredKey) -> anyhow::Result<PrivateKey> {
        let opened = self.master_keys.open(&sealing_context(&stored.kid), &stored.sealed_private_key);
        let opened = opened.with_context(|| {
            let fault = format!("MASTER_KEY does not open signing key {}", stored.kid);
            Fault::new(fault, format!("put the master key back with which it was sealed: {MASTER_KEY_HELP}"))
        })?;
        let pair = KeyPair::from_pkcs8(&stored.alg, &opened.secret)
            .with_context(|| format!("signing key {} cannot be read", stored.kid))?;
        if !opened.by_first_key {
            let sealed = self.master_keys.seal(&sealing_context(&stored.kid), opened.secret.expose_secret());
            keys::reseal(&self.database, &stored.kid, &stored.sealed_private_key, &sealed).await?;
        }
        Ok(PrivateKey { header: pair.header(ACCESS_TOKEN, &stored.kid), pair })
    }

    fn known(&self) -> Arc<Vec<Arc<KnownKey>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs an access token (RFC 9068) with the newest key in use of the plan's algorithm, or with the shared secret.
    ///
    /// # Errors
    /// 503 when no key is in use, and while this machine's clock is in doubt.
    pub fn sign_access(&self, claims: &AccessClaims) -> Result<String, Problem> {
        self.know_the_time()?;
        match &self.shared_secret {
            Some(secret) => secret.sign(claims).map_err(Problem::internal),
            None => self.sign(ACCESS_TOKEN, self.plan.alg, claims),
        }
    }

    /// Signs a token of type `typ` with the newest key in use of that algorithm.
    ///
    /// # Errors
    /// 503 when no key is in use, and while this machine's clock is in doubt.
    pub fn sign(&self, typ: &str, alg: SigningAlg, claims: &impl Serialize) -> Result<String, Problem> {
        self.know_the_time()?;
        let (known, now) = (self.known(), self.clock.now());
        let in_use = |key: &&Arc<KnownKey>| key.stored.alg == alg.as_str() && is_in_use(&key.stored, now);
        let key = known.iter().rev().find(in_use);
        let unavailable = || Problem::unavailable("the token signer", format!("no {} key is in use", alg.as_str()));
        let (key, private) =
            key.and_then(|key| key.private.as_ref().map(|private| (key, private))).ok_or_else(unavailable)?;
        let mut token = match typ {
            ACCESS_TOKEN => private.header.clone(),
            other => private.pair.header(other, &key.stored.kid),
        };
        append(&mut token, &serde_json::to_vec(claims).map_err(Problem::internal)?);
        let signature = private.pair.sign(token.as_bytes()).map_err(Problem::internal)?;
        append(&mut token, &signature);
        Ok(token)
    }

    /// The claims of a JWT of type `typ` that this platform signed, with a key of any age but no stolen one. Only that: who
    /// reads them looks at `iss`, `aud` and `exp`, as far as they matter; an `id_token_hint` may have expired (OpenID
    /// Connect RP-Initiated Logout, section 2).
    pub fn verify_own(&self, text: &str, typ: &str) -> Option<Map<String, Value>> {
        if let Some(secret) = self.shared_secret.as_ref().filter(|_| typ == ACCESS_TOKEN) {
            return serde_json::from_slice(&secret.open(text).ok()?).ok();
        }
        let known = self.known();
        let is_believed = |key: &&Arc<KnownKey>| key.stored.compromised_at.is_none();
        own_token::read(text, typ, |kid| {
            known.iter().filter(is_believed).find(|key| key.stored.kid == kid).map(|key| &key.public)
        })
    }

    /// The published key set (RFC 7517): keys in use, on their way, and retired ones whose tokens may still live.
    pub fn published(&self) -> PublishedKeys {
        let now = self.clock.now();
        let keys = self.known();
        let mut ordered: Vec<_> = keys.iter().filter(|key| is_published(&key.stored, now)).collect();
        // Some libraries take the first key of a set, and more of them know RSA than any other.
        ordered.sort_by_key(|key| key.stored.alg != SigningAlg::Rs256.as_str());
        PublishedKeys { keys: ordered.into_iter().map(|key| key.public_jwk.clone()).collect() }
    }

    /// Reads the keys again, and makes the next one of each ring when its time has come: the work of a replica again and
    /// again, every [`KeyPlan::reload_every`].
    ///
    /// # Errors
    /// The database does not answer, or `MASTER_KEY` does not open a key.
    pub async fn tend(&self) -> anyhow::Result<()> {
        self.reload().await?;
        // A key that is made by a wrong clock would wait for a time that does not come.
        if !self.clock_watch.is_right().await? {
            return Ok(());
        }
        let (known, now) = (self.known(), self.clock.now());
        for alg in SigningAlg::ALL {
            match newest(&known, alg) {
                None => calls::task("make a signing key", self.make_first(alg)).await?,
                Some(newest) if self.plan.is_due(newest, now) => {
                    let rotating = self.rotate_ring(alg, Rotate::Planned, &By::SERVICE);
                    calls::task("make a signing key", rotating).await?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Makes the next key of one ring, or of each. Of several replicas that do so at once, one makes it, and the others
    /// adopt it.
    ///
    /// # Errors
    /// The database does not answer, or `MASTER_KEY` does not open a key.
    pub async fn rotate(&self, which: Option<SigningAlg>, how: Rotate, by: &By) -> anyhow::Result<Vec<KeyStatus>> {
        let mut newest = Vec::new();
        for alg in SigningAlg::ALL.into_iter().filter(|alg| which.is_none_or(|which| which == *alg)) {
            newest.push(self.rotate_ring(alg, how, by).await?);
        }
        Ok(newest)
    }

    async fn rotate_ring(&self, alg: SigningAlg, how: Rotate, by: &By) -> anyhow::Result<KeyStatus> {
        self.reload().await?;
        let (known, now) = (self.known(), self.clock.now());
        let newest = newest(&known, alg);
        if let Some(pending) = newest.filter(|key| how == Rotate::Planned && key.activates_at > now) {
            return Ok(KeyStatus::of(pending, false));
        }
        let generation = newest.map_or(1, |newest| newest.generation + 1);
        let next = self.make(alg, generation, self.plan.activation(newest, how, now)).await?;
        let made_now = self.store(&next, how, by).await?;
        self.reload().await?;
        let known = self.known();
        let adopted = known.iter().find(|key| key.stored.alg == next.alg && key.stored.generation == generation);
        let adopted = adopted.context("another replica has made and withdrawn a key meanwhile")?;
        Ok(KeyStatus::of(&adopted.stored, made_now))
    }

    async fn make(&self, alg: SigningAlg, generation: i64, activates_at: Timestamp) -> anyhow::Result<StoredKey> {
        // A prime is looked for until one is found: too long for a thread that answers requests.
        let pair = tokio::task::spawn_blocking(move || KeyPair::generate(alg)).await??;
        let kid = pair.thumbprint();
        Ok(StoredKey {
            generation,
            alg: alg.as_str().to_owned(),
            public_jwk: pair.public_jwk(&kid),
            sealed_private_key: self.master_keys.seal(&sealing_context(&kid), pair.to_pkcs8()?.expose_secret()),
            created_at: self.clock.now(),
            activates_at,
            retires_at: None,
            withdrawn_at: None,
            compromised_at: None,
            kid,
        })
    }

    async fn store(&self, next: &StoredKey, how: Rotate, by: &By) -> anyhow::Result<bool> {
        let mut transaction = self.database.begin().await?;
        if !keys::insert(&mut transaction, next).await? {
            return Ok(false);
        }
        keys::retire_before(&mut transaction, next, self.plan.withdrawal(next, how)).await?;
        if how == Rotate::AtOnce {
            keys::distrust_before(&mut transaction, next).await?;
        }
        let detail = format!("{} ({}) signs from {}", next.kid, next.alg, next.activates_at);
        let entry = Entry::done(Act::RotateKeys, by).detail(detail);
        audit::write_in(&mut transaction, self.clock.now(), &entry).await?;
        transaction.commit().await?;
        let (alg, activates_at) = (&next.alg, next.activates_at);
        tracing::info!(kid = next.kid, alg, generation = next.generation, %activates_at, "a signing key was made");
        Ok(true)
    }
}

/// A key set, as it is published.
#[derive(Debug, Serialize)]
pub struct PublishedKeys {
    keys: Vec<Box<RawValue>>,
}

fn newest(known: &[Arc<KnownKey>], alg: SigningAlg) -> Option<&StoredKey> {
    known.iter().rev().find(|key| key.stored.alg == alg.as_str()).map(|key| &key.stored)
}

fn sealing_context(kid: &str) -> String {
    format!("signing key {kid}")
}
