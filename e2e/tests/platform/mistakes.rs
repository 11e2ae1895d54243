//! What a careless operator is told: the message, its causes and the next step, and nothing else. The programs, with the
//! mistakes themselves.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::process::{free_port, wait_until};
use e2e::services::random_key;
use e2e::{Look, Service};
use reqwest::Method;
use tempfile::TempDir;

const PROGRAMS: [&str; 4] = ["auth-service", "cart-service", "order-service", "all-in-one"];

/// The settings of an operator who makes no mistake yet, with a folder and ports of their own.
struct Operator {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Operator {
    fn arrives() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings: Vec<_> = ["AUTH_ADDR", "CART_ADDR", "ORDER_ADDR"].map(|name| (name, address())).to_vec();
        let names = ["MASTER_KEY", "COOKIE_KEY", "CHECKOUT_SECRET", "OIDC_CLIENT_SECRET"];
        settings.extend(names.map(|name| (name, random_key())));
        settings.push(("REDIS_URL", format!("redis://{}", address())));
        settings.push(("DATABASE_URL", format!("sqlite:{}", folder.path().join("own.db").display())));
        Self { folder, settings }
    }

    /// One who runs the one process, and leaves keys, databases and sessions to it.
    fn with_one_process() -> Self {
        let mut operator = Self::arrives();
        operator.settings.retain(|(name, _)| name.ends_with("_ADDR"));
        operator
    }

    fn but(mut self, name: &'static str, value: &str) -> Self {
        self.settings.retain(|(other, _)| *other != name);
        self.settings.push((name, value.to_owned()));
        self
    }

    /// What the program says when it refuses to start.
    fn is_told_by(&self, program: &str) -> String {
        let mut command = Command::new(e2e::program(program));
        command.env_clear().envs(self.settings.iter().cloned()).current_dir(self.folder.path());
        ended(&mut command)
    }
}

/// Runs a program that must fail by itself; answers what it said, which is no stack trace.
fn ended(command: &mut Command) -> String {
    let output = command.env("RUST_BACKTRACE", "1").env("LOG_FILTER", "off").output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it did not fail: {said}");
    for trace in ["stack backtrace", "Stack backtrace", "panicked", "/src/", ".rs:"] {
        assert!(!said.contains(trace), "{trace:?} in:\n{said}");
    }
    said
}

/// Where nothing listens.
fn address() -> String {
    format!("127.0.0.1:{}", free_port().expect("a free port"))
}

#[test]
fn a_mistake_in_the_settings_is_named_and_nothing_else_is_said() {
    for program in PROGRAMS {
        let operator = Operator::arrives().but("ACCESS_TOKEN_TTL", "soon").but("LOG_FORMAT", "pretty");
        let said = operator.is_told_by(program);
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("error: the settings have 1 mistake"), "{program}:\n{said}");
        assert!(lines[1].contains("ACCESS_TOKEN_TTL: expected a duration"), "{program}:\n{said}");
    }
}

#[test]
fn a_postgresql_that_is_away_is_named_with_what_to_do() {
    for (program, setting) in
        PROGRAMS.into_iter().zip(["DATABASE_URL", "DATABASE_URL", "DATABASE_URL", "AUTH_DATABASE_URL"])
    {
        let address = address();
        for hosts in [address.clone(), format!("{address},{}", self::address())] {
            let operator = Operator::arrives().but(setting, &format!("postgres://shop:hunter2@{hosts}/shop"));
            let said = operator.is_told_by(program);
            assert!(said.contains(&address) && said.contains("Connection refused"), "{program}:\n{said}");
            assert!(said.contains("  next: start ") && said.contains(setting), "{program}:\n{said}");
            assert!(!said.contains("hunter2"), "{program}:\n{said}");
        }
    }
}

