//! The order service as its callers meet it, its tables as its acts do, and what a crash leaves: on SQLite and PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bounds;
mod browser;
mod cancelling;
mod command;
mod crashes;
mod deadlines;
mod documents;
mod every_route;
mod fake_cart;
mod faults;
mod harness;
mod issuer;
mod kept_connections;
mod on_behalf;
mod pages;
mod payment;
mod placing;
mod provider;
mod reading;
mod recovery;
mod storage;
mod unpaid;
mod validation;
