//! What a node of the cluster measures.

#[cfg(feature = "server")]
use crate::telemetry::Metric;

#[cfg(feature = "server")]
pub(super) const METRICS: &[Metric] = &[
    Metric::gauge("roam_cluster_members", "Nodes of the cluster that are alive, with this one."),
    Metric::gauge("roam_cluster_connections", "Nodes to which this one is connected, and whose answers it waits for."),
    Metric::seconds("roam_cluster_lag_seconds", "How long after a change at another node it was made at this one."),
    Metric::counter(
        "roam_cluster_repairs_total",
        "Changes that were lost on their way, and found by comparing digests.",
    ),
    Metric::counter("roam_cluster_dropped_total", "What was not taken in or not sent, by what it was.")
        .by("what", &["packet", "caller", "frame"]),
];

/// `packet`: of the membership, under no key of ours. `caller`: without a key, or not to be dealt with. `frame`: changes for
/// a node that is too slow; it gets them with the next exchange of digests.
pub(super) fn dropped(what: &'static str) {
    metrics::counter!("roam_cluster_dropped_total", "what" => what).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn set(gauge: &'static str, count: usize) {
    metrics::gauge!(gauge).set(count as f64);
}
