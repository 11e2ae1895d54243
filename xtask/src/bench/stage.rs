//! What is measured, set up: a PostgreSQL and a Redis of the bench's own, the services as release-built processes, and
//! people with accounts. Owns starting and stopping them; measures nothing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::probe;
use e2e::process::{Process, free_port, mortal};
use e2e::servers::{PrivatePostgres, PrivateRedis};
use e2e::services::{Service, Together, random_key};
use serde_json::{Value, json};

use crate::measuring::Halt;
use crate::measuring::call::{Heard, ask};
use crate::measuring::load::request;
use crate::measuring::machine::{Cores, TASKSET, cpu_seconds_of_ended_children};

const START_PATIENCE: Duration = Duration::from_secs(60);

/// One platform. Its parts end with it.
pub(super) struct Stage {
    // Declared first: what asks the servers is gone before they are.
    services: Vec<Process>,
    pub(super) redis: PrivateRedis,
    postgres: PrivatePostgres,
    together: Together,
    /// Where the services run.
    cores: Cores,
    programs: PathBuf,
    output: PathBuf,
    halt: Halt,
}

/// A process that listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listener {
    pub(super) port: u16,
    pub(super) pid: u32,
}

/// Somebody with an account.
pub(super) struct Person {
    email: String,
    password: String,
}

/// What a login gives.
pub(super) struct Tokens {
    pub(super) user: String,
    pub(super) access: String,
    pub(super) refresh: String,
}

impl Stage {
    /// Starts the servers. `programs` is the folder with the built programs, `output` gets what the services print.
    ///
    /// # Errors
    /// A server is not installed or does not start.
    pub(super) fn set_up(cores: Cores, programs: &Path, output: &Path, halt: &Halt) -> anyhow::Result<Self> {
        std::fs::create_dir_all(output)?;
        let (postgres, redis) = (PrivatePostgres::launch()?, PrivateRedis::launch()?);
        let auth_port = free_port()?;
        let together = Together {
            issuer: format!("http://localhost:{auth_port}"),
            auth_ports: vec![auth_port],
            cart_url: String::new(),
            redis_url: redis.url(),
            master_key: random_key(),
            checkout_secret: random_key(),
            // Nobody signs in by a browser here.
            shop_url: "http://localhost:8082".to_owned(),
            orders_url: "http://localhost:8083".to_owned(),
            shop_client_secret: random_key(),
            orders_client_secret: random_key(),
            cookie_key: random_key(),
        };
        let (programs, output, halt) = (programs.to_owned(), output.to_owned(), halt.clone());
        Ok(Self { services: Vec::new(), redis, postgres, together, cores, programs, output, halt })
    }

    /// # Errors
    /// It is not ready in time.
    pub(super) fn auth(&mut self) -> anyhow::Result<Listener> {
        // All who sign in here come from one address, again and again.
        let more = [
            ("LOGIN_ATTEMPTS_PER_ADDRESS", "1000000000"),
            ("LOGIN_ATTEMPTS_PER_ACCOUNT", "1000000000"),
            ("REGISTRATIONS_PER_ADDRESS", "1000000000"),
            ("MAX_SESSIONS_PER_USER", "1000000"),
        ];
        self.service(Service::Auth, self.together.auth_ports[0], Service::Auth.program(), &[], &more)
    }

    /// # Errors
    /// It is not ready in time.
    pub(super) fn cart(&mut self) -> anyhow::Result<Listener> {
        self.service(Service::Cart, free_port()?, Service::Cart.program(), &[], &[])
    }

    /// The cart service's own handler without authentication, which shows everybody the cart of `user`.
    ///
    /// # Errors
    /// It is not ready in time.
    pub(super) fn cart_without_authentication(&mut self, user: &str) -> anyhow::Result<Listener> {
        let program = format!("examples/{}", super::OPEN_CART);
        self.service(Service::Cart, free_port()?, &program, &[user], &[])
    }

