//! What `cargo xtask test --compose` tells the tests of the containers, and Docker's own words. Owns no container.

use std::process::{Command, Stdio};

/// The port of the gateway on this machine. Where it is set, containers are up, and the variables that Compose reads
/// (`COMPOSE_PROJECT_NAME`, `COMPOSE_FILE` and those of the file) say which.
pub const PORT_VARIABLE: &str = "TEST_CONTAINERS_PORT";
/// How Compose is called: `docker compose` or `docker-compose`.
pub const COMPOSE_VARIABLE: &str = "TEST_CONTAINERS_COMPOSE";
/// The first administrator's address, and the password that `secrets` made.
pub const ADMIN_VARIABLES: [&str; 2] = ["TEST_CONTAINERS_ADMIN_EMAIL", "TEST_CONTAINERS_ADMIN_PASSWORD"];

/// Runs Docker, and answers its standard output.
///
/// # Panics
/// It fails.
pub fn docker(arguments: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.args(arguments);
    run(command)
}

/// Everything that a container printed, on both outputs.
///
/// # Panics
/// There is no such container.
pub fn logs(container: &str) -> String {
    let output = Command::new("docker").args(["logs", container]).stdin(Stdio::null()).output();
    let output = output.expect("docker starts");
    assert!(output.status.success(), "docker logs: {}", String::from_utf8_lossy(&output.stderr));
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

/// # Panics
/// It fails.
pub(crate) fn run(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
