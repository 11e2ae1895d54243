use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, get, post, web};
use futures_util::StreamExt as _;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Readiness, Running, ServerConfig, serve};
use crate::problem::Problem;
use crate::request::{Json, body_error};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Line {
    quantity: u32,
}

#[utoipa::path(responses((status = 200)))]
#[get("/lines/{id}")]
async fn show() -> HttpResponse {
    HttpResponse::Ok().finish()
}

#[utoipa::path(responses((status = 200)))]
#[post("/lines/{id}")]
async fn add(line: Json<Line>) -> HttpResponse {
    HttpResponse::Ok().json(line.0.quantity)
}

/// Reads its body as actix does, without a thought of time.
#[utoipa::path(responses((status = 200)))]
#[post("/raw")]
async fn raw(mut payload: web::Payload) -> Result<HttpResponse, Problem> {
    let mut length = 0;
    while let Some(chunk) = payload.next().await {
        length += chunk.map_err(|error| body_error(&error))?.len();
    }
    Ok(HttpResponse::Ok().body(length.to_string()))
}

#[utoipa::path(responses((status = 200)))]
#[get("/slow")]
async fn slow(entered: web::Data<tokio::sync::Barrier>) -> HttpResponse {
    entered.wait().await;
    entered.wait().await;
    HttpResponse::Ok().body("done")
}

/// Works until it is too late for the request.
#[utoipa::path(responses((status = 200)))]
#[post("/work")]
async fn work(entered: web::Data<tokio::sync::Barrier>) -> Result<HttpResponse, Problem> {
    entered.wait().await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(2)).await;
        crate::calls::arrival().expect("a request that may change something").is_in_time()?;
    }
    Ok(HttpResponse::Ok().finish())
}

struct Service {
    running: Running,
    entered: web::Data<tokio::sync::Barrier>,
    database_is_there: Arc<AtomicBool>,
}

impl Service {
    fn start() -> Self {
        let entered = web::Data::new(tokio::sync::Barrier::new(2));
        let database_is_there = Arc::new(AtomicBool::new(true));
        let there = database_is_there.clone();
        let readiness = Readiness::default().check("the database", move || {
            let there = there.load(Ordering::Relaxed);
            async move { there.then_some(()).ok_or_else(|| "connection refused".to_owned()) }
        });
        let config = ServerConfig {
            name: "line-service",
            description: "Lines",
            version: "1.0.0",
            address: "127.0.0.1:0".parse().expect("an address"),
            address_setting: "LINE_ADDR",
            drain: Duration::ZERO,
            body_patience: Duration::from_millis(200),
            trace_callers: Vec::new(),
            route: None,
            open_paths: &["/lines/7", "/nothing", "/work"],
            ending_paths: &[],
        };
        let data = entered.clone();
        let running = serve(&config, readiness, move |config| {
            config.app_data(data.clone()).service(show).service(add).service(raw).service(slow).service(work);
        });
        Self { running: running.expect("a free port"), entered, database_is_there }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.address())
    }
}

async fn get_json(url: String) -> (StatusCode, Value) {
    let response = Client::new().get(url).send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let service = Service::start();
    assert_eq!(get_json(service.url("/readyz")).await.0, StatusCode::OK);
    service.database_is_there.store(false, Ordering::Relaxed);
    let (status, problem) = get_json(service.url("/readyz")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem["errors"][0]["pointer"], "the database");
    assert_eq!(problem["errors"][0]["detail"], "connection refused");
    assert_eq!(get_json(service.url("/healthz")).await.0, StatusCode::OK, "it is alive all the same");
}

