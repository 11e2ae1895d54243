//! One trace through all services, by W3C Trace Context and OTLP.

use e2e::world::expect;
use e2e::{Answer, Entrance, Person, Service, World};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use uuid::Uuid;

use crate::collector::{Collector, Span};

/// A trace that began outside: its id, and the span that calls.
struct Outside {
    trace: String,
    span: String,
}

impl Outside {
    fn new() -> Self {
        let random = || Uuid::new_v4().simple().to_string();
        Self { trace: random(), span: random()[..16].to_owned() }
    }

    fn traceparent(&self, flags: &str) -> String {
        format!("00-{}-{}-{flags}", self.trace, self.span)
    }
}

/// The settings of every service: to this collector, and soon.
fn exporting(collector: &Collector) -> [(&'static str, String); 2] {
    [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()), ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned())]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

async fn shopper(world: &World) -> Person {
    let product = world.product(5).await;
    let ada = world.platform.customer().await;
    expect(200, ada.add_to_cart(&product, 1).await);
    ada
}

async fn place_order(ada: &Person, headers: &[(&str, &str)]) -> Answer {
    let url = ada.url(Service::Orders, "/orders");
    let key = Uuid::new_v4().to_string();
    ada.send(Method::POST, &url, None, &[&[("Idempotency-Key", key.as_str())], headers].concat()).await
}

#[track_caller]
fn only<'a>(spans: &'a [Span], service: &str, kind: SpanKind, name: &str) -> &'a Span {
    let found: Vec<&Span> =
        spans.iter().filter(|span| span.service == service && span.kind == kind && span.name == name).collect();
    assert_eq!(found.len(), 1, "{service}'s {name} is not there once: {spans:#?}");
    found[0]
}

fn has(spans: &[Span], service: &str, kind: SpanKind, name: &str) -> bool {
    spans.iter().any(|span| span.service == service && span.kind == kind && span.name == name)
}

/// Cart's answer to the last of order's calls, and order's own to its client.
fn is_whole(spans: &[Span]) -> bool {
    has(spans, "cart-service", SpanKind::Server, "POST /checkouts/{id}/confirm")
        && has(spans, "order-service", SpanKind::Server, "POST /orders")
}

/// From the one who sent `outside` to the cart service's answer, span by span.
#[track_caller]
fn assert_goes_through(spans: &[Span], outside: &Outside) {
    let order = only(spans, "order-service", SpanKind::Server, "POST /orders");
    let call = only(spans, "order-service", SpanKind::Client, "POST /checkouts");
    let cart = only(spans, "cart-service", SpanKind::Server, "POST /checkouts");
    assert_eq!((&order.parent, &call.parent, &cart.parent), (&outside.span, &order.id, &call.id));
    assert!(spans.iter().all(|span| span.trace == outside.trace));
    assert!(order.nanoseconds >= call.nanoseconds && call.nanoseconds >= cart.nanoseconds);
}

