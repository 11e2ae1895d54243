//! A PostgreSQL primary and its standbys. Owns reading their addresses from one URL, and asking each whether it takes
//! writes; never repeats a part of the URL, for it holds a password.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Error};
use tokio::time::timeout;

/// How long one host may take to answer: there are others.
const ANSWER: Duration = Duration::from_secs(1);

/// The timeline's number, in the first 8 digits, and how far the log has come; a standby answers with no row. A server
/// that is set to be read-only counts as one.
const WRITES_AT: &str = "SELECT pg_walfile_name(pg_current_wal_lsn())
    WHERE NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'";

/// Parameters of a URL that are followed.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];
/// Those of libpq that have no meaning here: they are left out, and a warning names them.
const IGNORED: [&str; 9] = [
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_idle",
    "load_balance_hosts",
    "tcp_user_timeout",
];

/// One server, and how to log in there.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// `HOST:PORT`.
    pub(super) name: String,
    pub(super) options: PgConnectOptions,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Not empty.
pub(super) struct Hosts(Vec<Host>);

/// A host that takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Writable {
    /// Grows with each promotion: of two that take writes, the one that was promoted last is right.
    pub(super) timeline: u32,
    /// Its number among the hosts.
    pub(super) host: usize,
}

impl Hosts {
    /// Reads `postgres://[USER[:PASSWORD]@]HOST[:PORT],…/NAME?…`, where `target_session_attrs` may be `read-write` or
    /// `primary`, which is what happens in any case.
    pub(super) fn read(url: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = url.split_once("://").context("a PostgreSQL URL is postgres://HOST:PORT/NAME")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        ensure!(
            !rest[end..].contains(['@', '#']),
            "in a password of a URL, / is written %2F, ? %3F, # %23, @ %40 and % %25"
        );
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        let at = authority.rfind('@').map_or(0, |at| at + 1);
        let (user, hosts) = authority.split_at(at);
        let query = followed(query)?;
        let hosts: Vec<&str> = hosts.split(',').collect();
        let is_alone = hosts.len() == 1;
        let hosts = hosts.into_iter().enumerate().map(|(number, host)| {
            let url = format!("{scheme}://{user}{host}/{name}?{query}");
            let options = PgConnectOptions::from_str(&url).ok().filter(|_| is_alone || !host.is_empty());
            let options = options.with_context(|| format!("host number {} is not HOST:PORT", number + 1))?;
            let options = options
                .options([
                    ("statement_timeout", "5s"),
                    ("lock_timeout", "4s"),
                    ("idle_in_transaction_session_timeout", "5s"),
                ])
                .disable_statement_logging();
            Ok(Host { name: format!("{}:{}", options.get_host(), options.get_port()), options })
        });
        let hosts = hosts.collect::<anyhow::Result<Vec<_>>>()?;
        let names: std::collections::BTreeSet<_> = hosts.iter().map(|host| &host.name).collect();
        ensure!(names.len() == hosts.len(), "a host stands twice in one URL");
        Ok(Self(hosts))
    }

    pub(super) fn all(&self) -> &[Host] {
        &self.0
    }

    pub(super) fn names(&self) -> String {
        self.0.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The parameters that sqlx follows. It would ignore others, and log them with their values.
fn followed(query: &str) -> anyhow::Result<String> {
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let read = url::form_urlencoded::parse(parameter.as_bytes()).next();
        let (name, value) = read.context("a parameter has no name")?;
        match (&*name, &*value) {
            ("target_session_attrs", "read-write" | "primary") => {}
            ("target_session_attrs", _) => bail!("target_session_attrs can be read-write or primary"),
            (name, _) if PARAMETERS.contains(&name) || name.starts_with("options[") => kept.push(parameter),
            (name, _) => match IGNORED.iter().find(|ignored| **ignored == name) {
                Some(ignored) => {
                    tracing::warn!(parameter = ignored, "a parameter of the database's URL has no meaning here")
                }
                None => bail!("a parameter is not known; known are {} and target_session_attrs", PARAMETERS.join(", ")),
            },
        }
    }
    Ok(kept.join("&"))
}

/// Connections by which the hosts are asked, kept as long as they answer.
pub(super) struct Questions(Vec<Option<PgConnection>>);

impl Questions {
    pub(super) fn of(hosts: &Hosts) -> Self {
        Self(hosts.0.iter().map(|_| None).collect())
    }

