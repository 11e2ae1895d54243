//! Where the platform's programs are: in a folder that is named, or built once, beside the running test, with its profile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, ensure};

use crate::PROGRAMS_VARIABLE;

/// The path of a program of this workspace.
pub fn path_of(program: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = || match std::env::var_os(PROGRAMS_VARIABLE).filter(|folder| !folder.is_empty()) {
        Some(folder) => folder.into(),
        None => built_folder().unwrap_or_else(|error| panic!("{error:#}")),
    };
    FOLDER.get_or_init(folder).join(program)
}

fn built_folder() -> anyhow::Result<PathBuf> {
    // TARGET/PROFILE/deps/TEST
    let test = std::env::current_exe().context("the running test has no path")?;
    let profile_folder = test.parent().and_then(Path::parent).context("the test does not run from cargo's folders")?;
    build(profile_folder)?;
    Ok(profile_folder.to_owned())
}

fn build(profile_folder: &Path) -> anyhow::Result<()> {
    let folder_name = profile_folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let profile = if folder_name == "debug" { "dev" } else { folder_name };
    let target = profile_folder.parent().context("the profile's folder lies in no target folder")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--workspace", "--bins", "--quiet", "--profile", profile, "--target-dir"]).arg(target);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    // What cargo told this test about its own package would make the inner cargo build parts anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "OUT_DIR"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            cargo.env_remove(&name);
        }
    }
    let built = cargo.output().context("cargo cannot be started")?;
    ensure!(built.status.success(), "the programs cannot be built:\n{}", String::from_utf8_lossy(&built.stderr));
    Ok(())
}