#[tokio::test]
async fn one_trace_runs_from_order_to_cart() {
    let collector = Collector::start();
    let settings = exporting(&collector);
    let Some(world) = World::split(&borrowed(&settings)).await else { return };
    let ada = shopper(&world).await;
    let outside = Outside::new();
    let trace = [("traceparent", outside.traceparent("01")), ("tracestate", "shop=1".to_owned())];
    expect(201, place_order(&ada, &borrowed(&trace)).await);

    let spans = collector.trace(&outside.trace, is_whole).await;
    assert_goes_through(&spans, &outside);
    let order = only(&spans, "order-service", SpanKind::Server, "POST /orders");
    let port = ada.url(Service::Orders, "").rsplit(':').next().expect("a port").to_owned();
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/orders"),
        ("http.response.status_code", "201"),
        ("url.scheme", "http"),
        ("server.address", "localhost"),
        ("server.port", &port),
    ] {
        assert_eq!(order.attribute(name), value, "{name} of {order:#?}");
    }
    assert_eq!((order.is_error, order.state.as_str()), (false, "shop=1"));
    assert!(!order.resource["service.instance.id"].is_empty() && !order.resource["service.version"].is_empty());

    let call = only(&spans, "order-service", SpanKind::Client, "POST /checkouts/{id}/confirm");
    let cart = only(&spans, "cart-service", SpanKind::Server, "POST /checkouts/{id}/confirm");
    assert_eq!((&cart.parent, &call.parent), (&call.id, &order.id));
    assert_eq!(cart.state, "shop=1");
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("server.address", "localhost"),
        ("url.template", "/checkouts/{id}/confirm"),
    ] {
        assert_eq!(call.attribute(name), value, "{name} of {call:#?}");
    }

    // What each asked of its database, by name and without a value.
    let update = spans.iter().find(|span| span.service == "order-service" && span.name == "UPDATE orders");
    let update = update.expect("what is held is recorded");
    assert_eq!((&update.parent, update.attribute("db.system.name")), (&order.id, "postgresql"));
    assert_eq!((update.attribute("db.operation.name"), update.attribute("db.collection.name")), ("UPDATE", "orders"));
    let cart = only(&spans, "cart-service", SpanKind::Server, "POST /checkouts");
    let transaction = spans.iter().find(|span| span.name == "transaction" && span.parent == cart.id);
    assert_eq!(transaction.expect("the checkout's").attribute("db.system.name"), "postgresql");
    collector.assert_no_secret();
    world.finish();
}

#[tokio::test]
async fn one_trace_runs_from_the_gateway_through_order_to_cart() {
    let collector = Collector::start();
    let settings = exporting(&collector);
    let Some(mut world) = World::with_replicas([1; 3], &borrowed(&settings)).await else { return };
    world.platform.enter_by(Entrance::Gateway);
    let ada = shopper(&world).await;

    // Whatever an outsider names, a trace begins at the gateway, whose own line names it: neither the flag nor the id is the
    // outsider's to choose.
    let outside = Outside::new();
    let named = [("traceparent", outside.traceparent("00")), ("tracestate", "shop=1".to_owned())];
    let placed = expect(201, place_order(&ada, &borrowed(&named)).await);
    let request_id = placed.header("x-request-id").to_owned();
    let said = world.platform.gateway().expect("a gateway").said();
    let line = said.lines().find(|line| line.contains(&request_id)).expect("the request's line");
    let line: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
    let trace = line["trace_id"].as_str().expect("a trace id");
    let spans = collector.trace(trace, is_whole).await;
    let order = only(&spans, "order-service", SpanKind::Server, "POST /orders");
    assert!(!order.parent.is_empty() && order.parent != outside.span, "the gateway is the parent: {order:#?}");
    assert_eq!((order.attribute("server.address"), order.state.as_str()), (Service::Orders.host(), ""));
    assert_ne!(trace, outside.trace);
    // What the order service calls by way of the gateway goes on in that trace.
    let cart = only(&spans, "cart-service", SpanKind::Server, "POST /checkouts");
    assert_eq!(cart.parent, only(&spans, "order-service", SpanKind::Client, "POST /checkouts").id);
    collector.assert_no_secret();
    world.finish();
}

