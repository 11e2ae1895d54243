//! The settings of the one process. Owns the defaults that only one process may have (law of the design: memory on two
//! nodes would be silently wrong), and reads each service's own settings with them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use auth_service::password::NewPassword;
use auth_service::roles::Roles;
use auth_service::{EmbeddedStores, FirstUser, Stores};
use secrecy::{ExposeSecret as _, SecretString};
use shared::authentication::SessionCookie;
use shared::authentication::strategy::{Place, Strategy};
use shared::config::{ConnectionUrl, Settings};
use shared::server::Route;

use crate::data_folder::DataFolder;
use crate::stores::{Node, ReadStores, read_stores};

/// Where the three services listen.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub auth: SocketAddr,
    pub cart: SocketAddr,
    pub orders: SocketAddr,
}

/// What [`start`](crate::start) needs: the three services' own configurations.
pub struct Config {
    pub addresses: Addresses,
    pub(crate) auth: auth_service::Config,
    pub(crate) cart: cart_service::Config,
    pub(crate) orders: order_service::Config,
    pub(crate) data: DataFolder,
    node: Option<Node>,
}

impl Config {
    /// How the login is shared.
    pub fn strategy(&self) -> Strategy {
        self.auth.strategy
    }

    /// Reads the settings, and the data folder's keys where there are some; makes nothing. [`Settings::finish`] tells what
    /// is wrong.
    ///
    /// # Errors
    /// A key in the data folder cannot be read.
    pub fn read(settings: &mut Settings) -> anyhow::Result<Self> {
        let folder: PathBuf = settings.or("DATA_DIR", "data", "where SQLite files and generated keys are");
        let mut data = DataFolder::at(folder);
        let addresses = read_addresses(settings);
        let ReadStores { embedded: stores, node, is_pinned } = read_stores(settings);
        let is_node = node.is_some();
        give_addresses(settings, addresses);
        let mut keys = Keys { data: &mut data, is_node };
        give_keys(settings, &mut keys)?;
        let clients = give_clients(settings, &mut keys, addresses)?;
        let route = if is_pinned { Some(read_route(settings, &mut data)?) } else { None };

        let mut database = |settings: &mut Settings, name, file: &str, meaning| {
            let told: Option<ConnectionUrl> = settings.optional(name, meaning);
            if told.is_none() && is_node {
                settings.mistake(shared_by_nodes(name));
            }
            let url = told.map_or_else(|| data.database(file), |ConnectionUrl(url)| url);
            settings.give("DATABASE_URL", url.clone());
            settings.give(name, url);
        };
        database(settings, "AUTH_DATABASE_URL", "auth.db", "accounts and keys; by default auth.db in DATA_DIR");
        give_administrator(settings);
        let mut auth = auth_service::Config::read(settings, stores.clone());
        auth.first_users.extend(read_demo_user(settings));
        database(settings, "CART_DATABASE_URL", "cart.db", "catalogue and carts; by default cart.db in DATA_DIR");
        let sessions = || stores.as_ref().map(|stores| Arc::clone(&stores.sessions));
        clients.cart.give(settings);
        let cart = cart_service::Config::read(settings, sessions());
        database(settings, "ORDER_DATABASE_URL", "order.db", "orders; by default order.db in DATA_DIR");
        clients.orders.give(settings);
        let orders = order_service::Config::read(settings, sessions());
        let mut config = Self { addresses, auth, cart, orders, data, node };
        for server in [&mut config.auth.server, &mut config.cart.server, &mut config.orders.server] {
            server.route.clone_from(&route);
        }
        Ok(config)
    }

    /// Whether what several nodes would have to share is in this process's memory: its sessions, or the ends of them.
    pub(crate) fn must_be_alone(&self) -> bool {
        let remembers_alone = match &self.auth.stores {
            Stores::Embedded(EmbeddedStores { sessions, .. }) => sessions.remembers_since().is_some(),
            Stores::Redis(_) => false,
        };
        // The others read each other's ends from the database.
        remembers_alone && !matches!(self.strategy().place(), Place::Memory | Place::EachNode)
    }

    /// Where all nodes hold all sessions, starts this one and gives its sessions to the three services.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub(crate) async fn start_node(&mut self) -> anyhow::Result<()> {
        let Some(node) = self.node.take() else { return Ok(()) };
        let sessions = node.start().await?;
        if let Stores::Embedded(EmbeddedStores { sessions: stand_in, .. }) = &mut self.auth.stores {
            *stand_in = Arc::clone(&sessions);
        }
        self.cart.single_sign_on.sessions = Arc::clone(&sessions);
        self.orders.single_sign_on.sessions = sessions;
        Ok(())
    }
}

