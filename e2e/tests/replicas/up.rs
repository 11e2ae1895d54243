//! `cargo xtask up` as a developer meets it: started, used, stopped with Ctrl-C, and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use e2e::process::{Process, free_port, mortal, wait_until};
use e2e::servers::{gateway_for_test, leave_out, postgres_folder, redis_server};
use e2e::{Credentials, PROGRAMS_VARIABLE, Person, Service, program, secrets};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::world::{eventually, expect};

const PATIENCE: Duration = Duration::from_secs(120);

/// A developer's empty folder and a port that nothing else has.
struct Developer {
    folder: TempDir,
    port: u16,
}

/// `up`, running.
struct Up {
    process: Process,
    printed: PathBuf,
}

impl Developer {
    /// None, aloud, where a server is not installed.
    fn arrives() -> Option<Self> {
        gateway_for_test()?;
        if let Some(missing) = postgres_folder().err().or_else(|| redis_server().err()) {
            leave_out(&missing.to_string());
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { folder, port: free_port().expect("a free port") })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// By the README's word, with a folder and a port of the test's own.
    fn starts(&self, name: &str) -> Up {
        let readme = include_str!("../../../README.md");
        assert!(readme.lines().any(|line| line == "cargo xtask up"), "the README does not say it any more");
        let printed = self.folder.path().join(name);
        let file = File::create(&printed).expect("a file");
        let xtask = program("xtask");
        let mut command = mortal(&xtask, "INT");
        command.args(["up", "--port", &self.port.to_string(), "--data"]).arg(self.data());
        command.env(PROGRAMS_VARIABLE, xtask.parent().expect("the programs' folder"));
        // A setting that the services get, and one that is another program's.
        command
            .env("RUST_BACKTRACE", "1")
            .env("SESSION_IDLE_TTL", "29m")
            .env("DATABASE_URL", "postgres://somebody:else@nowhere/x");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a second handle")).stderr(file);
        Up { process: Process::start("cargo xtask up", command).expect("it starts"), printed }
    }

    fn person(&self, email: &str, password: &str) -> Person {
        secrets::remember(password);
        Person::at_gateway(self.port, Credentials { email: email.to_owned(), password: password.to_owned() })
    }

    /// All that the platform's processes printed.
    fn logs(&self) -> BTreeMap<PathBuf, String> {
        let files = fs::read_dir(self.data().join("logs")).expect("the logs").flatten().map(|entry| entry.path());
        files.map(|path| (path.clone(), fs::read_to_string(path).expect("a log"))).collect()
    }
}

impl Up {
    fn printed(&self) -> String {
        fs::read_to_string(&self.printed).expect("it is there")
    }

    fn says(&mut self, text: &str) {
        let said = wait_until(PATIENCE, || {
            assert!(self.process.ended()?.is_none(), "it ended:\n{}", self.printed());
            Ok(self.printed().contains(text))
        });
        assert!(said.expect("the system tells"), "it does not say {text:?}:\n{}", self.printed());
    }

    fn password_of(&self, email: &str) -> Option<String> {
        let printed = self.printed();
        let line = printed.lines().find(|line| line.trim_start().starts_with(email))?;
        line.split_whitespace().nth(1).map(str::to_owned)
    }

    /// Sends a signal, and sees that it ends well and leaves no process behind.
    fn ends_by(mut self, signal: Signal) {
        let mut children = descendants(self.process.id());
        let status = self.process.stop(signal, PATIENCE).expect("it stops");
        assert!(status.success(), "it ended with {status}:\n{}", self.printed());
        let gone = wait_until(Duration::from_secs(20), || {
            children.retain(|child| child.is_there());
            Ok(children.is_empty())
        });
        assert!(gone.expect("the system tells"), "left behind: {children:?}");
        assert!(self.printed().contains("all of it has stopped"), "{}", self.printed());
    }
}

/// A process, which no later one of the same id is taken for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    id: u32,
    name: String,
    started: String,
}

impl Seen {
    fn is_there(&self) -> bool {
        look_at(self.id).is_some_and(|(seen, _)| seen.started == self.started)
    }
}

/// What Linux says of a process, and its parent. None of one that is gone.
fn look_at(id: u32) -> Option<(Seen, u32)> {
    // ID (NAME) STATE PARENT …; the time of the start is the 20th after the name.
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let seen = Seen { id, name: name.to_owned(), started: (*fields.get(19)?).to_owned() };
    (fields.first() != Some(&"Z")).then_some((seen, fields.get(1)?.parse().ok()?))
}

/// The children of a process, theirs, and so on.
fn descendants(ancestor: u32) -> Vec<Seen> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<(Seen, u32)> = ids.filter_map(look_at).collect();
    let mut family = BTreeSet::from([ancestor]);
    loop {
        let children = all.iter().filter(|(_, parent)| family.contains(parent)).map(|(seen, _)| seen.id);
        let more: BTreeSet<u32> = children.chain(family.iter().copied()).collect();
        if more.len() == family.len() {
            break;
        }
        family = more;
    }
    all.into_iter().map(|(seen, _)| seen).filter(|seen| seen.id != ancestor && family.contains(&seen.id)).collect()
}

