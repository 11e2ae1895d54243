//! Where strategies are compared: one PostgreSQL and one Redis for all of them, and one gateway at a time. Owns what all
//! nodes are told; measures nothing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use e2e::process::free_port;
use e2e::servers::{Gateway, GatewayPorts, PrivatePostgres, PrivateRedis, UNLIMITED};
use e2e::services::{Service, random_key};
use tempfile::TempDir;

use super::nodes::Nodes;
use crate::measuring::Halt;

/// All that the nodes share.
pub(super) struct Stage {
    pub(super) redis: PrivateRedis,
    postgres: PrivatePostgres,
    ports: GatewayPorts,
    pub(super) programs: PathBuf,
    /// For what nodes and gateway print.
    pub(super) output: PathBuf,
    master_key: String,
    checkout_secret: String,
    cookie_key: String,
    client_secrets: [String; 2],
    pub(super) cluster_key: String,
    pub(super) admin_password: String,
    pub(super) halt: Halt,
    /// The nodes' own.
    pub(super) folder: TempDir,
}

pub(super) const ADMIN_EMAIL: &str = "admin@shop.localhost";
const DATABASES: [(&str, &str); 3] =
    [("AUTH_DATABASE_URL", "auth"), ("CART_DATABASE_URL", "cart"), ("ORDER_DATABASE_URL", "orders")];

impl Stage {
    /// # Errors
    /// A server is not installed or does not start.
    pub(super) fn set_up(programs: PathBuf, output: PathBuf, halt: &Halt) -> anyhow::Result<Self> {
        if output.exists() {
            std::fs::remove_dir_all(&output).with_context(|| format!("{} cannot be emptied", output.display()))?;
        }
        std::fs::create_dir_all(&output)?;
        let postgres = PrivatePostgres::launch()?;
        let mut session = postgres.session()?;
        for (_, database) in DATABASES {
            session.execute(&format!("CREATE DATABASE {database}"))?;
        }
        Ok(Self {
            redis: PrivateRedis::launch()?,
            postgres,
            ports: GatewayPorts { outer: free_port()?, inner: free_port()? },
            programs,
            output,
            master_key: random_key(),
            checkout_secret: random_key(),
            cookie_key: random_key(),
            client_secrets: [random_key(), random_key()],
            cluster_key: random_key(),
            admin_password: format!("Pw-{}", random_key()),
            halt: halt.clone(),
            folder: tempfile::Builder::new().prefix("roam-compare-").tempdir()?,
        })
    }

    /// What every node is told, whichever strategy it runs.
    pub(super) fn settings(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let public = |service: Service| format!("http://{}", self.host(service));
        let server = self.postgres.url();
        let server = server.strip_suffix("/postgres").context("the server's URL ends with its own database")?;
        let mut settings = vec![
            ("ISSUER", public(Service::Auth)),
            ("SHOP_URL", public(Service::Cart)),
            ("ORDERS_URL", public(Service::Orders)),
            ("MASTER_KEY", self.master_key.clone()),
            ("CHECKOUT_SECRET", self.checkout_secret.clone()),
            ("COOKIE_KEY", self.cookie_key.clone()),
            ("SHOP_CLIENT_SECRET", self.client_secrets[0].clone()),
            ("ORDERS_CLIENT_SECRET", self.client_secrets[1].clone()),
            ("ADMIN_EMAIL", ADMIN_EMAIL.to_owned()),
            ("ADMIN_PASSWORD", self.admin_password.clone()),
            ("TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
            // Nine rows, five nodes, three services on one PostgreSQL.
            ("DATABASE_CONNECTIONS", "2".to_owned()),
            // Nothing that Redis keeps expires while its memory is looked at.
            ("LOGIN_ATTEMPTS_WINDOW", "1d".to_owned()),
        ];
        settings.extend(DATABASES.map(|(name, database)| (name, format!("{server}/{database}"))));
        // Everybody signs in again and again.
        for name in ["LOGIN_ATTEMPTS_PER_ADDRESS", "LOGIN_ATTEMPTS_PER_ACCOUNT", "REGISTRATIONS_PER_ADDRESS"] {
            settings.push((name, "1000000000".to_owned()));
        }
        Ok(settings)
    }

    /// A service's name at the gateway, with the port.
    pub(super) fn host(&self, service: Service) -> String {
        format!("{}:{}", service.host(), self.ports.outer)
    }

    pub(super) fn port(&self) -> u16 {
        self.ports.outer
    }

    /// Opens the gateway before these nodes, until it is dropped. There is one at a time. A client's address is what it says
    /// in `X-Forwarded-For`.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn gateway(&self, nodes: &Nodes) -> anyhow::Result<Gateway> {
        self.halt.check()?;
        // What is measured is not to be the gateway's limits.
        let mut settings = vec![("GATEWAY_TRUSTED_PROXIES", "127.0.0.1"), ("GATEWAY_ACCESS_LOG", "off"), UNLIMITED];
        settings.extend(nodes.row.pin.map(|pin| ("GATEWAY_PIN", pin)));
        let ports = Service::ALL.map(|service| nodes.ports_of(service));
        Gateway::launch(self.ports, &ports, &self.log("gateway"), &settings)
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.output.join(Path::new(name)).with_extension("log")
    }
}
