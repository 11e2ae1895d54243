//! The service's state and its start.

use actix_web::web::Data;
use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use shared::authentication::SingleSignOn;
use shared::clock::Clock;
use shared::database::{ClockWatch, Database};
use shared::relying_party::RelyingParty;
use shared::server::{self, Readiness, Running};
use shared::telemetry;

use crate::config::{Config, is_strong};
use crate::endpoints::{CheckoutSecret, GuestCookie, endpoints};
use crate::guests::Guests;
use crate::measures::METRICS;
use crate::{storage, sweeper};

/// What every endpoint works with.
pub struct CartService {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) checkout_hold: std::time::Duration,
    pub(crate) checkout_secret: CheckoutSecret,
    pub(crate) guests: Guests,
    pub(crate) guest_cookie: GuestCookie,
}

/// Opens the database, brings its tables up to date, fills an empty catalogue, joins the single sign-on, starts the
/// sweeper and listens.
///
/// # Errors
/// The database does not answer, or the address cannot be listened on.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    telemetry::describe(METRICS);
    anyhow::ensure!(is_strong(&config.checkout_secret), "CHECKOUT_SECRET must be at least 32 visible ASCII characters");
    let database = storage::open(&config.database_url, config.database_connections)
        .await
        .context("the cart service's database cannot be opened")?;
    let clock = config.single_sign_on.clock.clone();
    let single_sign_on = SingleSignOn::join(config.single_sign_on);
    single_sign_on.settle().await;
    let clock_watch = ClockWatch::new(database.clone());
    let readiness = Readiness::default().database(&database).clock(&clock_watch).single_sign_on(&single_sign_on);
    let service = Data::new(CartService {
        database: database.clone(),
        clock: clock.clone(),
        checkout_hold: config.checkout_hold,
        checkout_secret: CheckoutSecret::new(config.checkout_secret.expose_secret()),
        guest_cookie: GuestCookie::new(config.cookie_secure, config.guests.ttl),
        guests: Guests::new(config.guests, &database, &clock),
    });
    let relying_party = Data::new(RelyingParty::new(config.relying_party, single_sign_on.clone())?);
    let (single_sign_on, site) = (Data::new(single_sign_on), Data::new(config.site));
    let mut running = server::serve(&config.server, readiness, move |app| {
        app.app_data(service.clone()).app_data(single_sign_on.clone());
        app.app_data(relying_party.clone()).app_data(site.clone());
        endpoints(app);
    })?;
    running.close_at_the_end(&database);
    running.keep(clock_watch.clone().keep_comparing());
    running.keep(sweeper::sweep_forever(database, clock, clock_watch));
    Ok(running)
}