async fn buys_something(person: &Person, key: &str) -> String {
    let products = expect(200, person.products().await).body;
    let product = products["items"][0]["id"].as_str().expect("a product").to_owned();
    expect(200, person.add_to_cart(&product, 1).await);
    let order = expect(201, person.place_order(key).await).body["id"].as_str().expect("an id").to_owned();
    assert_eq!(expect(200, person.pay(&order).await).body["status"], "paid");
    order
}

#[tokio::test]
async fn up_runs_until_ctrl_c_leaves_no_process_and_goes_on_with_its_data() {
    let Some(developer) = Developer::arrives() else { return };
    let mut up = developer.starts("first");
    up.says("Ctrl-C stops it");
    let printed = up.printed();
    let line = |start: &str| printed.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(line("from the environment: ").contains("SESSION_IDLE_TTL"), "{printed}");
    assert!(line("in the environment, and ignored").contains("DATABASE_URL"), "{printed}");
    let [admin, demo] = ["admin@shop.localhost", "demo@shop.localhost"]
        .map(|email| developer.person(email, &up.password_of(email).expect("a password is shown")));
    let (mut admin, mut demo) = (admin, demo);
    expect(200, admin.log_in().await);
    expect(200, admin.get(&admin.url(Service::Auth, "/admin/users")).await);
    expect(200, demo.log_in().await);
    let order = buys_something(&demo, "first").await;

    // A replica that is killed is passed by, and comes back.
    let services: Vec<Seen> =
        descendants(up.process.id()).into_iter().filter(|child| child.name.ends_with("-service")).collect();
    assert_eq!(services.len(), 6, "{services:?}");
    let cart = services.iter().find(|child| child.name == "cart-service").expect("a cart service");
    // Not ended a moment after its start: that would be waited with.
    let id = rustix::process::Pid::from_raw(cart.id.cast_signed()).expect("a process id");
    rustix::process::kill_process(id, Signal::KILL).expect("it is killed");
    for _ in 0..10 {
        expect(200, demo.cart().await);
    }
    up.says("is started again");

    up.ends_by(Signal::INT);
    let answer = demo.try_send(reqwest::Method::GET, &demo.url(Service::Cart, "/cart"), None, &[]).await;
    assert!(answer.is_err(), "somebody still answers");

    let mut up = developer.starts("second");
    up.says("Ctrl-C stops it");
    assert_eq!(up.password_of("demo@shop.localhost"), None, "a password is shown once");
    // The session goes on, too.
    expect(200, demo.refresh().await);
    assert_eq!(expect(200, demo.orders().await).body["items"][0]["id"], order.as_str());
    buys_something(&demo, "second").await;
    expect(204, demo.log_out().await);
    eventually(401, || async { demo.cart().await.status }).await;
    expect(200, demo.log_in().await);
    up.ends_by(Signal::TERM);

    let known = secrets::secrets();
    let logs = developer.logs();
    assert_eq!(logs.len(), 7, "six replicas and the gateway: {:?}", logs.keys());
    for (path, text) in logs {
        let found = secrets::lines_with_a_secret(&text, &known);
        assert!(found.is_empty(), "a secret stands in {}, lines {found:?}", path.display());
    }
    remove_servers_elsewhere(&developer.data());
}

#[test]
fn up_that_is_stopped_while_it_starts_leaves_no_process_and_shows_the_passwords_later() {
    let Some(developer) = Developer::arrives() else { return };
    let mut up = developer.starts("stopped");
    up.says("starting the services");
    up.ends_by(Signal::INT);
    let mut up = developer.starts("again");
    up.says("Ctrl-C stops it");
    assert!(up.password_of("admin@shop.localhost").is_some(), "{}", up.printed());
    up.ends_by(Signal::INT);
    remove_servers_elsewhere(&developer.data());
}

#[test]
fn up_says_when_the_port_is_taken() {
    let Some(developer) = Developer::arrives() else { return };
    let _other = std::net::TcpListener::bind(("127.0.0.1", developer.port)).expect("the port is free");
    let mut up = developer.starts("refused");
    // A signal that changes nothing: it ends by itself.
    let status = up.process.stop(Signal::CONT, PATIENCE).expect("it ends");
    assert!(!status.success() && up.printed().contains("--port"), "{}", up.printed());
    assert!(!up.printed().contains("backtrace"), "{}", up.printed());
    assert!(!developer.data().exists(), "something was made");
}

/// Where root's folder is nobody else's, the servers' files lie outside of it.
fn remove_servers_elsewhere(data: &Path) {
    if let Ok(elsewhere) = fs::read_to_string(data.join("servers-are-in")) {
        fs::remove_dir_all(elsewhere.trim()).expect("it is removed");
    }
}
