//! Where spans go: to a collector, by OTLP over HTTP, in batches, from a thread of their own. Never in a request's way: a
//! queue that is full, or a collector that does not answer, costs spans and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use parking_lot::Mutex;
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use url::Url;
use uuid::Uuid;

use super::sampling::Sampling;

/// How long the collector may take for one batch, further attempts included.
const PATIENCE: Duration = Duration::from_secs(5);

const SERVICE: &str = "service.name";
const INSTANCE: Key = Key::from_static_str("service.instance.id");

/// # Errors
/// There is no HTTP client to be had.
pub(super) fn provider(process: &str, endpoint: &Url, sampling: Sampling) -> anyhow::Result<SdkTracerProvider> {
    let exporter = ByService {
        endpoint: format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')),
        // It must not be made where an asynchronous runtime is at work.
        client: std::thread::spawn(client).join().map_err(|_| anyhow::anyhow!("the thread panicked"))??,
        process: process.to_owned(),
        instance: Uuid::new_v4(),
        exporters: Mutex::default(),
        is_failing: AtomicBool::new(false),
    };
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampling.sampler())
        .with_resource(Resource::builder().with_service_name(process.to_owned()).build())
        .build())
}

fn client() -> anyhow::Result<Client> {
    let client = Client::builder().timeout(PATIENCE).redirect(Policy::none()).build();
    client.context("no HTTP client for the collector")
}

/// Sends each span in the name of its service: in one process with three services, a trace tells them apart.
#[derive(Debug)]
struct ByService {
    endpoint: String,
    client: Client,
    /// The service of a span that names none.
    process: String,
    instance: Uuid,
    exporters: Mutex<BTreeMap<String, Arc<SpanExporter>>>,
    is_failing: AtomicBool,
}

impl ByService {
    fn exporter(&self, service: &str) -> Result<Arc<SpanExporter>, OTelSdkError> {
        let mut exporters = self.exporters.lock();
        if let Some(exporter) = exporters.get(service) {
            return Ok(exporter.clone());
        }
        let builder = SpanExporter::builder().with_http().with_http_client(self.client.clone());
        let built = builder.with_endpoint(&self.endpoint).with_timeout(PATIENCE).build();
        let mut exporter = built.map_err(|error| OTelSdkError::InternalFailure(error.to_string()))?;
        opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, &self.resource(service));
        let exporter = Arc::new(exporter);
        exporters.insert(service.to_owned(), exporter.clone());
        Ok(exporter)
    }

    /// What `OTEL_RESOURCE_ATTRIBUTES` names, and the service.
    fn resource(&self, service: &str) -> Resource {
        let resource = || {
            Resource::builder()
                .with_service_name(service.to_owned())
                .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        };
        let named = resource().build();
        if named.get(&INSTANCE).is_some() {
            return named;
        }
        resource().with_attribute(KeyValue::new(INSTANCE, self.instance.to_string())).build()
    }

    fn by_service(&self, batch: Vec<SpanData>) -> BTreeMap<String, Vec<SpanData>> {
        batch.into_iter().fold(BTreeMap::new(), |mut parts, mut span| {
            let named = span.attributes.iter().position(|attribute| attribute.key.as_str() == SERVICE);
            let named = named.map(|index| span.attributes.swap_remove(index).value.to_string());
            parts.entry(named.unwrap_or_else(|| self.process.clone())).or_default().push(span);
            parts
        })
    }

    /// Counts what became of some spans, and logs when that changes.
    fn note(&self, spans: u64, outcome: &OTelSdkResult) {
        let word = if outcome.is_ok() { "sent" } else { "lost" };
        metrics::counter!("roam_spans_total", "outcome" => word).increment(spans);
        match outcome {
            Ok(()) if self.is_failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("the collector takes traces again");
            }
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "the collector does not take traces; they are lost until it does");
            }
            _ => {}
        }
    }
}

impl opentelemetry_sdk::trace::SpanExporter for ByService {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut worst = Ok(());
        for (service, spans) in self.by_service(batch) {
            let count = spans.len() as u64;
            let outcome = match self.exporter(&service) {
                Ok(exporter) => opentelemetry_sdk::trace::SpanExporter::export(&*exporter, spans).await,
                Err(error) => Err(error),
            };
            self.note(count, &outcome);
            worst = worst.and(outcome);
        }
        worst
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let exporters = std::mem::take(&mut *self.exporters.lock());
        let outcomes = exporters
            .values()
            .map(|exporter| opentelemetry_sdk::trace::SpanExporter::shutdown_with_timeout(&**exporter, timeout));
        outcomes.fold(Ok(()), OTelSdkResult::and)
    }
}