#[tokio::test]
async fn in_one_process_each_span_still_names_its_service() {
    let collector = Collector::start();
    let settings = exporting(&collector);
    // What is logged takes nothing from the traces.
    let world = World::all_in_one(&[borrowed(&settings), vec![("LOG_FILTER", "error")]].concat()).await;
    let ada = shopper(&world).await;
    let outside = Outside::new();
    expect(201, place_order(&ada, &[("traceparent", &outside.traceparent("01"))]).await);
    let spans = collector.trace(&outside.trace, is_whole).await;
    assert_goes_through(&spans, &outside);
    let update = spans.iter().find(|span| span.service == "order-service" && span.name == "UPDATE orders");
    assert_eq!(update.expect("what is held is recorded").attribute("db.system.name"), "sqlite");

    let login = Outside::new();
    let body = serde_json::json!({"email": ada.credentials.email, "password": ada.credentials.password});
    let url = ada.url(Service::Auth, "/auth/login");
    expect(200, ada.send(Method::POST, &url, Some(&body), &[("traceparent", &login.traceparent("01"))]).await);
    let has_login = |spans: &[Span]| has(spans, "auth-service", SpanKind::Server, "POST /auth/login");
    let spans = collector.trace(&login.trace, has_login).await;
    let server = only(&spans, "auth-service", SpanKind::Server, "POST /auth/login");
    assert_eq!(only(&spans, "auth-service", SpanKind::Internal, "check a password").parent, server.id);
    assert!(spans.iter().all(|span| !span.attributes.values().any(|value| value.contains(&ada.credentials.email))));
    collector.assert_no_secret();
    world.finish();
}

