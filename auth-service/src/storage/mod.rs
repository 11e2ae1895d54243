//! What the auth service may not lose, in SQL: one function per question. Owns the tables' texts; decides nothing.

pub mod audit;
pub mod clients;
pub mod consents;
pub mod endings;
pub mod grants;
pub mod keys;
pub mod outbox;
pub mod users;

use sqlx::migrate::Migrator;

/// The tables, up to the newest.
pub static MIGRATIONS: Migrator = sqlx::migrate!();
