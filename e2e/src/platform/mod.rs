//! The platform as its operator starts it: the programs as child processes, configured by their environment. Owns building
//! them once, their ports, their output and their end. One process, three, and many replicas behind a gateway are the same
//! with other numbers.

mod containers;
mod lives;
mod nodes;
mod programs;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Url;
use tempfile::TempDir;

pub use self::containers::Containers;
use self::lives::wait_until_ready;
pub use self::programs::path_of as program;
use crate::person::Doors;
use crate::process::free_port;
use crate::servers::{Gateway, GatewayPorts, SqlSession, UNLIMITED};
use crate::services::{Replica, Running, Service, Together, random_key};
use crate::{OUTPUT_VARIABLE, Person, secrets};

/// Who can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub email: String,
    pub password: String,
}

impl Credentials {
    /// `NAME@shop.localhost` with a password that nobody guesses, which is remembered as a secret.
    pub fn made_up(name: &str) -> Self {
        let password = format!("Pw-{}", uuid::Uuid::new_v4());
        secrets::remember(&password);
        Self { email: format!("{name}@shop.localhost"), password }
    }
}

/// By which addresses people come to a platform with many replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// By the gateway's three hosts.
    Gateway,
    /// Past it: each request to the next replica.
    Replicas,
    /// Each request by the next of them all.
    Every,
}

/// The running platform. Dropping it kills its processes; where a test fails, it shows the end of what they printed.
#[derive(Debug)]
pub struct Platform {
    admin: Credentials,
    demo: Credentials,
    // Declared before the processes: whoever asks it is gone first.
    gateway: Option<Gateway>,
    /// Instead of a gateway and processes of our own.
    containers: Option<Containers>,
    /// One for all three services, or one for each replica of each.
    processes: Vec<Running>,
    /// Each service's own, where it is on a PostgreSQL.
    databases: Vec<(Service, Database)>,
    entrance: Entrance,
    people: AtomicUsize,
    // Declared last: the processes are gone before their files are.
    folder: TempDir,
}

impl Platform {
    /// The three services in one process, with SQLite files and sessions in memory. `settings` are added to its
    /// environment, and win.
    ///
    /// # Panics
    /// It is not ready in time; the message holds what it printed.
    pub async fn all_in_one(settings: &[(&str, &str)]) -> Self {
        let mut platform = Self::unstarted();
        let listeners = Service::ALL.map(|service| (service, port()));
        let address = |(service, port): (Service, u16)| (service.address_setting(), format!("127.0.0.1:{port}"));
        let mut all: Vec<(&str, String)> = listeners.map(address).to_vec();
        all.push(("DATA_DIR", platform.folder.path().join("data").display().to_string()));
        all.extend(platform.first_administrator());
        all.extend([("DEMO_EMAIL", platform.demo.email.clone()), ("DEMO_PASSWORD", platform.demo.password.clone())]);
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let (name, output) = ("all-in-one", platform.output_folder().join("all-in-one.log"));
        platform.processes = vec![Running::new(name.to_owned(), program(name), listeners.to_vec(), all, output)];
        platform.start_all().await;
        platform
    }

    /// Three processes, each with a new database of its own on the PostgreSQL at `postgres` (of several hosts, the first is
    /// the primary), and sessions in the Redis at `redis`, which may be a cluster or sentinels. `settings` are added to the environment of all three, and win. The demo user is registered over HTTP.
    ///
    /// # Panics
    /// As [`Platform::all_in_one`], and when a database cannot be made.
    pub async fn split(postgres: &str, redis: &str, settings: &[(&str, &str)]) -> Self {
        let mut platform = Self::separate(postgres, redis, [1; 3], settings, None);
        platform.start_all().await;
        platform.register_demo_user().await;
        platform
    }

    /// As [`Platform::split`], with so many replicas of each service (in the order of [`Service::ALL`]) and a gateway
    /// before them. People come by every entrance in turn; see [`Platform::enter_by`].
    ///
    /// # Panics
    /// As [`Platform::split`].
    pub async fn replicated(postgres: &str, redis: &str, replicas: [usize; 3], settings: &[(&str, &str)]) -> Self {
        let ports = GatewayPorts { outer: port(), inner: port() };
        let mut platform = Self::separate(postgres, redis, replicas, settings, Some(ports));
        platform.start_all().await;
        platform.gateway = Some(launch_gateway(&platform, ports, settings));
        platform.register_demo_user().await;
        platform
    }

