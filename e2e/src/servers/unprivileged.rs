//! PostgreSQL refuses to run as root: where we are root, servers run as a user who may nothing else.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

/// Whom a server runs as: nobody else than we, unless we are root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner(Option<(u32, u32)>);

impl Owner {
    /// `postgres` where there is such a user, else `nobody`.
    pub(super) fn unprivileged() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd cannot be read")?;
        let found = ["postgres", "nobody"].into_iter().find_map(|name| ids(&users, name));
        found
            .map(|ids| Self(Some(ids)))
            .context("we are root, and there is no user postgres or nobody to run a server as")
    }

    /// Gives a folder or file to this user.
    pub(super) fn give(self, path: &Path) -> anyhow::Result<()> {
        let Some((user, group)) = self.0 else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(user), Some(group))
            .with_context(|| format!("{} cannot be given away", path.display()))
    }

    pub(super) fn runs(self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
    }
}

/// Whether a server may keep its files under `folder`: as whom servers run, one comes that far down the tree.
///
/// # Errors
/// The system does not tell.
pub fn can_be_reached(folder: &Path) -> anyhow::Result<bool> {
    let mut command = Command::new("test");
    command.arg("-x").arg(folder);
    Owner::unprivileged()?.runs(&mut command);
    Ok(command.status().context("test cannot be started")?.success())
}

/// User and group of `name` in the text of `/etc/passwd`.
fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "root:x:0:0::/root:/bin/bash\npostgres-exporter:x:7:7::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(ids(users, "postgres"), Some((101, 104)));
        assert_eq!(ids(users, "nobody"), None);
    }
}