#[tokio::test]
async fn an_unknown_path_is_404_and_an_unknown_method_405_with_allow() {
    let service = Service::start();
    let (status, problem) = get_json(service.url("/.env")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &"not_found".into()));
    let answer = Client::new().delete(service.url("/lines/7")).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()["allow"], "GET, HEAD, POST");
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_may_not_be_stored() {
    let service = Service::start();
    let get = |id: &'static str| Client::new().get(service.url("/lines/7")).header("X-Request-Id", id).send();
    let kept = get("0123-abcd-request").await.expect("an answer");
    assert_eq!(kept.headers()["x-request-id"], "0123-abcd-request");
    assert_eq!(kept.headers()["cache-control"], "no-store");
    assert_eq!(kept.headers()["x-content-type-options"], "nosniff");
    let forged = get("a\"} fake log line").await.expect("an answer");
    assert_ne!(forged.headers()["x-request-id"], "a\"} fake log line");
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_content() {
    let service = Service::start();
    for path in ["/healthz", "/readyz", "/docs", "/docs/", "/openapi.json", "/lines/7", "/nothing"] {
        let ask = async |method| {
            let answer = Client::new().request(method, service.url(path)).send().await.expect("an answer");
            let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
            let names = ["content-length", "content-type", "cache-control", "x-frame-options"];
            (answer.status(), names.map(header), answer.bytes().await.expect("a body").len())
        };
        let ((status, headers, length), (by_head, same, nothing)) =
            (ask(reqwest::Method::GET).await, ask(reqwest::Method::HEAD).await);
        assert_eq!((by_head, &same, nothing), (status, &headers, 0), "{path}");
        assert_eq!(headers[0], Some(length.to_string()), "{path}");
    }
    let posted = Client::new().head(service.url("/raw")).send().await.expect("an answer");
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED, "there is no GET of it");
}

