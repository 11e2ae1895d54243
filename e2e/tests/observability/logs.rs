//! Log lines: each names the request and the trace that it is about.

use e2e::world::expect;
use e2e::{Service, World};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::collector::Collector;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The lines that `shared` writes for each request.
const EACH_REQUEST: (&str, &str) = ("LOG_FILTER", "warn,shared::server=debug");

/// Sends a request in [`TRACE`], and answers its id.
async fn ask(world: &World) -> String {
    let person = world.platform.person();
    let request_id = Uuid::new_v4().to_string();
    let url = person.url(Service::Cart, "/products");
    let headers = [("traceparent", TRACEPARENT), ("X-Request-Id", request_id.as_str())];
    expect(200, person.send(Method::GET, &url, None, &headers).await);
    request_id
}

fn lines(world: &World, request_id: &str) -> Vec<String> {
    let said = world.platform.output();
    let lines: Vec<String> = said.lines().filter(|line| line.contains(request_id)).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "no line names the request {request_id}:\n{said}");
    lines
}

#[tokio::test]
async fn a_line_names_its_request_and_its_trace_as_json() {
    let world = World::all_in_one(&[("LOG_FORMAT", "json"), EACH_REQUEST]).await;
    let request_id = ask(&world).await;
    for line in lines(&world, &request_id) {
        let line: Value = serde_json::from_str(&line).expect("a JSON line");
        let span = &line["span"];
        assert_eq!(span["trace_id"], TRACE, "{line}");
        assert_eq!(span["request_id"], request_id.as_str());
        assert_eq!((&span["service"], &span["method"]), (&"cart-service".into(), &"GET".into()));
        assert_eq!((&span["route"], &line["status"]), (&"/products".into(), &200.into()));
    }
    world.finish();
}

#[tokio::test]
async fn a_line_names_its_request_and_its_trace_for_people() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    // Where traces are sent, too: what belongs into them does not lengthen the lines.
    let world = World::all_in_one(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), EACH_REQUEST]).await;
    let request_id = ask(&world).await;
    for line in lines(&world, &request_id) {
        assert!(line.contains(&format!("trace_id={TRACE}")), "{line}");
        assert!(line.contains(&format!("request_id=\"{request_id}\"")), "{line}");
        assert!(line.contains("route=\"/products\"") && !line.contains("otel.") && !line.contains("http."), "{line}");
    }
    world.finish();
}

#[tokio::test]
async fn a_warning_names_its_request_whatever_the_filter() {
    let Some(mut world) = World::split(&[("LOG_FORMAT", "json"), ("LOG_FILTER", "warn")]).await else { return };
    let product = world.product(5).await;
    let ada = world.platform.customer().await;
    expect(200, ada.add_to_cart(&product, 1).await);
    world.platform.kill(Service::Cart);
    let refused = expect(503, ada.place_order("nobody-answers").await);
    let request_id = refused.header("x-request-id").to_owned();
    let said = lines(&world, &request_id).join("\n");
    let line: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("a JSON line");
    assert_eq!((&line["level"], &line["span"]["route"]), (&"WARN".into(), &"/orders".into()), "{line}");
    assert_eq!(line["span"]["trace_id"].as_str().map(str::len), Some(32), "without a trace of others it has its own");
    world.finish();
}

#[tokio::test]
async fn a_called_service_logs_the_request_and_the_trace_of_its_caller() {
    let Some(world) = World::split(&[("LOG_FORMAT", "json"), EACH_REQUEST]).await else { return };
    let product = world.product(5).await;
    let ada = world.platform.customer().await;
    expect(200, ada.add_to_cart(&product, 1).await);
    let placed = expect(201, ada.place_order("one-request").await);
    let said = lines(&world, placed.header("x-request-id"));
    let said: Vec<Value> = said.iter().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let of = |service: &str| said.iter().find(|line| line["span"]["service"] == service).expect("its line");
    assert_eq!(of("order-service")["span"]["trace_id"], of("cart-service")["span"]["trace_id"]);
    assert_eq!(of("cart-service")["span"]["request_id"], placed.header("x-request-id"));
    world.finish();
}

#[tokio::test]
async fn what_is_no_trace_is_left_alone_and_forges_nothing() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    for settings in [&[("LOG_FORMAT", "json")][..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]] {
        let world = World::all_in_one(&[settings, &[EACH_REQUEST]].concat()).await;
        let person = world.platform.person();
        let url = person.url(Service::Cart, "/products");
        let long = format!("00-{}", "a".repeat(6000));
        let state = format!("x={}", "=,".repeat(2000));
        for (traceparent, tracestate) in [
            ("-", ""),
            ("00-00000000000000000000000000000000-0000000000000000-00", ""),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "shop=1"),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01", ""),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", ""),
            ("00-4bf92f3577b34da6a3ce929d0e0e473\"-00f067aa0ba902b7-01", ""),
            (long.as_str(), ""),
            (TRACEPARENT, "=,=;forged\" level=ERROR"),
            (TRACEPARENT, state.as_str()),
        ] {
            let headers = [("traceparent", traceparent), ("tracestate", tracestate)];
            expect(200, person.send(Method::GET, &url, None, &headers).await);
        }
        assert!(!world.platform.output().contains("forged"));
        expect(200, person.products().await);
    }
}
