//! The shop as its visitors know it: where its services are, and how a browser reaches this one.

use url::Url;

use crate::config::Settings;

/// What every page of a service knows of the shop. Each `App` with pages has it as `web::Data`.
#[derive(Debug, Clone)]
pub struct Site {
    /// Where browsers reach this service.
    pub public_url: Url,
    /// Where browsers reach the others: the auth service, the cart service, the order service.
    pub account: Url,
    pub shop: Url,
    pub orders: Url,
    /// Whether browsers come by https: cookies are then `Secure` and have the prefix `__Host-`.
    pub secure: bool,
    /// This service's path that begins a login, and the one that takes the form of a logout, with its query.
    pub sign_in: &'static str,
    pub sign_out: &'static str,
}

impl Site {
    /// Reads `SHOP_URL`, `ORDERS_URL` and `COOKIE_SECURE`. `account` is the issuer; `public_url` and the two paths are this
    /// service's own.
    pub fn read(
        settings: &mut Settings,
        public_url: Url,
        account: Url,
        (sign_in, sign_out): (&'static str, &'static str),
    ) -> Self {
        let shop = settings.or("SHOP_URL", "http://localhost:8082", "the shop's public address, for links on pages");
        let orders = settings.or(
            "ORDERS_URL",
            "http://localhost:8083",
            "the order service's public address, for links on pages",
        );
        let meaning = "true where browsers come by https: cookies are Secure and named __Host-…";
        let secure = settings.or("COOKIE_SECURE", "false", meaning);
        for (name, url) in [("SHOP_URL", &shop), ("ORDERS_URL", &orders)] {
            if !matches!(Url::scheme(url), "http" | "https") {
                settings.mistake(format!("{name}: expected http:// or https://"));
            }
        }
        Self { public_url, account, shop, orders, secure, sign_in, sign_out }
    }

    /// The cookie's name, with the prefix that keeps other hosts of the domain from setting it (RFC 6265bis, section
    /// 4.1.3.2).
    pub fn cookie_name(&self, name: &str) -> String {
        if self.secure { format!("__Host-{name}") } else { name.to_owned() }
    }

    /// A page of the shop, of the orders or of the account.
    pub fn link(base: &Url, path: &str) -> String {
        format!("{}{path}", base.as_str().trim_end_matches('/'))
    }
}
