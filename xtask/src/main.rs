//! `cargo xtask …`: the commands of development. One file for each verb; no other tool to install.

mod bench;
mod check;
mod children;
mod choose;
mod compare;
mod faults;
mod measuring;
mod needs;
mod screen;
mod test;
mod up;

use std::process::ExitCode;

use clap::Parser;

/// The commands of development.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    Test(test::Arguments),
    Check(check::Arguments),
    Up(up::Arguments),
    Bench(bench::Arguments),
    Compare(compare::Arguments),
    Choose(choose::Arguments),
    Faults(faults::Arguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Verb::parse() {
        Verb::Test(arguments) => test::run(arguments).await,
        Verb::Check(arguments) => check::run(arguments).await,
        Verb::Up(arguments) => up::run(arguments).await,
        Verb::Bench(arguments) => bench::run(arguments).await,
        Verb::Compare(arguments) => compare::run(arguments).await,
        Verb::Faults(arguments) => faults::run(arguments).await,
        Verb::Choose(arguments) => choose::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}
