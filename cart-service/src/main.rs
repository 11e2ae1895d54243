//! Starts the cart service with the settings of the environment, or prints them, or only brings its tables up to date.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use shared::config::Settings;
use shared::database::Database;
use shared::telemetry::{self, TelemetryConfig};
use shared::{program, server};

/// The catalogue, stock and carts. Without a command it serves until SIGTERM or SIGINT.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print all settings with their value, where it came from, and their meaning.
    Config,
    /// Bring the database's tables up to date, and end.
    Migrate,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::end(run().await)
}

async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut settings = Settings::from_env();
    let config = cart_service::Config::read(&mut settings, None);
    let telemetry = TelemetryConfig::read(&mut settings);
    if let Some(Command::Config) = arguments.command {
        #[expect(clippy::print_stdout, reason = "printing is what this command is for")]
        {
            print!("{}", settings.describe());
        }
        return settings.finish();
    }
    settings.finish()?;
    let _telemetry = telemetry::start("cart-service", &telemetry)?;
    if let Some(Command::Migrate) = arguments.command {
        let database = Database::open(&config.database_url, 1).await;
        return cart_service::storage::migrate(&database.context("the cart service's database cannot be opened")?)
            .await;
    }
    let running = cart_service::start(config).await?;
    server::until_stopped(vec![running]).await;
    Ok(())
}
