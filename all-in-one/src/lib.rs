//! The three services in one process: three listeners, SQLite files, sessions in memory; or one of several such processes
//! that each hold all sessions. Owns what belongs to one machine (the data folder, generated keys, the first accounts'
//! passwords on the terminal); no service calls another but over HTTP, as they would in three processes.

mod config;
mod data_folder;
mod stores;
mod welcome;

use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use auth_service::client_commands::{self, ClientCommand};
use auth_service::{AuthService, CreatedUser};
use shared::calls::in_service;
use shared::database::{Alone, Database};
use shared::program::{self, Fault};
use shared::server::Running;

pub use self::config::{Addresses, Config};
use self::data_folder::Locked;
pub use self::welcome::welcome;

/// The three services, listening.
pub struct Started {
    auth: Running,
    cart: Running,
    orders: Running,
    /// The accounts that this start made; the first start makes a demo user and an administrator.
    pub created: Vec<CreatedUser>,
    _alone: Option<Alone>,
    _data: Locked,
}

/// Makes the data folder and its keys where they are missing, and starts the three services.
///
/// # Errors
/// A port or the data folder is taken, or a service cannot start; in words for whoever started it.
pub async fn start(mut config: Config) -> anyhow::Result<Started> {
    let Addresses { auth, cart, orders } = config.addresses;
    for (address, setting) in [(auth, "AUTH_ADDR"), (cart, "CART_ADDR"), (orders, "ORDER_ADDR")] {
        ensure_free(address, setting)?;
    }
    config.start_node().await?;
    let must_be_alone = config.must_be_alone();
    let data = config.data.prepare()?;
    let alone = if must_be_alone { Some(alone(&config.auth.database_url).await?) } else { None };
    let auth = in_service(config.auth.server.name, auth_service::start(config.auth)).await;
    let auth = auth.context("the auth service cannot start")?;
    let cart = in_service(config.cart.server.name, cart_service::start(config.cart)).await;
    let cart = cart.context("the cart service cannot start")?;
    let orders = in_service(config.orders.server.name, order_service::start(config.orders)).await;
    let orders = orders.context("the order service cannot start")?;
    Ok(Started { auth: auth.running, cart, orders, created: auth.created, _alone: alone, _data: data })
}

/// Makes, shows and changes clients of the auth service, beside a process that runs with the same data or without one.
///
/// # Errors
/// The data folder was never used, or what is asked for is refused.
pub async fn client(config: Config, command: ClientCommand) -> anyhow::Result<()> {
    if let Some(missing) = config.data.is_missing() {
        let next = "start all-in-one once, in this folder or with this DATA_DIR";
        let fault = format!("the keys are not in {} yet", missing.display());
        return Err(anyhow::Error::new(Fault::new(fault, next)));
    }
    let service = AuthService::open(&config.auth).await.context("the accounts cannot be opened")?;
    client_commands::run(&service, command).await
}

impl Started {
    /// Stops the services, each before those that it calls, and lets them finish what they were asked.
    pub async fn stop(self) {
        for service in [self.orders, self.cart, self.auth] {
            service.stop().await;
        }
    }
}

/// Keeps other nodes from the accounts whose sessions, or the ends of them, are in this process's memory alone.
async fn alone(database_url: &str) -> anyhow::Result<Alone> {
    let database = Database::open(database_url, 1).await.context("the auth service's database cannot be opened")?;
    let held = database.alone().await.context("whether another node works with the accounts cannot be told")?;
    held.ok_or_else(|| {
        let next = "set REDIS_URL to the same Redis at all nodes, take SESSION_STRATEGY=replicated or sticky, or stop the \
                    other node";
        let why = "each node would take the sessions that the other has ended";
        let fault = "another node works with these accounts (AUTH_DATABASE_URL), and there is no Redis for both";
        anyhow::Error::msg(why).context(Fault::new(fault, next))
    })
}

/// Whoever tries the product may have something else on the port: say so before anything is made.
fn ensure_free(address: SocketAddr, setting: &str) -> anyhow::Result<()> {
    TcpListener::bind(address).map(drop).map_err(|error| program::cannot_listen(error, address, setting))
}
