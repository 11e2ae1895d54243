//! The cart service: the catalogue, stock, carts and held checkouts. Owns what is for sale and who wants it; knows no
//! password, no order and no payment, and calls no other service.
//!
//! `endpoints -> storage -> rules`: an endpoint reads the request and words the answer, storage asks the tables, the rules
//! decide.

mod config;
mod endpoints;
pub mod guests;
#[cfg(feature = "measurement")]
pub mod measurement;
mod measures;
pub mod rules;
mod service;
pub mod storage;
pub mod sweeper;

pub use self::config::Config;
pub use self::endpoints::endpoints;
pub use self::service::{CartService, start};
