//! An instrument of `cargo xtask bench`, never a service: shows everybody the cart of the user that is its argument, with
//! the settings of the cart service.

use cart_service::{Config, measurement};
use shared::config::Settings;
use shared::server;
use shared::telemetry::{self, TelemetryConfig};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let user = std::env::args().nth(1).unwrap_or_default().parse()?;
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings, None);
    let telemetry = TelemetryConfig::read(&mut settings);
    settings.finish()?;
    let _telemetry = telemetry::start("cart-without-authentication", &telemetry)?;
    let running = measurement::start_without_authentication(config, user).await?;
    server::until_stopped(vec![running]).await;
    Ok(())
}
