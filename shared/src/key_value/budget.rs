//! How much state a caller may leave behind. Owns the counters of it and their limits; keeps nothing else.
//!
//! A caller who is not known pays by network, and all such callers together have a second limit: their state never takes
//! the memory that sessions need. A caller who is known (an account, a client, a key) pays from a budget of its own, so
//! that strangers behind the same address cannot use it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::{Key, KeyValueStore};
use crate::clock::{Clock, Timestamp};
use crate::config::Settings;
use crate::problem::Problem;
use crate::request::{NETWORKS_OF_A_SITE, Network};

/// What an entry costs beside its own bytes: its key, its expiry, and the store's bookkeeping (about 150 bytes on Redis),
/// and its share of the counter that is kept for it.
pub const ENTRY_COST: usize = 256;

/// The values of the label `limit` of `roam_budget_refusals_total`.
#[cfg(feature = "server")]
pub(crate) const LIMITS: [&str; 3] = ["network", "all_networks", "known"];

/// How many bytes may be written in each window, expired ones included.
#[derive(Debug, Clone, Copy)]
pub struct BudgetLimits {
    /// By one network, or by one caller who is known.
    pub each: u64,
    /// By all networks together. Callers who are known do not count towards it.
    pub all_networks: u64,
    pub window: Duration,
}

impl BudgetLimits {
    /// Reads `ANONYMOUS_BYTES_PER_NETWORK`, `ANONYMOUS_BYTES` and `ANONYMOUS_WINDOW`.
    pub fn read(settings: &mut Settings) -> Self {
        let limits = Self {
            each: settings.or(
                "ANONYMOUS_BYTES_PER_NETWORK",
                "1048576",
                "bytes that callers of one network who are not known may leave behind in each window",
            ),
            all_networks: settings.or("ANONYMOUS_BYTES", "16777216", "the same of all networks together"),
            window: settings.positive("ANONYMOUS_WINDOW", "10m", "the window of these"),
        };
        if limits.all_networks < limits.each {
            settings.mistake("ANONYMOUS_BYTES: expected at least ANONYMOUS_BYTES_PER_NETWORK");
        }
        limits
    }

    /// The most bytes that one payer has in a store at any moment, where entries live for `life`: a life touches one window
    /// more than it fills.
    pub fn most_held_by_each(&self, life: Duration) -> u64 {
        self.each.saturating_mul(self.windows_of(life))
    }

    /// The most bytes that all networks together have in a store at any moment, where entries live for `life`.
    pub fn most_held_by_all_networks(&self, life: Duration) -> u64 {
        self.all_networks.saturating_mul(self.windows_of(life))
    }

    fn windows_of(&self, life: Duration) -> u64 {
        u64::try_from(life.as_millis().div_ceil(self.window.as_millis().max(1))).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Who pays for what is written.
#[derive(Debug, Clone, Copy)]
pub enum Payer<'a> {
    /// A caller of whom no more than the address is known.
    Network(&'a Network),
    /// A caller with a proven identity: a word for the kind ("user", "client", "key"), and its id.
    Known(&'static str, &'a [u8]),
}

impl<'a> From<&'a Network> for Payer<'a> {
    fn from(network: &'a Network) -> Self {
        Self::Network(network)
    }
}

/// Bytes that may be written, counted in a key-value store: atomic, and the same for all replicas.
pub struct Budget {
    name: &'static str,
    store: Arc<dyn KeyValueStore>,
    limits: BudgetLimits,
    clock: Clock,
    /// Until when all networks together have spent theirs, as far as this process knows (microseconds). Until then, no
    /// counter is made for another network: they would be state without a bound.
    closed_until: AtomicI64,
}

impl Budget {
    /// Budgets of the same `name` and store are one. The services' common one is called `anonymous`.
    pub fn new(name: &'static str, store: Arc<dyn KeyValueStore>, limits: BudgetLimits, clock: Clock) -> Self {
        Self { name, store, limits, clock, closed_until: AtomicI64::new(i64::MIN) }
    }

    pub fn limits(&self) -> BudgetLimits {
        self.limits
    }

    /// Counts an entry of `bytes`, and [`ENTRY_COST`] for the entry itself, before it is written. `purpose` is a word for
    /// the log.
    ///
    /// # Errors
    /// 429 `too_many_requests` with `Retry-After` when the payer, or all networks together, have written too much in this
    /// window; 503 when it cannot be counted. In both cases nothing may be written.
    pub async fn spend<'a>(
        &self,
        purpose: &str,
        payer: impl Into<Payer<'a>> + Send,
        bytes: usize,
    ) -> Result<(), Problem> {
        let cost = u64::try_from(bytes.saturating_add(ENTRY_COST)).unwrap_or(u64::MAX);
        let payer = payer.into();
        let (key, limit) = match payer {
            Payer::Network(network) => {
                if let Some(rest) = self.is_closed_for() {
                    return Err(refuse("all_networks", rest));
                }
                (self.key("network", network.as_bytes()), "network")
            }
            Payer::Known(kind, id) => (self.key(kind, id), "known"),
        };
        self.count(&key, cost, self.limits.each, (purpose, limit)).await?;
        if let Payer::Network(network) = payer
            && let Some(site) = network.site()
        {
            let key = self.key("site", site.as_bytes());
            self.count(&key, cost, self.limits.each.saturating_mul(NETWORKS_OF_A_SITE), (purpose, limit)).await?;
        }
        if limit == "network" {
            let all = self.key("all", b"");
            let counted = self.count(&all, cost, self.limits.all_networks, (purpose, "all_networks")).await;
            return counted.inspect_err(|problem| self.close(problem));
        }
        Ok(())
    }

