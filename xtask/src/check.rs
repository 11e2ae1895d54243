//! `cargo xtask check`: formatting and lints, as the continuous integration looks at them.

use anyhow::ensure;

use crate::children::{Interruption, cargo, run as run_child};
use crate::screen::Screen;

/// Checks formatting and lints.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Formats, instead of complaining about it.
    #[arg(long)]
    fix: bool,
}

pub(crate) async fn run(Arguments { fix }: Arguments) -> anyhow::Result<()> {
    let screen = Screen::open();
    let mut interruption = Interruption::watch()?;
    let format: &[&str] = if fix { &["fmt", "--all"] } else { &["fmt", "--all", "--check"] };
    let lints: &[&str] = &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    for (step, arguments) in [("formatting", format), ("lints", lints)] {
        screen.step(step);
        let status = run_child(cargo(arguments), &mut interruption, |line| screen.line(line)).await?;
        ensure!(status.success(), "{step}: not clean");
    }
    Ok(())
}
