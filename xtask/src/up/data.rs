//! The folder in which `up` keeps what the next start goes on with. Owns who may read it (nobody else), its secrets, and
//! that one `up` at a time works with it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use e2e::servers::can_be_reached;
use e2e::services::random_key;

/// The folder, kept from other processes until this is dropped.
#[derive(Debug)]
pub(super) struct Data {
    folder: PathBuf,
    servers: PathBuf,
    _lock: File,
}

impl Data {
    /// Makes what is missing of it.
    ///
    /// # Errors
    /// Another `up` works with it, or it cannot be written.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        // Servers that do not run as we do pass through it; what lies in it, they see only of their own.
        let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
        make_folder(folder, mode)?;
        let folder = folder.canonicalize()?;
        let lock = open_private(OpenOptions::new().create(true).write(true), &folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another `cargo xtask up` works with {}; stop it, or name another: --data FOLDER",
                    folder.display()
                )
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", folder.display()));
            }
        }
        make_folder(&folder.join("logs"), 0o700)?;
        let servers = folder_of_servers(&folder, mode)?;
        Ok(Self { folder, servers, _lock: lock })
    }

    /// The secret of this name: 32 random bytes in base64url, made up where it is missing.
    ///
    /// # Errors
    /// It cannot be read, or not be kept.
    pub(super) fn secret(&self, name: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => {
                bail!("{} is empty; put the lost secret back into it", path.display())
            }
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let secret = random_key();
                // Whole or not at all: a name for what is written already.
                let unnamed = self.folder.join(format!("{name}.new"));
                let mut file = open_private(OpenOptions::new().create(true).write(true).truncate(true), &unnamed)?;
                file.write_all(format!("{secret}\n").as_bytes())?;
                file.sync_all()?;
                fs::rename(&unnamed, &path).with_context(|| cannot_be_written(&path))?;
                Ok(secret)
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where PostgreSQL and Redis keep their files.
    pub(super) fn servers(&self) -> &Path {
        &self.servers
    }

    /// The folder of what the processes print.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// A new, empty log; that of the start before is gone.
    pub(super) fn new_log(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.logs().join(format!("{name}.log"));
        // Not emptied: it may belong to whom a server ran as.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| cannot_be_written(&path)),
            _ => Ok(path),
        }
    }
}

/// In this folder, or, where whom the servers run as cannot come there (somebody's own folder, seen from root), in one that
/// is remembered here.
fn folder_of_servers(folder: &Path, mode: u32) -> anyhow::Result<PathBuf> {
    let remembered = folder.join("servers-are-in");
    if let Ok(elsewhere) = fs::read_to_string(&remembered) {
        let elsewhere = PathBuf::from(elsewhere.trim());
        if elsewhere.is_dir() {
            return Ok(elsewhere);
        }
    }
    if can_be_reached(folder)? {
        let here = folder.join("servers");
        make_folder(&here, mode)?;
        return Ok(here);
    }
    let outside = if Path::new("/var/tmp").is_dir() { PathBuf::from("/var/tmp") } else { std::env::temp_dir() };
    let elsewhere = tempfile::Builder::new().prefix("roam-up-").tempdir_in(outside)?.keep();
    fs::set_permissions(&elsewhere, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    let mut file = open_private(OpenOptions::new().create(true).write(true).truncate(true), &remembered)?;
    file.write_all(format!("{}\n", elsewhere.display()).as_bytes())?;
    Ok(elsewhere)
}

fn make_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path).with_context(|| cannot_be_written(path))
}

fn open_private(options: &mut OpenOptions, path: &Path) -> anyhow::Result<File> {
    options.mode(0o600).open(path).with_context(|| cannot_be_written(path))
}

fn cannot_be_written(path: &Path) -> String {
    format!("{} cannot be written; --data names another folder", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_nobody_else_may_read_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("data/up");
        let made = Data::open(&folder).expect("it is made").secret("master.key").expect("it is made up");
        let data = Data::open(&folder).expect("it is free again");
        assert_eq!(data.secret("master.key").expect("it is read"), made);
        assert_ne!(data.secret("checkout.secret").expect("it is made up"), made);
        let mode = fs::metadata(data.path("master.key")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(data.path("master.key"), "\n").expect("it is emptied");
        assert!(data.secret("master.key").is_err(), "an empty secret was taken");
    }

    #[test]
    fn a_second_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = Data::open(folder.path()).expect("it is free");
        let refused = Data::open(folder.path()).expect_err("it is taken").to_string();
        assert!(refused.contains("--data FOLDER"), "{refused}");
        drop(data);
    }

    #[test]
    fn servers_keep_their_files_where_they_can_come() {
        // A folder that is its maker's alone: whom the servers run as is another one, where we are root.
        let parent = tempfile::tempdir().expect("a folder");
        let data = Data::open(&parent.path().join("up")).expect("it is made");
        let servers = data.servers().to_owned();
        assert!(can_be_reached(&servers).expect("the system tells"));
        drop(data);
        let data = Data::open(&parent.path().join("up")).expect("it is made");
        assert_eq!(data.servers(), servers, "the next start finds them");
        if !servers.starts_with(parent.path()) {
            fs::remove_dir_all(servers).expect("it is removed");
        }
    }
}
