//! The cart service as its callers meet it, and its tables as its endpoints do: each test on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attacks;
mod bounds;
mod carts;
mod catalogue;
mod checkouts;
mod command;
mod documents;
mod every_route;
mod guests;
mod harness;
mod pages;
mod validation;
