//! What `REDIS_URL` names: one server, a master that sentinels know, or a cluster. Owns reading it; connects to nothing,
//! and never repeats a part of it, for a password may stand anywhere in a URL that is written wrongly.

use anyhow::{Context as _, bail, ensure};
use deadpool_redis::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use url::Url;

const FORMS: &str = "expected redis://HOST:PORT/DATABASE, redis+sentinel://HOST:PORT,HOST:PORT/DATABASE?master=NAME or \
                     redis+cluster://HOST:PORT,HOST:PORT, each with USER:PASSWORD@ before the first host, and rediss in \
                     place of redis for TLS";

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

#[derive(Debug, Clone)]
pub(super) enum Address {
    Server(ConnectionInfo),
    Sentinels(Sentinels),
    /// Some of its nodes: they name the others.
    Cluster(Vec<ConnectionInfo>),
}

/// The sentinels that know where a master is.
#[derive(Debug, Clone)]
pub(super) struct Sentinels {
    pub(super) sentinels: Vec<ConnectionInfo>,
    /// What they call the master.
    pub(super) name: String,
    /// How to connect to the master, once its host and port are known.
    pub(super) master: ConnectionInfo,
}

impl Address {
    pub(super) fn read(url: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = url.split_once("://").context(FORMS)?;
        let (plain, kind) = match scheme.split_once('+') {
            Some((plain, kind)) => (plain, Some(kind)),
            None => (scheme, None),
        };
        ensure!(matches!(plain, "redis" | "rediss"), FORMS);
        match kind {
            None => server(url),
            Some("sentinel") => Parts::of(plain, rest)?.sentinels(),
            Some("cluster") => Parts::of(plain, rest)?.cluster(),
            Some(_) => bail!(FORMS),
        }
    }
}

fn server(url: &str) -> anyhow::Result<Address> {
    let info = url.into_connection_info().map_err(|error| anyhow::anyhow!("{FORMS}: {}", error.category()))?;
    let several = matches!(info.addr(), ConnectionAddr::Tcp(host, _) if host.contains(','));
    ensure!(!several, "several hosts stand in one redis:// URL; {FORMS}");
    Ok(Address::Server(info))
}

/// The parts of a URL with several hosts, which no URL parser takes apart.
struct Parts<'u> {
    scheme: &'u str,
    /// With the `@` after it, or empty.
    user: &'u str,
    hosts: Vec<&'u str>,
    database: &'u str,
    settings: Vec<(String, String)>,
}

impl<'u> Parts<'u> {
    fn of(scheme: &'u str, rest: &'u str) -> anyhow::Result<Self> {
        ensure!(!rest.contains('#'), "a # stands in it; within a password it is written %23");
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let at = authority.rfind('@').map_or(0, |at| at + 1);
        let (user, hosts) = authority.split_at(at);
        let settings = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Self { scheme, user, hosts: hosts.split(',').collect(), database, settings })
    }

    fn sentinels(mut self) -> anyhow::Result<Address> {
        let name = self.take("master")?.context("the master's name is missing: /?master=NAME")?;
        let (user, password) = (self.take("sentinel_username")?, self.take("sentinel_password")?);
        self.nothing_is_left("master, sentinel_username and sentinel_password")?;
        let database: u16 = match self.database {
            "" => 0,
            number => number.parse().ok().context("the database is not a number")?,
        };
        let of_a_sentinel = [("username", user), ("password", password)];
        let of_a_sentinel = of_a_sentinel.into_iter().fold(RedisConnectionInfo::default(), |info, own| match own {
            ("username", Some(user)) => info.set_username(user),
            (_, Some(password)) => info.set_password(password),
            _ => info,
        });
        let hosts = self.hosts(SENTINEL_PORT)?;
        let master = hosts[0].clone();
        let login = master.redis_settings().clone().set_db(i64::from(database));
        let sentinels = hosts.into_iter().map(|host| host.set_redis_settings(of_a_sentinel.clone())).collect();
        Ok(Address::Sentinels(Sentinels { sentinels, name, master: master.set_redis_settings(login) }))
    }

    fn cluster(self) -> anyhow::Result<Address> {
        self.nothing_is_left("none")?;
        ensure!(matches!(self.database, "" | "0"), "a cluster has no database but 0");
        Ok(Address::Cluster(self.hosts(REDIS_PORT)?))
    }

    /// Each host, with the login that all share.
    fn hosts(&self, default_port: u16) -> anyhow::Result<Vec<ConnectionInfo>> {
        let read = |(number, host): (usize, &&str)| {
            let wrong = || format!("host number {} is not HOST:PORT; {FORMS}", number + 1);
            let mut url = Url::parse(&format!("{}://{}{host}", self.scheme, self.user)).ok().with_context(wrong)?;
            let port = url.port().unwrap_or(default_port);
            url.set_port(Some(port)).ok().with_context(wrong)?;
            url.into_connection_info().ok().with_context(wrong)
        };
        self.hosts.iter().enumerate().map(read).collect()
    }

    fn take(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        let (found, others) = std::mem::take(&mut self.settings).into_iter().partition(|(given, _)| given == name);
        self.settings = others;
        let mut found: Vec<(String, String)> = found;
        ensure!(found.len() <= 1, "{name} is given twice");
        let value = found.pop().map(|(_, value)| value);
        ensure!(value.as_deref() != Some(""), "{name} is empty");
        Ok(value)
    }

    fn nothing_is_left(&self, known: &str) -> anyhow::Result<()> {
        ensure!(self.settings.is_empty(), "a parameter is not known; known here: {known}");
        Ok(())
    }
}

