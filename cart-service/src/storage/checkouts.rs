//! Checkouts: stock that is held for an order. Stock only ever moves together with the checkout's status, in one commit.

use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::session::UserId;
use shared::{in_transaction, on_database};
use uuid::Uuid;

use super::carts;
use super::{LineRow, line, products};
use crate::rules::cart::Line;
use crate::rules::checkout::{IdempotencyKey, IllegalMove, Release, Status};
use crate::rules::money::AmountOutOfRange;

/// A checkout as the tables hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    pub id: Uuid,
    pub user: UserId,
    /// As written; see [`Status::at`] for what it counts as.
    pub status: Status,
    pub expires_at: Timestamp,
    /// At the prices of the moment of the hold.
    pub lines: Vec<Line>,
}

/// What [`open`] did.
#[derive(Debug)]
pub enum Opened {
    New(Checkout),
    /// The key was used before: the same checkout, as it stands now.
    Again(Checkout),
}

/// A line that asks for more than there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    pub product: Uuid,
    pub name: String,
    pub stock: i64,
}

/// Why nothing happened to a checkout.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    #[error("the cart is empty")]
    CartEmpty,
    #[error("the stock is not sufficient")]
    InsufficientStock(Vec<Short>),
    #[error(transparent)]
    TotalTooLarge(#[from] AmountOutOfRange),
    #[error("there is no such checkout")]
    NoSuchCheckout,
    #[error(transparent)]
    IllegalMove(#[from] IllegalMove),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Id, user, status, end of the hold.
type CheckoutRow = (Uuid, UserId, String, Timestamp);

fn checkout((id, user, status, expires_at): CheckoutRow, lines: Vec<Line>) -> sqlx::Result<Checkout> {
    let status = Status::from_text(&status).ok_or_else(|| sqlx::Error::Protocol("an unknown status".to_owned()))?;
    Ok(Checkout { id, user, status, expires_at, lines })
}

/// Holds the stock of all that is in the user's cart, at the prices of now, and empties the cart. One key does it once;
/// a key that was used answers what it made. All happens or nothing.
///
/// # Errors
/// The cart is empty, or more than there is; the cart is as it was before.
pub async fn open(
    database: &Database,
    user: UserId,
    key: &IdempotencyKey,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Opened, CheckoutError> {
    let mut transaction = database.begin().await?;
    // The user's requests take turns here, so that a key is looked up and used as one step.
    let cart = carts::lock_users(&mut transaction, user).await?;
    if let Some(earlier) = find_by_key(&mut transaction, user, key).await? {
        return Ok(Opened::Again(earlier));
    }
    let mut lines = carts::lines(&mut transaction, &cart).await?;
    if lines.is_empty() {
        return Err(CheckoutError::CartEmpty);
    }
    take_stock(&mut transaction, &mut lines).await?;
    crate::rules::cart::total(&lines)?;
    let held = Checkout { id: Uuid::new_v4(), user, status: Status::Held, expires_at, lines };
    insert(&mut transaction, &held, key, now).await?;
    carts::empty(&mut transaction, &cart).await?;
    transaction.commit().await?;
    Ok(Opened::New(held))
}

/// Takes the stock of all lines, in the order of product ids, and sets their prices.
async fn take_stock(transaction: &mut Transaction, lines: &mut [Line]) -> Result<(), CheckoutError> {
    let mut in_order: Vec<&mut Line> = lines.iter_mut().collect();
    in_order.sort_by_key(|line| line.offer.product);
    let mut short = Vec::new();
    for line in in_order {
        match products::take_stock(transaction, line.offer.product, line.quantity.get()).await? {
            Some(price) => line.offer.price = price,
            None => {
                let now = products::offer(transaction, line.offer.product).await?;
                let stock = now.map_or(0, |offer| offer.stock);
                short.push(Short { product: line.offer.product, name: line.offer.name.clone(), stock });
            }
        }
    }
    if short.is_empty() { Ok(()) } else { Err(CheckoutError::InsufficientStock(short)) }
}

/// The order is placed: the stock stays sold. Confirming twice is once.
///
/// # Errors
/// There is no such checkout, or it was released, or its time is over.
pub async fn confirm(database: &Database, id: Uuid, now: Timestamp) -> Result<Checkout, CheckoutError> {
    let mut transaction = database.begin().await?;
    let mut held = lock(&mut transaction, id).await?.ok_or(CheckoutError::NoSuchCheckout)?;
    let confirmed = held.status.at(now, held.expires_at).confirm()?;
    if confirmed != held.status {
        write_status(&mut transaction, id, confirmed).await?;
        held.status = confirmed;
    }
    transaction.commit().await?;
    Ok(held)
}

/// There is no order, or no longer: the stock comes back, and the lines of a hold that never became an order go back
/// into the user's cart. Releasing twice is once.
///
/// # Errors
/// There is no such checkout, or the database does not answer.
pub async fn release(database: &Database, id: Uuid, now: Timestamp) -> Result<Release, CheckoutError> {
    let mut transaction = database.begin().await?;
    let held = lock(&mut transaction, id).await?.ok_or(CheckoutError::NoSuchCheckout)?;
    let release = held.status.release();
    give_back(&mut transaction, &held, release, now).await?;
    transaction.commit().await?;
    Ok(release)
}

/// Releases one hold if its time is over, and answers whether this call did: of several replicas, one does.
///
/// # Errors
/// The database does not answer.
pub async fn expire(database: &Database, id: Uuid, now: Timestamp) -> sqlx::Result<bool> {
    let mut transaction = database.begin().await?;
    let held = lock(&mut transaction, id).await?;
    let Some(held) = held.filter(|held| held.status == Status::Held && now >= held.expires_at) else {
        return Ok(false);
    };
    give_back(&mut transaction, &held, held.status.release(), now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// The holds whose time is over, the oldest first, at most `batch`.
///
/// # Errors
/// The database does not answer.
pub async fn due(database: &Database, now: Timestamp, batch: i64) -> sqlx::Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> = on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT id FROM checkouts WHERE status = 'held' AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2",
        )
        .bind(now)
        .bind(batch)
        .fetch_all(pool)
        .await
    })?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// # Errors
/// The database does not answer.
pub async fn find(database: &Database, id: Uuid) -> sqlx::Result<Option<Checkout>> {
    let row: Option<CheckoutRow> = on_database!(database, |pool| {
        sqlx::query_as("SELECT id, user_id, status, expires_at FROM checkouts WHERE id = $1")
            .bind(id)
            .fetch_optional(pool)
            .await
    })?;
    let Some(row) = row else { return Ok(None) };
    let rows: Vec<LineRow> =
        on_database!(database, |pool| sqlx::query_as(LINES_AS_HELD).bind(id).fetch_all(pool).await)?;
    checkout(row, rows.into_iter().map(line).collect::<sqlx::Result<_>>()?).map(Some)
}

/// A line as it was held; its stock is that of now.
const LINES_AS_HELD: &str =
    "SELECT checkout_lines.product_id, checkout_lines.name, checkout_lines.amount, products.stock, checkout_lines.quantity
     FROM checkout_lines JOIN products ON products.id = checkout_lines.product_id
     WHERE checkout_lines.checkout_id = $1 ORDER BY checkout_lines.position";

async fn lines_as_held(transaction: &mut Transaction, id: Uuid) -> sqlx::Result<Vec<Line>> {
    let rows: Vec<LineRow> = in_transaction!(transaction, |connection| {
        sqlx::query_as(LINES_AS_HELD).bind(id).fetch_all(connection).await
    })?;
    rows.into_iter().map(line).collect()
}

/// Forgets checkouts that were released and whose hold was over before `before`, at most `batch`, and answers how many. One
/// that was confirmed is its order's as long as that may be cancelled: it stays.
///
/// # Errors
/// The database does not answer.
pub async fn forget_released(database: &Database, before: Timestamp, batch: i64) -> sqlx::Result<u64> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM checkouts WHERE status = 'released' AND id IN
               (SELECT id FROM checkouts WHERE status = 'released' AND expires_at < $1 ORDER BY expires_at LIMIT $2)",
        )
        .bind(before)
        .bind(batch)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}

