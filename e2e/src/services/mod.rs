//! The three services as an operator knows them: their programs, their hosts, the settings with which each is a process of
//! its own, and one such process. Knows no service's code, and needs no HTTP client.

mod running;
mod together;

pub use self::running::{Look, Running};
pub use self::together::Together;

/// One of the three services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Auth,
    Cart,
    Orders,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::Auth, Self::Cart, Self::Orders];

    pub const fn program(self) -> &'static str {
        match self {
            Self::Auth => "auth-service",
            Self::Cart => "cart-service",
            Self::Orders => "order-service",
        }
    }

    pub const fn address_setting(self) -> &'static str {
        match self {
            Self::Auth => "AUTH_ADDR",
            Self::Cart => "CART_ADDR",
            Self::Orders => "ORDER_ADDR",
        }
    }

    /// Its name behind the gateway.
    pub const fn host(self) -> &'static str {
        match self {
            Self::Auth => "auth.shop.localhost",
            Self::Cart => "cart.shop.localhost",
            Self::Orders => "orders.shop.localhost",
        }
    }

    /// Its replica of this number, counted from 0.
    pub const fn replica(self, number: usize) -> Replica {
        Replica { service: self, number }
    }
}

/// One of the processes that serve the same service. A service's name alone means its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    pub service: Service,
    /// From 0.
    pub number: usize,
}

impl From<Service> for Replica {
    fn from(service: Service) -> Self {
        service.replica(0)
    }
}

/// 32 random bytes in base64url: a `MASTER_KEY`, a `CHECKOUT_SECRET`, a password.
pub fn random_key() -> String {
    use base64::Engine as _;
    let bytes = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes).concat();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
