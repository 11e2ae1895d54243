//! The lives of the platform's processes: stopped, killed, started again with other settings. Owns none of them.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Platform;
use crate::services::{Look, Replica, Running, Service};

/// How long a start may take: migrations and keys on a loaded machine.
const START_PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);

impl Platform {
    /// Stops every process as an operator does (`SIGTERM`), the gateway first. Containers are left to whoever brought them up.
    ///
    /// # Panics
    /// One does not end with status 0 in time.
    pub fn stop(&mut self) {
        if let Some(gateway) = &mut self.gateway {
            gateway.stop().unwrap_or_else(|error| panic!("{error:#}"));
        }
        self.stop_services();
    }

    fn stop_services(&mut self) {
        for process in &mut self.processes {
            process.ask_to_stop().unwrap_or_else(|error| panic!("{error:#}"));
        }
        self.processes.iter_mut().for_each(stop);
    }

    /// Stops a replica (`SIGTERM`), and waits for its end. In one process, all three services stop.
    ///
    /// # Panics
    /// As [`Platform::stop`].
    pub fn stop_service(&mut self, replica: impl Into<Replica>) {
        stop(self.process_of(replica));
    }

    /// Asks a replica to stop (`SIGTERM`), and does not wait.
    ///
    /// # Panics
    /// The system refuses.
    pub fn ask_to_stop(&mut self, replica: impl Into<Replica>) {
        self.process_of(replica).ask_to_stop().unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Kills a replica (`SIGKILL`). In one process, all three services die.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self, replica: impl Into<Replica>) {
        self.process_of(replica).kill().unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Freezes a replica (`SIGSTOP`), as a machine that is suspended: it keeps its connections and answers nobody.
    ///
    /// # Panics
    /// The system refuses.
    pub fn pause(&mut self, replica: impl Into<Replica>) {
        self.process_of(replica).signal(Signal::STOP).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Lets a replica go on (`SIGCONT`) after [`Platform::pause`].
    ///
    /// # Panics
    /// The system refuses.
    pub fn resume(&mut self, replica: impl Into<Replica>) {
        self.process_of(replica).signal(Signal::CONT).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// The system's number of a replica's process, while it runs.
    pub fn process_id(&mut self, replica: impl Into<Replica>) -> Option<u32> {
        self.process_of(replica).id()
    }

    /// Starts a replica again, on the same port and with the same data, and waits until it is ready. One that still runs
    /// is stopped first.
    ///
    /// # Panics
    /// As [`Platform::stop`] and [`Platform::all_in_one`].
    pub async fn restart(&mut self, replica: impl Into<Replica>) {
        let process = self.process_of(replica);
        stop(process);
        process.launch().unwrap_or_else(|error| panic!("{error:#}"));
        wait_until_ready(process).await;
    }

    /// Looks once whether a replica is ready. In one process, whether all that it serves is.
    ///
    /// # Panics
    /// The system does not tell whether it runs.
    pub fn look(&mut self, replica: impl Into<Replica>) -> Look {
        self.process_of(replica).look().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts a replica again and does not wait until it is ready: for one that must wait for another.
    ///
    /// # Panics
    /// The program does not start.
    pub fn launch(&mut self, replica: impl Into<Replica>) {
        self.process_of(replica).launch().unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// The program of `service` with its settings, for a subcommand beside the running service.
    pub fn command(&self, service: Service) -> Command {
        self.replicas_of(service).next().expect("every service has a process").command()
    }

    /// Starts every service again, as [`Platform::restart`].
    ///
    /// # Panics
    /// As [`Platform::restart`].
    pub async fn restart_all(&mut self) {
        if let Some(containers) = &self.containers {
            return containers.restart(&Service::ALL).await;
        }
        self.stop_services();
        self.start_all().await;
    }

    /// Changes a setting of a replica, for its next start.
    pub fn set(&mut self, replica: impl Into<Replica>, name: &str, value: &str) {
        self.process_of(replica).set(name, value);
    }

    /// A setting of a replica, as its next start is told.
    pub fn setting(&mut self, replica: impl Into<Replica>, name: &str) -> Option<&str> {
        self.process_of(replica).setting(name)
    }

    fn process_of(&mut self, replica: impl Into<Replica>) -> &mut Running {
        let Replica { service, number } = replica.into();
        let mut replicas = self.processes.iter_mut().filter(|process| process.port_of(service).is_some());
        replicas.nth(number).unwrap_or_else(|| panic!("there is no replica {number} of {service:?}"))
    }
}

pub(super) async fn wait_until_ready(process: &mut Running) {
    let started = Instant::now();
    loop {
        // A look blocks. The clients of this runtime learn meanwhile that their connections to an earlier process have ended.
        tokio::time::sleep(LOOK).await;
        let why_not = match process.look().unwrap_or_else(|error| panic!("{error:#}")) {
            Look::Ready => return,
            Look::NotYet(why_not) => why_not,
            Look::Ended(status) => {
                panic!("{} ended with {status} before it was ready:\n{}", process.name(), process.tail())
            }
        };
        let patient = started.elapsed() < START_PATIENCE;
        assert!(patient, "{} is not ready after {START_PATIENCE:?}: {why_not}\n{}", process.name(), process.tail());
    }
}

fn stop(process: &mut Running) {
    process.stop().unwrap_or_else(|error| panic!("{error:#}\n{}", process.tail()));
}
