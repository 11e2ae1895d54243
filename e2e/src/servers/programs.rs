//! Where the server programs are. Each is asked for its version: a wrapper of the same name is passed over.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Folders that stand in no user's PATH on some systems.
const MORE_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];

/// Where Apache's modules are, on Debian and elsewhere.
const MODULE_FOLDERS: [&str; 3] =
    ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/opt/homebrew/lib/httpd/modules"];

/// A program that is not installed, or is not what it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// What to install: `PostgreSQL`.
    pub product: &'static str,
    /// Debian's package of it.
    pub package: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not installed (on Debian and Ubuntu: the package {})", self.product, self.package)
    }
}

impl std::error::Error for Missing {}

/// The folder with PostgreSQL's `postgres` and `initdb`: the newest version of the system's packages, else in PATH.
///
/// # Errors
/// There is none.
pub fn postgres_folder() -> Result<PathBuf, Missing> {
    let packaged = versions_under(Path::new("/usr/lib/postgresql"));
    let found = first_postgres(packaged.chain(path_folders()));
    found.ok_or(Missing { product: "PostgreSQL", package: "postgresql" })
}

/// Redis' server.
///
/// # Errors
/// There is none.
pub fn redis_server() -> Result<PathBuf, Missing> {
    let found = path_folders().map(|folder| folder.join("redis-server")).find(|path| is(path, "Redis server"));
    found.ok_or(Missing { product: "Redis", package: "redis-server" })
}

/// nginx.
///
/// # Errors
/// There is none.
pub fn nginx() -> Result<PathBuf, Missing> {
    let mut candidates = path_folders().map(|folder| folder.join("nginx"));
    let found = candidates.find(|path| answers(path, "-v", "nginx version: nginx/"));
    found.ok_or(Missing { product: "nginx", package: "nginx" })
}

/// Apache, and the folder with its modules, among them mod_auth_openidc.
///
/// # Errors
/// One of them is not there.
pub fn apache_with_openid() -> Result<(PathBuf, PathBuf), Missing> {
    let mut candidates = path_folders().flat_map(|folder| ["apache2", "httpd"].map(|name| folder.join(name)));
    let apache = candidates.find(|path| answers(path, "-v", "Server version: Apache/2.4"));
    let mut folders = MODULE_FOLDERS.map(PathBuf::from).into_iter();
    let modules = folders.find(|folder| folder.join("mod_auth_openidc.so").is_file());
    let missing = Missing { product: "Apache with mod_auth_openidc", package: "libapache2-mod-auth-openidc" };
    apache.zip(modules).ok_or(missing)
}

/// The shell that the gateway's script is written for.
///
/// # Errors
/// There is none.
pub fn bash() -> Result<PathBuf, Missing> {
    program("bash", "GNU bash").ok_or(Missing { product: "bash", package: "bash" })
}

/// A program in PATH whose `--version` begins with `says`.
pub fn program(name: &str, says: &str) -> Option<PathBuf> {
    path_folders().map(|folder| folder.join(name)).find(|path| is(path, says))
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.into_iter().chain(MORE_FOLDERS.map(PathBuf::from))
}

/// `ROOT/15/bin`, the highest version first.
fn versions_under(root: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder)
}

fn first_postgres(mut folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.find(|folder| {
        is(&folder.join("postgres"), "postgres (PostgreSQL)") && is(&folder.join("initdb"), "initdb (PostgreSQL)")
    })
}

fn is(program: &Path, says: &str) -> bool {
    answers(program, "--version", says)
}

/// Whether it answers `question` with a text that begins so, on either output.
fn answers(program: &Path, question: &str, says: &str) -> bool {
    let answer = Command::new(program).arg(question).stdin(Stdio::null()).output();
    answer.is_ok_and(|answer| {
        let says_so = |text: &[u8]| String::from_utf8_lossy(text).starts_with(says);
        answer.status.success() && (says_so(&answer.stdout) || says_so(&answer.stderr))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Several tests write programs and start them; a program that another thread's child still holds open for writing
    /// cannot be started (ETXTBSY), so it is written by a process that has ended.
    fn write_program(path: &Path, prints: &str) {
        let script = format!("#!/bin/sh\necho '{prints}'\n");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        let copied = Command::new("sh").args(["-c", "printf %s \"$1\" > \"$2\"", "sh", &script]).arg(path).status();
        assert!(copied.expect("sh runs").success());
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    }

    #[test]
    fn a_wrapper_with_the_servers_name_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let (wrapper, real) = (folder.path().join("wrapper"), folder.path().join("real"));
        for program in ["postgres", "initdb"] {
            write_program(&wrapper.join(program), "starting a container …");
            write_program(&real.join(program), &format!("{program} (PostgreSQL) 17.2"));
        }
        assert_eq!(first_postgres([wrapper.clone(), real.clone()].into_iter()), Some(real));
        assert_eq!(first_postgres([wrapper, folder.path().join("nothing")].into_iter()), None);
    }

    #[test]
    fn a_server_without_initdb_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        write_program(&folder.path().join("postgres"), "postgres (PostgreSQL) 17.2");
        assert_eq!(first_postgres([folder.path().to_owned()].into_iter()), None);
    }

    #[test]
    fn the_highest_version_comes_first() {
        let root = tempfile::tempdir().expect("a folder");
        for version in ["9", "15", "common", "17"] {
            std::fs::create_dir(root.path().join(version)).expect("it is made");
        }
        let versions: Vec<PathBuf> = versions_under(root.path()).collect();
        assert_eq!(versions, ["17", "15", "9"].map(|version| root.path().join(version).join("bin")));
    }
}
