//! What guests may leave behind. Owns the rules of their carts' life and the budget of each network; a guest's cart itself
//! is in storage.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use shared::clock::Clock;
use shared::config::Settings;
use shared::database::Database;
use shared::key_value::{Budget, BudgetLimits, DatabaseKeyValueStore, ENTRY_COST};
use shared::problem::Problem;
use shared::request::{Network, TrustedProxies};

/// What a new cart takes with its first line, its row and both indexes: measured at 1.0 KB on PostgreSQL.
const CART: usize = 1024;

/// The settings of guests' carts.
#[derive(Debug, Clone)]
pub struct GuestRules {
    /// How long a cart lives after its last change.
    pub ttl: Duration,
    pub limits: BudgetLimits,
    pub trusted_proxies: TrustedProxies,
}

impl GuestRules {
    pub(crate) fn read(settings: &mut Settings) -> Self {
        let rules = Self {
            ttl: settings.positive("GUEST_CART_TTL", "7d", "how long a guest's cart lives after its last change"),
            limits: BudgetLimits {
                each: settings.or(
                    "GUEST_CART_BYTES_PER_NETWORK",
                    "262144",
                    "bytes that guests of one network may write in each window: 1024 for a cart, 256 for a change",
                ),
                all_networks: settings.or("GUEST_CART_BYTES", "33554432", "the same of all networks together"),
                window: settings.positive("GUEST_CART_WINDOW", "1h", "the window of these"),
            },
            trusted_proxies: TrustedProxies::read(settings),
        };
        if rules.limits.all_networks < rules.limits.each {
            settings.mistake("GUEST_CART_BYTES: expected at least GUEST_CART_BYTES_PER_NETWORK");
        }
        rules
    }
}

/// A guest's write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// A cart begins.
    Cart,
    /// One that is there changes.
    Change,
}

/// Decides whether a guest may write.
pub(crate) struct Guests {
    pub(crate) ttl: Duration,
    budget: Budget,
    trusted_proxies: TrustedProxies,
}

impl Guests {
    /// The budget is counted in the service's own database, which all replicas share under every strategy.
    pub(crate) fn new(rules: GuestRules, database: &Database, clock: &Clock) -> Self {
        let GuestRules { ttl, limits, trusted_proxies } = rules;
        let store = Arc::new(DatabaseKeyValueStore::new(database.clone(), clock.clone()));
        Self { ttl, budget: Budget::new("guest carts", store, limits, clock.clone()), trusted_proxies }
    }

    /// Counts a write before it is made.
    ///
    /// # Errors
    /// 429 `too_many_requests` with `Retry-After`, or 503 when it cannot be counted: nothing may be written.
    pub(crate) async fn admit(&self, request: &HttpRequest, write: Write) -> Result<(), Problem> {
        let network = Network::of(self.trusted_proxies.address_of(request));
        let (purpose, bytes) = match write {
            Write::Cart => ("guest cart", CART - ENTRY_COST),
            Write::Change => ("change of a guest cart", 0),
        };
        let admitted = self.budget.spend(purpose, &network, bytes).await;
        if admitted.is_err() {
            metrics::counter!("roam_guest_carts_total", "outcome" => "refused").increment(1);
        }
        admitted
    }
}