fn read_addresses(settings: &mut Settings) -> Addresses {
    let mut address = |name, default, meaning| {
        let address: SocketAddr = settings.or(name, default, meaning);
        if address.port() == 0 {
            settings.mistake(format!("{name}: expected a port, for the other services must know it"));
        }
        address
    };
    let addresses = Addresses {
        auth: address("AUTH_ADDR", "127.0.0.1:8081", "where the auth service listens"),
        cart: address("CART_ADDR", "127.0.0.1:8082", "where the cart service listens"),
        orders: address("ORDER_ADDR", "127.0.0.1:8083", "where the order service listens"),
    };
    let Addresses { auth, cart, orders } = addresses;
    if auth == cart || cart == orders || auth == orders {
        settings.mistake("AUTH_ADDR, CART_ADDR, ORDER_ADDR: expected three different addresses");
    }
    addresses
}

/// The services find each other where they listen, unless they are told another way.
fn give_addresses(settings: &mut Settings, addresses: Addresses) {
    let local = |address: SocketAddr| format!("http://{}", reached_at(address));
    let keys = format!("{}/.well-known/jwks.json", local(addresses.auth));
    for (name, value, meaning) in [
        ("ISSUER", public_url(addresses.auth), "the auth service's public address; by default where it listens"),
        ("JWKS_URL", keys, "where the keys are read; by default from where the auth service listens"),
        (
            "ISSUER_INTERNAL_URL",
            local(addresses.auth),
            "where the others find the auth service; by default where it listens",
        ),
        (
            "CART_URL",
            local(addresses.cart),
            "where the order service finds the cart service; by default where it listens",
        ),
    ] {
        let told: Option<String> = settings.optional(name, meaning);
        settings.give(name, told.unwrap_or(value));
    }
}

/// What is made up once and kept in the data folder. The nodes of a cluster have it from their settings: each would make up
/// its own.
struct Keys<'a> {
    data: &'a mut DataFolder,
    is_node: bool,
}

impl Keys<'_> {
    /// # Errors
    /// The key is in the data folder and cannot be read.
    fn read(
        &mut self,
        settings: &mut Settings,
        name: &'static str,
        file: &str,
        meaning: &'static str,
    ) -> anyhow::Result<SecretString> {
        let told: Option<SecretString> = settings.optional(name, meaning);
        if told.is_none() && self.is_node {
            settings.mistake(shared_by_nodes(name));
        }
        told.map_or_else(|| self.data.key(file), Ok)
    }
}

fn shared_by_nodes(name: &str) -> String {
    format!(
        "{name} is not set: the nodes that hold all sessions (SESSION_STRATEGY) have the same, so none makes up its own"
    )
}

/// What this node is called where a gateway leads browsers to it.
fn read_route(settings: &mut Settings, data: &mut DataFolder) -> anyhow::Result<Route> {
    let meaning = "what tells this node from the others behind a gateway; by default made up and kept in DATA_DIR";
    let name: Option<String> = settings.optional("NODE_NAME", meaning);
    let name = name.map_or_else(|| data.key("node.name"), |name| Ok(name.into()))?;
    let key: SecretString = settings.optional("MASTER_KEY", "given above").unwrap_or_default();
    Ok(Route::of(key.expose_secret().as_bytes(), name.expose_secret(), &SessionCookie::read(settings)))
}

fn give_keys(settings: &mut Settings, keys: &mut Keys<'_>) -> anyhow::Result<()> {
    for (name, file, meaning) in [
        ("MASTER_KEY", "master.key", "seals what must be read back; by default made up and kept in DATA_DIR"),
        (
            "CHECKOUT_SECRET",
            "checkout.secret",
            "the order service's credential; by default made up and kept in DATA_DIR",
        ),
        (
            "COOKIE_KEY",
            "cookie.key",
            "seals the cookies of signed-in browsers; by default made up and kept in DATA_DIR",
        ),
    ] {
        let key = keys.read(settings, name, file, meaning)?;
        if let Some(lost) = keys.data.lost(file, "auth.db").filter(|_| name == "MASTER_KEY") {
            settings.mistake(format!("{name}: {lost}"));
        }
        settings.give(name, key.expose_secret());
    }
    Ok(())
}

/// What a service with pages is told of itself.
struct Client {
    id: &'static str,
    secret: SecretString,
    public_url: String,
    grants: &'static [&'static str],
    /// What it may ask for in its callers' names.
    exchanges: &'static str,
}

struct Clients {
    cart: Client,
    orders: Client,
}

impl Client {
    /// For the service that is read next.
    fn give(&self, settings: &mut Settings) {
        settings.give("OIDC_CLIENT_ID", self.id);
        settings.give("OIDC_CLIENT_SECRET", self.secret.expose_secret());
        settings.give("PUBLIC_URL", self.public_url.clone());
    }

