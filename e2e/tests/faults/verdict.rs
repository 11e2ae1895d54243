//! What must hold whatever goes wrong, and what did not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// Stock is what there was less what is sold.
    Stock,
    /// A key that was confirmed is one order, and no other order is there.
    Orders,
    /// Money was taken once for what is paid, and given back for what is not.
    Charges,
    /// A cart holds what its owner was last told.
    CartLines,
    /// A session whose end was confirmed opens nothing, at any replica.
    EndedSessions,
    /// A client that keeps to the contract stays signed in.
    SignedIn,
    /// Every client is served again and again.
    Progress,
    /// No answer is one that the contract does not have.
    Answers,
    /// No answer is a 500.
    NoInternalError,
    NoPanic,
    /// Memory and descriptors do not grow.
    Flat,
}

impl Invariant {
    const ALL: [Self; 11] = [
        Self::Stock,
        Self::Orders,
        Self::Charges,
        Self::CartLines,
        Self::EndedSessions,
        Self::SignedIn,
        Self::Progress,
        Self::Answers,
        Self::NoInternalError,
        Self::NoPanic,
        Self::Flat,
    ];
}

/// What was found. A copy writes into the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<Mutex<BTreeMap<Invariant, Vec<String>>>>);

impl Verdict {
    pub(crate) fn broken(&self, invariant: Invariant, how: impl Into<String>) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.entry(invariant).or_default().push(how.into());
    }

    pub(crate) fn expect(&self, invariant: Invariant, holds: bool, how: impl FnOnce() -> String) {
        if !holds {
            self.broken(invariant, how());
        }
    }

    /// A line for each invariant, and how each broken one was, as far as a reader wants to know.
    pub(crate) fn report(&self) -> String {
        const MOST: usize = 12;
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Invariant::ALL.iter().fold(String::new(), |mut text, invariant| {
            let broken = found.get(invariant).map_or(&[][..], Vec::as_slice);
            let word = if broken.is_empty() { "holds" } else { "BROKEN" };
            let _ = writeln!(
                text,
                "{invariant:?}: {word}{}",
                if broken.is_empty() { String::new() } else { format!(" ({} times)", broken.len()) }
            );
            for how in broken.iter().take(MOST) {
                let _ = writeln!(text, "    {how}");
            }
            text
        })
    }

    pub(crate) fn broken_ones(&self) -> Vec<String> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.keys().map(|invariant| format!("{invariant:?}")).collect()
    }
}
