//! The programs that a verb runs. Owns reading their output line by line, and ending them when the developer stops us.

use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long children may take to end once they are asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ctrl-C, or the machine's wish that we end. From its making on, neither ends us at once: what we started is stopped
/// first.
pub(crate) struct Interruption {
    signals: [unix::Signal; 2],
}

impl Interruption {
    pub(crate) fn watch() -> anyhow::Result<Self> {
        Self::by([SignalKind::interrupt(), SignalKind::terminate()])
    }

    fn by(signals: [SignalKind; 2]) -> anyhow::Result<Self> {
        let [one, other] = signals;
        Ok(Self { signals: [unix::signal(one)?, unix::signal(other)?] })
    }

    /// Between two steps that each block.
    ///
    /// # Errors
    /// The developer has stopped us.
    pub(crate) async fn check(&mut self) -> Result<(), Stopped> {
        // Signals are seen only when this thread looks for events.
        tokio::time::timeout(Duration::from_millis(1), self.wait()).await.map_or(Ok(()), |()| Err(Stopped))
    }

    pub(crate) async fn wait(&mut self) {
        let [one, other] = &mut self.signals;
        tokio::select! {
            _ = one.recv() => {}
            _ = other.recv() => {}
        }
    }
}

/// The error of a verb that the developer stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// cargo, in the workspace's folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = e2e::process::mortal(&cargo, "TERM");
    command.args(arguments).current_dir(workspace());
    command
}

/// The workspace's folder.
pub(crate) fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Where cargo keeps its results.
///
/// # Errors
/// This program lies elsewhere.
pub(crate) fn target_folder() -> anyhow::Result<PathBuf> {
    // TARGET/PROFILE/xtask
    let own = std::env::current_exe()?;
    Ok(own.ancestors().nth(2).context("this program does not lie in cargo's folders")?.to_owned())
}

/// Runs `command` to its end; each line of its output goes to `line`.
///
/// # Errors
/// It cannot be started, or the developer stopped us: then it has ended too, with all of its own children.
pub(crate) async fn run(
    mut command: Command,
    interruption: &mut Interruption,
    mut line: impl FnMut(&str),
) -> anyhow::Result<ExitStatus> {
    let name = format!("{command:?}");
    // A process group of its own: what ends it ends all that it started.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let mut child = command.kill_on_drop(true).spawn().with_context(|| format!("cannot be started: {name}"))?;
    let (sender, mut lines) = mpsc::channel(64);
    send_lines(child.stdout.take(), sender.clone());
    send_lines(child.stderr.take(), sender);
    let ended = async {
        while let Some(text) = lines.recv().await {
            line(&text);
        }
        child.wait().await
    };
    let ended = tokio::select! {
        status = ended => Some(status?),
        () = interruption.wait() => None,
    };
    match ended {
        Some(status) => Ok(status),
        None => {
            end_group(&mut child).await;
            bail!(Stopped)
        }
    }
}

fn send_lines(source: Option<impl AsyncRead + Unpin + Send + 'static>, lines: mpsc::Sender<String>) {
    let Some(source) = source else { return };
    tokio::spawn(async move {
        let mut source = BufReader::new(source);
        let mut bytes = Vec::new();
        while source.read_until(b'\n', &mut bytes).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            if lines.send(text).await.is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

async fn end_group(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        // A group that has ended already is as good.
        let _ = kill_process_group(group, signal);
        if timeout(PATIENCE, child.wait()).await.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn every_line_of_both_outputs_is_read() {
        let mut interruption = Interruption::watch().expect("signals can be waited for");
        let mut seen = Vec::new();
        let script = "echo one; echo two >&2; printf 'three \\377'; exit 3";
        let status = run(shell(script), &mut interruption, |line| seen.push(line.to_owned())).await.expect("it runs");
        seen.sort();
        assert_eq!(seen, ["one", "three \u{fffd}", "two"]);
        assert_eq!(status.code(), Some(3));
    }

    #[tokio::test]
    async fn whoever_is_interrupted_leaves_no_child_behind() {
        // Not Ctrl-C's own signal, which would also stop the tests beside this one.
        let signals = [SignalKind::user_defined1(), SignalKind::user_defined2()];
        let mut interruption = Interruption::by(signals).expect("signals can be waited for");
        let started = Instant::now();
        let mut grandchild = None;
        let error = run(shell("sleep 600 & echo $!; wait"), &mut interruption, |line| {
            grandchild = line.parse().ok().and_then(Pid::from_raw);
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::USR1);
        });
        assert_eq!(error.await.expect_err("it is stopped").to_string(), "stopped");
        let grandchild = grandchild.expect("the shell told it");
        let gone = || Ok(rustix::process::test_kill_process(grandchild).is_err());
        assert!(e2e::process::wait_until(PATIENCE, gone).expect("the system tells"), "sleep still runs");
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
