//! How a program ends for its operator: with the message, its causes and the next step, and nothing else. A stack
//! trace tells an operator nothing, whatever `RUST_BACKTRACE` says.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

/// What is wrong outside of the program, and what an operator does about it: the context of an error.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Fault {
    fault: String,
    next: String,
}

impl Fault {
    /// `fault` is a sentence without its full stop, `next` what to do, as an imperative. Neither holds a secret.
    pub fn new(fault: impl Into<String>, next: impl Into<String>) -> Self {
        Self { fault: fault.into(), next: next.into() }
    }
}

/// Why nothing can listen at the address that `setting` names.
pub fn cannot_listen(error: io::Error, address: SocketAddr, setting: &str) -> anyhow::Error {
    let other = SocketAddr::new(address.ip(), if address.port() < 64_000 { address.port() + 1_000 } else { 8_080 });
    let (fault, next) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            format!("something else listens on {address}"),
            format!("stop it, or set {setting} to another address, such as {setting}={other}"),
        ),
        io::ErrorKind::AddrNotAvailable => (
            format!("nothing can listen on {address}, for this machine does not have that address"),
            format!("set {setting} to one of its own, such as {setting}=127.0.0.1:{}", address.port()),
        ),
        _ => (
            format!("nothing can listen on {address}"),
            format!("set {setting} to another address, such as {setting}={other}"),
        ),
    };
    anyhow::Error::from(error).context(Fault::new(fault, next))
}

/// Ends the program: with 0, or with 1 and the reason on the standard error.
pub fn end(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// The message, a line for each cause, and the next step where a [`Fault`] names it.
fn told(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut above = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some errors repeat their cause in their own words.
        if !above.contains(&cause) {
            let _ = writeln!(text, "  cause: {cause}");
        }
        above = cause;
    }
    if let Some(fault) = error.downcast_ref::<Fault>() {
        let _ = writeln!(text, "  next: {}", fault.next);
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_and_the_next_step() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = Err::<(), _>(refused).context(Fault::new("Redis at cache:6379 does not answer", "start it"));
        let error = error.context("the auth service").expect_err("it is one");
        assert_eq!(
            told(&error),
            "error: the auth service\n  cause: Redis at cache:6379 does not answer\n  cause: connection refused\n  next: \
             start it\n"
        );
    }

    #[test]
    fn a_cause_that_is_repeated_is_told_once() {
        let error = anyhow::anyhow!("x is not set").context("the settings have a mistake: x is not set");
        assert_eq!(told(&error), "error: the settings have a mistake: x is not set\n");
    }
}
