//! What the cart service measures.

use shared::telemetry::Metric;

pub(crate) const METRICS: &[Metric] = &[
    Metric::counter("roam_checkouts_total", "Checkouts, by what became of them.").by("outcome", &CHECKOUTS),
    Metric::counter("roam_guest_carts_total", "Guests' carts, by what became of them.")
        .by("outcome", &["opened", "refused", "emptied", "merged", "expired"]),
    Metric::counter("roam_sweep_failures_total", "Looks for expired holds and carts that failed."),
];

const CHECKOUTS: [&str; 9] =
    ["held", "repeated", "cart_empty", "insufficient_stock", "failed", "confirmed", "given_up", "cancelled", "expired"];
