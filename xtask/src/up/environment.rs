//! The developer's environment: which of its settings the services and the gateway get, and which `up` decides itself. The
//! services say which settings they know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use e2e::services::Service;

/// Settings of the gateway that are passed on; it has others, which `up` decides.
const OF_THE_GATEWAY: [&str; 10] = [
    "GATEWAY_AUTHORIZATIONS",
    "GATEWAY_BASKETS",
    "GATEWAY_CONNECTIONS",
    "GATEWAY_MORE_HOSTS",
    "GATEWAY_REQUESTS",
    "GATEWAY_REST",
    "GATEWAY_SIGN_INS",
    "GATEWAY_TRUSTED_PROXIES",
    "GATEWAY_UNLIMITED",
    "GATEWAY_WORKERS",
];
/// What is decided without a setting: the accounts and the clients of the platform are made another way.
const MADE_OTHERWISE: [&str; 3] = ["ADMIN_EMAIL", "ADMIN_PASSWORD", "OIDC_CLIENT_ID"];

/// Variables, with their values.
type Variables = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub(super) struct Environment {
    variables: Variables,
    /// The settings that each program knows.
    known: BTreeMap<Service, BTreeSet<String>>,
    /// Those of the one process, which `up` does not start.
    of_the_one_process: BTreeSet<String>,
}

impl Environment {
    /// Asks the built programs for their settings.
    ///
    /// # Errors
    /// A program cannot be started.
    pub(super) fn read(programs: &Path) -> anyhow::Result<Self> {
        let known = Service::ALL.into_iter().map(|service| Ok((service, known(&programs.join(service.program()))?)));
        let of_the_one_process = known_if_there(&programs.join("all-in-one"))?;
        Ok(Self {
            variables: std::env::vars().collect(),
            known: known.collect::<anyhow::Result<_>>()?,
            of_the_one_process,
        })
    }

    /// What a service gets beside what is `decided` for it.
    pub(super) fn of(&self, service: Service, decided: &[&str]) -> Vec<(&str, String)> {
        let is_passed = |name: &str| {
            let setting = name.strip_suffix("_FILE").unwrap_or(name);
            let is_known = |name| self.known.get(&service).is_some_and(|known| known.contains(name));
            let is_decided = [name, setting].iter().any(|name| decided.contains(name) || MADE_OTHERWISE.contains(name));
            (is_known(setting) || is_known(name) || name.starts_with("OTEL_")) && !is_decided
        };
        let passed = self.variables.iter().filter(|(name, _)| is_passed(name));
        passed.map(|(name, value)| (name.as_str(), value.clone())).collect()
    }

    pub(super) fn of_the_gateway(&self) -> Vec<(&str, &str)> {
        let passed = OF_THE_GATEWAY.iter().filter_map(|name| Some((*name, self.variables.get(*name)?.as_str())));
        passed.collect()
    }

    /// What of it is a setting of the platform and has no effect, which an operator may not expect.
    pub(super) fn ignored(&self, passed: &BTreeSet<String>) -> BTreeSet<&str> {
        let is_a_setting = |name: &str| {
            let setting = name.strip_suffix("_FILE").unwrap_or(name);
            let all = self.known.values().chain([&self.of_the_one_process]);
            all.into_iter().any(|known| known.contains(setting)) || name.starts_with("GATEWAY_")
        };
        let names = self.variables.keys().map(String::as_str);
        names.filter(|name| is_a_setting(name) && !passed.contains(*name)).collect()
    }
}

/// The names that `PROGRAM config` prints, whatever else it says of an empty environment.
fn known(program: &Path) -> anyhow::Result<BTreeSet<String>> {
    let output = Command::new(program).arg("config").env_clear().output();
    let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
    Ok(names(&String::from_utf8_lossy(&output.stdout)))
}

/// Nothing of a program that was not built.
fn known_if_there(program: &Path) -> anyhow::Result<BTreeSet<String>> {
    if program.exists() { known(program) } else { Ok(BTreeSet::new()) }
}

fn names(printed: &str) -> BTreeSet<String> {
    let is_name =
        |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    printed.lines().filter_map(|line| line.split_whitespace().next()).filter(is_name).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[&str]) -> Environment {
        let known =
            names("DATABASE_URL  x  unset  a text\nLOG_FILTER  info\nCOOKIE_ORIGINS\nADMIN_PASSWORD\nnot a name\n");
        Environment {
            variables: variables.iter().map(|name| ((*name).to_owned(), "value".to_owned())).collect(),
            known: BTreeMap::from([(Service::Auth, known)]),
            of_the_one_process: names("CLUSTER_KEY\n"),
        }
    }

    #[test]
    fn a_service_gets_what_it_knows_and_nobody_decides_and_the_rest_is_named() {
        let environment = environment(&[
            "HOME",
            "LOG_FILTER",
            "COOKIE_ORIGINS_FILE",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "ADMIN_PASSWORD",
            "CLUSTER_KEY",
            "GATEWAY_PORT",
            "GATEWAY_REQUESTS",
        ]);
        let of = environment.of(Service::Auth, &["DATABASE_URL"]);
        let mut passed: BTreeSet<String> = of.into_iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(passed, names("COOKIE_ORIGINS_FILE\nLOG_FILTER\nOTEL_EXPORTER_OTLP_HEADERS"));
        assert!(environment.of(Service::Cart, &[]).iter().all(|(name, _)| name.starts_with("OTEL_")), "it knows none");
        passed.extend(environment.of_the_gateway().into_iter().map(|(name, _)| name.to_owned()));
        let ignored: Vec<_> = environment.ignored(&passed).into_iter().collect();
        assert_eq!(ignored, ["ADMIN_PASSWORD", "CLUSTER_KEY", "DATABASE_URL", "DATABASE_URL_FILE", "GATEWAY_PORT"]);
    }
}