#[test]
fn a_postgresql_that_refuses_is_told_apart_from_one_that_is_away() {
    let Some(postgres) = e2e::servers::postgres_for_test() else { return };
    let at = format!("127.0.0.1:{}", postgres.port());
    for (login_and_name, fault, next) in [
        (("postgres", "nowhere"), "does not have the database", "create it, or correct its name in DATABASE_URL"),
        (("nobody", "postgres"), "refuses the login", "correct the user and the password in DATABASE_URL"),
    ] {
        let (login, name) = login_and_name;
        let url = format!("postgres://{login}:hunter2@{at}/{name}");
        let said = Operator::arrives().but("DATABASE_URL", &url).is_told_by("cart-service");
        assert!(said.contains(&format!("PostgreSQL at {at} {fault}\n")), "{said}");
        assert!(said.contains(&format!("  next: {next}")) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_redis_that_is_away_is_named_with_what_to_do() {
    for program in ["auth-service", "all-in-one"] {
        let operator = Operator::arrives();
        let (_, url) = operator.settings.iter().find(|(name, _)| *name == "REDIS_URL").expect("its URL");
        let place = url.trim_start_matches("redis://").to_owned();
        let said = operator.is_told_by(program);
        assert!(said.contains(&format!("Redis at {place} does not answer")), "{program}:\n{said}");
        assert!(said.contains("  next: start it, or correct its address and its password in REDIS_URL"), "{said}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = other.local_addr().expect("its address").to_string();
    for (program, setting) in PROGRAMS.into_iter().zip(["AUTH_ADDR", "CART_ADDR", "ORDER_ADDR", "CART_ADDR"]) {
        let said = Operator::arrives().but(setting, &taken).is_told_by(program);
        assert!(said.contains(&format!("error: something else listens on {taken}\n")), "{program}:\n{said}");
        assert!(said.contains(&format!("  next: stop it, or set {setting} to another address")), "{program}:\n{said}");
    }
    let mut up = Command::new(e2e::program("xtask"));
    let said = ended(up.args(["up", "--port"]).arg(taken.rsplit(':').next().expect("a port")));
    assert!(said.contains("nothing can listen on port") && said.contains("--port"), "{said}");
}

#[test]
fn a_master_key_that_is_lost_or_another_is_named_with_what_to_do() {
    // The auth service makes its keys; the cart service then keeps the start from going on.
    let operator = Operator::with_one_process().but("CART_DATABASE_URL", "sqlite:/nowhere/cart.db");
    let said = operator.is_told_by("all-in-one");
    assert!(said.contains("sqlite:/nowhere/cart.db cannot be used") && said.contains("  next: make"), "{said}");

    let operator = operator.but("MASTER_KEY", &random_key());
    let said = operator.is_told_by("all-in-one");
    assert!(said.contains("MASTER_KEY does not open signing key"), "{said}");
    assert!(said.contains("  next: put the master key back") && said.contains("docs/operations.md"), "{said}");

    let operator = operator.but("MASTER_KEY", "");
    fs::remove_file(operator.folder.path().join("data/master.key")).expect("it was there");
    let said = operator.is_told_by("all-in-one");
    assert!(said.contains("MASTER_KEY: data/master.key is missing") && said.contains("put it back"), "{said}");
    assert!(!operator.folder.path().join("data/master.key").exists(), "another one was made up in its place");
}

#[tokio::test]
async fn a_second_node_whose_sessions_end_in_another_ones_memory_is_refused() {
    for strategy in ["cookie", "hybrid"] {
        let world = e2e::World::all_in_one(&[("SESSION_STRATEGY", strategy)]).await;
        let accounts = format!("sqlite:{}", world.platform.data_folder().join("auth.db").display());
        let operator =
            Operator::with_one_process().but("SESSION_STRATEGY", strategy).but("AUTH_DATABASE_URL", &accounts);
        let said = operator.is_told_by("all-in-one");
        assert!(said.contains("another node works with these accounts (AUTH_DATABASE_URL)"), "{strategy}:\n{said}");
        assert!(said.contains("  next: set REDIS_URL to the same Redis at all nodes"), "{strategy}:\n{said}");
        world.finish();
    }
}

#[tokio::test]
async fn a_service_that_is_not_set_up_as_the_auth_service_names_the_setting_and_lets_nobody_in() {
    let Some(mut world) = e2e::World::split(&[]).await else { return };
    let ada = world.platform.customer().await;
    let redis = world.redis.as_ref().expect("a Redis").url();
    let another_database = format!("{redis}/1");
    for (service, setting, right, wrong, told) in [
        (Service::Cart, "REDIS_URL", redis.as_str(), another_database.as_str(), "REDIS_URL leads here to a Redis"),
        (
            Service::Orders,
            "SESSION_STRATEGY",
            "hybrid",
            "jwt",
            "SESSION_STRATEGY is jwt here and hybrid at the auth service",
        ),
    ] {
        let asked = async |ada: &e2e::Person| match service {
            Service::Cart => ada.cart().await,
            _ => ada.orders().await,
        };
        world.platform.stop_service(service);
        world.platform.set(service, setting, wrong);
        world.platform.launch(service);
        let named = wait_until(Duration::from_secs(30), || {
            Ok(matches!(world.platform.look(service), Look::NotYet(why) if why.contains(told)))
        });
        assert!(named.expect("it runs"), "{setting} is not named: {:?}", world.platform.look(service));
        assert!(world.platform.output().contains(told), "the log does not name {setting}");
        let refused = asked(&ada).await;
        assert_eq!((refused.status, refused.code()), (503, "misconfigured_platform"), "{}", refused.body);
        world.platform.set(service, setting, right);
        world.platform.restart(service).await;
        assert_eq!(asked(&ada).await.status, 200, "it is set up rightly again");
    }
    assert_eq!(ada.log_out().await.status, 204);
    e2e::world::eventually(401, || async { ada.cart().await.status }).await;
    world.finish();
}

#[tokio::test]
async fn a_service_that_its_client_at_the_auth_service_does_not_fit_says_so_to_whoever_signs_in() {
    let Some(mut world) = e2e::World::split(&[]).await else { return };
    let login = format!("{}/login", world.platform.replica(Service::Cart)).replace("127.0.0.1", "localhost");
    // Somebody new each time: a connection to the process before has ended.
    let asked = async |nobody: e2e::Person| nobody.send(Method::GET, &login, None, &[("Accept", "text/html")]).await;
    let issuer = world.platform.setting(Service::Cart, "ISSUER").expect("it is set").to_owned();
    for (setting, wrong, code, told) in [
        ("OIDC_CLIENT_SECRET", random_key(), "misconfigured_client", "OIDC_CLIENT_ID and OIDC_CLIENT_SECRET here"),
        ("OIDC_CLIENT_ID", "nobody".to_owned(), "misconfigured_client", "does not take the client nobody"),
        (
            "PUBLIC_URL",
            "http://localhost:1".to_owned(),
            "misconfigured_redirect_uri",
            "PUBLIC_URL here makes the address",
        ),
        ("ISSUER", format!("{issuer}/"), "misconfigured_issuer", "ISSUER is "),
        ("ACCESS_TOKEN_TTL", "1m".to_owned(), "misconfigured_platform", "ACCESS_TOKEN_TTL is 60s here and 300s"),
    ] {
        let by_default = if setting == "OIDC_CLIENT_ID" { "cart-service" } else { "5m" };
        let right = world.platform.setting(Service::Cart, setting).unwrap_or(by_default).to_owned();
        world.platform.stop_service(Service::Cart);
        world.platform.set(Service::Cart, setting, &wrong);
        world.platform.launch(Service::Cart);
        let listens =
            || Ok(!matches!(world.platform.look(Service::Cart), Look::NotYet(why) if why.contains("refused")));
        assert!(wait_until(Duration::from_secs(30), listens).expect("it runs"), "{setting}: it does not listen");
        let page = asked(world.platform.person()).await;
        let text = page.body.as_str().unwrap_or_default();
        assert!(page.status == 503 && text.contains(code), "{setting}: {} {}", page.status, page.body);
        assert!(text.contains("set up wrongly") && !text.contains("ry again"), "{setting}: {text}");
        assert!(world.platform.output().contains(told), "{setting}: the log does not say {told:?}");
        world.platform.set(Service::Cart, setting, &right);
    }
    world.platform.restart(Service::Cart).await;
    // The client goes on to the auth service, whose page wants a browser's cookies.
    assert_ne!(asked(world.platform.person()).await.status, 503, "it is set up rightly again");
    world.platform.customer().await;
    world.finish();
}

#[test]
fn the_gateway_names_the_setting_that_it_lacks() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/gateway/run");
    let expected = "AUTH_UPSTREAM: expected replicas as HOST:PORT with spaces between, found";
    for (given, found) in
        [("", "nothing"), ("http://auth:8081", "http://auth:8081"), ("a:1,b:2", "a:1,b:2"), ("auth", "auth")]
    {
        let mut command = Command::new("bash");
        command.arg(&script).env("AUTH_UPSTREAM", given);
        assert_eq!(ended(&mut command), format!("{expected} {found}\n"));
    }
}
