//! The first accounts, an administrator and a demo user: made on the first start, with made-up passwords that are kept only
//! until they were shown.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use e2e::services::Service;

use super::data::Data;
use super::processes::Processes;

/// There once the passwords were shown.
const SHOWN: &str = "accounts-were-shown";
const FIRST: [(&str, &str, &[&str]); 2] = [
    ("admin@shop.localhost", "admin.password", &["admin", "user"]),
    ("demo@shop.localhost", "demo.password", &["user"]),
];

/// An account of the first start.
pub(super) struct NewAccount {
    pub(super) email: &'static str,
    pub(super) password: String,
}

/// Makes the first accounts by the auth service's own command, unless they were shown before. A start that was stopped in
/// the middle is gone on with: the passwords are the same.
///
/// # Errors
/// The auth service refuses.
pub(super) fn make_first(data: &Data, processes: &Processes) -> anyhow::Result<Vec<NewAccount>> {
    if data.path(SHOWN).exists() {
        return Ok(Vec::new());
    }
    let make = |(email, password, roles): (&'static str, &str, &[&str])| {
        let password = data.secret(password)?;
        let mut command = processes.any(Service::Auth)?.command();
        command.args(["user", "create", email]).args(roles);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("auth-service cannot be started")?;
        child.stdin.take().context("its input")?.write_all(format!("{password}\n").as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_there_already = said.contains("there is an account with this email address");
        ensure!(output.status.success() || is_there_already, "{email} cannot be made:\n{said}");
        Ok(NewAccount { email, password })
    };
    FIRST.into_iter().map(make).collect()
}

/// From now on the passwords stand nowhere but with whoever read them.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn were_shown(data: &Data) -> anyhow::Result<()> {
    fs::write(data.path(SHOWN), "")?;
    for (_, password, _) in FIRST {
        let path = data.path(password);
        if path.exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
