//! Small values in the memory of one process. Owns the same rules as the scripts on Redis.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Count, Key, KeyValueStore, MOST_AT_ONCE};
use crate::arrival::before_a_note;
use crate::clock::{Clock, Timestamp};
use crate::session::StoreUnavailable;

/// Small values in memory: for one process, and for tests.
pub struct MemoryKeyValueStore {
    clock: Clock,
    state: Mutex<State>,
}

/// Values and counters never meet: one key may have both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Value,
    Counter,
}

struct Entry {
    content: Content,
    expires_at: Timestamp,
}

enum Content {
    Value(Vec<u8>),
    Count(u64),
}

/// Only what has not expired stands here: [`State::prune`] runs before each look.
#[derive(Default)]
struct State {
    entries: HashMap<(Kind, Key), Entry>,
    by_expiry: BTreeSet<(Timestamp, Kind, Key)>,
}

impl State {
    fn prune(&mut self, now: Timestamp) {
        while self.by_expiry.first().is_some_and(|(expires_at, ..)| *expires_at <= now) {
            if let Some((_, kind, key)) = self.by_expiry.pop_first() {
                self.entries.remove(&(kind, key));
            }
        }
    }

    fn put(&mut self, kind: Kind, key: &Key, content: Content, expires_at: Timestamp) {
        self.remove(kind, key);
        self.by_expiry.insert((expires_at, kind, key.clone()));
        self.entries.insert((kind, key.clone()), Entry { content, expires_at });
    }

    fn value(&self, key: &Key) -> Option<&Vec<u8>> {
        match &self.entries.get(&(Kind::Value, key.clone()))?.content {
            Content::Value(value) => Some(value),
            Content::Count(_) => None,
        }
    }

    fn remove(&mut self, kind: Kind, key: &Key) {
        if let Some(((kind, key), entry)) = self.entries.remove_entry(&(kind, key.clone())) {
            self.by_expiry.remove(&(entry.expires_at, kind, key));
        }
    }
}

impl MemoryKeyValueStore {
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Runs `verb` on what has not expired, alone.
    fn with<T>(&self, verb: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.state.lock();
        let now = self.clock.now();
        state.prune(now);
        verb(&mut state, now)
    }
}

#[async_trait]
impl KeyValueStore for MemoryKeyValueStore {
    async fn put(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<(), StoreUnavailable> {
        before_a_note()?;
        self.with(|state, now| state.put(Kind::Value, key, Content::Value(value.to_vec()), now + ttl));
        Ok(())
    }

    async fn claim(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<bool, StoreUnavailable> {
        before_a_note()?;
        Ok(self.with(|state, now| {
            let absent = state.value(key).is_none();
            if absent {
                state.put(Kind::Value, key, Content::Value(value.to_vec()), now + ttl);
            }
            absent
        }))
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        Ok(self.with(|state, _| state.value(key).cloned()))
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        before_a_note()?;
        Ok(self.with(|state, _| {
            let value = state.value(key).cloned();
            state.remove(Kind::Value, key);
            value
        }))
    }

    async fn count_by(&self, key: &Key, amount: u64, window: Duration) -> Result<Count, StoreUnavailable> {
        before_a_note()?;
        Ok(self.with(|state, now| {
            let entry = state.entries.get(&(Kind::Counter, key.clone()));
            let (before, ends_at) = match entry {
                Some(Entry { content: Content::Count(count), expires_at }) => (*count, *expires_at),
                _ => (0, now + window),
            };
            let count = before.saturating_add(amount.min(MOST_AT_ONCE));
            state.put(Kind::Counter, key, Content::Count(count), ends_at);
            Count { count, ends_in: ends_at.since(now) }
        }))
    }

    async fn uncount(&self, key: &Key) -> Result<(), StoreUnavailable> {
        self.with(|state, _| {
            if let Some(Entry { content: Content::Count(count), .. }) =
                state.entries.get_mut(&(Kind::Counter, key.clone()))
            {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    state.remove(Kind::Counter, key);
                }
            }
        });
        Ok(())
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreUnavailable> {
        self.with(|state, _| {
            state.remove(Kind::Value, key);
            state.remove(Kind::Counter, key);
        });
        Ok(())
    }
}
