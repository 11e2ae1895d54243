//! Every request passes here: its id, its trace, its metrics and the headers of every answer.
//!
//! It costs each request a span for log lines and, where traces are sent, one for the trace. Routes, labels and names are
//! made once for each worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use ahash::RandomState;
use ipnet::IpNet;
use metrics::{Counter, Histogram};
use opentelemetry::trace::{SpanContext, TraceId};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::connection::Peer;
use crate::calls::{self, Cause, TRACES};
use crate::request::sent_method;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

type Map<K, V> = HashMap<K, V, RandomState>;
type Endpoints = RefCell<Map<&'static str, Map<String, Rc<Endpoint>>>>;

/// What one worker knows of the service that it serves.
pub(super) struct Observer {
    service: Arc<str>,
    /// Set while the service drains: clients are asked to come back on another connection.
    closing: Arc<AtomicBool>,
    /// Whose traces go on here.
    trace_callers: Vec<IpNet>,
    /// By method and path, where the route is the path: there are only so many.
    by_path: Endpoints,
    /// By method and route.
    by_route: Endpoints,
    answered: RefCell<Map<StatusCode, Counter>>,
}

/// A method and a route, with what is made of them once.
struct Endpoint {
    method: &'static str,
    /// None where no route is known.
    route: Option<String>,
    seconds: Histogram,
}

impl Endpoint {
    fn label(&self) -> &str {
        self.route.as_deref().unwrap_or("unknown")
    }
}

impl Observer {
    pub(super) fn new(service: &str, closing: Arc<AtomicBool>, trace_callers: Vec<IpNet>) -> Self {
        Self {
            service: service.into(),
            closing,
            trace_callers,
            by_path: Endpoints::default(),
            by_route: Endpoints::default(),
            answered: RefCell::default(),
        }
    }

    fn endpoint(&self, request: &ServiceRequest) -> Rc<Endpoint> {
        let (method, path) = (known_method(sent_method(request.request())), request.path());
        if let Some(known) = self.by_path.borrow().get(method).and_then(|paths| paths.get(path)) {
            return known.clone();
        }
        // The pattern, not the path: a path may carry anything, and would make a metric of its own.
        let route = request.match_pattern();
        let mut by_route = self.by_route.borrow_mut();
        let known = by_route.entry(method).or_default().entry(route.clone().unwrap_or_default());
        let endpoint = known.or_insert_with(|| self.begin(method, route)).clone();
        if endpoint.route.as_deref() == Some(path) {
            self.by_path.borrow_mut().entry(method).or_default().insert(path.to_owned(), endpoint.clone());
        }
        endpoint
    }

    fn begin(&self, method: &'static str, route: Option<String>) -> Rc<Endpoint> {
        let label = route.clone().unwrap_or_else(|| "unknown".to_owned());
        let labels = [("service", self.service.to_string()), ("method", method.to_owned()), ("route", label)];
        Rc::new(Endpoint { method, route, seconds: metrics::histogram!("roam_http_request_seconds", &labels) })
    }

    /// The trace that a request came in, by the word of the gateway or a service. A stranger's word would decide what is
    /// recorded, by its flag and by the trace's id.
    fn incoming(&self, request: &ServiceRequest) -> Option<SpanContext> {
        let caller = request.peer_addr()?.ip().to_canonical();
        let is_ours = self.trace_callers.iter().any(|network| network.contains(&caller));
        if is_ours { calls::incoming(request.headers()) } else { None }
    }

    fn count(&self, status: StatusCode) {
        let mut answered = self.answered.borrow_mut();
        let counter = answered.entry(status).or_insert_with(|| {
            let labels = [("service", self.service.to_string()), ("status", status.as_str().to_owned())];
            metrics::counter!("roam_http_requests_total", &labels)
        });
        counter.increment(1);
    }
}

