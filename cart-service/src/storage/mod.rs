//! The service's tables: one function per question, each change one transaction. Decides nothing that a rule can decide;
//! knows no HTTP.
//!
//! Rows are always locked in the same order, so that no two transactions wait for each other: a checkout, a guest's cart,
//! a user's cart, products by id.

pub mod carts;
pub mod checkouts;
pub mod products;

use shared::database::Database;
use uuid::Uuid;

use crate::rules::cart::{Line, Offer, Quantity};
use crate::rules::money::Money;

/// Opens the database, brings its tables up to date and fills an empty catalogue.
///
/// # Errors
/// The database does not answer, or a migration fails.
pub async fn open(url: &str, max_connections: u32) -> anyhow::Result<Database> {
    let database = Database::open(url, max_connections).await?;
    migrate(&database).await?;
    products::seed(&database).await?;
    Ok(database)
}

/// # Errors
/// A migration fails.
pub async fn migrate(database: &Database) -> anyhow::Result<()> {
    database.migrate(&sqlx::migrate!()).await
}

/// A line as the tables hold it: product, name, amount, stock, quantity.
type LineRow = (Uuid, String, i64, i64, i64);

fn line((product, name, amount, stock, quantity): LineRow) -> sqlx::Result<Line> {
    let price = Money::new(amount).map_err(unreadable)?;
    let quantity = Quantity::try_from(quantity).map_err(unreadable)?;
    Ok(Line { offer: Offer { product, name, price, stock }, quantity })
}

/// A row that the tables' own checks should have kept out.
fn unreadable(cause: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(cause))
}