    /// How the auth service knows it (RFC 7591).
    fn metadata(&self, name: &str) -> serde_json::Value {
        let at = |path: &str| format!("{}{path}", self.public_url.trim_end_matches('/'));
        serde_json::json!({
            "client_id": self.id,
            "client_secret": self.secret.expose_secret(),
            "client_name": name,
            "first_party": true,
            "redirect_uris": [at("/callback")],
            "post_logout_redirect_uris": [at("/logout/done")],
            "initiate_login_uri": at("/login"),
            "backchannel_logout_uri": at("/backchannel-logout"),
            "backchannel_logout_session_required": true,
            "grant_types": self.grants,
            "token_endpoint_auth_method": "client_secret_basic",
            "id_token_signed_response_alg": "ES256",
            "scope": "openid profile email offline_access account cart orders",
            "token_exchange_scope": self.exchanges,
        })
    }
}

/// The shop's services are clients of the auth service: their secrets are made up and kept in the folder, and the auth
/// service is told of them, beside those that the operator names.
fn give_clients(settings: &mut Settings, keys: &mut Keys<'_>, addresses: Addresses) -> anyhow::Result<Clients> {
    let mut url = |name, address, meaning| {
        let told: Option<String> = settings.optional(name, meaning);
        let url = told.unwrap_or_else(|| public_url(address));
        settings.give(name, url.clone());
        url
    };
    let shop =
        url("SHOP_URL", addresses.cart, "the shop as browsers know it; by default where the cart service listens");
    let orders = url("ORDERS_URL", addresses.orders, "the orders as browsers know them; by default where they listen");
    let meaning = "the shop's secret as a client of the auth service; by default made up and kept in DATA_DIR";
    let shop_secret = keys.read(settings, "SHOP_CLIENT_SECRET", "cart-service.client.secret", meaning)?;
    let meaning = "the orders' secret as a client of the auth service; by default made up and kept in DATA_DIR";
    let orders_secret = keys.read(settings, "ORDERS_CLIENT_SECRET", "order-service.client.secret", meaning)?;
    let clients = Clients {
        cart: Client {
            id: "cart-service",
            secret: shop_secret,
            public_url: shop,
            grants: &["authorization_code", "refresh_token"],
            exchanges: "",
        },
        orders: Client {
            id: "order-service",
            secret: orders_secret,
            public_url: orders,
            // It calls the cart service in its users' names.
            grants: &["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"],
            exchanges: "cart",
        },
    };
    let meaning = "other clients that the auth service knows from its start, as RFC 7591 metadata in a JSON array";
    let told: Option<SecretString> = settings.optional("FIRST_CLIENTS", meaning);
    let mut first = match told.map(|told| serde_json::from_str(told.expose_secret())).transpose() {
        Ok(first) => first.unwrap_or_else(Vec::new),
        Err(error) => {
            // The cause could quote a secret.
            let place = (error.line(), error.column());
            settings.mistake(format!("FIRST_CLIENTS: expected a JSON array: line {}, column {}", place.0, place.1));
            Vec::new()
        }
    };
    first.extend([clients.cart.metadata("Roam shop"), clients.orders.metadata("Roam orders")]);
    settings.give("FIRST_CLIENTS", serde_json::Value::from(first).to_string());
    Ok(clients)
}

fn give_administrator(settings: &mut Settings) {
    let told: Option<String> = settings.optional("ADMIN_EMAIL", "the administrator that the first start makes");
    settings.give("ADMIN_EMAIL", told.unwrap_or_else(|| "admin@shop.localhost".to_owned()));
}

fn read_demo_user(settings: &mut Settings) -> Option<FirstUser> {
    let email = settings.or("DEMO_EMAIL", "demo@shop.localhost", "the demo user that the first start makes");
    let meaning = "the demo user's password; else one is made up and printed once";
    let password: Option<SecretString> = settings.optional("DEMO_PASSWORD", meaning);
    let password = match password.map(|password| NewPassword::parse(password.expose_secret())).transpose() {
        Ok(password) => password,
        Err(refused) => {
            settings.mistake(format!("DEMO_PASSWORD: {refused}"));
            None
        }
    };
    Some(FirstUser { email, display_name: "Demo".to_owned(), password, roles: Roles::user() })
}

/// Where this machine reaches a listener; one on all addresses is reached at the loopback.
fn reached_at(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(loopback, address.port())
}

/// As people and browsers name a listener: `http://localhost:8081`.
pub(crate) fn public_url(address: SocketAddr) -> String {
    let reached = reached_at(address);
    if reached.ip().is_loopback() {
        format!("http://localhost:{}", reached.port())
    } else {
        format!("http://{reached}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_at_the_loopback() {
        for (address, url) in [
            ("127.0.0.1:8081", "http://localhost:8081"),
            ("0.0.0.0:9000", "http://localhost:9000"),
            ("[::]:9000", "http://localhost:9000"),
            ("192.0.2.7:80", "http://192.0.2.7:80"),
        ] {
            assert_eq!(public_url(address.parse().expect("an address")), url);
        }
    }
}