pub(super) async fn observe(
    observer: Rc<Observer>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let started = Instant::now();
    let endpoint = observer.endpoint(&request);
    let request_id = request_id(request.headers());
    let (arrival, _answering) = Peer::of(request.conn_data()).arrives();
    let (mut cause, line) = begin(&observer, &endpoint, &request, &request_id);
    cause.arrival = Some(Arc::new(arrival));
    let span = cause.span.clone();
    let answer = async {
        let response = next.call(request).await?;
        #[cfg(feature = "pages")]
        let response = crate::pages::errors::as_page(response).await;
        Ok::<_, Error>(response)
    };
    let mut response = calls::because_of(cause, answer.instrument(line.clone())).await?;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        calls::failed(&span, status.as_str());
    }
    let seconds = started.elapsed().as_secs_f64();
    line.in_scope(|| tracing::debug!(status = status.as_u16(), seconds, "answered"));
    endpoint.seconds.record(seconds);
    observer.count(status);
    common_headers(response.headers_mut(), request_id);
    if observer.closing.load(Ordering::Relaxed) {
        // As a header it would be written over.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// The request as the cause of what is done for it, with its span in the trace; and the span of its log lines.
fn begin(
    observer: &Observer,
    endpoint: &Endpoint,
    request: &ServiceRequest,
    request_id: &HeaderValue,
) -> (Cause, Span) {
    let service = &observer.service;
    let incoming = observer.incoming(request);
    let span = server_span(service, endpoint, request);
    if let Some(incoming) = &incoming {
        calls::continue_in(&span, incoming);
    }
    let id = request_id.to_str().unwrap_or_default();
    let known = calls::trace_id(&span).or_else(|| incoming.as_ref().map(SpanContext::trace_id));
    // A request id of our making has the form of a trace's.
    let made_up = || TraceId::from_bytes(Uuid::parse_str(id).unwrap_or_else(|_| Uuid::new_v4()).into_bytes());
    // Errors' level: no filter takes the ids from a line.
    let line = tracing::error_span!(
        parent: None,
        "request",
        service = &**service,
        method = endpoint.method,
        route = endpoint.label(),
        request_id = id,
        trace_id = %known.unwrap_or_else(made_up),
    );
    let cause = Cause { request_id: Some(request_id.clone()), incoming, ..Cause::new(service.clone(), span) };
    (cause, line)
}

/// The request in its trace, by OpenTelemetry's conventions for HTTP servers. Neither the path itself nor the query: they
/// may carry anything.
fn server_span(service: &str, endpoint: &Endpoint, request: &ServiceRequest) -> Span {
    let method = if endpoint.method == "other" { "_OTHER" } else { endpoint.method };
    let verb = if endpoint.method == "other" { "HTTP" } else { endpoint.method };
    let (host, port) = host(request.headers());
    tracing::info_span!(
        target: TRACES,
        parent: None,
        "request",
        "otel.name" = endpoint.route.as_ref().map_or_else(|| verb.to_owned(), |route| format!("{verb} {route}")),
        "otel.kind" = "server",
        "service.name" = service,
        "http.request.method" = method,
        "http.route" = endpoint.route.as_deref(),
        "url.scheme" = "http",
        "server.address" = host,
        "server.port" = port,
        "http.response.status_code" = Empty,
        "otel.status_code" = Empty,
        "error.type" = Empty,
    )
}

/// The address and port that the client asked for.
fn host(headers: &HeaderMap) -> (Option<&str>, Option<u16>) {
    let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()) else { return (None, None) };
    match host.rsplit_once(':').map(|(address, port)| (address, port.parse())) {
        Some((address, Ok(port))) => (Some(address), Some(port)),
        _ => (Some(host), None),
    }
}

fn known_method(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}

/// The caller's request id if it is a plain one (it goes into the log), else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (8..=64).contains(&bytes.len()) && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    headers.get(REQUEST_ID).filter(plain).cloned().unwrap_or_else(|| {
        let mut text = Uuid::encode_buffer();
        let made_up = Uuid::new_v4().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(made_up).expect("a UUID is a header's value")
    })
}

fn common_headers(headers: &mut HeaderMap, request_id: HeaderValue) {
    headers.insert(REQUEST_ID, request_id);
    for (name, value) in [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::X_FRAME_OPTIONS, "DENY")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What an endpoint may say otherwise: a page with forms, or what may be kept.
    for (name, value) in [(header::REFERRER_POLICY, "no-referrer"), (header::CACHE_CONTROL, "no-store")] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn hl4_only_the_platforms_own_traces_are_gone_on_with() {
        let networks = ["10.1.0.0/16", "127.0.0.0/8", "::1/128"].map(|text| text.parse().expect("a network"));
        let observer = Observer::new("test", Arc::default(), networks.to_vec());
        let incoming = |peer: Option<&str>| {
            let request = TestRequest::default()
                .insert_header(("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
                // What a caller says of itself is no proof.
                .insert_header(("x-forwarded-for", "10.1.0.1"));
            let request = match peer {
                Some(peer) => request.peer_addr(peer.parse().expect("an address")),
                None => request,
            };
            observer.incoming(&request.to_srv_request())
        };
        for ours in ["10.1.2.3:4711", "127.0.0.1:4711", "[::1]:4711", "[::ffff:10.1.2.3]:4711"] {
            let context = incoming(Some(ours)).unwrap_or_else(|| panic!("{ours} is not believed"));
            assert!(context.is_sampled() && context.trace_id().to_string().starts_with("4bf9"), "{ours}");
        }
        for stranger in [Some("192.0.2.1:4711"), Some("10.2.0.1:4711"), Some("[2001:db8::1]:4711"), None] {
            assert!(incoming(stranger).is_none(), "{stranger:?} decides what is recorded");
        }
    }
}
