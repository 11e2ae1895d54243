//! The service's settings. Their meanings here are the manual: `order-service config` prints them.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use shared::authentication::SingleSignOnConfig;
use shared::config::{ConnectionUrl, Settings};
use shared::pages::Site;
use shared::relying_party::RelyingPartyConfig;
use shared::server::ServerConfig;
use shared::session::SessionStore;
use url::Url;

use crate::payment::PaymentProcessor;
use crate::rules::order_limits::OrderLimits;

/// What [`start`](crate::start) needs.
#[derive(Clone)]
pub struct Config {
    pub server: ServerConfig,
    /// Empty only where the one process that embeds the service has yet to name it.
    pub database_url: String,
    pub single_sign_on: SingleSignOnConfig,
    pub relying_party: RelyingPartyConfig,
    pub site: Site,
    /// The cart service's address.
    pub cart_url: Url,
    /// This service's credential at the cart service's checkouts.
    pub checkout_secret: SecretString,
    /// How often unfinished orders are looked for.
    pub recovery_interval: Duration,
    /// How long a placed order can be paid; afterwards it is cancelled.
    pub payment_deadline: Duration,
    /// How many orders of a user may be unpaid at once.
    pub limits: OrderLimits,
    /// How long an order is kept that was cancelled and never paid.
    pub cancelled_kept: Duration,
    /// Who takes the money; `None` is the [`TestPaymentProcessor`](crate::payment::TestPaymentProcessor).
    pub payments: Option<Arc<dyn PaymentProcessor>>,
}

/// What this service asks for in a user's name: who it is, and tokens for the carts and the orders.
const SCOPE: &str = "openid profile email offline_access account cart orders";

impl Config {
    /// Reads the settings; [`Settings::finish`] tells what is wrong with them. With `embedded` sessions, `REDIS_URL` is
    /// not asked for, and `DATABASE_URL` may be left to whoever embeds.
    pub fn read(settings: &mut Settings, embedded: Option<Arc<dyn SessionStore>>) -> Self {
        let about = ("order-service", env!("CARGO_PKG_DESCRIPTION"), env!("CARGO_PKG_VERSION"));
        let server = ServerConfig {
            ending_paths: &["/logout"],
            ..ServerConfig::read(settings, about, ("ORDER_ADDR", "127.0.0.1:8083"))
        };
        let (name, meaning) = ("DATABASE_URL", "the service's own database: postgres://… or sqlite:PATH");
        let ConnectionUrl(database_url) = if embedded.is_some() {
            settings.optional(name, meaning).unwrap_or_default()
        } else {
            settings.required(name, "postgres://orders:PASSWORD@localhost/orders", meaning)
        };
        let meaning = "how often unfinished orders are looked for";
        let recovery_interval = settings.positive("ORDER_RECOVERY_INTERVAL", "2s", meaning);
        let single_sign_on = SingleSignOnConfig::read(settings, "order-service", embedded);
        let relying_party = RelyingPartyConfig::read(settings, "order-service", SCOPE, server.address);
        let (account, own) = (address_of(&relying_party.issuer), relying_party.public_url.clone());
        Self {
            single_sign_on: single_sign_on.with_scope("orders").listening_at(server.address),
            server,
            database_url,
            site: Site::read(settings, own, account, ("/login", "/logout?return_to=/signed-out")),
            relying_party,
            cart_url: cart_url(settings),
            checkout_secret: checkout_secret(settings),
            recovery_interval,
            payment_deadline: settings.positive(
                "PAYMENT_DEADLINE",
                "30m",
                "how long a placed order can be paid; afterwards it is cancelled and its stock is free again",
            ),
            limits: order_limits(settings),
            cancelled_kept: settings.positive(
                "CANCELLED_ORDER_RETENTION",
                "90d",
                "how long an order is kept that was cancelled and never paid",
            ),
            payments: None,
        }
    }
}

/// The issuer's address. One that cannot be read is a mistake that is named already.
fn address_of(issuer: &str) -> Url {
    Url::parse(issuer).unwrap_or_else(|_| Url::parse("http://localhost:8081").expect("a constant that is a URL"))
}

