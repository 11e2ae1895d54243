//! What a service needs to take part in the Roam single sign-on: verify, revoke, share a session, serve, observe.
//! Knows no user table, no cart and no order; holds no private key.
#![cfg_attr(feature = "redis", doc = include_str!("../README.md"))]

pub mod arrival;
pub mod authentication;
pub mod calls;
pub mod clock;
pub mod clock_skew;
pub mod config;
#[cfg(feature = "database")]
pub mod database;
pub mod key_value;
#[cfg(feature = "pages")]
pub mod pages;
pub mod pauses;
pub mod platform;
pub mod problem;
pub mod program;
pub mod ration;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "relying-party")]
pub mod relying_party;
pub mod request;
#[cfg(any(feature = "pages", feature = "relying-party"))]
pub mod return_to;
#[cfg(feature = "server")]
pub mod server;
pub mod session;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;

/// Secrets in settings and answers are of its types.
pub use secrecy;
