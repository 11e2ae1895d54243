//! What is remembered until a moment of its own. Rules only.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;

/// Values by key, each with the moment at which it is forgotten.
pub(super) struct Expiring<K, V> {
    values: BTreeMap<K, (V, Timestamp)>,
    by_end: BTreeSet<(Timestamp, K)>,
}

impl<K: Ord + Copy, V: Copy> Expiring<K, V> {
    pub(super) const fn new() -> Self {
        Self { values: BTreeMap::new(), by_end: BTreeSet::new() }
    }

    pub(super) fn get(&self, key: K) -> Option<V> {
        self.values.get(&key).map(|(value, _)| *value)
    }

    pub(super) fn insert(&mut self, key: K, value: V, until: Timestamp) {
        if let Some((_, until)) = self.values.insert(key, (value, until)) {
            self.by_end.remove(&(until, key));
        }
        self.by_end.insert((until, key));
    }

    /// Takes out one whose time has come.
    pub(super) fn pop_expired(&mut self, now: Timestamp) -> Option<(K, V)> {
        let &(until, key) = self.by_end.first().filter(|(until, _)| *until <= now)?;
        self.by_end.remove(&(until, key));
        self.values.remove(&key).map(|(value, _)| (key, value))
    }

    /// Those with a key of `keys`, and until when each is kept.
    pub(super) fn range_with_end(&self, keys: std::ops::RangeInclusive<K>) -> impl Iterator<Item = (K, V, Timestamp)> {
        self.values.range(keys).map(|(key, (value, until))| (*key, *value, *until))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, V)> {
        self.values.iter().map(|(key, (value, _))| (*key, *value))
    }
}