    /// Asks every host, all at once. Answers the one that takes writes and was promoted last, if there is one, and of all
    /// others why not.
    pub(super) async fn ask(&mut self, hosts: &Hosts) -> Result<Writable, String> {
        let asked = hosts.0.iter().zip(&mut self.0).enumerate().map(|(number, (host, connection))| async move {
            let answer = timeout(ANSWER, writes_at(host, connection)).await;
            let answer = answer.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
            match answer {
                Ok(Some(timeline)) => Ok(Writable { timeline, host: number }),
                Ok(None) => Err(format!("{host} takes no writes")),
                Err(error) => {
                    *connection = None;
                    Err(format!("{host}: {error}"))
                }
            }
        });
        let answers = join_all(asked).await;
        let best = answers.iter().flatten().max().copied();
        best.ok_or_else(|| answers.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; "))
    }
}

/// The host's timeline, if it takes writes.
async fn writes_at(host: &Host, connection: &mut Option<PgConnection>) -> Result<Option<u32>, Error> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(host.options.connect().await?),
    };
    let file: Option<(String,)> = sqlx::query_as(WRITES_AT).fetch_optional(connection).await?;
    let Some((file,)) = file else { return Ok(None) };
    let timeline = file.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    timeline.map(Some).ok_or_else(|| Error::Protocol("the name of a log file cannot be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(url: &str) -> String {
        Hosts::read(url).expect("it is read").names()
    }

    #[test]
    fn one_host_and_several_are_read_with_one_login() {
        assert_eq!(names("postgres://shop:p%40ss@db:5433/cart"), "db:5433");
        assert_eq!(names("postgres://one:5000,two,[::1]:5002/cart"), "one:5000, two:5432, [::1]:5002");
        let url = "postgres://shop:p%40ss@one,two/cart?target_session_attrs=read-write&sslmode=require";
        for host in Hosts::read(url).expect("it is read").all() {
            assert_eq!((host.options.get_username(), host.options.get_database()), ("shop", Some("cart")));
            assert!(matches!(host.options.get_ssl_mode(), sqlx::postgres::PgSslMode::Require));
        }
    }

    #[test]
    fn parameters_are_followed_in_any_spelling_and_those_of_libpq_alone_are_left_out() {
        let url = "postgres://one/?connect_timeout=5&channel_binding=require&us%65r=shop&options[x]=1&dbname=cart";
        let hosts = Hosts::read(url).expect("it is read");
        assert_eq!(
            (hosts.all()[0].options.get_username(), hosts.all()[0].options.get_database()),
            ("shop", Some("cart"))
        );
    }

    #[test]
    fn what_is_wrong_is_named_and_the_password_is_not() {
        for (url, named) in [
            ("postgres://shop:hunter2@one:port/cart", "host number 1"),
            ("postgres://shop:hunter2@one,two:x/cart", "host number 2"),
            ("postgres://shop:hunter2@one,,two/cart", "host number 2"),
            ("postgres://one,/cart", "host number 2"),
            ("postgres://shop:hunter2@one,one:5432/cart", "twice"),
            ("postgres://shop:hunter2@one/cart?target_session_attrs=any", "read-write or primary"),
            ("postgres://shop:hun/ter2@one/cart", "%2F"),
            ("postgres://shop:1/hunter2@one/cart", "%2F"),
            ("postgres://shop:1?hunter2@one/cart", "%3F"),
            ("postgres://shop:hunter2@one/cart#x", "%23"),
            ("postgres://one/cart?passwd=hunter2", "a parameter is not known"),
            ("postgres://one/cart?hunter2", "a parameter is not known"),
            ("postgres://one/cart?password=hunter2&sslmode=hunter2", "host number 1"),
        ] {
            let error = format!("{:#}", Hosts::read(url).err().expect(url));
            assert!(error.contains(named) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
