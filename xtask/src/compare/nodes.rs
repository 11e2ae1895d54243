//! The nodes of one strategy: each is the three services in one process, on the common PostgreSQL and Redis. Owns starting
//! and killing them.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use e2e::process::{free_port, wait_until};
use e2e::services::{Look, Running, Service};

use super::figures::Declared;
use super::rows::{Ending, Row};
use super::stage::Stage;
use crate::measuring::machine;

/// For a start, on a machine that starts forty at once.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) struct Nodes {
    pub(super) row: &'static Row,
    redis_url: String,
    running: Vec<Running>,
    /// Where they reach each other, also those that are yet to come.
    cluster: Vec<String>,
    /// What this strategy is told beside what all are.
    more: BTreeMap<&'static str, String>,
}

impl Nodes {
    /// None yet, and at most `most` later. `redis_url` is the strategy's own database.
    ///
    /// # Errors
    /// No port is free.
    pub(super) fn of(row: &'static Row, redis_url: String, most: usize) -> anyhow::Result<Self> {
        let places = if row.is_cluster() { most } else { 0 };
        let cluster = (0..places).map(|_| Ok(format!("127.0.0.1:{}", free_port()?))).collect::<anyhow::Result<_>>()?;
        Ok(Self { row, redis_url, running: Vec::new(), cluster, more: BTreeMap::new() })
    }

    /// How many sessions a user may have, where somebody counts them.
    pub(super) fn set_limit(&mut self, limit: &str) {
        if self.row.ending == Ending::Kick {
            self.set("MAX_SESSIONS_PER_USER", limit);
        }
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.more.insert(name, value.to_owned());
        for node in &mut self.running {
            node.set(name, value);
        }
    }

    /// Starts one more; see [`Nodes::wait`].
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn add(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let number = self.running.len() + 1;
        let name = format!("{}-{number}", self.row.name.replace([' ', '+', ','], ""));
        let folder = stage.folder.path().join(&name);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut listeners = Vec::new();
        let mut settings = stage.settings()?;
        for service in Service::ALL {
            let port = free_port()?;
            listeners.push((service, port));
            settings.push((service.address_setting(), format!("127.0.0.1:{port}")));
        }
        settings.push(("DATA_DIR", folder.display().to_string()));
        settings.push(("REDIS_URL", self.redis_url.clone()));
        settings.push(("SESSION_STRATEGY", self.row.strategy.to_owned()));
        if let Some(listen) = self.cluster.get(number - 1) {
            settings.push(("CLUSTER_LISTEN", listen.clone()));
            settings.push(("CLUSTER_SEEDS", self.cluster.join(",")));
            settings.push(("CLUSTER_KEY", stage.cluster_key.clone()));
        }
        settings.extend(self.row.settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        settings.extend(self.more.iter().map(|(name, value)| (*name, value.clone())));
        let program = stage.programs.join("all-in-one");
        let mut node = Running::new(name.clone(), program, listeners, settings, stage.log(&name));
        node.launch()?;
        self.running.push(node);
        Ok(())
    }

    /// Waits until all are ready.
    ///
    /// # Errors
    /// One is not in time, or has ended.
    pub(super) fn wait(&mut self, stage: &Stage) -> anyhow::Result<()> {
        for node in &mut self.running {
            let mut last = String::new();
            let ready = wait_until(PATIENCE, || {
                stage.halt.check()?;
                match node.look()? {
                    Look::Ready => Ok(true),
                    Look::Ended(status) => bail!("{} ended with {status}\n{}", node.name(), node.tail()),
                    Look::NotYet(why) => {
                        last = why;
                        Ok(false)
                    }
                }
            })?;
            ensure!(ready, "{} is not ready after {PATIENCE:?}: {last}\n{}", node.name(), node.tail());
        }
        Ok(())
    }

    /// Kills one (`SIGKILL`); it can be started again.
    ///
    /// # Errors
    /// It does not run.
    pub(super) fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        self.running[number].kill()
    }

    /// Starts one again that was killed; see [`Nodes::wait`].
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(&mut self, number: usize) -> anyhow::Result<()> {
        self.running[number].launch()
    }

    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    pub(super) fn ports_of(&self, service: Service) -> Vec<u16> {
        self.running.iter().filter_map(|node| node.port_of(service)).collect()
    }

    /// The processor time of all of them so far, in seconds.
    ///
    /// # Errors
    /// One does not run.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.pids()?.into_iter().map(machine::cpu_seconds).sum()
    }

    /// What all of them have resident, in bytes.
    ///
    /// # Errors
    /// One does not run.
    pub(super) fn resident(&self) -> anyhow::Result<f64> {
        self.pids()?.into_iter().map(machine::resident_bytes).sum()
    }

    fn pids(&self) -> anyhow::Result<Vec<u32>> {
        self.running.iter().map(|node| node.id().with_context(|| format!("{} does not run", node.name()))).collect()
    }

    /// What the first one said at its start that its strategy promises.
    ///
    /// # Errors
    /// It said nothing of it.
    pub(super) fn declared(&self) -> anyhow::Result<Declared> {
        let output = self.running.first().context("a node")?.output();
        let line = output.lines().rev().find(|line| line.contains("how sessions are shared"));
        declared(line.context("the node does not say what its strategy promises")?)
    }
}

/// `… Guarantees { any_node: true, … } …`
fn declared(line: &str) -> anyhow::Result<Declared> {
    let promise = |name: &str| {
        let (_, after) = line.split_once(&format!("{name}: ")).with_context(|| format!("no {name} in {line}"))?;
        match after.split([',', ' ', '}']).next() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            other => bail!("{name} is {other:?}"),
        }
    };
    Ok(Declared {
        any_node: promise("any_node")?,
        survives_a_node: promise("survives_a_node")?,
        survives_a_restart: promise("survives_a_restart")?,
        revokes_at_once: promise("revokes_at_once")?,
        lists_sessions: promise("lists_sessions")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_read_as_a_node_logs_them() {
        let line = r#"{"message":"how sessions are shared","strategy":"sticky","guarantees":"Guarantees { any_node: false, survives_a_node: false, survives_a_restart: false, revokes_at_once: true, lists_sessions: true }"}"#;
        let expected = Declared { revokes_at_once: true, lists_sessions: true, ..Declared::default() };
        assert_eq!(declared(line).expect("read"), expected);
        assert!(declared("Guarantees { any_node: perhaps }").is_err());
    }
}
