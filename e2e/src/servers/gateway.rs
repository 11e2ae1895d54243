//! The gateway of `deploy/gateway`, as a child of this process: what the containers run, on ports of this machine.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use super::folder::Folder;
use super::programs::{bash, nginx};
use super::unprivileged::Owner;
use crate::probe;
use crate::process::{Process, mortal, wait_until};
use crate::services::Service;

const PATIENCE: Duration = Duration::from_secs(30);
/// What `deploy/gateway` consists of.
const FILES: [&str; 4] = ["run", "nginx.conf.template", "problems.conf", "hidden.conf"];

/// The setting with which the gateway limits nobody: for load, and for tests whose callers all are this machine.
pub const UNLIMITED: (&str, &str) = ("GATEWAY_UNLIMITED", "0.0.0.0/0 ::/0");

/// Where the gateway listens, at the loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayPorts {
    /// For people: `http://auth.shop.localhost:PORT`.
    pub outer: u16,
    /// For what the services ask of one another.
    pub inner: u16,
}

/// A gateway with its files in a temporary folder. Dropping it stops it.
#[derive(Debug)]
pub struct Gateway {
    ports: GatewayPorts,
    output: PathBuf,
    process: Process,
    // Declared last: the gateway is gone before its folder is.
    _folder: Folder,
}

impl Gateway {
    /// Starts it and waits until it answers. `replicas` are the ports on this machine of each service's replicas, in the
    /// order of [`Service::ALL`]; its output (a line for each request) is appended to the file `output`; `settings` are
    /// added to its environment.
    ///
    /// # Errors
    /// nginx or bash is not installed ([`Missing`](super::Missing)), or it does not start; the error holds what it said.
    pub fn launch(
        ports: GatewayPorts,
        replicas: &[Vec<u16>; 3],
        output: &Path,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let (nginx, bash) = (nginx()?, bash()?);
        let owner = Owner::unprivileged()?;
        let folder = Folder::temporary("gateway", owner)?;
        let script = copy_files(folder.path(), owner)?;
        let written = folder.path().join("written");
        fs::create_dir(&written)?;
        owner.give(&written)?;

        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(output);
        let log = log.with_context(|| format!("{} cannot be written", output.display()))?;
        // nginx opens its standard output by name, as whom it runs.
        owner.give(output)?;
        let mut command = mortal(&bash, "TERM");
        command.arg(script).env_clear().current_dir(folder.path());
        command.env("PATH", path_with(nginx.parent())).env("GATEWAY_FOLDER", &written);
        command.env("GATEWAY_PORT", ports.outer.to_string()).env("GATEWAY_INNER_PORT", ports.inner.to_string());
        for service in Service::ALL {
            let variable = match service {
                Service::Auth => "AUTH_UPSTREAM",
                Service::Cart => "CART_UPSTREAM",
                Service::Orders => "ORDER_UPSTREAM",
            };
            let addresses = replicas[service as usize].iter().map(|port| format!("127.0.0.1:{port}"));
            command.env(variable, addresses.collect::<Vec<_>>().join(" "));
        }
        command.envs(settings.iter().copied());
        owner.runs(&mut command);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut gateway = Self {
            ports,
            output: output.to_owned(),
            process: Process::start("the gateway", command)?,
            _folder: folder,
        };
        let answers = wait_until(PATIENCE, || {
            ensure!(gateway.process.ended()?.is_none(), "the gateway ended at once:\n{}", gateway.said());
            Ok(probe::get(ports.outer, "/gateway/healthz").is_ok_and(|answer| answer.status == 200))
        })?;
        ensure!(answers, "the gateway does not answer after {PATIENCE:?}:\n{}", gateway.said());
        Ok(gateway)
    }

    pub fn ports(&self) -> GatewayPorts {
        self.ports
    }

    /// `http://auth.shop.localhost:PORT`
    pub fn url(&self, service: Service) -> String {
        format!("http://{}:{}", service.host(), self.ports.outer)
    }

    /// What it printed: a line for each request.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    /// Stops it as an operator does; requests under way are finished.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop(Signal::TERM, PATIENCE).map(drop)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Not killed at once: the script ends nginx. A stop that fails ends in the kill of the process's own drop.
        let _ = self.process.stop(Signal::TERM, Duration::from_secs(5));
    }
}

/// Copies the configuration to where whom it runs as may read it, and answers the script to start.
fn copy_files(folder: &Path, owner: Owner) -> anyhow::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/gateway");
    for name in FILES {
        let (from, to) = (source.join(name), folder.join(name));
        let text = fs::read(&from).with_context(|| format!("{} cannot be read", from.display()))?;
        fs::write(&to, text).with_context(|| format!("{} cannot be written", to.display()))?;
        owner.give(&to)?;
    }
    Ok(folder.join("run"))
}

/// PATH with the folder of nginx before all others.
fn path_with(first: Option<&Path>) -> std::ffi::OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = first.map(Path::to_path_buf).into_iter().chain(std::env::split_paths(&inherited));
    std::env::join_paths(folders).unwrap_or(inherited)
}