#[tokio::test]
async fn the_answer_to_head_ends_with_its_head_also_where_the_next_request_has_come_already() {
    let service = Service::start();
    let mut stream = TcpStream::connect(service.running.address()).await.expect("a connection");
    let requests = "HEAD /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n\
                    GET /lines/7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).await.expect("sent");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("the answers");
    let (head, next) = answers.split_once("\r\n\r\n").expect("a head");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    assert!(length.parse::<usize>().expect("a number") > 100, "{head}");
    assert!(next.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
}

#[tokio::test]
async fn scripts_of_other_origins_read_what_open_paths_answer_and_nothing_else() {
    let service = Service::start();
    let ask = async |method: &str, path: &str, preflight: bool| {
        let request = Client::new().request(method.parse().expect("a method"), service.url(path));
        let request =
            request.header("origin", "https://spa.example").body("x".repeat(if preflight { 0 } else { 70_000 }));
        let request = if preflight { request.header("access-control-request-method", "POST") } else { request };
        let answer = request.send().await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        (answer.status().as_u16(), header("access-control-allow-origin"), header("access-control-allow-headers"))
    };
    let (everybody, headers) = (Some("*".to_owned()), Some("authorization, content-type, dpop".to_owned()));
    assert_eq!(ask("OPTIONS", "/lines/7", true).await, (204, everybody.clone(), headers));
    assert_eq!(ask("GET", "/lines/7", false).await, (200, everybody.clone(), None));
    assert_eq!(ask("POST", "/lines/7", false).await, (415, everybody.clone(), None), "a refusal too");
    assert_eq!(ask("POST", "/nothing", false).await, (404, everybody.clone(), None));
    assert_eq!(ask("OPTIONS", "/lines/7", false).await, (405, everybody, None), "no preflight");
    for (method, path, status) in [("GET", "/lines/8", 200), ("POST", "/raw", 413), ("OPTIONS", "/raw", 405)] {
        for preflight in [true, false] {
            let (status_now, origin, headers) = ask(method, path, preflight).await;
            assert!(status_now == status || preflight, "{method} {path}: {status_now}");
            assert_eq!((origin, headers), (None, None), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_body_too_large_or_of_another_type_is_refused() {
    let service = Service::start();
    let post = |kind: &'static str, body: String| {
        Client::new().post(service.url("/lines/7")).header("Content-Type", kind).body(body).send()
    };
    let large = post("application/json", " ".repeat(70_000)).await.expect("an answer");
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let form = post("application/x-www-form-urlencoded", "quantity=1".to_owned()).await.expect("an answer");
    assert_eq!(form.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let unknown = post("application/json; charset=utf-8", r#"{"quantity":1,"price":0}"#.to_owned()).await;
    let problem: Value = unknown.expect("an answer").json().await.expect("a problem");
    assert_eq!(problem["errors"][0]["pointer"], "/price");
}

#[tokio::test]
async fn hl3_a_body_ends_when_its_time_is_over_however_it_is_read() {
    let service = Service::start();
    let address = service.running.address();
    for (path, drips) in [("/lines/7", false), ("/lines/7", true), ("/raw", false), ("/raw", true)] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        let (mut reading, mut writing) = stream.into_split();
        let begun = Instant::now();
        // Whoever sends a byte now and then is not quicker.
        let dripping = async {
            while drips && writing.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = [0; 12];
        let answered = async { reading.read_exact(&mut answer).await.map(drop) };
        let answered = tokio::time::timeout(Duration::from_secs(5), async {
            tokio::select! {
                answered = answered => answered,
                () = dripping => Ok(()),
            }
        });
        answered.await.unwrap_or_else(|_| panic!("{path} still waits")).expect("an answer");
        assert!(begun.elapsed() >= Duration::from_millis(200), "{path}: the time was not over");
        assert_eq!(&answer, b"HTTP/1.1 408", "{path} {drips}");
    }
}

#[tokio::test]
async fn a_body_has_a_size_however_it_is_read() {
    let service = Service::start();
    let answer = Client::new().post(service.url("/raw")).body("x".repeat(70_000)).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let answer = Client::new().post(service.url("/raw")).body("x".repeat(60_000)).send().await.expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "60000");
}

#[tokio::test]
async fn the_documents_name_every_endpoint() {
    let service = Service::start();
    let (status, api) = get_json(service.url("/openapi.json")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(api["paths"]["/lines/{id}"]["post"].is_object(), "{api}");
    assert_eq!(api["info"]["title"], "line-service");
    let page = Client::new().get(service.url("/docs")).send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.expect("a page").contains("swagger-ui"));
}

#[tokio::test]
async fn the_metrics_count_requests_by_pattern() {
    let service = Service::start();
    for id in 0..3 {
        get_json(service.url(&format!("/no/such/{id}"))).await;
        Client::new().get(service.url(&format!("/lines/{id}"))).send().await.expect("an answer");
    }
    let metrics = Client::new().get(service.url("/metrics")).send().await.expect("an answer").text().await;
    let metrics = metrics.expect("text");
    assert!(metrics.contains(r#"route="/lines/{id}""#), "{metrics}");
    assert!(!metrics.contains("/no/such"), "a made-up path became a metric: {metrics}");
}

#[tokio::test]
async fn a_stopping_service_finishes_the_request_under_way() {
    let service = Service::start();
    let under_way = tokio::spawn(Client::new().get(service.url("/slow")).send());
    service.entered.wait().await;
    let entered = service.entered.clone();
    let address = service.running.address();
    let stopping = tokio::spawn(service.running.stop());
    while reqwest::get(format!("http://{address}/healthz")).await.is_ok() {
        tokio::task::yield_now().await;
    }
    entered.wait().await;
    let answer = under_way.await.expect("no panic").expect("an answer although the service stops");
    assert_eq!(answer.text().await.expect("a body"), "done");
    stopping.await.expect("it stops");
}

#[tokio::test]
async fn hf4_a_client_that_hangs_up_while_its_request_waits_gets_nothing_done() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let service = Service::start();
    let mut client = tokio::net::TcpStream::connect(service.running.address()).await.expect("connected");
    client.write_all(b"POST /work HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.expect("sent");
    service.entered.wait().await;
    // Its sending side alone, so that the test can read what became of it.
    client.shutdown().await.expect("shut");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("hung up"), "{answer}");
    assert!(answer.contains("\r\naccess-control-allow-origin: *\r\n"), "a script learns of it too: {answer}");
}
