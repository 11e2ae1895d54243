//! schemathesis, which holds the API documents against the services: found, or installed from PyPI into a virtual
//! environment beside cargo's results. Nothing outside of that folder is touched.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::ensure;

use super::python;
use crate::children::Interruption;
use crate::screen::Screen;

/// The version that the documents were last held against.
const REQUIREMENT: &str = "schemathesis==4.32.5";

/// The path of the program. `TEST_SCHEMATHESIS` wins, where somebody has one.
///
/// # Errors
/// It cannot be installed; the error says what to do.
pub(super) async fn find(target: &Path, screen: &Screen, interruption: &mut Interruption) -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("TEST_SCHEMATHESIS").filter(|path| !path.is_empty()) {
        return Ok(given.into());
    }
    let folder = target.join("schemathesis");
    let program = folder.join("bin/schemathesis");
    if works(&program) {
        return Ok(program);
    }
    screen.step(&format!("installing {REQUIREMENT}"));
    let installed = python::make(&folder, &[REQUIREMENT.as_ref()], screen, interruption).await?;
    ensure!(
        installed && works(&program),
        "{REQUIREMENT} could not be installed from PyPI. Install it by hand, and say where it is: \
         TEST_SCHEMATHESIS=/path/to/schemathesis cargo xtask test"
    );
    Ok(program)
}

fn works(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
