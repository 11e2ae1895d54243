//! Where a server keeps its files.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use super::unprivileged::Owner;

/// A folder that only the server's user may look into.
#[derive(Debug)]
pub(super) enum Folder {
    /// Removed with this value.
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Folder {
    pub(super) fn temporary(server: &str, owner: Owner) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("roam-{server}-")).tempdir()?;
        owner.give(folder.path())?;
        Ok(Self::Temporary(folder))
    }

    /// Made where it is missing; the folder above it must be there.
    pub(super) fn kept(path: &Path, owner: Owner) -> anyhow::Result<Self> {
        let made = DirBuilder::new().mode(0o700).create(path);
        match made {
            Ok(()) => owner.give(path)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be made", path.display())),
        }
        Ok(Self::Kept(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}
