//! The program as a newcomer meets it: started, read, followed, stopped, started again.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::process::{Process, free_port, mortal, wait_until};
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(60);
const PROGRAM: &str = env!("CARGO_BIN_EXE_all-in-one");

/// A newcomer's empty folder, with ports that nothing else has.
struct Newcomer {
    folder: tempfile::TempDir,
    ports: [u16; 3],
}

/// The program, running.
struct Running {
    process: Process,
    printed: PathBuf,
    logged: PathBuf,
}

impl Newcomer {
    fn arrives() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, ports: std::array::from_fn(|_| free_port().expect("a free port")) }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let names = ["AUTH_ADDR", "CART_ADDR", "ORDER_ADDR"];
        names.into_iter().zip(self.ports).map(|(name, port)| (name, format!("127.0.0.1:{port}"))).collect()
    }

    /// `http://localhost:PORT/PATH` of the auth, the cart or the order service.
    fn url(&self, service: usize, path: &str) -> String {
        format!("http://localhost:{}{path}", self.ports[service])
    }

    fn command(&self) -> Command {
        let mut command = mortal(Path::new(PROGRAM), "KILL");
        command.env_clear().envs(self.settings()).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts the program, and waits until it has welcomed whoever started it and is ready.
    async fn starts(&self) -> Running {
        self.starts_with(&[]).await
    }

    async fn starts_with(&self, settings: &[(&str, &str)]) -> Running {
        let [printed, logged] = ["printed", "logged"].map(|name| self.folder.path().join(name));
        let mut command = self.command();
        command.envs(settings.iter().copied());
        command.stdout(File::create(&printed).expect("a file")).stderr(File::create(&logged).expect("a file"));
        let mut running =
            Running { process: Process::start("all-in-one", command).expect("it starts"), printed, logged };
        let welcomed = wait_until(PATIENCE, || {
            let ended = running.process.ended()?;
            assert!(ended.is_none(), "it ended: {}", fs::read_to_string(&running.logged)?);
            Ok(fs::read_to_string(&running.printed)?.contains("Ctrl-C"))
        });
        assert!(welcomed.expect("its output can be read"), "{}", running.logged());
        for service in 0..3 {
            self.is_ready(service).await;
        }
        running
    }

    async fn is_ready(&self, service: usize) {
        let ready = async {
            while !Client::new().get(self.url(service, "/readyz")).send().await.is_ok_and(|a| a.status().is_success()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("it is ready in time");
    }

    /// Runs the program to its end, which it must reach by itself; answers whether it succeeded, and all that it said.
    fn asks(&self, settings: &[(&str, &str)], argument: Option<&str>) -> (bool, String) {
        let said = self.folder.path().join("said");
        let file = File::create(&said).expect("a file");
        let mut command = self.command();
        command.envs(settings.iter().copied()).args(argument);
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        let mut process = Process::start("all-in-one", command).expect("it starts");
        // A signal that changes nothing: it ends by itself.
        let status = process.stop(Signal::CONT, PATIENCE).expect("it ends");
        (status.success(), fs::read_to_string(said).expect("it is there"))
    }

    async fn logs_in(&self, email: &str, password: &str) -> (u16, Value) {
        let body = json!({"email": email, "password": password});
        let answer = Client::new().post(self.url(0, "/auth/login")).json(&body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    async fn gets(&self, service: usize, path: &str, token: &str) -> Value {
        let answer = Client::new().get(self.url(service, path)).bearer_auth(token).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("JSON")
    }
}

impl Running {
    fn printed(&self) -> String {
        fs::read_to_string(&self.printed).expect("it is there")
    }

    fn logged(&self) -> String {
        fs::read_to_string(&self.logged).expect("it is there")
    }

    /// The password that was printed beside this address.
    fn password_of(&self, email: &str) -> Option<String> {
        let printed = self.printed();
        let line = printed.lines().find(|line| line.trim_start().starts_with(email))?;
        line.split_whitespace().nth(1).map(str::to_owned)
    }

    /// What is printed to be pasted into another terminal.
    fn story(&self) -> String {
        let printed = self.printed();
        let lines =
            printed.lines().skip_while(|line| !line.starts_with('#')).take_while(|line| !line.starts_with("Ctrl-C"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn stops(mut self, signal: Signal) {
        let status = self.process.stop(signal, PATIENCE).expect("it stops");
        assert!(status.success(), "it ended with {status}: {}", self.logged());
    }
}

#[tokio::test]
async fn a_second_start_keeps_accounts_carts_orders_and_keys() {
    let newcomer = Newcomer::arrives();
    let running = newcomer.starts().await;
    let accounts = ["demo@shop.localhost", "admin@shop.localhost"];
    let passwords = accounts.map(|email| running.password_of(email).expect("its password is printed"));
    for (email, password) in accounts.iter().zip(&passwords) {
        assert_eq!(newcomer.logs_in(email, password).await.0, 200, "{email}");
        assert!(!running.logged().contains(password), "the log holds a password");
    }
    let (_, login) = newcomer.logs_in(accounts[0], &passwords[0]).await;
    let token = login["access_token"].as_str().expect("a token");
    let products = newcomer.gets(1, "/products", token).await;
    let line = json!({"product_id": products["items"][0]["id"], "quantity": 3});
    let added = Client::new().post(newcomer.url(1, "/cart/items")).bearer_auth(token).json(&line).send().await;
    assert_eq!(added.expect("an answer").status(), 200);
    let cart = newcomer.gets(1, "/cart", token).await;
    let keys = newcomer.gets(0, "/.well-known/jwks.json", token).await;
    running.stops(Signal::TERM);

    let running = newcomer.starts().await;
    assert_eq!(running.password_of(accounts[0]), None, "a password is shown once");
    assert_eq!(newcomer.gets(0, "/.well-known/jwks.json", token).await, keys);
    let (status, login) = newcomer.logs_in(accounts[0], &passwords[0]).await;
    assert_eq!(status, 200, "{login}");
    let token = login["access_token"].as_str().expect("a token");
    assert_eq!(newcomer.gets(1, "/cart", token).await, cart);
    running.stops(Signal::INT);
}

#[tokio::test]
async fn the_printed_story_can_be_followed_as_it_is_printed() {
    is_followed(&[]).await;
}

#[tokio::test]
async fn the_printed_story_can_be_followed_by_a_cookie() {
    for strategy in ["sticky", "cookie"] {
        is_followed(&[("SESSION_STRATEGY", strategy)]).await;
    }
}

async fn is_followed(settings: &[(&str, &str)]) {
    if e2e::servers::program("curl", "curl ").is_none() {
        e2e::servers::leave_out("curl is not installed");
        return;
    }
    let newcomer = Newcomer::arrives();
    let running = newcomer.starts_with(settings).await;
    // Twice: whoever follows it again has registered already.
    for _ in 0..2 {
        let followed =
            Command::new("bash").args(["-euo", "pipefail", "-c", &running.story()]).output().expect("bash runs");
        let told = String::from_utf8_lossy(&followed.stdout).into_owned();
        assert!(followed.status.success(), "{told}{}", String::from_utf8_lossy(&followed.stderr));
        assert!(told.contains(r#""status":"paid""#), "{told}");
        assert!(told.contains("401 Unauthorized"), "{told}");
        assert!(!settings.is_empty() || told.contains("www-authenticate: Bearer error="), "{told}");
    }
    running.stops(Signal::TERM);
}

#[tokio::test]
async fn who_starts_it_is_told_where_the_shop_is_and_then_where_the_documents_are() {
    let newcomer = Newcomer::arrives();
    let running = newcomer.starts().await;
    let printed = running.printed();
    let shop = newcomer.url(1, "");
    let first = printed.lines().find(|line| !line.is_empty());
    assert_eq!(first, Some(&*format!("The shop is open:  {shop}")), "{printed}");
    let page = Client::new().get(shop).header("accept", "text/html").send().await.expect("an answer");
    assert!(page.text().await.expect("a page").contains("action=\"/\" role=\"search\""), "it is no shop");
    for service in 0..3 {
        let documents = newcomer.url(service, "/docs");
        assert!(printed.contains(&documents), "{printed}");
        let page = Client::new().get(documents).send().await.expect("an answer");
        assert_eq!(page.status(), 200);
    }
    running.stops(Signal::TERM);
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let newcomer = Newcomer::arrives();
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("its address").to_string();
    let (succeeded, said) = newcomer.asks(&[("CART_ADDR", &address)], None);
    assert!(!succeeded);
    assert!(said.contains(&format!("something else listens on {address}\n")), "{said}");
    assert!(said.contains("next: stop it, or set CART_ADDR to another address"), "{said}");
    assert!(!newcomer.folder.path().join("data").exists(), "a start that fails leaves something behind");
}

#[test]
fn every_mistake_in_the_settings_is_named_once() {
    let newcomer = Newcomer::arrives();
    let (succeeded, said) =
        newcomer.asks(&[("ACCESS_TOKEN_TTL", "soon"), ("DEMO_PASSWORD", "short"), ("CART_ADDR", "x")], None);
    assert!(!succeeded);
    for name in ["ACCESS_TOKEN_TTL: ", "DEMO_PASSWORD: ", "CART_ADDR: "] {
        assert_eq!(said.matches(name).count(), 1, "{name} in {said}");
    }
}

#[test]
fn a_node_of_a_cluster_makes_up_nothing_that_all_nodes_must_share() {
    let newcomer = Newcomer::arrives();
    let given = [
        ("SESSION_STRATEGY", "replicated"),
        ("CLUSTER_SEEDS", "one"),
        ("CLUSTER_KEY", "s3cret-of-the-nodes"),
        ("CLUSTER_WRITE", "maybe"),
    ];
    let (succeeded, said) = newcomer.asks(&given, None);
    assert!(!succeeded);
    for name in [
        "CLUSTER_LISTEN is not set",
        "CLUSTER_SEEDS: ",
        "CLUSTER_KEY: ",
        "CLUSTER_WRITE: ",
        "AUTH_DATABASE_URL is not set",
        "CART_DATABASE_URL is not set",
        "ORDER_DATABASE_URL is not set",
        "MASTER_KEY is not set",
        "COOKIE_KEY is not set",
        "CHECKOUT_SECRET is not set",
        "SHOP_CLIENT_SECRET is not set",
        "ORDERS_CLIENT_SECRET is not set",
    ] {
        assert_eq!(said.matches(name).count(), 1, "{name} in {said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
    assert!(!newcomer.folder.path().join("data").exists(), "a start that fails leaves something behind");
}

#[test]
fn the_settings_are_printed_without_secrets_and_nothing_is_made() {
    let newcomer = Newcomer::arrives();
    let given = [
        ("DEMO_PASSWORD", "s3cret-of-the-demo"),
        ("REDIS_URL", "redis://:s3cret-of-redis@localhost:6379"),
        ("AUTH_DATABASE_URL", "postgres://auth:s3cret-of-auth@localhost/auth"),
    ];
    let (succeeded, text) = newcomer.asks(&given, Some("config"));
    assert!(succeeded, "{text}");
    for name in
        ["AUTH_ADDR", "DATA_DIR", "CART_DATABASE_URL", "REFRESH_GRACE", "MASTER_KEY", "LOG_FILTER", "CHECKOUT_HOLD"]
    {
        let rows = text.lines().filter(|line| line.split_whitespace().next() == Some(name)).count();
        assert_eq!(rows, 1, "{name} in {text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
    assert!(!newcomer.folder.path().join("data").exists(), "it only prints");
}

#[test]
fn a_key_for_attributes_in_redis_is_refused_where_no_session_is_there() {
    let key = ("SESSION_ATTRIBUTE_KEY", "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g=");
    let redis = ("REDIS_URL", "redis://localhost:6379");
    let cases: [(&[_], Option<&str>); 6] = [
        (&[key], Some("without REDIS_URL no sessions are in Redis")),
        (&[key, ("SESSION_STRATEGY", "sticky")], Some("sticky keeps no sessions in Redis")),
        (&[key, redis, ("SESSION_STRATEGY", "cookie")], Some("cookie keeps no sessions in Redis")),
        (&[("SESSION_ATTRIBUTE_KEY", "c2hvcnQ="), redis], Some("expected 32 random bytes in base64")),
        (&[key, redis], None),
        (&[key, redis, ("SESSION_STRATEGY", "redis")], None),
    ];
    for (given, why) in cases {
        let (succeeded, said) = Newcomer::arrives().asks(given, Some("config"));
        let Some(why) = why else {
            let row = said.lines().find(|line| line.starts_with("SESSION_ATTRIBUTE_KEY")).expect("it is listed");
            assert!(succeeded && row.contains("[secret]"), "{said}");
            continue;
        };
        let message = said.lines().find(|line| line.contains("SESSION_ATTRIBUTE_KEY: "));
        assert!(!succeeded && message.is_some_and(|line| line.contains(why)), "{why:?} in {said}");
        assert!(!said.contains(key.1) && !said.contains("c2hvcnQ="), "{said}");
    }
}

#[tokio::test]
async fn malformed_requests_leave_no_line_in_the_log() {
    let newcomer = Newcomer::arrives();
    let running = newcomer.starts().await;
    let before = running.logged();
    assert!(before.contains("INFO"), "what is worth a line is logged: {before}");
    for port in newcomer.ports {
        for head in
            ["GET / HTTP/1.1\r\nno colon\r\n\r\n", "\u{1}\r\n\r\n", "GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n"]
        {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
            stream.write_all(head.as_bytes()).await.expect("it reads");
            let mut answer = String::new();
            tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
                .await
                .expect("in time")
                .expect("it closes");
            assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        }
    }
    assert_eq!(running.logged(), before);
    running.stops(Signal::TERM);
}

#[tokio::test]
async fn a_second_one_on_the_same_data_is_refused() {
    let newcomer = Newcomer::arrives();
    let running = newcomer.starts().await;
    let ports: Vec<String> = (0..3).map(|_| format!("127.0.0.1:{}", free_port().expect("a free port"))).collect();
    let (succeeded, said) =
        newcomer.asks(&[("AUTH_ADDR", &ports[0]), ("CART_ADDR", &ports[1]), ("ORDER_ADDR", &ports[2])], None);
    assert!(!succeeded && said.contains("another process works with data"), "{said}");
    running.stops(Signal::TERM);
}

#[tokio::test]
async fn clients_are_made_and_changed_beside_one_that_runs_and_its_memory_is_left_alone() {
    let newcomer = Newcomer::arrives();
    let client = |arguments: &[&str], metadata: &str| {
        let mut command = newcomer.command();
        command.arg("client").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        child.stdin.take().expect("its input").write_all(metadata.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.success(), said)
    };
    let wishes = r#"{"client_id": "wish-service", "redirect_uris": ["http://localhost:8084/callback"]}"#;
    let (made, [_, why]) = client(&["create"], wishes);
    assert!(!made && why.contains("  next: start all-in-one once"), "its keys are nowhere yet: {why}");
    assert!(!newcomer.folder.path().join("data").exists(), "something was made");

    let running = newcomer.starts().await;
    let (made, [shown, why]) = client(&["create"], wishes);
    assert!(made, "{why}");
    let shown: Value = serde_json::from_str(&shown).expect("JSON alone");
    let secret = shown["client_secret"].as_str().expect("a secret").to_owned();
    let token = |secret: String| {
        let form =
            [("grant_type", "authorization_code"), ("code", "x"), ("redirect_uri", "http://localhost:8084/callback")];
        let request = Client::new().post(newcomer.url(0, "/oauth2/token")).form(&form);
        async move { request.basic_auth("wish-service", Some(secret)).send().await.expect("an answer").status() }
    };
    assert_eq!(token(secret.clone()).await, 400, "the one that runs knows the client at once, and not the code");
    assert_eq!(token("a secret of somebody else".to_owned()).await, 401);
    let (removed, [_, why]) = client(&["delete", "wish-service"], "");
    assert!(!removed && why.contains("DELETE /admin/clients/"), "{why}");
    assert_eq!(token(secret).await, 400, "it is there still");
    running.stops(Signal::TERM);
}