/// The same login and the same encryption, at another host and port.
pub(super) fn elsewhere(template: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let address = match template.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    template.clone().set_addr(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(infos: &[ConnectionInfo]) -> Vec<String> {
        infos.iter().map(|info| info.addr().to_string()).collect()
    }

    #[test]
    fn sentinels_are_read_with_the_masters_login() {
        let url = "redis+sentinel://app:p%40ss@one:5000,two,[::1]:5002/3?master=main&sentinel_password=a%2Bb";
        let Ok(Address::Sentinels(read)) = Address::read(url) else { panic!("{:?}", Address::read(url)) };
        assert_eq!(addresses(&read.sentinels), ["one:5000", "two:26379", "::1:5002"]);
        assert_eq!(read.name, "main");
        let login = read.master.redis_settings();
        assert_eq!((login.username(), login.password(), login.db()), (Some("app"), Some("p@ss"), 3));
        let login = read.sentinels[1].redis_settings();
        assert_eq!((login.username(), login.password(), login.db()), (None, Some("a+b"), 0));
    }

    #[test]
    fn a_cluster_is_read_with_the_login_of_all_nodes() {
        let url = "rediss+cluster://:secret@one:7000,two:7001,three/";
        let Ok(Address::Cluster(nodes)) = Address::read(url) else { panic!("{:?}", Address::read(url)) };
        assert_eq!(addresses(&nodes), ["one:7000", "two:7001", "three:6379"]);
        for node in &nodes {
            assert_eq!(node.redis_settings().password(), Some("secret"));
            assert!(matches!(node.addr(), ConnectionAddr::TcpTls { insecure: false, .. }), "{:?}", node.addr());
        }
        let other = elsewhere(&nodes[0], "four".to_owned(), 7003);
        assert!(matches!(other.addr(), ConnectionAddr::TcpTls { host, port: 7003, .. } if host == "four"));
        assert_eq!(other.redis_settings().password(), Some("secret"));
    }

    #[test]
    fn what_is_wrong_is_named_and_the_password_is_not() {
        for (url, named) in [
            ("", "expected redis://"),
            ("redis+proxy://:hunter2@h:1", "expected redis://"),
            ("http+cluster://:hunter2@h:1", "expected redis://"),
            ("redis://:hunter2@one:1,two:2/0", "expected redis://"),
            ("redis://:hunter2@one,two/0", "several hosts"),
            ("redis+sentinel://:hunter2@h:1/0", "the master's name is missing"),
            ("redis+sentinel://:hunter2@h:1/0?master=", "master is empty"),
            ("redis+sentinel://:hunter2@h:1/0?master=a&master=b", "master is given twice"),
            ("redis+sentinel://:hunter2@h:1/0?master=a&nmae=hunter2", "a parameter is not known"),
            ("redis+sentinel://:hunter2@h:1/db?master=a", "the database is not a number"),
            ("redis+sentinel://:hunter2@h:1,?master=a", "host number 2"),
            ("redis+sentinel://:hunt/er2@h:1?master=a", "the database is not a number"),
            ("redis+cluster://:hunter2@h:1,k:port", "host number 2"),
            ("redis+cluster://:hunter2@h:1,:2", "host number 2"),
            ("redis+cluster://:hunter2@", "host number 1"),
            ("redis+cluster://:hunter2@h:1/4", "no database but 0"),
            ("redis+cluster://:hunter2@h:1?master=a", "a parameter is not known"),
            ("redis+cluster://:hun#ter2@h:1", "%23"),
        ] {
            let error = format!("{:#}", Address::read(url).expect_err(url));
            assert!(error.contains(named), "{url}: {error}");
            assert!(!error.contains("hun"), "{url}: {error}");
        }
    }
}
