//! The calls that this process makes, to another service, a database or Redis, and in whose name: a request's or a
//! task's. Owns their spans and the headers that carry a trace on; never sees a bound value, a query string or a body.
//!
//! A call has a span only within a request or a task, and only where traces are sent; elsewhere it costs one look.

#[cfg(feature = "server")]
mod trace_context;

use std::future::Future;
use std::sync::{Arc, OnceLock};

#[cfg(feature = "server")]
use opentelemetry::trace::SpanContext;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Request, Response};
use tracing::field::Empty;
use tracing::{Instrument as _, Level, Span};
use url::Url;

#[cfg(feature = "server")]
pub(crate) use self::trace_context::{continue_in, incoming, trace_headers, trace_id};
use crate::arrival::Arrival;

/// The target of spans that are sent as traces, and are no part of a log line.
pub const TRACES: &str = "roam::traces";

tokio::task_local! {
    static CAUSE: Cause;
}

static PROCESS: OnceLock<Arc<str>> = OnceLock::new();

/// In whose name something is done.
#[derive(Clone)]
pub(crate) struct Cause {
    pub(crate) service: Arc<str>,
    /// The request's or the task's, and the parent of its calls.
    pub(crate) span: Span,
    /// Called services log it too.
    pub(crate) request_id: Option<actix_web::http::header::HeaderValue>,
    /// Of a request that may change something.
    pub(crate) arrival: Option<Arc<Arrival>>,
    /// The trace that the request came in: it is passed on where the span is not recorded.
    #[cfg(feature = "server")]
    pub(crate) incoming: Option<SpanContext>,
}

impl Cause {
    pub(crate) fn new(service: Arc<str>, span: Span) -> Self {
        Self {
            service,
            span,
            request_id: None,
            arrival: None,
            #[cfg(feature = "server")]
            incoming: None,
        }
    }
}

/// Names the service in whose name everything is done that is neither in a request nor in a task.
pub fn name_process(service: &str) {
    let _ = PROCESS.set(service.into());
}

/// The service in whose name this task works.
pub(crate) fn service() -> Arc<str> {
    let of_process = || PROCESS.get_or_init(|| "unknown".into()).clone();
    CAUSE.try_with(|cause| cause.service.clone()).unwrap_or_else(|_| of_process())
}

/// The id of the request that this is done for.
#[cfg(feature = "pages")]
pub(crate) fn request_id() -> Option<String> {
    let id = CAUSE.try_with(|cause| cause.request_id.clone()).ok()??;
    id.to_str().ok().map(str::to_owned)
}

/// The arrival of the request that this is done for, where it may change something.
pub(crate) fn arrival() -> Option<Arc<Arrival>> {
    CAUSE.try_with(|cause| cause.arrival.clone()).ok()?
}

pub(crate) async fn because_of<T>(cause: Cause, work: impl Future<Output = T>) -> T {
    CAUSE.scope(cause, work).await
}

/// Does `work` in the name of `service`, in no trace: for tasks that mostly look whether there is something to do.
pub async fn in_service<T>(service: impl Into<Arc<str>>, work: impl Future<Output = T>) -> T {
    because_of(Cause::new(service.into(), Span::none()), work).await
}

/// Does `work` of the service's own accord, in a trace of its own that is called `name`.
pub async fn task<T>(name: &'static str, work: impl Future<Output = T>) -> T {
    let service = service();
    let span = tracing::info_span!(
        target: TRACES,
        parent: None,
        "task",
        "otel.name" = name,
        "otel.kind" = "internal",
        "service.name" = &*service,
    );
    #[cfg(feature = "server")]
    let trace_id = trace_id(&span).map(|id| id.to_string());
    #[cfg(not(feature = "server"))]
    let trace_id: Option<String> = None;
    // Errors' level: no filter takes the names from a line.
    let line =
        tracing::error_span!(parent: None, "task", service = &*service, task = name, trace_id = trace_id.as_deref());
    because_of(Cause::new(service, span), work.instrument(line)).await
}

