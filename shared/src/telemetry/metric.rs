//! What each metric means: name, unit, help text, and the values that its label may have. A metric that is described is
//! there from the start, as nought: a rate over it is right from the first event on.

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// One metric, as its owner describes it.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// A label and all its values, where they are known.
    label: Option<(&'static str, &'static [&'static str])>,
    /// Some labels are known only with the first event.
    is_there_from_the_start: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Seconds,
}

impl Metric {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, help, label: None, is_there_from_the_start: true }
    }

    /// Counts events. Its name ends with `_total`.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Counter, help)
    }

    /// How many there are now.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, help)
    }

    /// How long something took: a histogram of seconds. Its name ends with `_seconds`.
    pub const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Seconds, help)
    }

    /// Has one label, with these values.
    pub const fn by(self, label: &'static str, values: &'static [&'static str]) -> Self {
        Self { label: Some((label, values)), ..self }
    }

    /// Has labels that only the events know.
    pub const fn by_event(self) -> Self {
        Self { is_there_from_the_start: false, ..self }
    }

    fn register(self) {
        match self.kind {
            Kind::Counter => describe_counter!(self.name, Unit::Count, self.help),
            Kind::Gauge => describe_gauge!(self.name, Unit::Count, self.help),
            Kind::Seconds => describe_histogram!(self.name, Unit::Seconds, self.help),
        }
        match self.label {
            None if self.is_there_from_the_start => self.begin(Vec::new()),
            None => {}
            Some((label, values)) => {
                values.iter().for_each(|value| self.begin(vec![Label::from_static_parts(label, value)]));
            }
        }
    }

    fn begin(self, labels: Vec<Label>) {
        match self.kind {
            Kind::Counter => counter!(self.name, labels).increment(0),
            Kind::Gauge => gauge!(self.name, labels).increment(0.0),
            Kind::Seconds => drop(histogram!(self.name, labels)),
        }
    }
}

/// Describes a part's metrics. Doing so twice is as good as once.
pub fn describe(metrics: &[Metric]) {
    super::metrics();
    register(metrics);
}

pub(super) fn register(metrics: &[Metric]) {
    metrics.iter().for_each(|metric| metric.register());
}

/// What every service measures alike.
pub(super) const COMMON: &[Metric] = &[
    Metric::gauge("roam_build_info", "One for each service in this process, with its version.").by_event(),
    Metric::seconds(
        "roam_http_request_seconds",
        "How long a request took to be answered, by service, method and route.",
    )
    .by_event(),
    Metric::counter("roam_http_requests_total", "Requests answered, by service and status.").by_event(),
    Metric::counter("roam_late_requests_total", "Requests that came too late to be carried out, by what held them up.")
        .by("why", &["hung_up", "paused", "waited"]),
    Metric::counter("roam_token_checks_total", "Access tokens looked at, by what was found.").by_event(),
    Metric::seconds("roam_revocation_lag_seconds", "How long after the end of a session this process heard of it."),
    Metric::counter("roam_revocation_feed_errors_total", "Reads of the revocation feed that failed."),
    Metric::gauge("roam_revocations_held", "Revocations that are held in memory."),
    Metric::counter("roam_process_pauses_total", "How often this process stood still for 1 second or more."),
    Metric::gauge("roam_clock_ahead_seconds", "How far this machine's clock is ahead of another.")
        .by("of", &["store", "issuer"]),
    Metric::counter("roam_key_set_reads_total", "Reads of the issuer's key set, by how they ended.")
        .by("outcome", &["read", "failed"]),
    Metric::counter(
        "roam_token_exchanges_total",
        "Tokens asked for in a user's name for another service, by what came of it.",
    )
    .by("outcome", &["given", "refused", "unavailable"]),
    Metric::seconds(
        "roam_database_pool_wait_seconds",
        "How long a query waited for a database connection, by service.",
    )
    .by_event(),
    Metric::seconds("roam_database_call_seconds", "How long a query took on its connection, by service.").by_event(),
    Metric::seconds("roam_redis_call_seconds", "How long a call of Redis took, by service and how it ended.")
        .by_event(),
    Metric::counter("roam_budget_refusals_total", "Writes that were refused because a budget is spent, by whose.")
        .by("limit", &crate::key_value::BUDGET_LIMITS),
    Metric::counter("roam_spans_total", "Spans for the collector of traces, by what became of them.")
        .by("outcome", &["sent", "lost"]),
];
