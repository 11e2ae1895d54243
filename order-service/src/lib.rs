//! The order service: placing, paying and cancelling orders. Owns orders and their payment; knows no password, no stock
//! and no price of its own: what an order holds and costs is the cart service's word, taken once.
//!
//! `endpoints -> acts -> storage -> rules`: an endpoint reads the request and words the answer, an act takes the steps and
//! records each, storage asks the tables, the rules decide.

pub mod acts;
pub mod cart;
mod config;
mod endpoints;
mod measures;
pub mod payment;
pub mod rules;
mod service;
pub mod storage;

pub use self::config::Config;
pub use self::endpoints::endpoints;
pub use self::service::{OrderService, start};
