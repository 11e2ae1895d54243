//! The services' books at the end of a run, held against each other and against what the clients were told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::{Platform, Service};

use crate::clients::Client;
use crate::verdict::{Invariant, Verdict};

/// Recovery looks at what failed again and again at most once a minute.
const QUIET: Duration = Duration::from_secs(90);

fn rows(platform: &Platform, service: Service, query: &str) -> Vec<String> {
    platform.sql(service).execute(query).unwrap_or_else(|error| panic!("{query}: {error:#}"))
}

fn number(platform: &Platform, service: Service, query: &str) -> i64 {
    let rows = rows(platform, service, query);
    rows.first().and_then(|row| row.parse().ok()).unwrap_or_else(|| panic!("{query}: no number in {rows:?}"))
}

/// Waits until nothing is under way: recovery has finished what the faults left.
pub(crate) async fn until_quiet(platform: &Platform, verdict: &Verdict) {
    const UNDER_WAY: &str = "SELECT count(*) FROM orders WHERE status IN ('reserved', 'paying', 'cancelling')";
    let started = Instant::now();
    while number(platform, Service::Orders, UNDER_WAY) > 0 {
        if started.elapsed() > QUIET {
            let left = rows(
                platform,
                Service::Orders,
                "SELECT id || ' ' || status FROM orders WHERE status IN ('reserved', 'paying', 'cancelling')",
            );
            return verdict.broken(Invariant::Progress, format!("recovery has not finished in {QUIET:?}: {left:?}"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

pub(crate) fn judge(platform: &Platform, initial_stock: i64, clients: &[Client], verdict: &Verdict) {
    orders(platform, clients, verdict);
    charges(platform, verdict);
    stock(platform, initial_stock, clients, verdict);
}

fn stock(platform: &Platform, initial: i64, clients: &[Client], verdict: &Verdict) {
    let sold: u64 = clients
        .iter()
        .flat_map(|client| &client.orders)
        .filter(|order| order.status != "cancelled")
        .map(|order| order.quantity)
        .sum();
    let held =
        "SELECT COALESCE(SUM(quantity), 0) FROM checkout_lines JOIN checkouts ON id = checkout_id WHERE status = ";
    let confirmed = number(platform, Service::Cart, &format!("{held}'confirmed'"));
    let held = number(platform, Service::Cart, &format!("{held}'held'"));
    let left = number(platform, Service::Cart, "SELECT SUM(stock) FROM products");
    verdict.expect(Invariant::Stock, left == initial - confirmed - held, || {
        format!("{left} are left of {initial}, {confirmed} are sold and {held} held")
    });
    verdict.expect(Invariant::Stock, confirmed == sold as i64, || {
        format!("{confirmed} are sold by the cart service's books, {sold} by what the clients were told")
    });
    // Each order that stands has the hold that it names, and no other hold is confirmed.
    let standing: Vec<String> = rows(
        platform,
        Service::Orders,
        "SELECT checkout_id FROM orders WHERE status IN ('placed', 'paying', 'paid') ORDER BY checkout_id",
    );
    let confirmed =
        rows(platform, Service::Cart, "SELECT id::text FROM checkouts WHERE status = 'confirmed' ORDER BY id::text");
    verdict.expect(Invariant::Stock, standing == confirmed, || {
        let lonely: Vec<_> = confirmed.iter().filter(|id| !standing.contains(id)).collect();
        let bare: Vec<_> = standing.iter().filter(|id| !confirmed.contains(id)).collect();
        format!("confirmed without an order: {lonely:?}; orders without stock: {bare:?}")
    });
}

fn orders(platform: &Platform, clients: &[Client], verdict: &Verdict) {
    let query = "SELECT user_id || ' ' || idempotency_key || ' ' || id || ' ' || status FROM orders \
        WHERE placed_at IS NOT NULL";
    let mut recorded: BTreeMap<(String, String), Vec<(String, String)>> = BTreeMap::new();
    for row in rows(platform, Service::Orders, query) {
        let [user, key, id, status] = &row.split(' ').map(str::to_owned).collect::<Vec<_>>()[..] else {
            panic!("{row} is no order");
        };
        recorded.entry((user.clone(), key.clone())).or_default().push((id.clone(), status.clone()));
    }
    for client in clients {
        for told in &client.orders {
            let found = recorded.remove(&(client.user.clone(), told.key.clone())).unwrap_or_default();
            let expected = [(told.id.clone(), told.status.to_owned())];
            verdict.expect(Invariant::Orders, found == expected, || {
                format!("user {} was told of {told:?}, and the books have {found:?}", client.user)
            });
        }
    }
    verdict.expect(Invariant::Orders, recorded.is_empty(), || format!("no client was told of {recorded:?}"));
}

fn charges(platform: &Platform, verdict: &Verdict) {
    for (query, how) in [
        (
            "SELECT id::text FROM orders WHERE status = 'paid' AND 1 <> (SELECT count(*) FROM test_charges \
             WHERE order_id = id AND outcome = 'approved' AND refunded_at IS NULL AND amount = total)",
            "paid, and not charged once and in full",
        ),
        (
            "SELECT id::text FROM orders WHERE status <> 'paid' AND EXISTS (SELECT 1 FROM test_charges \
             WHERE order_id = id AND outcome = 'approved' AND refunded_at IS NULL)",
            "charged, and neither paid nor refunded",
        ),
        (
            "SELECT id::text FROM orders WHERE paid_at IS NULL AND EXISTS (SELECT 1 FROM test_charges \
             WHERE order_id = id AND refunded_at IS NOT NULL)",
            "refunded, and never paid",
        ),
        (
            "SELECT order_id::text FROM test_charges WHERE outcome = 'approved' GROUP BY order_id HAVING count(*) > 1",
            "charged twice",
        ),
    ] {
        let found = rows(platform, Service::Orders, query);
        verdict.expect(Invariant::Charges, found.is_empty(), || format!("{how}: {found:?}"));
    }
}
