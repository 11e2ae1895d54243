//! What the tables forget, and after which time. Owns the task that prunes them in batches; each table's own statement is in
//! its storage. Safe on several replicas: a row that another one has deleted is one row less.

use std::sync::Arc;
use std::time::Duration;

use shared::config::Settings;

use crate::AuthService;
use crate::storage::audit::{self, COUNTED_TOGETHER};
use crate::storage::{clients, endings, grants, keys, outbox};

/// How often the tables are looked through.
const EVERY: Duration = Duration::from_secs(3600);
/// How many rows one statement deletes: few enough that it is over in milliseconds and holds up no request.
const BATCH: i64 = 1_000;
/// How long grants that ended, and logout tokens that no client took, are kept.
const ENDED_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// How long a withdrawn signing key is kept: twice as long as it still opens an `id_token_hint`.
const KEYS_KEPT: Duration = Duration::from_secs(180 * 86_400);

/// Repeats a batch until one was not full, and answers how many rows there were.
macro_rules! in_batches {
    ($batch:expr) => {
        async {
            let mut sum = 0;
            loop {
                let rows = $batch.await?;
                sum += rows;
                if rows < BATCH.unsigned_abs() {
                    return Ok::<u64, sqlx::Error>(sum);
                }
            }
        }
        .await
    };
}

/// How long the audit is kept, by the kind of entry.
#[derive(Debug, Clone)]
pub struct Retention {
    /// What was done.
    pub done: Duration,
    /// What was refused.
    pub refused: Duration,
}

impl Retention {
    pub(crate) fn read(settings: &mut Settings) -> Self {
        let retention = Self {
            done: settings.positive("AUDIT_RETENTION", "400d", "how long the audit keeps what was done"),
            refused: settings.positive(
                "AUDIT_RETENTION_REFUSED",
                "30d",
                "how long the audit keeps what was refused, such as failed logins",
            ),
        };
        if retention.refused < COUNTED_TOGETHER || retention.done < retention.refused {
            settings.mistake("expected 1h <= AUDIT_RETENTION_REFUSED <= AUDIT_RETENTION");
        }
        retention
    }
}

/// Prunes for as long as the service runs.
pub(crate) async fn keep_pruning(service: Arc<AuthService>) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let pruned = match service.keys.clock_watch().is_right().await {
            Ok(true) => prune(&service).await,
            Ok(false) => {
                tracing::warn!("nothing is forgotten while this machine's clock is in doubt");
                continue;
            }
            Err(error) => Err(error),
        };
        match pruned {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "what is not kept any longer was forgotten"),
            Err(error) => tracing::warn!(%error, "what is not kept any longer is forgotten later"),
        }
    }
}

/// Forgets in each table what is not kept any longer, batch by batch until nothing is left, and answers how many rows.
///
/// # Errors
/// The first failure, after each table was tried. The next call goes on.
pub async fn prune(service: &AuthService) -> Result<u64, sqlx::Error> {
    let (database, now, retention) = (&service.database, service.clock.now(), &service.retention);
    let ended = now - ENDED_KEPT;
    let tables = [
        in_batches!(audit::forget_done(database, now - retention.done, BATCH)),
        in_batches!(audit::forget_refused(database, now - retention.refused, BATCH)),
        in_batches!(grants::forget_ended(database, ended, BATCH)),
        in_batches!(outbox::forget_dead(database, ended, BATCH)),
        in_batches!(endings::forget(database, service.remembers_endings_since(), BATCH)),
        in_batches!(keys::forget_withdrawn(database, now - KEYS_KEPT, BATCH)),
        in_batches!(clients::forget_used_initial_tokens(database, now, BATCH)),
        in_batches!(small_values(service)),
    ];
    tables.into_iter().try_fold(0, |sum, rows| rows.map(|rows| sum + rows))
}

async fn small_values(service: &AuthService) -> Result<u64, sqlx::Error> {
    let expired = service.key_values.forget_expired(BATCH).await;
    expired.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))
}
