//! W3C Trace Context: which trace a request came in, and the headers that carry one on. What cannot be read is left
//! alone, and the request begins a trace of its own.

use actix_web::http::header::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::header::{HeaderName, HeaderValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace that the request came in, if it names a single good one.
pub(crate) fn incoming(headers: &HeaderMap) -> Option<SpanContext> {
    let mut named = headers.get_all("traceparent");
    let well_formed = named.next().is_some_and(|value| is_well_formed(value.as_bytes())) && named.next().is_none();
    if !well_formed {
        return None;
    }
    let states: Vec<&str> = headers.get_all("tracestate").filter_map(|value| value.to_str().ok()).collect();
    let context = TraceContextPropagator::new().extract(&Headers { headers, states: states.join(",") });
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}

/// `VERSION-TRACE-PARENT-FLAGS` in lowercase hexadecimal digits; a later version may go on after them.
fn is_well_formed(text: &[u8]) -> bool {
    let digits = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
    let ends = text.len() == 55 || (text.get(55) == Some(&b'-') && !text.starts_with(b"00"));
    dashes && ends && [0..2, 3..35, 36..52, 53..55].into_iter().all(|part| digits(&text[part]))
}

/// Makes a span that has not begun a child of the trace that the request came in.
pub(crate) fn continue_in(span: &Span, incoming: &SpanContext) {
    // A span that nobody records has no parent to set.
    let _ = span.set_parent(Context::new().with_remote_span_context(incoming.clone()));
}

/// The trace that the span belongs to; none where nobody records it.
pub(crate) fn trace_id(span: &Span) -> Option<TraceId> {
    own_context(span).map(|context| context.span().span_context().trace_id())
}

/// The headers by which a called service continues the span's trace; where nobody records it, the trace as it came in.
pub(crate) fn trace_headers(span: &Span, incoming: Option<&SpanContext>) -> Vec<(HeaderName, HeaderValue)> {
    let passed_on = || incoming.map(|context| Context::new().with_remote_span_context(context.clone()));
    own_context(span).or_else(passed_on).map_or_else(Vec::new, |context| headers_of(&context))
}

fn own_context(span: &Span) -> Option<Context> {
    if span.is_disabled() {
        return None;
    }
    Some(span.context()).filter(|context| context.span().span_context().is_valid())
}

fn headers_of(context: &Context) -> Vec<(HeaderName, HeaderValue)> {
    struct Pairs(Vec<(HeaderName, HeaderValue)>);
    impl Injector for Pairs {
        fn set(&mut self, key: &str, value: String) {
            let name = if key == TRACEPARENT.as_str() { TRACEPARENT } else { TRACESTATE };
            if let Some(value) = HeaderValue::from_str(&value).ok().filter(|value| !value.is_empty()) {
                self.0.push((name, value));
            }
        }
    }
    let mut pairs = Pairs(Vec::new());
    TraceContextPropagator::new().inject_context(context, &mut pairs);
    pairs.0
}

struct Headers<'a> {
    headers: &'a HeaderMap,
    /// All `tracestate` headers are one list.
    states: String,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "tracestate" => Some(self.states.as_str()).filter(|states| !states.is_empty()),
            _ => self.headers.get(key)?.to_str().ok(),
        }
    }

    fn keys(&self) -> Vec<&str> {
        self.headers.keys().map(actix_web::http::header::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn seen(headers: &[(&'static str, &str)]) -> Option<SpanContext> {
        let request = headers.iter().fold(TestRequest::default(), |request, pair| request.append_header(*pair));
        incoming(request.to_http_request().headers())
    }

    #[test]
    fn a_trace_is_continued_with_its_state() {
        let context = seen(&[("traceparent", GOOD), ("tracestate", "a=1"), ("tracestate", "b=2")]).expect("a trace");
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        let passed_on = trace_headers(&Span::none(), Some(&context));
        let text = |name: &str| {
            let found = passed_on.iter().find(|(header, _)| header.as_str() == name);
            found.and_then(|(_, value)| value.to_str().ok()).unwrap_or_default()
        };
        assert_eq!((text("traceparent"), text("tracestate")), (GOOD, "a=1,b=2"));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        assert!(seen(&[("traceparent", &format!("cc{}-what-is-new", &GOOD[2..]))]).is_some());
    }

    #[test]
    fn what_names_no_trace_is_left_alone() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let no_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let (upper, long, short) = (GOOD.to_uppercase(), format!("{GOOD}-01"), &GOOD[..54]);
        let signed = GOOD.replace("-4b", "-+b");
        let reserved = GOOD.replace("00-4b", "ff-4b");
        for text in ["", "00", "a trace", "é", zeros, no_parent, &upper, &long, short, &signed, &reserved] {
            assert!(seen(&[("traceparent", text)]).is_none(), "{text:?} was taken for a trace");
        }
        assert!(seen(&[("traceparent", GOOD), ("traceparent", GOOD)]).is_none(), "which of the two?");
        assert!(seen(&[("traceparent", GOOD), ("tracestate", "=,=;")]).is_some(), "the state is no reason");
    }
}
