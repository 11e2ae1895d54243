//! Logs, traces and metrics in one call. Owns the process's subscriber, the OTLP exporter and the metrics' registry; never
//! writes a token, a password or a cookie.
//!
//! Two kinds of spans, each seen by one reader: those of [`calls::TRACES`] are sent as traces, all others give log lines
//! their fields. So a line stays short, a trace follows OpenTelemetry's conventions, and `LOG_FILTER` takes nothing from it.

mod exporter;
mod metric;
mod sampling;

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};
use url::Url;

pub use self::metric::{Metric, describe};
pub use self::sampling::Sampling;
use crate::calls::{self, TRACES};
use crate::config::{PrivateUrl, Setting, Settings};

/// The filter without a `LOG_FILTER`. It leaves out the steps of libraries, and the errors of actix' dispatcher: it writes one
/// for each malformed request, and an anonymous caller sends as many as it likes.
pub const DEFAULT_FILTER: &str = "info,actix_server=warn,actix_http::h1::dispatcher=off,batch_aint_one=warn";
/// How often the samples of histograms are taken in: whoever never asks for metrics must not pay for them with memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Pretty,
    /// A JSON object a line.
    Json,
}

impl Setting for LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            _ => Err(format!("expected pretty or json, found {text:?}")),
        }
    }
}

#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    pub log_format: LogFormat,
    pub log_filter: String,
    pub otlp_endpoint: Option<Url>,
    pub sampling: Sampling,
}

impl TelemetryConfig {
    pub fn read(settings: &mut Settings) -> Self {
        let filter: String =
            settings.or("LOG_FILTER", DEFAULT_FILTER, "what is logged: info, or such as warn,auth_service=debug");
        if let Err(mistake) = check_filter(&filter) {
            settings.mistake(format!("LOG_FILTER: {mistake}"));
        }
        Self {
            log_format: settings.or("LOG_FORMAT", "pretty", "pretty or json; logs go to the standard error"),
            log_filter: filter,
            otlp_endpoint: settings
                .optional(
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    "where traces go by OTLP over HTTP, such as http://collector:4318; without it none are sent",
                )
                .map(|PrivateUrl(url)| url),
            sampling: Sampling::read(settings),
        }
    }
}

/// A word alone that is no level would be taken for the name of a part of the program, and nothing else would be logged.
fn check_filter(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let alone = |part: &&str| !part.is_empty() && !part.contains(['=', '[', ':']);
    match text.split(',').map(str::trim).filter(alone).find(|part| !is_level(part)) {
        Some(odd) => Err(format!("expected off, error, warn, info, debug or trace, or PART=LEVEL, found {odd:?}")),
        None => EnvFilter::try_new(text).map(drop).map_err(|error| error.to_string()),
    }
}

/// Keeps traces flowing; dropping it sends what is left, for at most 5 seconds.
#[must_use = "traces stop when it is dropped"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Starts logs, traces and metrics for this process, which traces name `process` where no service of it is at work. Call
/// it once, in `main`.
///
/// # Errors
/// A filter that cannot be read, or a subscriber that is there already.
pub fn start(process: &'static str, config: &TelemetryConfig) -> anyhow::Result<Telemetry> {
    calls::name_process(process);
    metrics();
    let filter = EnvFilter::try_new(&config.log_filter).context("LOG_FILTER")?;
    let filter = filter.add_directive(format!("{TRACES}=off").parse()?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let endpoint = config.otlp_endpoint.as_ref();
    let provider = endpoint.map(|endpoint| exporter::provider(process, endpoint, config.sampling)).transpose()?;
    let lines = tracing_subscriber::registry().with(lines.with_filter(filter));
    match &provider {
        // Without a layer for them, the spans of traces are not even made.
        None => lines.try_init()?,
        Some(provider) => lines.with(traces(provider)).try_init()?,
    }
    Ok(Telemetry { provider })
}

fn traces<S: tracing::Subscriber + for<'span> LookupSpan<'span>>(provider: &SdkTracerProvider) -> impl Layer<S> {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("roam"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(filter_fn(|metadata| metadata.target() == TRACES).with_max_level_hint(LevelFilter::INFO))
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.provider.take().map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// The process's metrics; the first call makes them.
pub fn metrics() -> &'static PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| {
        const SECONDS: [f64; 14] =
            [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let recorder = PrometheusBuilder::new().set_buckets(&SECONDS).expect("there are buckets").build_recorder();
        let handle = recorder.handle();
        // Another recorder in the same process (a test's) keeps what it had; this one then stays empty.
        let _ = metrics::set_global_recorder(recorder);
        metric::register(metric::COMMON);
        keep_up(handle.clone());
        handle
    })
}

fn keep_up(handle: PrometheusHandle) {
    let upkeep = move || {
        loop {
            std::thread::sleep(UPKEEP);
            handle.run_upkeep();
        }
    };
    if let Err(error) = std::thread::Builder::new().name("metrics".to_owned()).spawn(upkeep) {
        tracing::warn!(%error, "metrics are kept up only when they are asked for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_would_log_nothing_is_refused() {
        for good in ["info", "WARN", "warn,auth_service=debug", "auth_service=debug", "off", "info,shared::redis=trace"]
        {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for odd in ["warning", "quiet", "true", "info,verbose", "foo=bar=baz"] {
            assert!(check_filter(odd).is_err(), "{odd}");
        }
    }
}
