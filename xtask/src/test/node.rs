//! The programs that the tests run on node: OpenID clients that others wrote, and the journeys of a browser. Their packages
//! are installed from npm's registry beside cargo's results, as each folder's package-lock.json names them. Nothing outside
//! of that is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::children::{Interruption, run, workspace};
use crate::screen::Screen;

const LOCK: &str = "package-lock.json";
/// A copy of the lock file, written when all that it names is there.
const INSTALLED: &str = "installed.json";

/// The OpenID clients.
pub(super) const CLIENTS: Programs = Programs { source: "e2e/clients", folder: "node-clients" };
/// What drives Chromium, and looks at its pages.
pub(super) const BROWSER: Programs = Programs { source: "e2e/browser", folder: "node-browser" };

/// A folder of programs with their `package.json`, and its name beside cargo's results.
pub(super) struct Programs {
    source: &'static str,
    folder: &'static str,
}

/// The folder with the programs and their packages.
///
/// # Errors
/// They cannot be installed; the error says what to do.
pub(super) async fn install(
    programs: &Programs,
    target: &Path,
    screen: &Screen,
    interruption: &mut Interruption,
) -> anyhow::Result<PathBuf> {
    let (source, folder) = (workspace().join(programs.source), target.join(programs.folder));
    super::copy_files(&source, &folder)?;
    let lock = fs::read(folder.join(LOCK)).with_context(|| format!("{LOCK} cannot be read"))?;
    if fs::read(folder.join(INSTALLED)).is_ok_and(|installed| installed == lock) {
        return Ok(folder);
    }
    screen.step(&format!("installing the packages of {}", programs.source));
    let mut npm = Command::new("npm");
    npm.args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    let installed = run(npm, interruption, |line| screen.line(line)).await?;
    ensure!(
        installed.success(),
        "the packages of {} could not be installed from npm's registry: `npm ci` in {} has said why",
        programs.source,
        folder.display()
    );
    fs::write(folder.join(INSTALLED), lock)?;
    Ok(folder)
}

/// Whether node is here, not older than the programs demand, and npm with it.
pub(crate) fn is_there() -> bool {
    let version = said("node", "--version");
    let major = version.as_deref().and_then(|version| version.strip_prefix('v')?.split('.').next()?.parse().ok());
    major.is_some_and(|major: u32| major >= 20) && said("npm", "--version").is_some()
}

fn said(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}