async fn find_by_key(
    transaction: &mut Transaction,
    user: UserId,
    key: &IdempotencyKey,
) -> sqlx::Result<Option<Checkout>> {
    let row: Option<CheckoutRow> = in_transaction!(&mut *transaction, |connection| {
        sqlx::query_as(
            "SELECT id, user_id, status, expires_at FROM checkouts WHERE user_id = $1 AND idempotency_key = $2",
        )
        .bind(user)
        .bind(key.as_str())
        .fetch_optional(connection)
        .await
    })?;
    let Some(row) = row else { return Ok(None) };
    let lines = lines_as_held(transaction, row.0).await?;
    checkout(row, lines).map(Some)
}

/// Takes the checkout's row until the transaction ends.
async fn lock(transaction: &mut Transaction, id: Uuid) -> sqlx::Result<Option<Checkout>> {
    let row: Option<CheckoutRow> = in_transaction!(&mut *transaction, |connection| {
        sqlx::query_as("UPDATE checkouts SET status = status WHERE id = $1 RETURNING id, user_id, status, expires_at")
            .bind(id)
            .fetch_optional(connection)
            .await
    })?;
    let Some(row) = row else { return Ok(None) };
    let lines = lines_as_held(transaction, id).await?;
    checkout(row, lines).map(Some)
}

