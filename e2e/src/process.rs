//! Child processes that never outlive their parent. Owns starting, stopping and killing them, each by its own handle.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How often a condition is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command`; `name` is what errors call it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(name: &str, command: Command) -> anyhow::Result<Self> {
        let child = spawn(command).with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// The system's number of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal; one to a process that has ended is no error.
    ///
    /// # Errors
    /// The system refuses.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        // A process that was not waited for keeps its id, so that no stranger is hit.
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), signal)?;
        }
        Ok(())
    }

    /// Sends `signal` and waits for the end.
    ///
    /// # Errors
    /// It still runs after `patience`.
    pub fn stop(&mut self, signal: Signal, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(signal)?;
        let mut status = None;
        let ended = wait_until(patience, || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        ensure!(ended, "{} still runs {patience:?} after it was asked to stop", self.name);
        status.with_context(|| format!("{} ended without a status", self.name))
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.kill();
    }
}

/// Waits until `condition` holds; answers whether it did within `patience`.
///
/// # Errors
/// The condition's own.
pub fn wait_until(patience: Duration, mut condition: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    let started = Instant::now();
    loop {
        if condition()? {
            return Ok(true);
        }
        if started.elapsed() > patience {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
}

/// A loopback port that nobody listens on, outside of the range from which the system takes ports for outgoing
/// connections: a server can stop and start on it while a thousand clients come and go. It is given once in this process: a
/// test that has yet to listen on its own loses it to no other.
///
/// # Errors
/// No port is free.
pub fn free_port() -> anyhow::Result<u16> {
    const TRIES: usize = 200;
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let first_ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let first_ephemeral = first_ephemeral.and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok());
    let (low, high) = (10_000, first_ephemeral.filter(|first| *first > 12_000).unwrap_or(32_768));
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let free = |port: &u16| !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut random = std::iter::repeat_with(|| {
        let [first, second, ..] = *uuid::Uuid::new_v4().as_bytes();
        low + u16::from_be_bytes([first, second]) % (high - low)
    });
    let port = random.by_ref().take(TRIES).find(free).context("no loopback port is free")?;
    given.insert(port);
    Ok(port)
}

/// A command whose process gets `signal` (`KILL`, `INT`, …) when this process dies, where `setpriv` is at hand (Linux).
/// There it has a process group of its own: a Ctrl-C in the terminal reaches this process alone, which stops its children
/// in their order. Start it with [`Process::start`].
pub fn mortal(program: &Path, signal: &str) -> Command {
    let setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].map(Path::new).into_iter().find(|path| path.is_file());
    match setpriv {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", signal, "--"]).arg(program).process_group(0);
            command
        }
        None => Command::new(program),
    }
}

/// Starts every child from one thread that never ends: Linux sends the signal of [`mortal`] when the *thread* that
/// started the child ends.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                // Whoever asked may have gone.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, started) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts processes has ended");
    starter.send((command, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn sleeper() -> Process {
        let mut command = mortal(Path::new("/bin/sleep"), "KILL");
        command.arg("600");
        Process::start("sleep", command).expect("it starts")
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() {
        let mut process = std::thread::spawn(sleeper).join().expect("no panic");
        assert_eq!(process.ended().expect("the system tells"), None);
        let status = process.stop(Signal::TERM, PATIENCE).expect("it stops");
        assert!(!status.success(), "a signal ended it");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = sleeper();
        let pid = Pid::from_child(&process.child);
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn a_process_that_does_not_stop_is_an_error() {
        let mut process = sleeper();
        // A signal that changes nothing.
        let error = process.stop(Signal::CONT, Duration::from_millis(100)).expect_err("it still runs").to_string();
        assert!(error.contains("sleep still runs"), "{error}");
    }

    #[test]
    fn a_free_port_can_be_listened_on() {
        let port = free_port().expect("a port is free");
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody listens there");
    }
}