    fn service(
        &mut self,
        service: Service,
        port: u16,
        program: &str,
        arguments: &[&str],
        more: &[(&'static str, &str)],
    ) -> anyhow::Result<Listener> {
        let database = self.database(service)?;
        let settings = self.together.settings(service.replica(0), port, &database);
        let mut command = self.program(self.cores, program);
        command.args(arguments).env_clear().envs(settings).envs(more.iter().copied()).env("LOG_FORMAT", "json");
        let name = program.rsplit('/').next().unwrap_or(program);
        let output = self.output.join(format!("{name}.log"));
        let file = File::create(&output).with_context(|| format!("{} cannot be written", output.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut process = Process::start(name, command)?;
        let listener = Listener { port, pid: process.id() };
        let said = || std::fs::read_to_string(&output).unwrap_or_default();
        self.wait(&format!("{name} to be ready"), || {
            let ended = process.ended()?;
            ensure!(ended.is_none(), "{name} ended before it was ready:\n{}", said());
            Ok(probe::get(port, "/readyz").is_ok_and(|answer| answer.status == 200))
        })?;
        self.services.push(process);
        Ok(listener)
    }

    /// Makes the service's database where it is not there yet.
    fn database(&self, service: Service) -> anyhow::Result<String> {
        let name = service.program().replace('-', "_");
        let mut session = self.postgres.session()?;
        let there = session.execute(&format!("SELECT datname FROM pg_database WHERE datname = '{name}'"))?;
        if there.is_empty() {
            session.execute(&format!("CREATE DATABASE {name}"))?;
        }
        let server = self.postgres.url();
        let server = server.strip_suffix("/postgres").context("the server's URL ends with its own database")?;
        Ok(format!("{server}/{name}"))
    }

    /// A built program, kept to some cores, which ends when we do.
    fn program(&self, cores: Cores, program: &str) -> Command {
        let mut command = mortal(Path::new(TASKSET), "KILL");
        command.args(cores.prefix()).arg(self.programs.join(program));
        command
    }

    /// Runs one of the bench's own instruments, and reads the JSON that it prints. Answers it with the processor time
    /// that it took, in seconds.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn instrument(&self, cores: Cores, name: &str, arguments: &[&str]) -> anyhow::Result<(Value, f64)> {
        let mut command = self.program(cores, &format!("examples/{name}"));
        let (text, cpu) = self.run(command.args(arguments))?;
        Ok((serde_json::from_str(&text).with_context(|| format!("{name} printed no JSON: {text}"))?, cpu))
    }

    /// Runs a program of the system on some cores. Answers what it printed, and the processor time that it took.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn tool(&self, cores: Cores, tool: &Path, arguments: &[String]) -> anyhow::Result<(String, f64)> {
        let mut command = mortal(Path::new(TASKSET), "KILL");
        command.args(cores.prefix()).arg(tool);
        self.run(command.args(arguments))
    }

    fn run(&self, command: &mut Command) -> anyhow::Result<(String, f64)> {
        self.halt.check()?;
        let before = cpu_seconds_of_ended_children()?;
        let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot be started: {command:?}"))?;
        self.halt.check()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{command:?} ended with {}: {said}", done.status);
        Ok((String::from_utf8(done.stdout)?, cpu_seconds_of_ended_children()? - before))
    }

    /// # Errors
    /// The condition fails, or does not hold in time, or the bench was halted.
    pub(super) fn wait(&self, what: &str, mut condition: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let started = Instant::now();
        while !condition()? {
            self.halt.check()?;
            ensure!(started.elapsed() < START_PATIENCE, "waited {START_PATIENCE:?} for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Registers some people at the auth service.
    ///
    /// # Errors
    /// One is refused.
    pub(super) fn register(&self, auth: Listener, count: usize) -> anyhow::Result<Vec<Person>> {
        let register = |number| {
            self.halt.check()?;
            let person = Person { email: format!("person-{number}@shop.localhost"), password: random_key() };
            call(auth.port, "POST", "/auth/register", None, Some(&person.credentials()))?;
            Ok(person)
        };
        (0..count).map(register).collect()
    }

    /// Signs each of these people in, some times each.
    ///
    /// # Errors
    /// One is refused.
    pub(super) fn sign_in(&self, auth: Listener, people: &[Person], times: usize) -> anyhow::Result<Vec<Tokens>> {
        let people = std::iter::repeat_n(people, times).flatten();
        people
            .map(|person| {
                self.halt.check()?;
                Tokens::of(&call(auth.port, "POST", "/auth/login", None, Some(&person.credentials()))?)
            })
            .collect()
    }
}

impl Person {
    fn credentials(&self) -> Value {
        json!({ "email": self.email, "password": self.password })
    }

    /// The request by which they sign in.
    pub(super) fn login(&self) -> Vec<u8> {
        request("POST", "/auth/login", "", Some(&self.credentials().to_string()))
    }
}

impl Tokens {
    fn of(answer: &Value) -> anyhow::Result<Self> {
        let text = |pointer| {
            let found = answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            found.with_context(|| format!("the answer to the login has no {pointer}"))
        };
        Ok(Self { user: text("/user/id")?, access: text("/access_token")?, refresh: text("/refresh_token")? })
    }

    /// A header line.
    pub(super) fn authorization(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.access)
    }
}

/// One request on a connection of its own; the JSON of its answer, which must be a success.
///
/// # Errors
/// Nobody answers, or the answer is a refusal.
pub(super) fn call(
    port: u16,
    method: &str,
    path: &str,
    tokens: Option<&Tokens>,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let headers = tokens.map_or_else(String::new, Tokens::authorization);
    let body = body.map(Value::to_string);
    let answer = ask(port, &request(method, path, &headers, body.as_deref()));
    answer.and_then(Heard::success).with_context(|| format!("{method} {path}"))
}
