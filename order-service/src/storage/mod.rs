//! The orders and the test processor's charges in SQL: one function per question. Decides nothing; a move of an order is
//! one guarded statement, so of many at once one wins.

pub mod attempts;
pub mod charges;
pub mod deadlines;
pub mod orders;
mod row;

use sqlx::migrate::Migrator;

/// The tables.
pub static MIGRATIONS: Migrator = sqlx::migrate!();
