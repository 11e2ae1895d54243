//! A collector of traces: a real HTTP server that decodes what OTLP brings it (`POST /v1/traces`, protobuf).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use e2e::secrets;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span as WireSpan, TracesData};
use prost::Message as _;

/// How long what the services send in batches may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A span as it arrived. Ids are lowercase hexadecimal digits, as in `traceparent`.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// Of the resource.
    pub(crate) service: String,
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty at the root.
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) is_error: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) nanoseconds: u64,
}

impl Span {
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<Span>,
    /// All that stood in a request, its headers too: what a secret could hide in.
    text: String,
    requests: usize,
}

/// A collector on a port of its own, for as long as the test runs.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    port: u16,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let collector = Self { port, received: Arc::default() };
        let own = collector.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().filter_map(Result::ok) {
                let own = own.clone();
                // A client that goes away in the middle has sent nothing.
                std::thread::spawn(move || own.serve(connection));
            }
        });
        collector
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn serve(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(connection.try_clone()?);
        let mut connection = connection;
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body)?;
            let status = if self.take(&head, &body) { "200 OK" } else { "400 Bad Request" };
            let kind = "content-type: application/x-protobuf";
            write!(connection, "HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: 0\r\n\r\n")?;
        }
    }

    fn take(&self, head: &str, body: &[u8]) -> bool {
        let is_protobuf = head.to_ascii_lowercase().contains("content-type: application/x-protobuf");
        let decoded = ExportTraceServiceRequest::decode(body);
        let Some(request) = decoded.ok().filter(|_| head.starts_with("POST /v1/traces HTTP/1.1") && is_protobuf) else {
            return false;
        };
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.requests += 1;
        received.text.push_str(head);
        received.text.push_str(&String::from_utf8_lossy(body));
        received.spans.extend(spans(request));
        true
    }

    fn received(&self) -> std::sync::MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.received().spans.clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.received().requests
    }

    /// The spans of one trace, once `enough` says that they are all there.
    pub(crate) async fn trace(&self, trace: &str, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let started = Instant::now();
        loop {
            let mut found = self.spans();
            found.retain(|span| span.trace == trace);
            if enough(&found) {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "of the trace {trace} only this has arrived: {found:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// # Panics
    /// A secret that a person sent or saw has arrived. The message does not show it.
    pub(crate) fn assert_no_secret(&self) {
        let known = secrets::secrets();
        let received = self.received();
        assert!(!known.is_empty() && !received.spans.is_empty(), "the search would prove nothing");
        let found = known.iter().filter(|secret| received.text.contains(secret.as_str())).count();
        assert_eq!(found, 0, "secrets stand in what the collector received");
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    // The same message under its other name, which tells the parts of a resource.
    let TracesData { resource_spans } = TracesData { resource_spans: request.resource_spans };
    let mut spans = Vec::new();
    for part in resource_spans {
        let resource = texts(&part.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in part.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(read(span, &resource));
        }
    }
    spans
}

fn read(span: WireSpan, resource: &BTreeMap<String, String>) -> Span {
    Span {
        service: resource.get("service.name").cloned().unwrap_or_default(),
        resource: resource.clone(),
        kind: span.kind(),
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        is_error: span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
        attributes: texts(&span.attributes),
        nanoseconds: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
        state: span.trace_state,
        name: span.name,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(is)) => is.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