/// A call's span in the current request or task; none outside of them, and none where traces are not sent.
macro_rules! call_span {
    ($name:literal, $($field:tt)*) => {
        if tracing::enabled!(target: TRACES, Level::INFO) {
            let made = CAUSE.try_with(|cause| {
                if cause.span.is_disabled() {
                    return Span::none();
                }
                tracing::info_span!(
                    target: TRACES,
                    parent: &cause.span,
                    $name,
                    "service.name" = &*cause.service,
                    "otel.status_code" = Empty,
                    "error.type" = Empty,
                    $($field)*
                )
            });
            made.unwrap_or_else(|_| Span::none())
        } else {
            Span::none()
        }
    };
}

/// A step within this process that is worth a span of its own.
pub fn step(name: &'static str) -> Span {
    call_span!("step", "otel.name" = name, "otel.kind" = "internal")
}

/// A call of the database `system`. Its other fields are recorded once the query is known.
#[cfg(feature = "database")]
pub(crate) fn database_span(system: &'static str) -> Span {
    call_span!(
        "database",
        "otel.name" = system,
        "otel.kind" = "client",
        "db.system.name" = system,
        "db.operation.name" = Empty,
        "db.collection.name" = Empty,
    )
}

/// A transaction of the database `system`, from its wait for a connection to its end.
#[cfg(feature = "database")]
pub(crate) fn transaction_span(system: &'static str) -> Span {
    call_span!(
        "transaction",
        "otel.name" = "transaction",
        "otel.kind" = "client",
        "db.system.name" = system,
        "db.operation.name" = "transaction",
    )
}

#[cfg(feature = "redis")]
pub(crate) fn redis_span(operation: &str) -> Span {
    call_span!(
        "redis",
        "otel.name" = operation,
        "otel.kind" = "client",
        "db.system.name" = "redis",
        "db.operation.name" = operation,
    )
}

/// Marks a span as failed; `error_type` is one of few words.
pub(crate) fn failed(span: &Span, error_type: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error_type);
}

/// Sends `request` to another service, with the headers that carry on the trace and the request's id. `template` is its
/// path without what differs from call to call: `/checkouts/{id}`.
///
/// # Errors
/// As [`Client::execute`].
pub async fn send(client: &Client, mut request: Request, template: &str) -> reqwest::Result<Response> {
    let span = http_span(&request, template);
    for (name, value) in headers(&span) {
        request.headers_mut().insert(name, value);
    }
    let answer = client.execute(request).await;
    match &answer {
        Ok(answer) => {
            let status = answer.status();
            span.record("http.response.status_code", status.as_u16());
            if status.is_client_error() || status.is_server_error() {
                failed(&span, status.as_str());
            }
        }
        Err(error) if error.is_timeout() => failed(&span, "timeout"),
        Err(error) if error.is_connect() => failed(&span, "connect"),
        Err(_) => failed(&span, "transport"),
    }
    answer
}

fn http_span(request: &Request, template: &str) -> Span {
    let (method, url) = (request.method().as_str(), request.url());
    call_span!(
        "call",
        "otel.name" = format!("{method} {template}"),
        "otel.kind" = "client",
        "http.request.method" = method,
        "url.full" = plain(url),
        "url.template" = template,
        "server.address" = url.host_str().unwrap_or_default(),
        "server.port" = url.port_or_known_default(),
        "http.response.status_code" = Empty,
    )
}

/// The address without what may be a secret.
fn plain(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// What tells a called service in which request it is called, and in which trace (W3C Trace Context).
fn headers(span: &Span) -> Vec<(HeaderName, HeaderValue)> {
    let Ok(cause) = CAUSE.try_with(Cause::clone) else { return Vec::new() };
    let request_id = cause.request_id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
    let request_id = request_id.map(|id| (HeaderName::from_static("x-request-id"), id));
    #[cfg(feature = "server")]
    let trace = trace_headers(span, cause.incoming.as_ref());
    #[cfg(not(feature = "server"))]
    let trace = {
        let _ = span;
        Vec::new()
    };
    request_id.into_iter().chain(trace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_a_trace_has_neither_credentials_nor_a_query() {
        let url = Url::parse("https://user:pass@auth.example:8443/keys?token=x#y").expect("a URL");
        assert_eq!(plain(&url), "https://auth.example:8443/keys");
    }

    #[tokio::test]
    async fn what_is_done_is_done_in_the_name_of_a_service() {
        assert_eq!(in_service("cart-service", async { service() }).await.as_ref(), "cart-service");
        let task = in_service("order-service", task("recover", async { service() }));
        assert_eq!(task.await.as_ref(), "order-service");
    }
}
