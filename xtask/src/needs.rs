//! What a verb needs beside Rust, found or installed. Installs by apt alone, and only as root or where sudo asks for no
//! password; else says what to install.

use std::process::{Command, Stdio};

use anyhow::{bail, ensure};
use e2e::servers::{apache_with_openid, bash, nginx, postgres_folder, program, redis_server};
use rustix::process::geteuid;

use crate::children::{Interruption, run};
use crate::screen::Screen;
use crate::test::node;

pub(crate) struct Need {
    product: &'static str,
    /// Debian's and Ubuntu's package.
    package: &'static str,
    is_there: fn() -> bool,
}

/// What the platform runs on.
pub(crate) const SERVERS: [Need; 4] = [
    Need { product: "PostgreSQL", package: "postgresql", is_there: || postgres_folder().is_ok() },
    Need { product: "Redis", package: "redis-server", is_there: || redis_server().is_ok() },
    Need { product: "nginx", package: "nginx", is_there: || nginx().is_ok() },
    // The gateway's script.
    Need { product: "bash", package: "bash", is_there: || bash().is_ok() },
];

/// What the tests run beside them.
pub(crate) const TOOLS: [Need; 5] = [
    // For schemathesis and OpenID clients that others wrote, which are installed from PyPI.
    Need { product: "Python with venv", package: "python3-venv", is_there: python_makes_environments },
    // The README's story is run as it is written.
    Need { product: "curl", package: "curl", is_there: || program("curl", "curl ").is_some() },
    // OpenID clients that others wrote run on it, and what drives the browser.
    Need { product: "Node.js 20 or later with npm", package: "npm", is_there: node::is_there },
    // It signs people in, as such a client.
    Need {
        product: "Apache with mod_auth_openidc",
        package: "libapache2-mod-auth-openidc",
        is_there: || apache_with_openid().is_ok(),
    },
    Need { product: "Chromium", package: "chromium", is_there: || program("chromium", "Chromium ").is_some() },
];

fn python_makes_environments() -> bool {
    let mut command = Command::new("python3");
    command.args(["-c", "import venv, ensurepip"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// How apt may be called from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Installer {
    Root,
    Sudo,
}

impl Installer {
    fn at_hand() -> Option<Self> {
        let runs = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !runs("apt-get", &["--version"]) {
            return None;
        }
        if geteuid().is_root() {
            return Some(Self::Root);
        }
        runs("sudo", &["-n", "true"]).then_some(Self::Sudo)
    }

    /// apt-get that asks nothing, and waits for another one to finish.
    fn apt_get(self, arguments: &[&str]) -> Command {
        let mut command = match self {
            Self::Root => Command::new("env"),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", "env"]);
                command
            }
        };
        command.args(["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=a", "apt-get", "-qq"]);
        command.args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0"]);
        command.args(arguments);
        command
    }
}

/// Finds what is needed, and installs what is missing.
///
/// # Errors
/// Something is missing and cannot be installed from here: the error says what to install, and how.
pub(crate) async fn meet(
    needs: impl IntoIterator<Item = &'static Need>,
    screen: &Screen,
    interruption: &mut Interruption,
) -> anyhow::Result<()> {
    let missing: Vec<&Need> = needs.into_iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(installer) = Installer::at_hand() else { bail!(by_hand(&missing)) };
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    screen.step(&format!("installing {}", packages.join(", ")));
    // A source that does not answer is no reason to give up: the packages may come from another.
    run(installer.apt_get(&["update"]), interruption, |line| screen.line(line)).await?;
    let install = [&["install", "--yes", "--no-install-recommends"], packages.as_slice()].concat();
    let installed = run(installer.apt_get(&install), interruption, |line| screen.line(line)).await?;
    ensure!(installed.success(), "apt-get could not install {}.\n{}", packages.join(", "), by_hand(&missing));
    let still: Vec<&Need> = missing.into_iter().filter(|need| !(need.is_there)()).collect();
    ensure!(still.is_empty(), "apt-get has installed {}, and yet: {}", packages.join(", "), by_hand(&still));
    Ok(())
}

fn by_hand(missing: &[&Need]) -> String {
    let list =
        |of: fn(&Need) -> &'static str, between| missing.iter().map(|need| of(need)).collect::<Vec<_>>().join(between);
    format!(
        "this needs what cannot be found: {}\n\
         Debian, Ubuntu: sudo apt-get install {}\n\
         elsewhere: install it so that its programs (postgres and initdb, redis-server, nginx, …) are in PATH, and run this again",
        list(|need| need.product, ", "),
        list(|need| need.package, " "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let [postgres, redis, ..] = &SERVERS;
        let text = by_hand(&[postgres, redis]);
        assert!(text.contains("be found: PostgreSQL, Redis\n"), "{text}");
        assert!(text.contains("sudo apt-get install postgresql redis-server\n"), "{text}");
    }

    #[test]
    fn apt_never_asks() {
        let arguments = |installer: Installer| format!("{:?}", installer.apt_get(&["install", "--yes", "curl"]));
        for command in [arguments(Installer::Root), arguments(Installer::Sudo)] {
            assert!(command.contains("DEBIAN_FRONTEND=noninteractive"), "{command}");
        }
        assert!(arguments(Installer::Sudo).starts_with(r#""sudo" "-n""#));
    }
}
