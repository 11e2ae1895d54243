//! What the processes of one platform are told, so that they are one platform.

use super::{Replica, Service};

/// What all processes of a platform share.
#[derive(Debug, Clone)]
pub struct Together {
    /// The auth service's public address.
    pub issuer: String,
    /// The replicas of the auth service, at least one. Each other process reads the keys from one of them.
    pub auth_ports: Vec<u16>,
    /// The cart service, as the order service reaches it.
    pub cart_url: String,
    pub redis_url: String,
    pub master_key: String,
    pub checkout_secret: String,
    /// Where browsers reach the cart service and the order service.
    pub shop_url: String,
    pub orders_url: String,
    /// The secrets of both as clients of the auth service.
    pub shop_client_secret: String,
    pub orders_client_secret: String,
    pub cookie_key: String,
}

impl Together {
    /// The settings of one replica, with its own port and its service's own database.
    pub fn settings(&self, replica: Replica, port: u16, database_url: &str) -> Vec<(&'static str, String)> {
        let service = replica.service;
        let mut settings = vec![
            (service.address_setting(), format!("127.0.0.1:{port}")),
            ("DATABASE_URL", database_url.to_owned()),
            ("REDIS_URL", self.redis_url.clone()),
            ("ISSUER", self.issuer.clone()),
            ("SHOP_URL", self.shop_url.clone()),
            ("ORDERS_URL", self.orders_url.clone()),
        ];
        let auth = self.auth_ports[replica.number % self.auth_ports.len()];
        let jwks_url = ("JWKS_URL", format!("http://127.0.0.1:{auth}/.well-known/jwks.json"));
        let relying = |public_url: &str, secret: &str| {
            [
                jwks_url,
                ("ISSUER_INTERNAL_URL", format!("http://127.0.0.1:{auth}")),
                ("CHECKOUT_SECRET", self.checkout_secret.clone()),
                ("PUBLIC_URL", public_url.to_owned()),
                ("OIDC_CLIENT_SECRET", secret.to_owned()),
                ("COOKIE_KEY", self.cookie_key.clone()),
            ]
        };
        // The gateway is on this machine, and tells who calls.
        let trusted = ("TRUSTED_PROXIES", "127.0.0.1".to_owned());
        match service {
            Service::Auth => settings.extend([
                ("MASTER_KEY", self.master_key.clone()),
                // Under `cookie` it seals and opens sessions as the others do.
                ("COOKIE_KEY", self.cookie_key.clone()),
                trusted,
                ("FIRST_CLIENTS", self.first_clients()),
            ]),
            Service::Cart => {
                settings.extend(relying(&self.shop_url, &self.shop_client_secret));
                settings.push(trusted);
            }
            Service::Orders => {
                settings.extend(relying(&self.orders_url, &self.orders_client_secret));
                settings.push(("CART_URL", self.cart_url.clone()));
            }
        }
        settings
    }

    /// The services with pages, as the auth service knows them (RFC 7591).
    fn first_clients(&self) -> String {
        const EXCHANGE: &str = r#","urn:ietf:params:oauth:grant-type:token-exchange""#;
        let client = |service: Service, name: &str, url: &str, secret: &str, more: bool| {
            let (grant, exchanges) = if more { (EXCHANGE, r#","token_exchange_scope":"cart""#) } else { ("", "") };
            format!(
                r#"{{"client_id":"{}","client_secret":"{secret}","client_name":"{name}","first_party":true,
                "redirect_uris":["{url}/callback"],"post_logout_redirect_uris":["{url}/logout/done"],
                "initiate_login_uri":"{url}/login",
                "backchannel_logout_uri":"{url}/backchannel-logout","backchannel_logout_session_required":true,
                "grant_types":["authorization_code","refresh_token"{grant}],"id_token_signed_response_alg":"ES256",
                "scope":"openid profile email offline_access account cart orders"{exchanges}}}"#,
                service.program(),
            )
        };
        let shop = client(Service::Cart, "Roam shop", &self.shop_url, &self.shop_client_secret, false);
        // It calls the cart service in its users' names.
        let orders = client(Service::Orders, "Roam orders", &self.orders_url, &self.orders_client_secret, true);
        format!("[{shop},{orders}]").replace('\n', "")
    }
}
