//! Virtual environments of Python beside cargo's results, with packages from PyPI. Nothing outside of them is touched.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::children::{Interruption, run, workspace};
use crate::screen::Screen;

const SOURCE: &str = "e2e/clients/python";
const REQUIREMENTS: &str = "requirements.txt";
/// A copy of the requirements, written when all that they name is there.
const INSTALLED: &str = "installed.txt";

/// The folder with the OpenID clients that are written in Python, and their packages in its `environment`.
///
/// # Errors
/// They cannot be installed; the error says what to do.
pub(super) async fn install_clients(
    target: &Path,
    screen: &Screen,
    interruption: &mut Interruption,
) -> anyhow::Result<PathBuf> {
    let (source, folder) = (workspace().join(SOURCE), target.join("python-clients"));
    super::copy_files(&source, &folder)?;
    let requirements = fs::read(folder.join(REQUIREMENTS)).context("the packages that are needed cannot be read")?;
    if fs::read(folder.join(INSTALLED)).is_ok_and(|installed| installed == requirements) {
        return Ok(folder);
    }
    screen.step(&format!("installing the packages of {SOURCE}"));
    let (environment, file) = (folder.join("environment"), folder.join(REQUIREMENTS));
    let packages = ["--requirement".as_ref(), file.as_os_str()];
    ensure!(
        make(&environment, &packages, screen, interruption).await?,
        "the packages of {SOURCE} could not be installed from PyPI: pip has said why; they are listed in {}",
        file.display()
    );
    fs::write(folder.join(INSTALLED), requirements)?;
    Ok(folder)
}

/// Makes a virtual environment anew. `packages` are what pip is told to install; answers whether it could.
///
/// # Errors
/// There can be no environment.
pub(super) async fn make(
    folder: &Path,
    packages: &[&OsStr],
    screen: &Screen,
    interruption: &mut Interruption,
) -> anyhow::Result<bool> {
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(folder);
    let made = run(make, interruption, |line| screen.line(line)).await?;
    ensure!(made.success(), "python3 cannot make a virtual environment in {}", folder.display());
    let mut install = Command::new(folder.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", "--no-input"]).args(packages);
    Ok(run(install, interruption, |line| screen.line(line)).await?.success())
}