fn cart_url(settings: &mut Settings) -> Url {
    let url: Url = settings.or("CART_URL", "http://localhost:8082", "the cart service, as this service reaches it");
    if !matches!(url.scheme(), "http" | "https") {
        settings.mistake("CART_URL: expected http:// or https://");
    }
    url
}

fn checkout_secret(settings: &mut Settings) -> SecretString {
    const EXAMPLE: &str = "$(openssl rand -hex 32)";
    let meaning = "this service's credential at the cart service's checkouts, the same there: at least 32 characters";
    let secret: SecretString = settings.required("CHECKOUT_SECRET", EXAMPLE, meaning);
    let text = secret.expose_secret();
    if text != EXAMPLE && (text.len() < 32 || !text.bytes().all(|byte| byte.is_ascii_graphic())) {
        settings.mistake("CHECKOUT_SECRET: expected at least 32 visible ASCII characters");
    }
    secret
}

fn order_limits(settings: &mut Settings) -> OrderLimits {
    let mut limit = |name, default, meaning| {
        let most = settings.or(name, default, meaning);
        if most == 0 {
            settings.mistake(format!("{name}: expected at least 1: with none, there are no orders"));
        }
        most
    };
    OrderLimits {
        unpaid: limit("MAX_UNPAID_ORDERS", "3", "how many orders of one user may be unpaid at once"),
        abandoned: limit(
            "MAX_ABANDONED_ORDERS",
            "100",
            "how many orders of one user may fail, or be cancelled and never paid, in a day",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Config, Result<(), String>, String) {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = Settings::from_pairs(pairs);
        let config = Config::read(&mut settings, None);
        (config, settings.finish().map_err(|error| error.to_string()), settings.describe())
    }

    const SECRET: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn a_split_service_refuses_to_start_without_its_database_its_redis_and_its_secret() {
        let (_, finished, _) = read(&[]);
        let mistakes = finished.expect_err("five mistakes");
        for name in ["DATABASE_URL", "REDIS_URL", "CHECKOUT_SECRET", "OIDC_CLIENT_SECRET", "COOKIE_KEY"] {
            assert!(mistakes.contains(&format!("{name} is not set")), "{name} is missing from {mistakes}");
        }
    }

    #[test]
    fn with_the_required_settings_the_rest_has_defaults_and_the_secret_is_not_described() {
        let given = [
            ("DATABASE_URL", "sqlite:x"),
            ("REDIS_URL", "redis://localhost"),
            ("CHECKOUT_SECRET", SECRET),
            ("OIDC_CLIENT_SECRET", SECRET),
            ("COOKIE_KEY", "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g="),
        ];
        let (config, finished, described) = read(&given);
        assert_eq!(finished, Ok(()));
        assert_eq!(config.server.address.to_string(), "127.0.0.1:8083");
        assert_eq!(config.cart_url.as_str(), "http://localhost:8082/");
        assert_eq!(config.payment_deadline, Duration::from_secs(30 * 60));
        assert_eq!(config.limits, OrderLimits { unpaid: 3, abandoned: 100 });
        assert_eq!(config.single_sign_on.jwks_url.as_str(), "http://localhost:8081/.well-known/jwks.json");
        assert_eq!(config.single_sign_on.step_up_after, Duration::from_secs(15 * 60));
        assert!(!described.contains(SECRET), "{described}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (name, value) in [
            ("CHECKOUT_SECRET", "too short"),
            ("CART_URL", "ftp://cart"),
            ("CART_URL", "cart"),
            ("STEP_UP_AFTER", "0s"),
            ("ACCESS_TOKEN_TTL", "5"),
            ("ISSUER", "nowhere"),
            ("SESSION_STRATEGY", "hope"),
            ("ORDER_ADDR", "8083"),
            ("ORDER_RECOVERY_INTERVAL", "0s"),
            ("PAYMENT_DEADLINE", "0s"),
            ("MAX_UNPAID_ORDERS", "0"),
            ("MAX_UNPAID_ORDERS", "-1"),
            ("MAX_ABANDONED_ORDERS", "0"),
        ] {
            let (_, finished, _) = read(&[(name, value)]);
            assert!(finished.is_err_and(|text| text.contains(&format!("{name}: "))), "{name}={value} was taken");
        }
    }
}
