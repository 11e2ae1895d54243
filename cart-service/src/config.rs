//! The service's settings. Their meanings here are the manual: `cart-service config` prints them.

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

use crate::guests::GuestRules;

/// What [`start`](crate::start) needs.
#[derive(Clone)]
pub struct Config {
    pub server: ServerConfig,
    /// Empty only where the one process that embeds the service has yet to name it.
    pub database_url: String,
    pub database_connections: u32,
    pub single_sign_on: SingleSignOnConfig,
    pub relying_party: RelyingPartyConfig,
    pub site: Site,
    pub cookie_secure: bool,
    pub checkout_hold: Duration,
    pub guests: GuestRules,
    /// Empty only where the one process that embeds the service has yet to name it.
    pub checkout_secret: SecretString,
}

/// What this service asks for in a user's name: who it is, and tokens for the carts and the orders.
const SCOPE: &str = "openid profile email offline_access account cart orders";

impl Config {
    /// Reads the settings; [`Settings::finish`] tells what is wrong with them. With `embedded` sessions, `REDIS_URL` is
    /// not asked for, and `DATABASE_URL` and `CHECKOUT_SECRET` may be left to whoever embeds.
    pub fn read(settings: &mut Settings, embedded: Option<Arc<dyn SessionStore>>) -> Self {
        let about = ("cart-service", env!("CARGO_PKG_DESCRIPTION"), env!("CARGO_PKG_VERSION"));
        let server = ServerConfig {
            ending_paths: &["/logout"],
            ..ServerConfig::read(settings, about, ("CART_ADDR", "127.0.0.1:8082"))
        };
        let is_embedded = embedded.is_some();
        let ConnectionUrl(database_url) = {
            let (name, meaning) = ("DATABASE_URL", "the service's own database: postgres://… or sqlite:PATH");
            if is_embedded {
                settings.optional(name, meaning).unwrap_or_default()
            } else {
                settings.required(name, "postgres://cart:PASSWORD@localhost/cart", meaning)
            }
        };
        let single_sign_on = SingleSignOnConfig::read(settings, "cart-service", embedded);
        let relying_party = RelyingPartyConfig::read(settings, "cart-service", SCOPE, server.address);
        let (account, own) = (address_of(&relying_party.issuer), relying_party.public_url.clone());
        Self {
            single_sign_on: single_sign_on.with_scope("cart").listening_at(server.address),
            server,
            database_url,
            database_connections: settings.at_least_one(
                "DATABASE_CONNECTIONS",
                "16",
                "the most connections to the database",
            ),
            cookie_secure: relying_party.cookie_secure,
            site: Site::read(settings, own, account, ("/login", "/logout")),
            relying_party,
            checkout_hold: settings.positive(
                "CHECKOUT_HOLD",
                "15m",
                "how long stock is held for an order that is not placed",
            ),
            guests: GuestRules::read(settings),
            checkout_secret: checkout_secret(settings, is_embedded),
        }
    }
}

/// The issuer's address. One that cannot be read is a mistake that is named already.
fn address_of(issuer: &str) -> Url {
    Url::parse(issuer).unwrap_or_else(|_| Url::parse("http://localhost:8081").expect("a constant that is a URL"))
}

fn checkout_secret(settings: &mut Settings, is_embedded: bool) -> SecretString {
    const NAME: &str = "CHECKOUT_SECRET";
    const EXAMPLE: &str = "$(openssl rand -hex 32)";
    let meaning = "the credential of the order service at the checkouts, the same there: at least 32 characters";
    let secret: Option<SecretString> =
        if is_embedded { settings.optional(NAME, meaning) } else { Some(settings.required(NAME, EXAMPLE, meaning)) };
    if secret.as_ref().is_some_and(|secret| secret.expose_secret() != EXAMPLE && !is_strong(secret)) {
        settings.mistake(format!("{NAME}: expected at least 32 visible ASCII characters"));
    }
    secret.unwrap_or_default()
}

/// Whether a checkout secret is 32 visible ASCII characters or more.
pub(crate) fn is_strong(secret: &SecretString) -> bool {
    let text = secret.expose_secret();
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_graphic())
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
    fn the_keys_are_read_under_the_issuer_unless_another_place_is_named() {
        let given = [
            ("DATABASE_URL", "sqlite:x"),
            ("REDIS_URL", "redis://localhost"),
            ("CHECKOUT_SECRET", SECRET),
            ("OIDC_CLIENT_SECRET", SECRET),
            ("COOKIE_KEY", "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g="),
        ];
        let (config, finished, described) = read(&[&given[..], &[("ISSUER", "https://auth.example/")]].concat());
        assert_eq!(finished, Ok(()));
        assert_eq!(config.single_sign_on.jwks_url.as_str(), "https://auth.example/.well-known/jwks.json");
        assert!(!described.contains(SECRET), "{described}");
        let (config, ..) = read(&[&given[..], &[("JWKS_URL", "http://auth:8081/keys")]].concat());
        assert_eq!(config.single_sign_on.jwks_url.as_str(), "http://auth:8081/keys");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (name, value) in [
            ("CHECKOUT_SECRET", "too short"),
            ("CHECKOUT_HOLD", "0s"),
            ("ACCESS_TOKEN_TTL", "0s"),
            ("ISSUER", "nowhere"),
            ("SESSION_STRATEGY", "hope"),
            ("CART_ADDR", "8082"),
            ("COOKIE_SECURE", "perhaps"),
            ("GUEST_CART_TTL", "0s"),
            ("GUEST_CART_WINDOW", "0s"),
            ("GUEST_CART_BYTES", "1"),
            ("TRUSTED_PROXIES", "the gateway"),
        ] {
            let (_, finished, _) = read(&[(name, value)]);
            assert!(finished.is_err_and(|text| text.contains(&format!("{name}: "))), "{name}={value} was taken");
        }
    }
}