#[tokio::test]
async fn a_tasks_trace_is_its_own_and_reaches_the_services_it_calls() {
    let collector = Collector::start();
    let settings = exporting(&collector);
    let world = World::all_in_one(&borrowed(&settings)).await;
    let reading = |spans: &[Span], service: &str| {
        spans.iter().find(|span| span.service == service && span.name == "read the key set").cloned()
    };
    for service in ["auth-service", "cart-service", "order-service"] {
        let started = std::time::Instant::now();
        // Whoever was before auth listened has failed first, and then read it.
        let read = loop {
            let spans = collector.spans();
            let is_read = |span: &&Span| {
                (span.name.as_str(), span.kind) == ("GET /.well-known/jwks.json", SpanKind::Client) && !span.is_error
            };
            let ready = spans.iter().find(|span| span.service == service && is_read(span));
            if let Some(read) = ready {
                break read.clone();
            }
            assert!(started.elapsed().as_secs() < 30, "{service} read no key set: {spans:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        let enough = |spans: &[Span]| {
            reading(spans, service).is_some()
                && has(spans, "auth-service", SpanKind::Server, "GET /.well-known/jwks.json")
        };
        let spans = collector.trace(&read.trace, enough).await;
        let task = reading(&spans, service).expect("the task");
        assert_eq!((task.parent.as_str(), task.kind), ("", SpanKind::Internal), "a trace of its own");
        let server = only(&spans, "auth-service", SpanKind::Server, "GET /.well-known/jwks.json");
        assert_eq!((&read.parent, &server.parent), (&task.id, &read.id));
    }
    // Looking whether there is something to do is no task: no query of the sweeper or of recovery is a trace.
    let orphan = |span: &Span| span.parent.is_empty() && span.attributes.contains_key("db.system.name");
    assert!(!collector.spans().iter().any(orphan), "{:#?}", collector.spans());
    world.finish();
}

#[tokio::test]
async fn a_failure_is_an_error_in_the_trace_and_a_refusal_is_none() {
    let collector = Collector::start();
    let settings = exporting(&collector);
    let Some(mut world) = World::split(&borrowed(&settings)).await else { return };
    let ada = shopper(&world).await;
    let refused = Outside::new();
    let url = ada.url(Service::Orders, &format!("/orders/{}", Uuid::new_v4()));
    expect(404, ada.send(Method::GET, &url, None, &[("traceparent", &refused.traceparent("01"))]).await);
    let name = "GET /orders/{id}";
    let spans = collector.trace(&refused.trace, |spans| has(spans, "order-service", SpanKind::Server, name)).await;
    let span = only(&spans, "order-service", SpanKind::Server, name);
    assert_eq!((span.is_error, span.attribute("http.response.status_code")), (false, "404"));

    world.platform.kill(Service::Cart);
    let failed = Outside::new();
    expect(503, place_order(&ada, &[("traceparent", &failed.traceparent("01"))]).await);
    let name = "POST /orders";
    let spans = collector.trace(&failed.trace, |spans| has(spans, "order-service", SpanKind::Server, name)).await;
    let (server, call) = (
        only(&spans, "order-service", SpanKind::Server, name),
        only(&spans, "order-service", SpanKind::Client, "POST /checkouts"),
    );
    assert_eq!((server.is_error, server.attribute("error.type")), (true, "503"));
    assert_eq!((call.is_error, call.attribute("error.type")), (true, "connect"));

    // What is no route has no name of its own, and its path stands nowhere.
    let unknown = Outside::new();
    let url = ada.url(Service::Orders, "/no/such/path-of-4711");
    expect(404, ada.send(Method::GET, &url, None, &[("traceparent", &unknown.traceparent("01"))]).await);
    let spans = collector.trace(&unknown.trace, |spans| !spans.is_empty()).await;
    assert_eq!((spans[0].name.as_str(), spans[0].attribute("http.route")), ("GET", ""));
    assert!(!format!("{spans:?}").contains("4711"));
    world.finish();
}

#[tokio::test]
async fn a_service_that_records_no_traces_passes_them_on() {
    let collector = Collector::start();
    let settings = exporting(&collector);
    let Some(mut world) = World::split(&[]).await else { return };
    for (name, value) in &settings {
        world.platform.set(Service::Cart, name, value);
    }
    world.platform.restart(Service::Cart).await;
    let ada = shopper(&world).await;
    let outside = Outside::new();
    let trace = [("traceparent", outside.traceparent("01")), ("tracestate", "shop=1".to_owned())];
    expect(201, place_order(&ada, &borrowed(&trace)).await);
    let name = "POST /checkouts";
    let spans = collector.trace(&outside.trace, |spans| has(spans, "cart-service", SpanKind::Server, name)).await;
    let cart = only(&spans, "cart-service", SpanKind::Server, name);
    assert_eq!((&cart.parent, cart.state.as_str()), (&outside.span, "shop=1"), "past the order service");
    world.finish();
}

#[tokio::test]
async fn what_is_recorded_follows_the_caller_and_the_settings() {
    let collector = Collector::start();
    let settings = exporting(&collector);
    let mut world = World::all_in_one(&borrowed(&settings)).await;
    let ada = world.platform.customer().await;
    let ask = async |flags: &str| {
        let outside = Outside::new();
        let url = ada.url(Service::Cart, "/cart");
        expect(200, ada.send(Method::GET, &url, None, &[("traceparent", &outside.traceparent(flags))]).await);
        outside.trace
    };
    let recorded = |trace: &str| collector.spans().iter().any(|span| span.trace == trace);

    // By default: as the caller does. Spans leave in the order in which they ended.
    let (not_recorded, last) = (ask("00").await, ask("01").await);
    collector.trace(&last, |spans| !spans.is_empty()).await;
    assert!(!recorded(&not_recorded), "the caller does not record it");

    for (sampler, share, flags, is_recorded) in [
        ("always_off", "", "01", false),
        ("always_on", "", "00", true),
        ("traceidratio", "0", "01", false),
        ("parentbased_traceidratio", "0", "01", true),
        ("parentbased_traceidratio", "1", "00", false),
    ] {
        world.platform.set(Service::Cart, "OTEL_TRACES_SAMPLER", sampler);
        world.platform.set(Service::Cart, "OTEL_TRACES_SAMPLER_ARG", share);
        world.platform.restart_all().await;
        let mut ada = ada.clone();
        expect(200, ada.log_in().await);
        let outside = Outside::new();
        let url = ada.url(Service::Cart, "/cart");
        expect(200, ada.send(Method::GET, &url, None, &[("traceparent", &outside.traceparent(flags))]).await);
        // A stop sends what is left.
        world.platform.stop();
        assert_eq!(recorded(&outside.trace), is_recorded, "{sampler} {share} {flags}");
        world.platform.restart_all().await;
    }
    world.finish();
}