    /// The containers that `cargo xtask test --compose` brought up; none where it did not. All people come by the gateway,
    /// and what others have left behind is there.
    pub async fn in_containers() -> Option<Self> {
        let (containers, admin) = Containers::given()?;
        let demo = Credentials::made_up(&format!("demo-{}", uuid::Uuid::new_v4().simple()));
        let mut platform = Self::unstarted();
        (platform.admin, platform.demo) = (admin, demo);
        platform.containers = Some(containers);
        platform.register_demo_user().await;
        Some(platform)
    }

    fn separate(
        postgres: &str,
        redis: &str,
        replicas: [usize; 3],
        settings: &[(&str, &str)],
        gateway: Option<GatewayPorts>,
    ) -> Self {
        let mut platform = Self::unstarted();
        platform.databases = Service::ALL.map(|service| (service, new_database(postgres, service))).into();
        let ports = replicas.map(|replicas| (0..replicas).map(|_| port()).collect::<Vec<_>>());
        let [auth, cart, orders] = &ports;
        let public = |service: Service, port: u16| match gateway {
            Some(gateway) => format!("http://{}:{}", service.host(), gateway.outer),
            None => format!("http://localhost:{port}"),
        };
        let together = Together {
            issuer: public(Service::Auth, auth[0]),
            auth_ports: auth.clone(),
            cart_url: match gateway {
                Some(gateway) => format!("http://127.0.0.1:{}", gateway.inner),
                None => format!("http://localhost:{}", cart[0]),
            },
            redis_url: redis.to_owned(),
            master_key: secret(),
            checkout_secret: secret(),
            shop_url: public(Service::Cart, cart[0]),
            orders_url: public(Service::Orders, orders[0]),
            shop_client_secret: secret(),
            orders_client_secret: secret(),
            cookie_key: secret(),
        };
        for (service, database) in &platform.databases {
            for (number, port) in ports[*service as usize].iter().enumerate() {
                let replica = service.replica(number);
                let mut all = together.settings(replica, *port, &database.url);
                if *service == Service::Auth {
                    all.extend(platform.first_administrator());
                }
                let overrides = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
                let all = all.into_iter().chain(overrides).collect();
                let process =
                    Running::replica(replica, program(service.program()), *port, all, &platform.output_folder());
                platform.processes.push(process);
            }
        }
        platform
    }

    fn unstarted() -> Self {
        Self {
            admin: Credentials::made_up("admin"),
            demo: Credentials::made_up("demo"),
            gateway: None,
            containers: None,
            processes: Vec::new(),
            databases: Vec::new(),
            entrance: Entrance::Every,
            people: AtomicUsize::new(0),
            folder: tempfile::Builder::new().prefix("roam-platform-").tempdir().expect("a temporary folder"),
        }
    }

