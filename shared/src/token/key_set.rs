//! The issuer's published verification keys, as this process knows them. Owns what is good and what was withdrawn; a
//! key set is taken whole or not at all.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use url::Url;

use super::jwk::Jwk;
use super::{KeyFault, PublishedKey, key_refresh, read_object};
use crate::clock_skew::ClockSkew;

/// How many keys a set may have.
const MAX_KEYS: usize = 32;
/// How seldom an unknown key id makes the set be read again, however many arrive.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// How long a request with an unknown key id waits for that.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a key set is refused, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("it is no JSON Web Key Set, or has a member twice")]
    Malformed,
    #[error("it has no key, or more than {MAX_KEYS}")]
    Count,
    /// `index` counts from 0.
    #[error("key {index}: {fault}")]
    Key { index: usize, fault: KeyFault },
}

/// The issuer's published verification keys. A copy is the same set. Empty until the first one is read.
#[derive(Clone)]
pub struct KeySet(Arc<Known>);

struct Known {
    keys: RwLock<HashMap<String, Arc<PublishedKey>>>,
    cool_down: Duration,
    is_kept_fresh: AtomicBool,
    asks: Mutex<Asks>,
    asked: Notify,
    /// Counts the reads that were asked for and are done.
    answered: watch::Sender<u64>,
    skew: ClockSkew,
}

#[derive(Default)]
struct Asks {
    last: Option<Instant>,
    /// A read is asked for and not done.
    open: bool,
}

impl Default for KeySet {
    fn default() -> Self {
        Self::with_cool_down(COOL_DOWN)
    }
}

impl KeySet {
    /// A set that unknown key ids make be read again at most once per `cool_down`.
    pub fn with_cool_down(cool_down: Duration) -> Self {
        Self(Arc::new(Known {
            keys: RwLock::default(),
            cool_down,
            is_kept_fresh: AtomicBool::new(false),
            asks: Mutex::default(),
            asked: Notify::new(),
            answered: watch::Sender::new(0),
            skew: ClockSkew::from("issuer"),
        }))
    }

    /// How far this machine's clock is from the issuer's, by the answers that the set was read from.
    pub fn skew(&self) -> &ClockSkew {
        &self.0.skew
    }

    pub fn has_keys(&self) -> bool {
        !self.0.keys.read().is_empty()
    }

    /// The key of that id, if it is published.
    pub fn find(&self, id: &str) -> Option<Arc<PublishedKey>> {
        self.0.keys.read().get(id).cloned()
    }

    /// Takes a JSON Web Key Set (RFC 7517, section 5) in place of the one known, and answers how many keys it has. Keys
    /// that are no longer in it are withdrawn: what they signed is refused from now on.
    ///
    /// # Errors
    /// One bad key refuses the whole set, and the one known stays: a set that mixes in a weak or symmetric key was not
    /// published by the issuer we trust.
    pub fn replace(&self, jwks_json: &[u8]) -> Result<usize, KeySetError> {
        let read = read(jwks_json)?;
        let mut keys = self.0.keys.write();
        let next: HashMap<String, Arc<PublishedKey>> = read
            .into_iter()
            .map(|(id, key)| {
                let kept = keys.get(&id).filter(|known| known.is_same_as(&key)).cloned();
                (id, kept.unwrap_or_else(|| Arc::new(key)))
            })
            .collect();
        for (id, known) in keys.iter() {
            if !next.get(id).is_some_and(|key| Arc::ptr_eq(key, known)) {
                known.withdraw();
            }
        }
        *keys = next;
        Ok(keys.len())
    }

    /// Reads the set from `jwks_url` until it is first there, then again and again, for ever. While that fails, the last
    /// good set stays. Never through a proxy of the environment, and never by a redirect.
    pub async fn keep_fresh(self, jwks_url: Url) {
        let _marked = KeptFresh::mark(&self.0);
        key_refresh::keep_fresh(&self, jwks_url).await;
    }

    /// Asks for another read, because a token names a key that is not known, and waits for it: at most 2 seconds. One
    /// read serves all who wait; within the cool-down there is none. Answers whether there was one.
    pub async fn refresh_for_unknown_kid(&self) -> bool {
        let known = &*self.0;
        let mut answered = known.answered.subscribe();
        {
            let mut asks = known.asks.lock();
            if !known.is_kept_fresh.load(Ordering::Acquire) {
                return false;
            }
            if !asks.open {
                if asks.last.is_some_and(|last| last.elapsed() < known.cool_down) {
                    return false;
                }
                *asks = Asks { last: Some(Instant::now()), open: true };
                known.asked.notify_one();
            }
        }
        tokio::time::timeout(PATIENCE, answered.changed()).await.is_ok()
    }

    /// Waits until a read is asked for that is not done yet.
    pub(super) async fn is_asked_for(&self) {
        loop {
            self.0.asked.notified().await;
            if self.has_waiters() {
                return;
            }
        }
    }

    /// Whether somebody waits for the read that begins now.
    pub(super) fn has_waiters(&self) -> bool {
        self.0.asks.lock().open
    }

    /// Tells those who wait that it is done.
    pub(super) fn answer_waiters(&self) {
        self.0.asks.lock().open = false;
        self.0.answered.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys.read().values()).finish()
    }
}

/// Stands for the running task, and tells when it ends: nobody waits for a read that never comes.
struct KeptFresh(Arc<Known>);

impl KeptFresh {
    fn mark(known: &Arc<Known>) -> Self {
        known.is_kept_fresh.store(true, Ordering::Release);
        Self(known.clone())
    }
}

impl Drop for KeptFresh {
    fn drop(&mut self) {
        self.0.is_kept_fresh.store(false, Ordering::Release);
        self.0.asks.lock().open = false;
    }
}

fn read(jwks_json: &[u8]) -> Result<HashMap<String, PublishedKey>, KeySetError> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<Jwk>,
    }

    let document: Document = read_object(jwks_json).ok_or(KeySetError::Malformed)?;
    if !(1..=MAX_KEYS).contains(&document.keys.len()) {
        return Err(KeySetError::Count);
    }
    let mut read = HashMap::new();
    for (index, jwk) in document.keys.iter().enumerate() {
        let key = PublishedKey::read(jwk).map_err(|fault| KeySetError::Key { index, fault })?;
        if read.insert(key.id().to_owned(), key).is_some() {
            return Err(KeySetError::Key { index, fault: KeyFault::KeyId });
        }
    }
    Ok(read)
}
