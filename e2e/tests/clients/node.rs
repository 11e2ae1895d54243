//! The clients that are written in JavaScript: runs a program of e2e/clients with node, and is the person whom it sends to
//! their browser. A line of JSON each way; e2e/clients/person.mjs is the other end.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use e2e::secrets;
use e2e::servers::leave_out;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::browser::Browser;

/// The folder with the programs and what they need: `cargo xtask test` makes it.
const FOLDER_VARIABLE: &str = "TEST_NODE_CLIENTS";
/// A device asks every few seconds; the rest is a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The folder of what `cargo xtask test` installs; none, aloud, where it did not.
pub(crate) fn installed(variable: &str, missing: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).filter(|folder| !folder.is_empty());
    if folder.is_none() {
        leave_out(missing);
    }
    folder.map(PathBuf::from)
}

/// Node's programs, where they can be run.
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// None, aloud, where they were not installed.
    pub(crate) fn for_test() -> Option<Self> {
        Some(Self { folder: installed(FOLDER_VARIABLE, "node's packages are not installed")? })
    }

    /// How node runs a program.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut node = Command::new("node");
        node.arg(self.folder.join(program));
        node
    }

    /// Runs a journey of a program to its end. Answers the steps that it completed.
    ///
    /// # Panics
    /// The program finds fault with an answer: the message holds what it printed.
    pub(crate) async fn run(&self, program: &str, journey: &str, given: &Value, browser: &mut Browser) -> Vec<String> {
        let mut node = self.command(program);
        node.arg(journey);
        talk_with(node, given, browser).await
    }
}

/// Runs a program that talks as e2e/clients/person.mjs does to its end. Answers the steps that it completed.
///
/// # Panics
/// As [`Programs::run`].
pub(crate) async fn talk_with(mut program: Command, given: &Value, browser: &mut Browser) -> Vec<String> {
    program.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().expect("the program can be started");
    match timeout(PATIENCE, converse(&mut child, given, browser)).await {
        Ok(Some(steps)) => steps,
        Ok(None) => panic!("{program:?} failed:\n{}", complaint(child).await),
        Err(_) => panic!("{program:?} comes to no end"),
    }
}

/// None when the program ends before it is done.
async fn converse(child: &mut Child, given: &Value, browser: &mut Browser) -> Option<Vec<String>> {
    let mut to = child.stdin.take().expect("its input");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    say(&mut to, given).await;
    while let Some(line) = lines.next_line().await.expect("its output can be read") {
        let asked: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("a line that is no JSON: {line}"));
        let text = |name: &str| asked[name].as_str().unwrap_or_else(|| panic!("{asked}"));
        match text("ask") {
            "go" => say(&mut to, &json!({"at": browser.go(text("to")).await.as_str()})).await,
            "let_in" => {
                browser.let_in(text("to")).await;
                say(&mut to, &json!({})).await;
            }
            "remember" => {
                secrets::remember(text("secret"));
                say(&mut to, &json!({})).await;
            }
            "done" => {
                drop(to);
                let ended = child.wait().await.expect("its end");
                assert!(ended.success(), "it ends with {ended}");
                return Some(serde_json::from_value(asked["steps"].clone()).expect("a list of steps"));
            }
            other => panic!("nobody knows how to {other}"),
        }
    }
    None
}

async fn say(to: &mut ChildStdin, value: &Value) {
    // A program that has ended tells why on its own.
    let _ = to.write_all(format!("{value}\n").as_bytes()).await;
}

async fn complaint(mut child: Child) -> String {
    let mut text = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = errors.read_to_string(&mut text).await;
    }
    text
}
