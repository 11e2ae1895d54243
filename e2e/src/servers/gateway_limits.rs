//! What one network may ask of the gateway, tried on a real nginx without any replica: a request that is let in is a 502.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::{Gateway, GatewayPorts, gateway_for_test};
use crate::process::free_port;

/// The test's own callers are told apart by what the trusted proxy (this machine) says of them.
const TRUSTED: (&str, &str) = ("GATEWAY_TRUSTED_PROXIES", "127.0.0.1");

pub(super) struct Tried {
    gateway: Gateway,
    _folder: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Tried {
    pub(super) fn with(settings: &[(&str, &str)]) -> Option<Self> {
        gateway_for_test()?;
        let folder = tempfile::tempdir().expect("a folder");
        let port = || free_port().expect("a free port");
        let ports = GatewayPorts { outer: port(), inner: port() };
        let replicas = [vec![port()], vec![port()], vec![port()]];
        let gateway = Gateway::launch(ports, &replicas, &folder.path().join("log"), settings).expect("it starts");
        Some(Self { gateway, _folder: folder })
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.gateway.ports().outer)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        stream
    }

    /// A request whose body never comes: nginx waits for it.
    fn begin(&self, from: &str) -> TcpStream {
        let mut stream = self.connect();
        let head = format!(
            "POST /oauth2/token HTTP/1.1\r\nHost: auth.shop.localhost\r\nX-Forwarded-For: {from}\r\nContent-Length: 9\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        stream
    }

    pub(super) fn send(&self, host: &str, from: &str, request: &str, body: &str) -> Answer {
        let mut stream = self.connect();
        let length = body.len();
        let text = format!(
            "{request} HTTP/1.1\r\nHost: {host}.shop.localhost\r\nX-Forwarded-For: {from}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).expect("it reads");
        let mut answer = String::new();
        // Of a body that is refused, the rest is not read: the connection may end early.
        let _ = stream.read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("an HTTP answer");
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// How many of so many requests at once are let in.
    fn let_in(&self, count: usize, host: &str, from: impl Fn(usize) -> String, request: &str) -> usize {
        let statuses = (0..count).map(|number| self.send(host, &from(number), request, "").status);
        statuses
            .inspect(|status| assert!(matches!(status, 429 | 502), "{request}: {status}"))
            .filter(|s| *s == 502)
            .count()
    }
}

/// The most that a limit of one a second and `at_once` more lets in, in the time since `started`.
fn most(at_once: usize, started: Instant) -> usize {
    at_once + 2 + usize::try_from(started.elapsed().as_secs()).expect("a number")
}

fn always(address: &str) -> impl Fn(usize) -> String {
    move |_| address.to_owned()
}

#[test]
fn ht2_each_kind_of_write_of_a_network_has_a_limit_of_its_own() {
    let kinds = [
        (
            "auth",
            "GATEWAY_SIGN_INS",
            &["POST /auth/login", "POST /sign-in", "POST //auth/%72egister", "POST /register"][..],
        ),
        (
            "auth",
            "GATEWAY_AUTHORIZATIONS",
            &[
                "POST /oauth2/authorize",
                "POST /oauth2/par?a=b",
                "POST /oauth2/device_authorization",
                "POST /oauth2/logout",
            ],
        ),
        ("cart", "GATEWAY_BASKETS", &["POST /cart/items", "PUT /cart/items/1", "DELETE /cart", "POST /basket/items"]),
    ];
    for (host, setting, requests) in kinds {
        let Some(tried) = Tried::with(&[TRUSTED, (setting, "1:4")]) else { return };
        let (mut all, started) = (0, Instant::now());
        for round in 0..3 {
            for request in requests {
                all += tried.let_in(1, host, always("192.0.2.1"), request);
            }
            assert!(round > 0 || all == 4, "{setting}: {all} of the first four were let in");
        }
        assert!((5..=most(4, started)).contains(&all), "{setting}: they share one limit, and {all} were let in");
        // On a slow machine a second may have gone by.
        let mut several = (0..20).map(|_| tried.send(host, "192.0.2.1", requests[0], ""));
        let refused = several.find(|answer| answer.status == 429).expect("one is refused");
        assert!(refused.head.contains("content-type: application/problem+json"), "{}", refused.head);
        assert!(refused.head.contains("\r\nretry-after: 2"), "{}", refused.head);
        assert!(refused.body.contains(r#""status":429,"code":"too_many_requests""#), "{}", refused.body);
        // Neither reading nor another network pays for it.
        assert_eq!(tried.let_in(20, host, always("192.0.2.1"), "GET /oauth2/authorize"), 20);
        assert_eq!(tried.let_in(4, host, always("192.0.2.2"), requests[0]), 4);
    }
}

#[test]
fn ht2_a_network_is_an_ipv4_address_or_an_ipv6_subscribers_64() {
    let Some(tried) = Tried::with(&[TRUSTED, ("GATEWAY_SIGN_INS", "1:4")]) else { return };
    let request = "POST /auth/login";
    let started = Instant::now();
    let in_one_network = tried.let_in(14, "auth", |number| format!("2001:db8:1:2:{number}::{number}"), request);
    assert!((5..=most(4, started)).contains(&in_one_network), "{in_one_network} addresses of one /64 were let in");
    assert_eq!(tried.let_in(8, "auth", |number| format!("2001:db8:1:{}::1", 10 + number), request), 8);
    let started = Instant::now();
    let mapped = tried.let_in(14, "auth", always("::ffff:192.0.2.7"), request);
    assert!((5..=most(4, started)).contains(&mapped), "{mapped} of one IPv4 address in IPv6's form were let in");
    assert_eq!(tried.let_in(4, "auth", |number| format!("::ffff:192.0.2.{}", 100 + number), request), 4);
}

#[test]
fn ht2_the_networks_of_an_ipv6_site_share_what_four_may() {
    let Some(tried) = Tried::with(&[TRUSTED, ("GATEWAY_SIGN_INS", "1:4")]) else { return };
    let (request, started) = ("POST /auth/login", Instant::now());
    let in_one_site = tried.let_in(60, "auth", |number| format!("2001:db8:5:{}::1", 10 + number), request);
    assert!((17..=most(4, started) * 4).contains(&in_one_site), "{in_one_site} networks of one /48 were let in");
    assert_eq!(tried.let_in(4, "auth", always("2001:db8:6:1::1"), request), 4, "the next site");
}

#[test]
fn ht2_all_requests_of_a_network_have_a_limit_and_named_networks_have_none() {
    let settings = [TRUSTED, ("GATEWAY_REQUESTS", "1:9"), ("GATEWAY_UNLIMITED", "203.0.113.0/24 2001:db8:9::/48")];
    let Some(tried) = Tried::with(&settings) else { return };
    let started = Instant::now();
    let answered = tried.let_in(30, "orders", always("192.0.2.1"), "GET /orders");
    assert!((10..=most(9, started)).contains(&answered), "{answered} were let in");
    for unlimited in ["203.0.113.9", "2001:db8:9::1"] {
        assert_eq!(tried.let_in(30, "orders", always(unlimited), "GET /orders"), 30);
    }
}

#[test]
fn ht2_with_its_defaults_an_office_behind_one_address_works() {
    let Some(tried) = Tried::with(&[TRUSTED]) else { return };
    // Two hundred people who open a page at once, and fifty who sign in.
    assert_eq!(tried.let_in(200, "cart", always("192.0.2.1"), "GET /"), 200);
    assert_eq!(tried.let_in(50, "auth", always("192.0.2.1"), "POST /sign-in"), 50);
    assert_eq!(tried.let_in(100, "cart", always("192.0.2.1"), "POST /basket/items"), 100);
}

#[test]
fn ht2_a_network_has_so_many_requests_under_way_at_once() {
    let Some(tried) = Tried::with(&[TRUSTED, ("GATEWAY_CONNECTIONS", "3")]) else { return };
    let mut slow = Vec::new();
    let refused = crate::process::wait_until(Duration::from_secs(8), || {
        // A reload of its configuration closes connections that nginx has not read from: then they are begun again.
        slow = (0..3).map(|_| tried.begin("192.0.2.1")).collect();
        Ok(tried.send("auth", "192.0.2.1", "GET /", "").status == 429)
    });
    assert!(refused.expect("it answers"), "a fourth was let in");
    assert_eq!(tried.send("auth", "192.0.2.2", "GET /", "").status, 502);
    drop(slow);
    let answered = crate::process::wait_until(Duration::from_secs(8), || {
        Ok(tried.send("auth", "192.0.2.1", "GET /", "").status == 502)
    });
    assert!(answered.expect("it answers"), "nobody is let in any more");
}

#[test]
fn ht2_a_body_is_as_large_as_its_endpoint_needs() {
    let Some(tried) = Tried::with(&[TRUSTED]) else { return };
    for (host, request, most) in [
        ("cart", "POST /cart/items", 4_096),
        ("cart", "POST /basket/items", 4_096),
        ("auth", "POST /auth/login", 16_384),
        ("auth", "POST /oauth2/par", 16_384),
        ("auth", "POST /oauth2/authorize", 16_384),
    ] {
        assert_eq!(tried.send(host, "192.0.2.1", request, &"a".repeat(most)).status, 502, "{request}");
        let refused = tried.send(host, "192.0.2.1", request, &"a".repeat(most + 1));
        assert_eq!(refused.status, 413, "{request}");
        assert!(refused.body.contains(&format!("at most {most} bytes")), "{request}: {}", refused.body);
    }
    assert_eq!(tried.send("auth", "192.0.2.1", "POST /oauth2/token", &"a".repeat(60_000)).status, 502);
}

#[test]
fn a_script_of_another_origin_may_read_a_refusal_of_the_gateways_where_it_may_ask() {
    let Some(tried) = Tried::with(&[TRUSTED]) else { return };
    let opened = |answer: &Answer| answer.head.contains("\r\naccess-control-allow-origin: *\r\n");
    for request in ["OPTIONS /oauth2/token", "POST /oauth2/token", "GET /.well-known/jwks.json?a=b", "POST /oauth2/par"]
    {
        let answer = tried.send("auth", "192.0.2.1", request, "");
        assert!(answer.status == 502 && opened(&answer), "{request}: {}", answer.head);
        assert!(answer.head.contains("access-control-expose-headers: dpop-nonce, retry-after"), "{}", answer.head);
    }
    let large = tried.send("auth", "192.0.2.1", "POST /oauth2/par", &"a".repeat(16_385));
    assert!(large.status == 413 && opened(&large), "{}", large.head);
    for (host, request) in [
        ("auth", "POST /auth/login"),
        ("auth", "POST /oauth2/introspect"),
        ("auth", "GET /sign-in"),
        ("cart", "GET /oauth2/token"),
    ] {
        let answer = tried.send(host, "192.0.2.1", request, "");
        assert!(answer.status == 502 && !answer.head.contains("access-control"), "{host} {request}: {}", answer.head);
    }
}

#[test]
fn a_limit_that_makes_no_sense_is_refused_by_name() {
    let Some(()) = gateway_for_test() else { return };
    for (name, value) in [
        ("GATEWAY_REQUESTS", "many"),
        ("GATEWAY_SIGN_INS", "0:5"),
        ("GATEWAY_AUTHORIZATIONS", "5"),
        ("GATEWAY_BASKETS", "5:-1"),
        ("GATEWAY_CONNECTIONS", "0"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let port = || free_port().expect("a free port");
        let ports = GatewayPorts { outer: port(), inner: port() };
        let replicas = [vec![port()], vec![port()], vec![port()]];
        let started = Gateway::launch(ports, &replicas, &folder.path().join("log"), &[(name, value)]);
        let error = started.expect_err("it started").to_string();
        assert!(error.contains(name), "{error}");
    }
    let Some(tried) = Tried::with(&[TRUSTED, ("GATEWAY_SIGN_INS", "off"), ("GATEWAY_CONNECTIONS", "off")]) else {
        return;
    };
    assert_eq!(tried.let_in(80, "auth", always("192.0.2.1"), "POST /auth/login"), 80, "off is off");
}