    async fn count(
        &self,
        key: &Key,
        cost: u64,
        most: u64,
        (purpose, limit): (&str, &'static str),
    ) -> Result<(), Problem> {
        let counted = self.store.count_by(key, cost, self.limits.window).await?;
        if counted.count <= most {
            return Ok(());
        }
        // Once a window: a line for each refusal would be another thing to fill.
        if counted.count.saturating_sub(cost) <= most {
            tracing::warn!(budget = self.name, purpose, limit, "a budget for this window is spent");
        }
        Err(refuse(limit, counted.ends_in))
    }

    fn key(&self, kind: &str, id: &[u8]) -> Key {
        Key::new("budget", &[self.name.as_bytes(), b"\0", kind.as_bytes(), b"\0", id].concat())
    }

    fn is_closed_for(&self) -> Option<Duration> {
        let until = Timestamp::from_micros(self.closed_until.load(Ordering::Relaxed));
        let now = self.clock.now();
        (now < until).then(|| until.since(now))
    }

    fn close(&self, problem: &Problem) {
        if let Some(seconds) = problem.retry_after_seconds().filter(|_| problem.code() == CODE) {
            let until = self.clock.now() + Duration::from_secs(seconds);
            self.closed_until.store(until.micros(), Ordering::Relaxed);
        }
    }
}

const CODE: &str = "too_many_requests";

fn refuse(limit: &'static str, ends_in: Duration) -> Problem {
    metrics::counter!("roam_budget_refusals_total", "limit" => limit).increment(1);
    Problem::too_many_requests(CODE, "too much has been asked for from this network; try again later", ends_in)
}

#[cfg(test)]
mod tests {
    use super::super::MemoryKeyValueStore;
    use super::*;

    const WINDOW: Duration = Duration::from_secs(600);

    fn budget(each: u64, all_networks: u64) -> (Budget, Clock) {
        let clock = Clock::default();
        let store = Arc::new(MemoryKeyValueStore::new(clock.clone()));
        (Budget::new("test", store, BudgetLimits { each, all_networks, window: WINDOW }, clock.clone()), clock)
    }

    fn network(number: u8) -> Network {
        Network::of(Some([192, 0, 2, number].into()))
    }

    const ENTRY: u64 = 1000 + ENTRY_COST as u64;

    #[tokio::test]
    async fn a_network_that_has_spent_its_budget_waits_for_the_next_window_and_others_do_not() {
        let (budget, clock) = budget(3 * ENTRY, 100 * ENTRY);
        for _ in 0..3 {
            budget.spend("test", &network(1), 1000).await.expect("within the budget");
        }
        clock.advance(WINDOW / 2);
        let refused = budget.spend("test", &network(1), 1000).await.expect_err("beyond the budget");
        assert_eq!((refused.status().as_u16(), refused.code()), (429, CODE));
        assert!(refused.retry_after_seconds().is_some_and(|seconds| (1..=300).contains(&seconds)), "{refused:?}");
        budget.spend("test", &network(2), 1000).await.expect("another network");
        clock.advance(WINDOW / 2);
        budget.spend("test", &network(1), 1000).await.expect("the next window");
    }

    #[tokio::test]
    async fn all_networks_together_have_a_limit_and_then_leave_no_counters_either() {
        let (budget, clock) = budget(3 * ENTRY, 4 * ENTRY);
        for number in [1, 1, 2, 2] {
            budget.spend("test", &network(number), 1000).await.expect("within the budget");
        }
        let refused = budget.spend("test", &network(3), 1000).await.expect_err("beyond the budget of all");
        assert_eq!(refused.status().as_u16(), 429);
        budget.spend("test", &network(4), 1000).await.expect_err("beyond the budget of all");
        let counter = budget.key("network", network(4).as_bytes());
        assert_eq!(budget.store.count_by(&counter, 0, WINDOW).await.expect("a store").count, 0, "it left a counter");
        budget.spend("test", Payer::Known("user", b"ada"), 1000).await.expect("a caller who is known");
        clock.advance(WINDOW);
        budget.spend("test", &network(3), 1000).await.expect("the next window");
    }

    #[tokio::test]
    async fn a_site_with_many_networks_does_not_use_up_what_is_everybodys() {
        let (budget, _) = budget(ENTRY, 100 * ENTRY);
        let of_site = |number: u16| Network::of(Some([0x2001, 0xdb8, 1, number, 0, 0, 0, 1].into()));
        for number in 0..4 {
            budget.spend("test", &of_site(number), 1000).await.expect("within the budget");
        }
        budget.spend("test", &of_site(5), 1000).await.expect_err("beyond the budget of the site");
        budget.spend("test", &network(1), 1000).await.expect("another one");
    }

    #[tokio::test]
    async fn callers_who_are_known_pay_each_for_themselves() {
        let (budget, _) = budget(2 * ENTRY, 2 * ENTRY);
        for who in ["ada", "bob"] {
            for _ in 0..2 {
                budget.spend("test", Payer::Known("user", who.as_bytes()), 1000).await.expect("within the budget");
            }
            budget.spend("test", Payer::Known("user", who.as_bytes()), 1000).await.expect_err("beyond the budget");
        }
        budget.spend("test", Payer::Known("client", b"ada"), 1000).await.expect("another kind of caller");
        budget.spend("test", &network(1), 1000).await.expect("a network");
    }

    #[test]
    fn what_a_payer_holds_at_most_follows_from_the_life_of_entries() {
        let limits = BudgetLimits { each: 1_000, all_networks: 10_000, window: WINDOW };
        assert_eq!(limits.most_held_by_each(Duration::from_secs(60)), 2_000);
        assert_eq!(limits.most_held_by_each(WINDOW), 2_000);
        assert_eq!(limits.most_held_by_all_networks(WINDOW * 3), 40_000);
    }
}
