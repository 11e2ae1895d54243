//! What the order service measures.

use shared::telemetry::Metric;

pub(crate) const METRICS: &[Metric] = &[
    Metric::counter("roam_orders_total", "Attempts to order, by what became of them.").by(
        "outcome",
        &[
            "placed",
            "refused",
            "too_many_unpaid",
            "too_many_abandoned",
            "expired",
            "abandoned",
            "unavailable",
            "cancelled",
            "overdue",
        ],
    ),
    Metric::counter("roam_payments_total", "Payments, by what became of them.")
        .by("outcome", &["paid", "declined", "unavailable", "refunded"]),
    Metric::seconds("roam_cart_call_seconds", "How long a call of the cart service took, by call and how it ended.")
        .by_event(),
];
