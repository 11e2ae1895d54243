//! When and where a change was made, so that all nodes put any two in the same order. Rules only.

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};

/// A moment of the cluster's hybrid logical clock. The microseconds beyond those of the node's own clock are the counter
/// of a hybrid clock; the node decides between two that fall together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Stamp {
    micros: i64,
    node: u64,
}

impl Stamp {
    pub(super) fn at(self) -> Timestamp {
        Timestamp::from_micros(self.micros)
    }
}

/// Never runs backwards, never behind a change that it has seen, and otherwise as the node's own clock: where clocks
/// differ, all nodes follow the one that is ahead.
pub(super) struct HybridClock {
    clock: Clock,
    node: u64,
    last: i64,
}

impl HybridClock {
    pub(super) fn new(clock: Clock, node: u64) -> Self {
        Self { clock, node, last: 0 }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now().max(Timestamp::from_micros(self.last))
    }

    /// After every stamp that was given or seen.
    pub(super) fn next(&mut self) -> Stamp {
        self.last = self.clock.now().micros().max(self.last.saturating_add(1));
        Stamp { micros: self.last, node: self.node }
    }

    pub(super) fn saw(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp.micros);
    }
}
