//! What a service must be told to sign people in, from its settings: the same names at every service.

use std::net::SocketAddr;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{CookieKeys, RelyingPartyConfig};
use crate::config::{Settings, quoted};

/// Stands where `OIDC_CLIENT_SECRET` is missing, until [`Settings::finish`] fails.
const EXAMPLE_SECRET: &str = "$(openssl rand -hex 32)";

impl RelyingPartyConfig {
    /// Reads `ISSUER`, `ISSUER_INTERNAL_URL`, `OIDC_CLIENT_ID`, `OIDC_CLIENT_SECRET`, `PUBLIC_URL`, `COOKIE_KEY` and
    /// `COOKIE_SECURE`. `service` is the service's name and by default its client id, `scope` what it asks for. Touches
    /// no network.
    ///
    /// Mistakes are kept in `settings`; call [`Settings::finish`] before [`RelyingParty::new`](super::RelyingParty::new).
    pub fn read(settings: &mut Settings, service: &'static str, scope: &str, listens: SocketAddr) -> Self {
        let issuer = crate::authentication::issuer::read(settings);
        let meaning = "where this process reaches the auth service, if not by ISSUER";
        let issuer_internal_url = settings.optional("ISSUER_INTERNAL_URL", meaning);
        let client_id: String = settings.or("OIDC_CLIENT_ID", service, "this service's client id at the auth service");
        if !is_name(&client_id) {
            settings.mistake(
                "OIDC_CLIENT_ID: expected letters, digits, '-', '_' and '.', at most 64, for it names cookies",
            );
        }
        let meaning = "this service's client secret at the auth service: at least 32 characters";
        let client_secret: SecretString = settings.required("OIDC_CLIENT_SECRET", EXAMPLE_SECRET, meaning);
        if client_secret.expose_secret() != EXAMPLE_SECRET && client_secret.expose_secret().len() < 32 {
            settings.mistake("OIDC_CLIENT_SECRET: expected at least 32 characters");
        }
        let meaning = "seals the cookies of signed-in browsers: 32 random bytes in base64; several with commas, the first \
                       seals. The same at every replica";
        let cookie_keys: CookieKeys = settings.required("COOKIE_KEY", "$(openssl rand -base64 32)", meaning);
        let meaning = "true where browsers come by https: cookies are Secure and named __Host-…";
        let cookie_secure: bool = settings.or("COOKIE_SECURE", "false", meaning);
        let public_url = public_url(settings, listens);
        if public_url.scheme() == "https" && !cookie_secure {
            settings.mistake("COOKIE_SECURE: expected true, for browsers come by https, as PUBLIC_URL says");
        }
        let scope = scope.to_owned();
        Self { issuer, issuer_internal_url, client_id, client_secret, scope, public_url, cookie_keys, cookie_secure }
    }
}

fn public_url(settings: &mut Settings, listens: SocketAddr) -> Url {
    let default = format!("http://localhost:{}", listens.port());
    let meaning = "this service's address as browsers know it; by default where it listens, at localhost";
    let text: String = settings.optional("PUBLIC_URL", meaning).unwrap_or_else(|| default.clone());
    let url = Url::parse(&text).ok().filter(|url| {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && bare
            && url.username().is_empty()
            && url.password().is_none()
    });
    url.unwrap_or_else(|| {
        settings.mistake(format!("PUBLIC_URL: expected http(s)://HOST[:PORT] without a path, found {}", quoted(&text)));
        Url::parse(&default).expect("a URL of a port")
    })
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (RelyingPartyConfig, Result<(), String>, String) {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = Settings::from_pairs(pairs);
        let listens = "127.0.0.1:8082".parse().expect("an address");
        let config = RelyingPartyConfig::read(&mut settings, "cart-service", "openid cart", listens);
        (config, settings.finish().map_err(|error| error.to_string()), settings.describe())
    }

    #[test]
    fn what_has_no_default_is_required_and_what_is_secret_is_not_described() {
        let (_, finished, _) = read(&[]);
        let mistakes = finished.expect_err("two mistakes");
        for name in ["OIDC_CLIENT_SECRET is not set", "COOKIE_KEY is not set"] {
            assert!(mistakes.contains(name), "{name} is missing from {mistakes}");
        }
        let (secret, key) = ("d41d8cd98f00b204e9800998ecf8427e", "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g=");
        let given = [("OIDC_CLIENT_SECRET", secret), ("COOKIE_KEY", key)];
        let (config, finished, described) = read(&given);
        assert_eq!(finished, Ok(()));
        assert_eq!(config.public_url.as_str(), "http://localhost:8082/");
        assert_eq!(config.client_id, "cart-service");
        assert!(!described.contains(secret) && !described.contains(key), "{described}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (name, value) in [
            ("PUBLIC_URL", "cart.example"),
            ("PUBLIC_URL", "ftp://cart.example"),
            ("PUBLIC_URL", "https://cart.example/shop"),
            ("PUBLIC_URL", "http://cart.example/?a=b"),
            ("OIDC_CLIENT_ID", "cart service"),
            ("OIDC_CLIENT_ID", "cart;service"),
            ("OIDC_CLIENT_SECRET", "too short"),
            ("COOKIE_KEY", "too short"),
            ("ISSUER_INTERNAL_URL", "auth"),
            ("ISSUER", "auth.example"),
            ("ISSUER", "localhost:8081"),
            ("ISSUER", "ftp://auth.example"),
            ("ISSUER", "http://ada:hunter2@auth.example"),
            ("COOKIE_SECURE", "perhaps"),
        ] {
            let (_, finished, _) = read(&[(name, value)]);
            assert!(finished.is_err_and(|text| text.contains(&format!("{name}: "))), "{name}={value} was taken");
        }
        let (_, finished, _) = read(&[("PUBLIC_URL", "https://cart.example")]);
        assert!(finished.is_err_and(|text| text.contains("COOKIE_SECURE: ")), "https without Secure cookies was taken");
    }
}
