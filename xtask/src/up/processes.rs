//! Everything that `up` runs. Owns the order in which it starts and stops; each part is stopped by its own handle.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use e2e::process::free_port;
use e2e::servers::{Gateway, GatewayPorts, PrivatePostgres, PrivateRedis};
use e2e::services::{Look, Running, Service, Together};

use super::data::Data;
use super::environment::Environment;
use crate::children::Interruption;
use crate::screen::Screen;

/// How long a start may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);
/// A replica that ends again and again is started again this seldom.
const REST: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Processes {
    // In the order in which they stop: whoever asks is gone before whom it asks.
    gateway: Option<Gateway>,
    services: Vec<Replica>,
    redis: Option<PrivateRedis>,
    postgres: Option<PrivatePostgres>,
    ports: Option<GatewayPorts>,
}

struct Replica {
    service: Service,
    port: u16,
    running: Running,
    started: Instant,
}

impl Processes {
    pub(super) fn start_stores(&mut self, data: &Data) -> anyhow::Result<()> {
        let password = data.secret("postgres.password")?;
        self.postgres = Some(PrivatePostgres::launch_kept(&data.servers().join("postgres"), &password)?);
        let password = data.secret("redis.password")?;
        self.redis = Some(PrivateRedis::launch_kept(&data.servers().join("redis"), &password)?);
        Ok(())
    }

    /// Makes the databases and decides the ports; starts nothing. Answers the settings of the environment that are passed on.
    pub(super) fn prepare(
        &mut self,
        data: &Data,
        programs: &Path,
        (gateway_port, replicas): (u16, usize),
        environment: &Environment,
    ) -> anyhow::Result<BTreeSet<String>> {
        let mut passed: BTreeSet<String> =
            environment.of_the_gateway().iter().map(|(name, _)| (*name).to_owned()).collect();
        let ports = GatewayPorts { outer: gateway_port, inner: free_port()? };
        self.ports = Some(ports);
        let redis = self.redis.as_ref().context("Redis runs")?;
        let taken = (0..3 * replicas).map(|_| free_port()).collect::<anyhow::Result<Vec<u16>>>()?;
        let mut of_services = taken.chunks(replicas);
        let together = Together {
            issuer: format!("http://{}:{gateway_port}", Service::Auth.host()),
            auth_ports: taken[..replicas].to_vec(),
            cart_url: format!("http://127.0.0.1:{}", ports.inner),
            redis_url: format!("redis://:{}@127.0.0.1:{}", data.secret("redis.password")?, redis.port()),
            master_key: data.secret("master.key")?,
            checkout_secret: data.secret("checkout.secret")?,
            shop_url: format!("http://{}:{gateway_port}", Service::Cart.host()),
            orders_url: format!("http://{}:{gateway_port}", Service::Orders.host()),
            shop_client_secret: data.secret("cart-service.client.secret")?,
            orders_client_secret: data.secret("order-service.client.secret")?,
            cookie_key: data.secret("cookie.key")?,
        };
        for service in Service::ALL {
            let database = self.database(service, data)?;
            for (number, port) in of_services.next().unwrap_or_default().iter().enumerate() {
                let replica = service.replica(number);
                let mut settings = together.settings(replica, *port, &database);
                // Longer than the gateway needs to notice.
                settings.push(("DRAIN", "1s".to_owned()));
                let decided: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
                let more = environment.of(service, &decided);
                passed.extend(more.iter().map(|(name, _)| (*name).to_owned()));
                let settings = settings.into_iter().chain(more).collect();
                let program: PathBuf = programs.join(service.program());
                let running = Running::replica(replica, program, *port, settings, &data.logs());
                data.new_log(running.name())?;
                self.services.push(Replica { service, port: *port, running, started: Instant::now() });
            }
        }
        Ok(passed)
    }

