//! The folder with the SQLite files and the generated keys. Owns who may read them (nobody else), and that one process at
//! a time uses them.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

/// What the folder should hold. Nothing is made before [`DataFolder::prepare`].
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Keys that were made up, and are not written yet.
    new_keys: Vec<(PathBuf, SecretString)>,
    databases: Vec<PathBuf>,
}

/// The folder, kept from other processes until this is dropped.
#[derive(Debug)]
pub(crate) struct Locked {
    _lock: File,
}

impl DataFolder {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, new_keys: Vec::new(), databases: Vec::new() }
    }

    /// The folder, where keys were made up that it should hold: what is sealed with them now could never be read again.
    pub(crate) fn is_missing(&self) -> Option<&Path> {
        (!self.new_keys.is_empty()).then_some(&*self.path)
    }

    /// The URL of a SQLite file in it.
    pub(crate) fn database(&mut self, name: &str) -> String {
        let path = self.path.join(name);
        // What would end the path in a URL, or begin an escape in it.
        let text = path.display().to_string().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        self.databases.push(path);
        format!("sqlite:{text}")
    }

    /// The key in this file, or a new one: 32 random bytes in base64url.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is empty.
    pub(crate) fn key(&mut self, name: &str) -> anyhow::Result<SecretString> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => bail!("{} is empty; put the lost key back into it", path.display()),
            Ok(text) => Ok(text.trim().into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut bytes = [0; 32];
                aws_lc_rs::rand::fill(&mut bytes).context("the system gives no random bytes")?;
                let key = SecretString::from(URL_SAFE_NO_PAD.encode(bytes));
                self.new_keys.push((path, key.clone()));
                Ok(key)
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    /// What to do where a key is made up although the file that it seals is there: the key of before is lost.
    pub(crate) fn lost(&self, key: &str, sealed: &str) -> Option<String> {
        let (key, sealed) = (self.path.join(key), self.path.join(sealed));
        let is_new = self.new_keys.iter().any(|(path, _)| *path == key);
        let is_sealed = fs::metadata(&sealed).is_ok_and(|file| file.len() > 0);
        (is_new && is_sealed).then(|| {
            let (key, sealed) = (key.display(), sealed.display());
            format!("{key} is missing, and {sealed} is sealed with it: put it back, or begin anew in another DATA_DIR")
        })
    }

    /// Makes the folder, the new keys and the databases' files, for this user alone.
    ///
    /// # Errors
    /// Another process uses the folder, or something in it cannot be written.
    pub(crate) fn prepare(self) -> anyhow::Result<Locked> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).with_context(|| cannot_be_made(&self.path))?;
        let lock = open_private(OpenOptions::new().create(true).write(true), &self.path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another process works with {}; stop it, or set DATA_DIR to another folder", self.path.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", self.path.display()));
            }
        }
        for (path, key) in &self.new_keys {
            // Never over a key that appeared since: what it sealed would be lost.
            let mut file = open_private(OpenOptions::new().create_new(true).write(true), path)?;
            file.write_all(format!("{}\n", key.expose_secret()).as_bytes()).with_context(|| cannot_be_made(path))?;
            file.sync_all().with_context(|| cannot_be_made(path))?;
        }
        for path in &self.databases {
            // SQLite gives its other files the rights of this one.
            open_private(OpenOptions::new().create(true).append(true), path)?;
        }
        Ok(Locked { _lock: lock })
    }
}

fn open_private(options: &mut OpenOptions, path: &Path) -> anyhow::Result<File> {
    options.mode(0o600).open(path).with_context(|| cannot_be_made(path))
}

fn cannot_be_made(path: &Path) -> String {
    format!("{} cannot be written; DATA_DIR names the folder", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_ever_after() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = || DataFolder::at(parent.path().join("data"));
        let mut first = folder();
        let made = first.key("master.key").expect("it is made up");
        assert!(!parent.path().join("data").exists(), "reading made something");
        let locked = first.prepare().expect("it is written");
        drop(locked);
        let read = folder().key("master.key").expect("it is read");
        assert_eq!(read.expose_secret(), made.expose_secret());
        assert_ne!(read.expose_secret(), folder().key("another.key").expect("it is made up").expose_secret());
    }

    #[test]
    fn nobody_else_may_read_what_is_in_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("a % b?c").join("data");
        let mut folder = DataFolder::at(path.clone());
        folder.key("master.key").expect("it is made up");
        assert!(folder.database("auth.db").ends_with("/a %25 b%3Fc/data/auth.db"));
        let _locked = folder.prepare().expect("it is written");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        for file in ["master.key", "auth.db", "lock"] {
            assert_eq!(mode(&path.join(file)), 0o600, "{file}");
        }
    }

    #[test]
    fn a_key_is_lost_where_what_it_seals_is_there() {
        let parent = tempfile::tempdir().expect("a folder");
        let lost = || {
            let mut folder = DataFolder::at(parent.path().to_owned());
            folder.key("master.key").expect("it is read or made up");
            folder.lost("master.key", "auth.db")
        };
        fs::write(parent.path().join("auth.db"), "").expect("it is written");
        assert_eq!(lost(), None, "nothing is in it");
        fs::write(parent.path().join("auth.db"), "sealed").expect("it is written");
        assert!(lost().is_some_and(|lost| lost.contains("master.key is missing")));
        fs::write(parent.path().join("master.key"), "a key").expect("it is written");
        assert_eq!(lost(), None);
    }

    #[test]
    fn a_second_process_is_refused() {
        let parent = tempfile::tempdir().expect("a folder");
        let locked = DataFolder::at(parent.path().to_owned()).prepare().expect("it is free");
        let refused = DataFolder::at(parent.path().to_owned()).prepare().expect_err("it is taken").to_string();
        assert!(refused.contains("another process works with"), "{refused}");
        drop(locked);
        DataFolder::at(parent.path().to_owned()).prepare().expect("it is free again");
    }

    #[test]
    fn a_key_that_appeared_since_is_never_overwritten() {
        let parent = tempfile::tempdir().expect("a folder");
        let mut folder = DataFolder::at(parent.path().to_owned());
        folder.key("master.key").expect("it is made up");
        fs::write(parent.path().join("master.key"), "of another process").expect("it is written");
        assert!(folder.prepare().is_err());
        fs::write(parent.path().join("master.key"), "\n").expect("it is written");
        assert!(DataFolder::at(parent.path().to_owned()).key("master.key").is_err(), "an empty key was taken");
    }
}
