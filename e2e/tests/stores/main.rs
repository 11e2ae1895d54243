//! Stores that are several servers: a Redis Cluster, Sentinels, a PostgreSQL with a standby; and what people notice when one
//! of the servers is killed.

mod postgres;
mod redis;

/// A client that tries again and again is not throttled.
const NO_THROTTLE: [(&str, &str); 5] = [
    ("LOGIN_ATTEMPTS_PER_ACCOUNT", "100000"),
    ("LOGIN_ATTEMPTS_PER_ADDRESS", "100000"),
    ("REGISTRATIONS_PER_ADDRESS", "100000"),
    ("MAX_UNPAID_ORDERS", "100000"),
    ("MAX_ABANDONED_ORDERS", "100000"),
];

/// How long an outage may take on a loaded machine. The servers are told to give the other one up after a second.
const OUTAGE: std::time::Duration = std::time::Duration::from_secs(25);

/// What is measured is for the reader, who does not see the output of a test that passes.
fn report(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
