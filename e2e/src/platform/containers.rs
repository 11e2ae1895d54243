//! The platform in containers, as `cargo xtask test --compose` brought it up: where it is asked, and what its operator does
//! with Docker and Compose. Builds nothing, and takes nothing down.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Credentials;
use crate::containers::{ADMIN_VARIABLES, COMPOSE_VARIABLE, PORT_VARIABLE, docker, logs, run};
use crate::secrets;
use crate::services::Service;

/// A start of all services, a stop with its drain, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(500);

/// One Compose project that is up.
#[derive(Debug, Clone)]
pub struct Containers {
    port: u16,
    project: String,
    compose: Vec<String>,
}

impl Containers {
    /// Those that this process was told of, with their administrator.
    ///
    /// # Panics
    /// It was told half of it.
    pub(super) fn given() -> Option<(Self, Credentials)> {
        let port = std::env::var(PORT_VARIABLE).ok()?.parse().expect("a port");
        let told = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{PORT_VARIABLE} is set, {name} is not"));
        let [email, password] = ADMIN_VARIABLES.map(told);
        secrets::remember(&password);
        let compose = told(COMPOSE_VARIABLE).split(' ').map(str::to_owned).collect();
        Some((Self { port, project: told("COMPOSE_PROJECT_NAME"), compose }, Credentials { email, password }))
    }

    /// The host of `service` at the gateway.
    pub(super) fn url(&self, service: Service) -> String {
        format!("http://{}:{}", service.host(), self.port)
    }

    /// Runs Compose, and answers its standard output.
    ///
    /// # Panics
    /// It fails.
    pub fn compose(&self, arguments: &[&str]) -> String {
        let (program, first) = self.compose.split_first().expect("the name of a program");
        let mut command = Command::new(program);
        command.args(first).args(arguments);
        run(command)
    }

    /// Runs lines of the documentation in `folder`, by bash. `docker compose` in them is how Compose is called here.
    /// Answers what they print.
    ///
    /// # Panics
    /// One fails.
    pub fn shell(&self, lines: &str, folder: &Path) -> String {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &lines.replace("docker compose", &self.compose.join(" "))]);
        command.current_dir(folder);
        run(command)
    }

    /// The ids of the containers of `service` (a name of the compose file) that run.
    pub fn of(&self, service: &str) -> Vec<String> {
        self.ids(&["--filter", &format!("label=com.docker.compose.service={service}")])
    }

    /// The ids of all containers, also of those that have ended.
    pub fn all(&self) -> Vec<String> {
        self.ids(&["--all"])
    }

    fn ids(&self, which: &[&str]) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let list = [&["ps", "--no-trunc", "--quiet", "--filter", &project], which].concat();
        docker(&list).lines().map(str::to_owned).collect()
    }

    /// What Docker knows of these containers.
    ///
    /// # Panics
    /// It knows none of them.
    pub fn inspect(&self, ids: &[String]) -> Vec<Value> {
        let arguments: Vec<&str> = ["inspect"].into_iter().chain(ids.iter().map(String::as_str)).collect();
        serde_json::from_str(&docker(&arguments)).expect("JSON")
    }

    /// The address by which the gateway sees whoever comes from this machine.
    pub(super) fn callers_address(&self) -> String {
        let network = format!("{}_edge", self.project);
        docker(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", &network]).trim().to_owned()
    }

    /// Restarts all containers of these services at once, as an operator would rather not, and waits until they serve.
    pub(super) async fn restart(&self, services: &[Service]) {
        let names = services.iter().map(|service| service.program());
        self.compose(&["restart", "--timeout", "60"].into_iter().chain(names).collect::<Vec<_>>());
        self.serve().await;
    }

    /// Waits until every container is healthy and the gateway answers for each service, again and again.
    ///
    /// # Panics
    /// They do not within three minutes.
    pub async fn serve(&self) {
        let client = reqwest::Client::new();
        let asked = |service: Service| {
            let address = format!("http://127.0.0.1:{}/openapi.json", self.port);
            let host = format!("{}:{}", service.host(), self.port);
            client.get(address).header(reqwest::header::HOST, host).send()
        };
        let started = Instant::now();
        // More than there are replicas: none of them is away.
        let (mut in_a_row, enough) = (0, 9);
        while in_a_row < enough {
            let mut why_not = self.unhealthy();
            for service in Service::ALL {
                match asked(service).await {
                    Ok(answer) if answer.status() == 200 => {}
                    other => drop(why_not.insert(format!("{service:?} at the gateway: {other:?}"))),
                }
            }
            in_a_row = if why_not.is_empty() { in_a_row + 1 } else { 0 };
            assert!(started.elapsed() < PATIENCE, "after {PATIENCE:?}: {why_not:?}");
            if !why_not.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// The containers that run, should be healthy and are not.
    fn unhealthy(&self) -> BTreeSet<String> {
        let of_project = format!("label=com.docker.compose.project={}", self.project);
        let list = docker(&["ps", "--filter", &of_project, "--format", "{{.Names}} {{.Status}}"]);
        // "Up 3 minutes (healthy)"; one without a check says nothing.
        let is_not = |line: &&str| line.contains("(health: starting)") || line.contains("(unhealthy)");
        list.lines().filter(is_not).map(str::to_owned).collect()
    }

    /// Runs one statement in the database of `service`, and answers the first column of its rows.
    pub(super) fn sql(&self, service: Service, statement: &str) -> Vec<String> {
        let database = match service {
            Service::Auth => "auth",
            Service::Cart => "cart",
            Service::Orders => "orders",
        };
        let psql = ["exec", "-T", "postgres", "psql", "--username", "postgres", "--dbname", database];
        let how = ["--quiet", "--tuples-only", "--no-align", "--command", statement];
        self.compose(&[&psql[..], &how].concat()).lines().map(str::to_owned).collect()
    }

    /// Adds what the containers have printed to the output that is searched for secrets: for a test that removes some.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn keep_output(&self) {
        let Some(folder) = std::env::var_os(crate::OUTPUT_VARIABLE) else { return };
        for container in self.all() {
            let path = Path::new(&folder).join(format!("before-{container}.log"));
            let mut file = std::fs::File::create(path).expect("the output can be kept");
            file.write_all(logs(&container).as_bytes()).expect("the output can be kept");
        }
    }
}
