//! Liveness, readiness and metrics: what an operator's machines ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use futures_util::future::{BoxFuture, join_all};
use serde_json::json;

use crate::authentication::SingleSignOn;
use crate::problem::Problem;
use crate::telemetry;

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What must be there before a service takes requests.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
    draining: Arc<AtomicBool>,
}

impl Readiness {
    /// Adds a check: `what` is the noun that `/readyz` names when it fails, with the check's reason.
    pub fn check<F>(mut self, what: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push((what, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Ready when the database takes writes.
    #[cfg(feature = "database")]
    pub fn database(self, database: &crate::database::Database) -> Self {
        let probe = crate::database::WriteProbe::new(database.clone());
        self.check("database", move || {
            let probe = probe.clone();
            async move { probe.ask().await.map_err(str::to_owned) }
        })
    }

    /// Ready while the clocks of this machine and of the database agree.
    #[cfg(feature = "database")]
    pub fn clock(self, watch: &crate::database::ClockWatch) -> Self {
        let watch = watch.clone();
        self.check("clock", move || {
            let apart = "the clock of this machine differs by 30 s or more from the database's";
            let agree = if watch.is_in_doubt() { Err(apart.to_owned()) } else { Ok(()) };
            async move { agree }
        })
    }

    /// Ready when the issuer's keys and the revocations have been read.
    pub fn single_sign_on(self, single_sign_on: &SingleSignOn) -> Self {
        let single_sign_on = single_sign_on.clone();
        self.check("single sign-on", move || {
            let missing = single_sign_on.missing();
            async move { if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) } }
        })
    }

    pub(super) fn with_draining(self, draining: Arc<AtomicBool>) -> Self {
        Self { draining, ..self }
    }

    async fn missing(&self) -> Vec<(&'static str, String)> {
        let checks = self.checks.iter().map(|(what, check)| async move {
            let answer = tokio::time::timeout(PATIENCE, check()).await;
            answer.unwrap_or_else(|_| Err("no answer in time".to_owned())).err().map(|reason| (*what, reason))
        });
        join_all(checks).await.into_iter().flatten().collect()
    }
}

/// The process runs.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

/// The service can do its work; else 503 with what is missing.
pub(super) async fn readyz(readiness: web::Data<Readiness>) -> Result<HttpResponse, Problem> {
    let not_ready = |detail: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail);
    if readiness.draining.load(Ordering::Relaxed) {
        return Err(not_ready("the service is stopping"));
    }
    let missing = readiness.missing().await;
    if missing.is_empty() {
        return Ok(HttpResponse::Ok().json(json!({"status": "ready"})));
    }
    Err(missing.into_iter().fold(not_ready("something is missing"), |problem, (what, why)| problem.at(what, why)))
}

/// The process's metrics in Prometheus' text format.
pub(super) async fn metrics() -> HttpResponse {
    let handle = telemetry::metrics();
    handle.run_upkeep();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(handle.render())
}
