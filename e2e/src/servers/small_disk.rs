//! A small file system of a test's own, which the test fills up.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// A `tmpfs` of a few megabytes. Dropping it takes it away, with what is on it.
#[derive(Debug)]
pub struct SmallDisk {
    // Declared last of what is used: it is unmounted before its folder is removed.
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many megabytes, or none, aloud, where this process may not mount.
    ///
    /// # Panics
    /// The mount fails for another reason than a lack of rights.
    pub fn for_test(megabytes: usize) -> Option<Self> {
        match Self::mount(megabytes) {
            Ok(Some(disk)) => Some(disk),
            Ok(None) => {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                // Not eprintln: the output of a test that passes is kept from sight, and this line is for the reader.
                let _ = writeln!(std::io::stderr(), "left out, for only root may mount a small disk: {test}");
                None
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn mount(megabytes: usize) -> anyhow::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        // Servers of other users work in it.
        let passable = Permissions::from_mode(0o711);
        let folder = tempfile::Builder::new().prefix("roam-disk-").permissions(passable).tempdir()?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=0755"), "tmpfs"]).arg(folder.path());
        let mounted = command.output().context("mount cannot be started")?;
        if mounted.status.success() {
            return Ok(Some(Self { folder }));
        }
        let said = String::from_utf8_lossy(&mounted.stderr);
        // Root in a container without CAP_SYS_ADMIN.
        ensure!(said.contains("permission denied") || said.contains("not permitted"), "mount failed: {said}");
        Ok(None)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Fills it up to the last byte.
    ///
    /// # Errors
    /// It cannot be written for another reason than that it is full.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::options().create(true).append(true).open(self.ballast())?;
        let mut piece: &[u8] = &[0; 64 * 1024];
        while !piece.is_empty() {
            match ballast.write(piece) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => piece = &piece[..piece.len() / 2],
                Err(error) => return Err(error).context("the small disk cannot be filled"),
            }
        }
        Ok(())
    }

    /// Gives the room back that [`SmallDisk::fill`] took.
    ///
    /// # Errors
    /// The system refuses.
    pub fn free(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.ballast()).context("the small disk cannot be freed")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy: a process that still has a file there keeps no mount behind.
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            let _ = writeln!(std::io::stderr(), "{} is still mounted", self.path().display());
        }
    }
}