async fn give_back(
    transaction: &mut Transaction,
    held: &Checkout,
    release: Release,
    now: Timestamp,
) -> sqlx::Result<()> {
    if release == Release::Nothing {
        return Ok(());
    }
    if release == Release::StockAndCart {
        // The cart's row is taken before the products', as everywhere.
        carts::lock_users(transaction, held.user).await?;
    }
    write_status(transaction, held.id, Status::Released).await?;
    let mut in_order: Vec<&Line> = held.lines.iter().collect();
    in_order.sort_by_key(|line| line.offer.product);
    for line in in_order {
        products::return_stock(transaction, line.offer.product, line.quantity.get()).await?;
    }
    if release == Release::StockAndCart {
        let offered = lines_at_todays_price(transaction, held).await?;
        carts::absorb(transaction, held.user, offered, now).await?;
    }
    Ok(())
}

/// The lines with the price and the stock of now.
async fn lines_at_todays_price(transaction: &mut Transaction, held: &Checkout) -> sqlx::Result<Vec<Line>> {
    let mut lines = Vec::with_capacity(held.lines.len());
    for held in &held.lines {
        let offer = products::offer(transaction, held.offer.product).await?;
        lines.extend(offer.map(|offer| Line { offer, quantity: held.quantity }));
    }
    Ok(lines)
}

async fn write_status(transaction: &mut Transaction, id: Uuid, status: Status) -> sqlx::Result<()> {
    in_transaction!(transaction, |connection| {
        sqlx::query("UPDATE checkouts SET status = $2 WHERE id = $1")
            .bind(id)
            .bind(status.as_str())
            .execute(connection)
            .await
            .map(drop)
    })
}

async fn insert(
    transaction: &mut Transaction,
    new: &Checkout,
    key: &IdempotencyKey,
    now: Timestamp,
) -> sqlx::Result<()> {
    in_transaction!(&mut *transaction, |connection| {
        sqlx::query(
            "INSERT INTO checkouts (id, user_id, idempotency_key, status, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(new.id)
        .bind(new.user)
        .bind(key.as_str())
        .bind(new.status.as_str())
        .bind(now)
        .bind(new.expires_at)
        .execute(connection)
        .await
        .map(drop)
    })?;
    for (position, line) in (0_i64..).zip(&new.lines) {
        in_transaction!(&mut *transaction, |connection| {
            sqlx::query(
                "INSERT INTO checkout_lines (checkout_id, position, product_id, name, quantity, amount)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(new.id)
            .bind(position)
            .bind(line.offer.product)
            .bind(&line.offer.name)
            .bind(line.quantity.get())
            .bind(line.offer.price.minor_units())
            .execute(connection)
            .await
            .map(drop)
        })?;
    }
    Ok(())
}
