//! Starts the whole platform in one process, or prints its settings.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use all_in_one::Config;
use auth_service::client_commands::ClientCommand;
use clap::{Parser, Subcommand};
use shared::config::Settings;
use shared::telemetry::{self, TelemetryConfig};
use shared::{program, server};

/// The three services of the platform in one process. Without a command they serve until Ctrl-C or SIGTERM.
#[derive(Parser)]
#[command(name = "all-in-one", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print all settings with their value, where it came from, and their meaning.
    Config,
    /// Make, see and change clients, also while the platform runs.
    #[command(subcommand)]
    Client(ClientCommand),
}

#[tokio::main]
async fn main() -> ExitCode {
    program::end(run().await)
}

async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut settings = Settings::from_env();
    let telemetry = read_telemetry(&mut settings);
    let config = Config::read(&mut settings)?;
    if let Some(Command::Config) = arguments.command {
        std::io::stdout().write_all(settings.describe().as_bytes())?;
        return settings.finish();
    }
    settings.finish()?;
    let _telemetry = telemetry::start("all-in-one", &telemetry)?;
    if let Some(Command::Client(command)) = arguments.command {
        return all_in_one::client(config, command).await;
    }
    let (addresses, strategy) = (config.addresses, config.strategy());
    let started = all_in_one::start(config).await?;
    // Not by the log: made-up passwords are for the eyes of whoever started it.
    std::io::stdout().write_all(all_in_one::welcome(addresses, &started.created, strategy).as_bytes())?;
    server::until_stopped(Vec::new()).await;
    started.stop().await;
    Ok(())
}

/// On a terminal, only what needs attention is logged, so that the welcome stays readable.
fn read_telemetry(settings: &mut Settings) -> TelemetryConfig {
    let default = if std::io::stderr().is_terminal() { "warn" } else { telemetry::DEFAULT_FILTER };
    let meaning = "what is logged: info, or such as warn,auth_service=debug; on a terminal only warnings";
    let filter: String = settings.or("LOG_FILTER", default, meaning);
    settings.give("LOG_FILTER", filter);
    TelemetryConfig::read(settings)
}
