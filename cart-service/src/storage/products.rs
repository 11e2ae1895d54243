//! The catalogue: products, their prices and how many are free.

use serde::Deserialize;
use shared::database::{Database, Transaction};
use shared::{in_transaction, on_database};
use uuid::Uuid;

use super::unreadable;
use crate::rules::cart::Offer;
use crate::rules::catalogue::{Listing, Position};
use crate::rules::money::Money;

/// A product as the catalogue shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub id: Uuid,
    pub name: String,
    pub description: String,
    pub category: String,
    pub price: Money,
    pub stock: i64,
}

/// A page, and where it ended if there is another.
#[derive(Debug)]
pub struct Page {
    pub products: Vec<Product>,
    pub next: Option<Position>,
}

/// Id, name, description, category, amount, stock.
type ProductRow = (Uuid, String, String, String, i64, i64);

fn product((id, name, description, category, amount, stock): ProductRow) -> sqlx::Result<Product> {
    Ok(Product { id, name, description, category, price: Money::new(amount).map_err(unreadable)?, stock })
}

/// # Errors
/// The database does not answer.
pub async fn list(database: &Database, listing: &Listing) -> sqlx::Result<Page> {
    let [first, second, third, fourth] = &listing.patterns;
    let rows: Vec<ProductRow> = on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT id, name, description, category, amount, stock FROM products
             WHERE (name_key, id) > ($1, $2)
               AND search_text LIKE $3 ESCAPE '!' AND search_text LIKE $4 ESCAPE '!'
               AND search_text LIKE $5 ESCAPE '!' AND search_text LIKE $6 ESCAPE '!'
               AND ($7 = '' OR category = $7)
             ORDER BY name_key, id LIMIT $8",
        )
        .bind(&listing.after.name_key)
        .bind(listing.after.product)
        .bind(first)
        .bind(second)
        .bind(third)
        .bind(fourth)
        .bind(listing.category.as_deref().unwrap_or_default())
        .bind(listing.limit + 1)
        .fetch_all(pool)
        .await
    })?;
    let mut products = rows.into_iter().map(product).collect::<sqlx::Result<Vec<_>>>()?;
    let limit = usize::try_from(listing.limit).unwrap_or_default();
    let more = products.len() > limit;
    products.truncate(limit);
    let last = products.last().filter(|_| more);
    let next = last.map(|product| Position { name_key: product.name.to_lowercase(), product: product.id });
    Ok(Page { products, next })
}

/// The categories that there are products of, in the order of their names.
///
/// # Errors
/// The database does not answer.
pub async fn categories(database: &Database) -> sqlx::Result<Vec<String>> {
    let rows: Vec<(String,)> = on_database!(database, |pool| {
        sqlx::query_as("SELECT DISTINCT category FROM products ORDER BY category").fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(|(category,)| category).collect())
}

/// # Errors
/// The database does not answer.
pub async fn find(database: &Database, id: Uuid) -> sqlx::Result<Option<Product>> {
    let row: Option<ProductRow> = on_database!(database, |pool| {
        sqlx::query_as("SELECT id, name, description, category, amount, stock FROM products WHERE id = $1")
            .bind(id)
            .fetch_optional(pool)
            .await
    })?;
    row.map(product).transpose()
}

pub(super) async fn offer(transaction: &mut Transaction, id: Uuid) -> sqlx::Result<Option<Offer>> {
    let row: Option<(String, i64, i64)> = in_transaction!(transaction, |connection| {
        sqlx::query_as("SELECT name, amount, stock FROM products WHERE id = $1")
            .bind(id)
            .fetch_optional(connection)
            .await
    })?;
    row.map(|(name, amount, stock)| {
        Ok(Offer { product: id, name, price: Money::new(amount).map_err(unreadable)?, stock })
    })
    .transpose()
}

/// Takes so many away if so many are free, and answers the price of that moment.
pub(super) async fn take_stock(transaction: &mut Transaction, id: Uuid, quantity: i64) -> sqlx::Result<Option<Money>> {
    let row: Option<(i64,)> = in_transaction!(transaction, |connection| {
        sqlx::query_as("UPDATE products SET stock = stock - $2 WHERE id = $1 AND stock >= $2 RETURNING amount")
            .bind(id)
            .bind(quantity)
            .fetch_optional(connection)
            .await
    })?;
    row.map(|(amount,)| Money::new(amount).map_err(unreadable)).transpose()
}

pub(super) async fn return_stock(transaction: &mut Transaction, id: Uuid, quantity: i64) -> sqlx::Result<()> {
    in_transaction!(transaction, |connection| {
        sqlx::query("UPDATE products SET stock = stock + $2 WHERE id = $1")
            .bind(id)
            .bind(quantity)
            .execute(connection)
            .await
            .map(drop)
    })
}

/// Adds a product that is not there yet; one that is there keeps everything, its stock and its price too.
///
/// # Errors
/// The database does not answer.
pub async fn add(transaction: &mut Transaction, product: &Product) -> sqlx::Result<()> {
    let name_key = product.name.to_lowercase();
    let search_text = format!("{name_key}\n{}", product.description.to_lowercase());
    in_transaction!(transaction, |connection| {
        sqlx::query(
            "INSERT INTO products (id, name, name_key, description, search_text, category, amount, stock)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING",
        )
        .bind(product.id)
        .bind(&product.name)
        .bind(&name_key)
        .bind(&product.description)
        .bind(&search_text)
        .bind(&product.category)
        .bind(product.price.minor_units())
        .bind(product.stock)
        .execute(connection)
        .await
        .map(drop)
    })
}

/// The catalogue that a new shop starts with.
const CATALOGUE: &str = include_str!("catalogue.json");

/// A line of the catalogue's file. Its number makes its id, for good: a number is never used again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    number: u32,
    category: String,
    name: String,
    amount: i64,
    stock: i64,
    description: String,
}

impl Seed {
    fn product(self) -> anyhow::Result<Product> {
        let id = Uuid::from_u128(0x0ca7_a106_0000_8000_8000_0000_0000_0000 | u128::from(self.number));
        let Self { name, description, category, stock, amount, .. } = self;
        Ok(Product { id, name, description, category, price: Money::new(amount)?, stock })
    }
}

fn catalogue() -> anyhow::Result<Vec<Product>> {
    serde_json::from_str::<Vec<Seed>>(CATALOGUE)?.into_iter().map(Seed::product).collect()
}

/// Adds what is missing of the first catalogue.
///
/// # Errors
/// The database does not answer.
pub async fn seed(database: &Database) -> anyhow::Result<()> {
    let mut transaction = database.begin().await?;
    for product in catalogue()? {
        add(&mut transaction, &product).await?;
    }
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_first_catalogue_reads_and_no_product_is_in_it_twice() {
        let products = catalogue().expect("the file reads");
        assert!(products.len() >= 60, "{} products", products.len());
        let ids: BTreeSet<Uuid> = products.iter().map(|product| product.id).collect();
        let names: BTreeSet<String> = products.iter().map(|product| product.name.to_lowercase()).collect();
        assert_eq!((ids.len(), names.len()), (products.len(), products.len()));
        for product in &products {
            assert!(product.price > Money::ZERO && product.stock > 0, "{}", product.name);
            assert!(product.category.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", product.name);
            assert!(!product.description.is_empty(), "{}", product.name);
        }
    }
}
