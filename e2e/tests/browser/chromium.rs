//! The browser: runs a journey of e2e/browser with node, which drives Chromium. What it completes is told in lines of JSON;
//! e2e/browser/browser.mjs is the other end.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use e2e::servers::{leave_out, program};
use e2e::{Platform, secrets};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// The folder with the journeys and what they need: `cargo xtask test` makes it.
const FOLDER_VARIABLE: &str = "TEST_BROWSER_JOURNEYS";
/// Where pictures of all pages are put, if they are wanted.
const PICTURES_VARIABLE: &str = "TEST_BROWSER_PICTURES";
/// A story has some hundred page views, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(420);

/// The languages of the pages.
pub(crate) const LANGUAGES: [&str; 2] = ["en", "zh"];

/// Chromium and what drives it, where they are installed.
pub(crate) struct Chromium {
    folder: PathBuf,
    path: PathBuf,
}

impl Chromium {
    /// None, aloud, where something is missing.
    pub(crate) fn for_test() -> Option<Self> {
        let folder = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
        match (folder, program("chromium", "Chromium ")) {
            (Some(folder), Some(path)) => Some(Self { folder: folder.into(), path }),
            (None, _) => {
                leave_out("node's packages are not installed");
                None
            }
            (_, None) => {
                leave_out("Chromium is not installed");
                None
            }
        }
    }

    /// Walks a journey to its end, in one language. Answers the steps that were completed.
    ///
    /// # Panics
    /// The journey comes to another end: the message holds what it says.
    pub(crate) async fn walk(&self, program: &str, journey: &str, given: &Value) -> Vec<String> {
        let mut node = Command::new("node");
        node.arg(self.folder.join(program)).arg(journey).kill_on_drop(true);
        let spawned = node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("node can be started");
        let mut given = given.clone();
        given["chromium"] = json!(self.path);
        given["pictures"] = json!(std::env::var(PICTURES_VARIABLE).ok().filter(|folder| !folder.is_empty()));
        let mut to = child.stdin.take().expect("its input");
        // A program that has ended tells why on its own.
        let _ = to.write_all(given.to_string().as_bytes()).await;
        drop(to);
        let ended = timeout(PATIENCE, child.wait_with_output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{program} {journey} comes to no end")).expect("its output");
        let steps = read(&String::from_utf8_lossy(&ended.stdout));
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{program} {journey} failed after {steps:?}:\n{said}");
        steps
    }
}

/// The steps; the secrets among them are remembered.
fn read(output: &str) -> Vec<String> {
    let mut steps = Vec::new();
    for line in output.lines() {
        let told: Value = serde_json::from_str(line).expect("a line of JSON");
        if let Some(secret) = told["secret"].as_str() {
            secrets::remember(secret);
        }
        steps.extend(told["step"].as_str().map(str::to_owned));
    }
    steps
}

/// What every journey is given: where the platform is, who the person is, and what they read.
pub(crate) fn given(platform: &Platform, language: &str) -> Value {
    let demo = platform.demo();
    json!({
        "shop": platform.cart(),
        "orders": platform.orders(),
        "account": platform.auth(),
        "language": language,
        "email": demo.email,
        "password": demo.password,
        "name": "Demo",
    })
}
