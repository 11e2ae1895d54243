//! Hosts of services that join, which the gateway takes by configuration alone: on a real nginx, with answers of the test's own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use super::gateway_limits::Tried;
use super::{Gateway, GatewayPorts, UNLIMITED, gateway_for_test};
use crate::process::{free_port, wait_until};

/// A replica of a joining service, which says what it is called and for which host it was asked. At `/readyz` it answers this.
fn replica(name: &'static str, readyz: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port().expect("a free port"))).expect("it is free");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, name, readyz));
        }
    });
    port
}

fn answer(mut stream: TcpStream, name: &str, readyz: &str) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut lines = BufReader::new(copy).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let host = head.iter().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
        let status = if request.starts_with("GET /readyz") { readyz } else { "200 OK" };
        let body = format!("{name} for {host}");
        let length = body.len();
        if write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").is_err() {
            return;
        }
    }
}

#[test]
fn a_fourth_host_is_taken_by_configuration_alone_and_spread_over_its_replicas() {
    // The one has no /readyz, as a service that is not of the platform.
    let (one, other) = (replica("one", "404 Not Found"), replica("other", "200 OK"));
    // A name that nginx could not have in a variable, and one that the configuration has for something else.
    let reports = replica("reports", "200 OK");
    let hosts = format!("wish-list=127.0.0.1:{one},127.0.0.1:{other} site=127.0.0.1:{reports}");
    let Some(tried) = Tried::with(&[UNLIMITED, ("GATEWAY_MORE_HOSTS", &hosts)]) else { return };
    let bodies: Vec<String> = (0..8).map(|_| tried.send("wish-list", "192.0.2.1", "GET /wishes", "").body).collect();
    for name in ["one", "other"] {
        assert!(bodies.iter().any(|body| body == &format!("{name} for wish-list.shop.localhost")), "{bodies:?}");
    }
    assert_eq!(tried.send("site", "192.0.2.1", "GET /", "").body, "reports for site.shop.localhost");
    for hidden in ["GET /metrics", "GET /readyz", "GET //healthz"] {
        assert_eq!(tried.send("wish-list", "192.0.2.1", hidden, "").status, 404, "{hidden}");
    }
    let unknown = tried.send("hopes", "192.0.2.1", "GET /", "");
    assert!(
        unknown.status == 421 && unknown.body.contains("orders.shop.localhost, wish-list.shop.localhost"),
        "{}",
        unknown.body
    );
}

#[test]
fn a_replica_of_a_fourth_host_that_is_not_ready_is_left_alone() {
    let (well, ill) = (replica("well", "200 OK"), replica("ill", "503 Service Unavailable"));
    let hosts = format!("wishes=127.0.0.1:{well},127.0.0.1:{ill}");
    let Some(tried) = Tried::with(&[UNLIMITED, ("GATEWAY_MORE_HOSTS", &hosts)]) else { return };
    let settled = wait_until(Duration::from_secs(20), || {
        let all = (0..6).map(|_| tried.send("wishes", "192.0.2.1", "GET /", "").body);
        Ok(all.collect::<Vec<_>>().iter().all(|body| body.starts_with("well")))
    });
    assert!(settled.expect("it answers"), "the replica that is not ready is still asked");
}

#[test]
fn a_host_that_makes_no_sense_is_refused_by_name() {
    let Some(()) = gateway_for_test() else { return };
    for hosts in [
        "wishes",
        "wishes=127.0.0.1",
        "wishes=127.0.0.1:8084;",
        "cart=127.0.0.1:8084",
        "wish_es=127.0.0.1:8084",
        "wishes=127.0.0.1:8084 wishes=127.0.0.1:8085",
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let port = || free_port().expect("a free port");
        let ports = GatewayPorts { outer: port(), inner: port() };
        let replicas = [vec![port()], vec![port()], vec![port()]];
        let log = folder.path().join("log");
        let started = Gateway::launch(ports, &replicas, &log, &[("GATEWAY_MORE_HOSTS", hosts)]);
        let error = started.expect_err("it started").to_string();
        assert!(error.contains("GATEWAY_MORE_HOSTS: expected NAME=HOST:PORT"), "{hosts}: {error}");
    }
}
