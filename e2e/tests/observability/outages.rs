//! The collector is away, or takes for ever: requests do not notice, and a stop does not wait for long.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use e2e::world::{at_once, expect};
use e2e::{Person, Service, World};

use crate::collector::Collector;

/// Far below the exporter's own patience with the collector.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Spans for more than a full queue, each request in time; then a stop.
async fn requests_do_not_notice(endpoint: &str, more: &[(&str, &str)]) -> World {
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16"),
    ];
    let world = World::all_in_one(&[&settings[..], more].concat()).await;
    let ada = world.platform.customer().await;
    for _ in 0..20 {
        let slowest = at_once(20, async |_| {
            let started = Instant::now();
            expect(200, ada.cart().await);
            started.elapsed()
        });
        let slowest = slowest.await.into_iter().max().expect("some requests");
        assert!(slowest < AT_ONCE, "a request took {slowest:?}");
    }
    world
}

/// How many spans the process has lost.
async fn lost(person: &Person) -> u64 {
    let metrics = expect(200, person.get(&person.url(Service::Auth, "/metrics")).await).body;
    let lost = metrics.as_str().and_then(|text| text.split("roam_spans_total{outcome=\"lost\"} ").nth(1));
    lost.and_then(|text| text.lines().next()?.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    // Bound and dropped: nobody listens there.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("its address").port();
    let world = requests_do_not_notice(&format!("http://127.0.0.1:{port}"), &[]).await;
    let person = world.platform.person();
    let started = Instant::now();
    while lost(&person).await == 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "no span was counted as lost");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let said = world.platform.output();
    let complaints = said.lines().filter(|line| line.contains("the collector does not take traces")).count();
    assert_eq!(complaints, 1, "it is said once");
    world.finish();
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_neither_requests_nor_a_stop() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            std::thread::spawn(move || connection.map(|mut open| open.read_to_end(&mut Vec::new())));
        }
    });
    let mut world = requests_do_not_notice(&endpoint, &[]).await;
    let started = Instant::now();
    world.platform.stop();
    assert!(started.elapsed() < Duration::from_secs(15), "the stop took {:?}", started.elapsed());
    world.finish();
}

#[tokio::test]
async fn a_stop_sends_what_is_left() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    // So long that only the stop can be what sent them.
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "600000")];
    let mut world = World::all_in_one(&settings).await;
    expect(200, world.platform.person().products().await);
    assert_eq!(collector.requests(), 0);
    world.platform.stop();
    assert!(collector.spans().iter().any(|span| span.name == "GET /products"), "{:#?}", collector.spans());
    world.finish();
}