    fn first_administrator(&self) -> [(&'static str, String); 2] {
        [("ADMIN_EMAIL", self.admin.email.clone()), ("ADMIN_PASSWORD", self.admin.password.clone())]
    }

    async fn register_demo_user(&self) {
        let registered = self.person_with(&self.demo).register().await;
        assert_eq!(registered.status, 201, "the demo user cannot be registered: {}", registered.body);
    }

    /// Where the all-in-one keeps its files.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn output_folder(&self) -> PathBuf {
        let kept = std::env::var_os(OUTPUT_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let folder = match kept {
            Some(kept) => kept.join(self.folder.path().file_name().unwrap_or_default()),
            None => self.folder.path().join("output"),
        };
        std::fs::create_dir_all(&folder).expect("the folder for the output can be made");
        folder
    }

    async fn start_all(&mut self) {
        for process in &mut self.processes {
            process.launch().unwrap_or_else(|error| panic!("{error:#}"));
        }
        for process in &mut self.processes {
            wait_until_ready(process).await;
        }
    }

    /// The public address of `service`, without a slash at the end: `http://localhost:PORT`, or its host at the gateway.
    pub fn url(&self, service: Service) -> String {
        match (&self.gateway, &self.containers) {
            (Some(gateway), _) => gateway.url(service),
            (_, Some(containers)) => containers.url(service),
            (None, None) => format!("http://localhost:{}", self.port(service.into())),
        }
    }

    pub fn auth(&self) -> String {
        self.url(Service::Auth)
    }

    pub fn cart(&self) -> String {
        self.url(Service::Cart)
    }

    pub fn orders(&self) -> String {
        self.url(Service::Orders)
    }

    /// The address of one replica, past the gateway.
    pub fn replica(&self, replica: impl Into<Replica>) -> String {
        format!("http://127.0.0.1:{}", self.port(replica.into()))
    }

    /// How many replicas `service` has.
    pub fn replicas(&self, service: Service) -> usize {
        self.replicas_of(service).count()
    }

    fn port(&self, replica: Replica) -> u16 {
        let mut replicas = self.replicas_of(replica.service);
        let port = replicas.nth(replica.number).and_then(|process| process.port_of(replica.service));
        port.unwrap_or_else(|| panic!("there is no {replica:?}"))
    }

    fn replicas_of(&self, service: Service) -> impl Iterator<Item = &Running> {
        self.processes.iter().filter(move |process| process.port_of(service).is_some())
    }

    /// The gateway, where there is one.
    pub fn gateway(&mut self) -> Option<&mut Gateway> {
        self.gateway.as_mut()
    }

    /// The containers, where it runs in some.
    pub fn containers(&self) -> Option<&Containers> {
        self.containers.as_ref()
    }

    /// The address from which people are seen to come.
    pub fn callers_address(&self) -> String {
        self.containers.as_ref().map_or_else(|| "127.0.0.1".to_owned(), Containers::callers_address)
    }

    /// From now on, new people come by this entrance.
    pub fn enter_by(&mut self, entrance: Entrance) {
        self.entrance = entrance;
    }

    fn doors(&self) -> Doors {
        let addresses = Service::ALL.map(|service| match (&self.gateway, self.entrance) {
            (None, _) => vec![self.url(service)],
            (Some(gateway), Entrance::Gateway) => vec![gateway.url(service)],
            (Some(_), Entrance::Replicas) => self.addresses_of_replicas(service),
            (Some(gateway), Entrance::Every) => {
                let mut addresses = self.addresses_of_replicas(service);
                addresses.push(gateway.url(service));
                addresses
            }
        });
        // Not all people begin at the same door.
        Doors::new(addresses, self.people.fetch_add(1, Ordering::Relaxed))
    }

    fn addresses_of_replicas(&self, service: Service) -> Vec<String> {
        (0..self.replicas(service)).map(|number| self.replica(service.replica(number))).collect()
    }

    pub fn admin(&self) -> &Credentials {
        &self.admin
    }

    pub fn demo(&self) -> &Credentials {
        &self.demo
    }

    /// A person with a new address and a made-up password, who has not registered yet.
    pub fn person(&self) -> Person {
        let name = format!("person-{}", uuid::Uuid::new_v4().simple());
        self.person_with(&Credentials::made_up(&name))
    }

    /// A person with these credentials, who has not logged in yet.
    pub fn person_with(&self, credentials: &Credentials) -> Person {
        Person::new(self.doors(), credentials.clone())
    }

    /// A person who has registered and logged in.
    ///
    /// # Panics
    /// Either is refused.
    pub async fn customer(&self) -> Person {
        let mut person = self.person();
        let registered = person.register().await;
        assert_eq!(registered.status, 201, "{}", registered.body);
        let logged_in = person.log_in().await;
        assert_eq!(logged_in.status, 200, "{}", logged_in.body);
        person
    }

    /// Sets by the database how many of a product are there: for a test of something else than the way there.
    ///
    /// # Panics
    /// As [`Platform::sql`].
    pub fn set_stock(&self, product: &str, stock: u32) {
        let statement = format!("UPDATE products SET stock = {stock} WHERE id = '{product}'");
        match &self.containers {
            Some(containers) => drop(containers.sql(Service::Cart, &statement)),
            None => drop(self.sql(Service::Cart).execute(&statement).expect("the stock is set")),
        }
    }

    /// A session in the database of `service`.
    ///
    /// # Panics
    /// The service has none on a PostgreSQL of a test's own, or that does not answer.
    pub fn sql(&self, service: Service) -> SqlSession {
        let (_, database) = self.databases.iter().find(|(owner, _)| *owner == service).expect("a PostgreSQL");
        session_at(&database.first, &database.name).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The name of the database of `service`.
    ///
    /// # Panics
    /// The service has none on a PostgreSQL.
    pub fn database(&self, service: Service) -> &str {
        let found = self.databases.iter().find(|(owner, _)| *owner == service);
        found.map(|(_, database)| database.name.as_str()).expect("a PostgreSQL")
    }

    /// Everything that the services' processes printed so far.
    pub fn output(&self) -> String {
        self.processes.iter().map(Running::output).collect()
    }

    /// Of containers, `cargo xtask test --compose` searches the output at its end.
    ///
    /// Takes a secret out of the output that a stopped platform showed on purpose, once, to whoever started it.
    ///
    /// # Panics
    /// The output cannot be written.
    pub fn take_from_output(&self, shown: &str) {
        for process in &self.processes {
            process.take_from_output(shown).unwrap_or_else(|error| panic!("{error:#}"));
        }
    }

    /// # Panics
    /// A secret that a person sent or saw stands in the output. The message names the line, not the secret.
    pub fn assert_no_secret_in_output(&self) {
        let known = secrets::secrets();
        assert!(!known.is_empty(), "no secret was met: the search would prove nothing");
        let of_processes = self.processes.iter().map(|process| (process.name(), process.output()));
        let of_gateway = self.gateway.iter().map(|gateway| ("the gateway", gateway.said()));
        for (name, output) in of_processes.chain(of_gateway) {
            let found = secrets::lines_with_a_secret(&output, &known);
            assert!(found.is_empty(), "a secret stands in the output of {name}, lines {found:?}");
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in &self.processes {
                eprintln!("{}", process.tail());
            }
        }
    }
}

/// Last: replicas that are not ready yet would be left alone for a while.
fn launch_gateway(platform: &Platform, ports: GatewayPorts, settings: &[(&str, &str)]) -> Gateway {
    let ports_of = |service| platform.replicas_of(service).filter_map(|process| process.port_of(service)).collect();
    let output = platform.output_folder().join("gateway.log");
    // All people of a test share this machine's address, and some send as much as they can.
    let settings: Vec<_> = [UNLIMITED].iter().chain(settings).copied().collect();
    let gateway = Gateway::launch(ports, &Service::ALL.map(ports_of), &output, &settings);
    gateway.unwrap_or_else(|error| panic!("{error:#}"))
}

fn port() -> u16 {
    free_port().expect("a free port")
}

/// A key that stands in no output.
fn secret() -> String {
    let key = random_key();
    secrets::remember(&key);
    key
}

/// A service's own database.
#[derive(Debug)]
struct Database {
    /// As the service is told, with all hosts.
    url: String,
    /// Its server, or the first of several.
    first: Url,
    name: String,
}

/// Makes an empty database on the server at `postgres`, of several hosts at the first.
fn new_database(postgres: &str, service: Service) -> Database {
    let (hosts, rest) = postgres.rsplit_once('/').expect("the URL of a PostgreSQL");
    let (first, others) = hosts.split_once(',').unwrap_or((hosts, ""));
    let first = Url::parse(&format!("{first}/{rest}")).expect("the URL of a PostgreSQL");
    let name = format!("{}_{}", service.program().replace('-', "_"), uuid::Uuid::new_v4().simple());
    let made =
        session_at(&first, "postgres").and_then(|mut session| session.execute(&format!("CREATE DATABASE {name}")));
    made.unwrap_or_else(|error| panic!("a database for {} cannot be made: {error:#}", service.program()));
    let mut url = first.clone();
    url.set_path(&name);
    let url = if others.is_empty() { url.to_string() } else { format!("{hosts}/{name}") };
    Database { url, first, name }
}

fn session_at(url: &Url, database: &str) -> anyhow::Result<SqlSession> {
    let addresses = url.socket_addrs(|| Some(5432))?;
    let address = addresses.first().ok_or_else(|| anyhow::anyhow!("the PostgreSQL has no address"))?;
    let user = if url.username().is_empty() { "postgres" } else { url.username() };
    SqlSession::begin(*address, user, database)
}
