//! What the auth service measures.

use shared::session::EndReason;
use shared::telemetry::Metric;

use crate::back_channel;

pub(crate) const METRICS: &[Metric] = &[
    Metric::counter("roam_logins_total", "Attempts to sign in, by what became of them.").by("outcome", &LOGINS),
    Metric::counter("roam_refreshes_total", "Refresh tokens presented, by what was found.")
        .by("outcome", &["rotated", "repeated", "stolen", "late", "gone", "malformed"]),
    Metric::counter("roam_sessions_ended_total", "Sessions that were ended, by why.").by("reason", &REASONS),
    Metric::counter("roam_backchannel_logouts_total", "Attempts to tell a client of a logout, by what became of them.")
        .by("outcome", &back_channel::OUTCOMES),
    Metric::seconds("roam_backchannel_logout_seconds", "How long a client took to answer a logout token."),
    Metric::gauge("roam_backchannel_logout_queue", "Clients that are still to be told of a logout."),
    Metric::gauge("roam_hash_queue", "Passwords that wait to be hashed."),
    Metric::seconds("roam_hash_wait_seconds", "How long a password waited to be hashed."),
    Metric::seconds("roam_hash_seconds", "How long the hash of one password took."),
];

const LOGINS: [&str; 7] = [
    "signed_in",
    "wrong_password",
    "unknown_account",
    "account_locked",
    "throttled",
    "limit_reached",
    "changed_meanwhile",
];

const REASONS: [&str; 10] = [
    EndReason::Logout.as_str(),
    EndReason::EndedByUser.as_str(),
    EndReason::EndedByAdministrator.as_str(),
    EndReason::PasswordChanged.as_str(),
    EndReason::RolesChanged.as_str(),
    EndReason::AccountLocked.as_str(),
    EndReason::AccountChanged.as_str(),
    EndReason::RefreshTokenReused.as_str(),
    EndReason::LimitReached.as_str(),
    EndReason::Expired.as_str(),
];
