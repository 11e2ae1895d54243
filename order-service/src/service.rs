//! The service's state and its start.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use anyhow::Context as _;
use shared::authentication::SingleSignOn;
use shared::clock::Clock;
use shared::database::{ClockWatch, Database};
use shared::relying_party::RelyingParty;
use shared::server::{self, Readiness, Running};
use shared::telemetry;

use crate::acts::recover::keep_recovering;
use crate::cart::CartClient;
use crate::config::Config;
use crate::endpoints::endpoints;
use crate::measures::METRICS;
use crate::payment::{PaymentProcessor, TestPaymentProcessor};
use crate::rules::order_limits::OrderLimits;
use crate::storage::MIGRATIONS;

/// What every act works with. A copy works on the same orders.
#[derive(Clone)]
pub struct OrderService {
    pub(crate) database: Database,
    pub(crate) cart: CartClient,
    pub(crate) payments: Arc<dyn PaymentProcessor>,
    pub(crate) clock: Clock,
    /// How long a placed order can be paid.
    pub(crate) payment_deadline: Duration,
    pub(crate) limits: OrderLimits,
    pub(crate) cancelled_kept: Duration,
}

impl OrderService {
    /// Opens the database and brings its tables up to date; several replicas may open one database.
    ///
    /// # Errors
    /// The database does not answer, or a setting cannot be used.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let database = Database::open(&config.database_url, 16).await;
        let database = database.context("the order service's database cannot be opened")?;
        database.migrate(&MIGRATIONS).await?;
        let clock = config.single_sign_on.clock.clone();
        let own = || Arc::new(TestPaymentProcessor::new(database.clone(), clock.clone())) as _;
        Ok(Self {
            cart: CartClient::new(config.cart_url.clone(), &config.checkout_secret)?,
            payments: config.payments.clone().unwrap_or_else(own),
            payment_deadline: config.payment_deadline,
            limits: config.limits,
            clock,
            database,
            cancelled_kept: config.cancelled_kept,
        })
    }
}

/// Opens the database, brings its tables up to date, joins the single sign-on, listens, and starts recovery.
///
/// # Errors
/// The database does not answer, a setting cannot be used, or the address cannot be listened on.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    telemetry::describe(METRICS);
    let service = OrderService::open(&config).await?;
    let single_sign_on = SingleSignOn::join(config.single_sign_on);
    single_sign_on.settle().await;
    let clock_watch = ClockWatch::new(service.database.clone());
    let recovering = keep_recovering(service.clone(), config.recovery_interval, clock_watch.clone());
    let readiness = Readiness::default().database(&service.database).clock(&clock_watch);
    let readiness = readiness.single_sign_on(&single_sign_on);
    let database = service.database.clone();
    let relying_party = Data::new(RelyingParty::new(config.relying_party, single_sign_on.clone())?);
    let (service, single_sign_on, site) = (Data::new(service), Data::new(single_sign_on), Data::new(config.site));
    let mut running = server::serve(&config.server, readiness, move |app| {
        app.app_data(service.clone()).app_data(single_sign_on.clone());
        app.app_data(relying_party.clone()).app_data(site.clone());
        endpoints(app);
    })?;
    running.close_at_the_end(&database);
    running.keep(clock_watch.keep_comparing());
    running.keep(recovering);
    Ok(running)
}