    /// The service's own database, with a role that may do nothing elsewhere. Answers its URL.
    fn database(&self, service: Service, data: &Data) -> anyhow::Result<String> {
        let postgres = self.postgres.as_ref().context("PostgreSQL runs")?;
        let name = match service {
            Service::Auth => "auth",
            Service::Cart => "cart",
            Service::Orders => "orders",
        };
        let password = data.secret(&format!("{name}.database.password"))?;
        let mut session = postgres.session()?;
        let mut is_there = |query: &str| session.execute(&format!("{query} = '{name}'")).map(|rows| !rows.is_empty());
        let role_is_there = is_there("SELECT 1 FROM pg_roles WHERE rolname")?;
        let database_is_there = is_there("SELECT 1 FROM pg_database WHERE datname")?;
        let verb = if role_is_there { "ALTER" } else { "CREATE" };
        session.execute(&format!("{verb} ROLE {name} LOGIN PASSWORD '{password}'"))?;
        if !database_is_there {
            session.execute(&format!("CREATE DATABASE {name} OWNER {name}"))?;
            session.execute(&format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"))?;
        }
        Ok(format!("postgres://{name}:{password}@127.0.0.1:{}/{name}", postgres.port()))
    }

    /// A replica of `service`, for a subcommand.
    pub(super) fn any(&self, service: Service) -> anyhow::Result<&Running> {
        let found = self.services.iter().find(|replica| replica.service == service);
        Ok(&found.context("every service has a replica")?.running)
    }

    pub(super) async fn start_services(
        &mut self,
        screen: &Screen,
        interruption: &mut Interruption,
    ) -> anyhow::Result<()> {
        for replica in &mut self.services {
            replica.running.launch()?;
            replica.started = Instant::now();
        }
        let all = self.services.len();
        for (ready, replica) in self.services.iter_mut().enumerate() {
            screen.progress(format!("starting the services: {ready} of {all} are ready"));
            replica.wait_until_ready(interruption).await?;
        }
        Ok(())
    }

    /// Starts it last: replicas that are not ready yet would be left alone for a while.
    pub(super) fn start_gateway(&mut self, data: &Data, environment: &Environment) -> anyhow::Result<()> {
        let ports = self.ports.context("the ports are decided")?;
        let log = data.new_log("gateway")?;
        let replicas = Service::ALL.map(|service| self.ports_of(service));
        self.gateway = Some(Gateway::launch(ports, &replicas, &log, &environment.of_the_gateway())?);
        Ok(())
    }

    /// The ports of a service's replicas.
    pub(super) fn ports_of(&self, service: Service) -> Vec<u16> {
        self.services.iter().filter(|replica| replica.service == service).map(|replica| replica.port).collect()
    }

    /// The address of `service` at the gateway.
    pub(super) fn url(&self, service: Service) -> anyhow::Result<String> {
        let ports = self.ports.context("the ports are decided")?;
        Ok(format!("http://{}:{}", service.host(), ports.outer))
    }

    /// The ports of PostgreSQL and Redis.
    pub(super) fn ports_of_stores(&self) -> anyhow::Result<(u16, u16)> {
        let (postgres, redis) = (self.postgres.as_ref(), self.redis.as_ref());
        Ok((postgres.context("PostgreSQL runs")?.port(), redis.context("Redis runs")?.port()))
    }

    /// Starts again what has ended by itself, as whoever runs containers does.
    ///
    /// # Errors
    /// The gateway has ended: nobody comes in.
    pub(super) fn replace_ended(&mut self, screen: &Screen) -> anyhow::Result<()> {
        for replica in &mut self.services {
            let Some(status) = replica.running.ended()? else { continue };
            if replica.started.elapsed() < REST {
                continue;
            }
            screen.line(&format!("{} has ended ({status}) and is started again", replica.running.name()));
            replica.running.launch()?;
            replica.started = Instant::now();
        }
        if let Some(gateway) = &mut self.gateway
            && gateway.ended()?
        {
            bail!("the gateway has ended:\n{}", last_lines(&gateway.said()));
        }
        Ok(())
    }

    /// Stops everything, each part before those that it needs. One that does not stop keeps no other from it.
    ///
    /// # Errors
    /// The first that did not stop as it should; all are gone all the same.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        let mut outcomes = Vec::new();
        if let Some(mut gateway) = self.gateway.take() {
            outcomes.push(gateway.stop());
        }
        outcomes.extend(self.services.iter_mut().map(|replica| replica.running.ask_to_stop()));
        outcomes.extend(self.services.iter_mut().map(Replica::stop));
        if let Some(mut redis) = self.redis.take() {
            outcomes.push(redis.stop());
        }
        if let Some(mut postgres) = self.postgres.take() {
            outcomes.push(postgres.stop());
        }
        outcomes.into_iter().collect()
    }
}

impl Replica {
    async fn wait_until_ready(&mut self, interruption: &mut Interruption) -> anyhow::Result<()> {
        loop {
            let why_not = match self.running.look()? {
                Look::Ready => return Ok(()),
                Look::NotYet(why_not) => why_not,
                Look::Ended(status) => {
                    bail!("{} ended with {status} before it was ready:\n{}", self.running.name(), self.running.tail())
                }
            };
            if self.started.elapsed() > PATIENCE {
                bail!("{} is not ready after {PATIENCE:?}: {why_not}\n{}", self.running.name(), self.running.tail());
            }
            interruption.check().await?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// One that was killed a moment ago, and not started again yet, is no error.
    fn stop(&mut self) -> anyhow::Result<()> {
        if self.running.ended()?.is_some() {
            return Ok(());
        }
        self.running.stop()
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
