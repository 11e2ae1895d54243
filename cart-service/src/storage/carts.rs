//! Carts: a user's or a guest's. A change holds the cart's row from its first statement to its commit, so that none is lost.

use std::time::Duration;

use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::session::UserId;
use shared::{in_transaction, on_database};
use uuid::Uuid;

use super::{LineRow, line, products};
use crate::rules::cart::{Cart, Change, Line, Quantity, Refusal};

/// The SHA-256 of a guest's secret. The secret itself is only in the guest's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestSecretHash(pub [u8; 32]);

/// Whose cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    User(UserId),
    Guest(GuestSecretHash),
}

/// Why a change of a cart did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("there is no such product")]
    NoSuchProduct,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A cart whose row this transaction holds.
pub(super) struct Locked {
    id: Uuid,
    version: i64,
}

impl Owner {
    /// The values of `user_id` and `guest_secret_hash`.
    fn columns(&self) -> (Option<UserId>, Option<&[u8]>) {
        match self {
            Self::User(user) => (Some(*user), None),
            Self::Guest(GuestSecretHash(hash)) => (None, Some(hash)),
        }
    }
}

/// The cart as it stands, or `None` where there is none (or a guest's has expired).
///
/// # Errors
/// The database does not answer.
pub async fn show(database: &Database, owner: &Owner, now: Timestamp) -> sqlx::Result<Option<Cart>> {
    // One statement, so that the version is that of these lines.
    type Row = (i64, Option<Uuid>, Option<String>, Option<i64>, Option<i64>, Option<i64>);
    let (user, guest) = owner.columns();
    let rows: Vec<Row> = on_database!(database, |pool| {
        sqlx::query_as(
            "SELECT carts.version, products.id, products.name, products.amount, products.stock, cart_lines.quantity
             FROM carts
             LEFT JOIN cart_lines ON cart_lines.cart_id = carts.id
             LEFT JOIN products ON products.id = cart_lines.product_id
             WHERE carts.user_id = $1 OR (carts.guest_secret_hash = $2 AND carts.expires_at > $3)
             ORDER BY cart_lines.added_at, cart_lines.product_id",
        )
        .bind(user)
        .bind(guest)
        .bind(now)
        .fetch_all(pool)
        .await
    })?;
    let Some(version) = rows.first().map(|row| row.0) else { return Ok(None) };
    let whole = rows
        .into_iter()
        .filter_map(|(_, id, name, amount, stock, quantity)| Some((id?, name?, amount?, stock?, quantity?)));
    Ok(Some(Cart { version, lines: whole.map(line).collect::<sqlx::Result<_>>()? }))
}

/// Makes a change in the cart, or answers `None` where a guest's is gone. A guest's lives `ttl` from now on.
///
/// # Errors
/// The change is refused, the product unknown, or the database does not answer; the cart is as it was before.
pub async fn change(
    database: &Database,
    owner: &Owner,
    product: Uuid,
    change: Change,
    now: Timestamp,
    ttl: Duration,
) -> Result<Option<Cart>, ChangeError> {
    let mut transaction = database.begin().await?;
    let Some(locked) = lock(&mut transaction, owner, now, Some(now + ttl)).await? else { return Ok(None) };
    let cart = change_locked(&mut transaction, &locked, product, change, now).await?;
    transaction.commit().await?;
    Ok(Some(cart))
}

/// Begins a guest's cart with its first line, for `ttl`.
///
/// # Errors
/// As [`change()`]; no cart has begun.
pub async fn open_for_guest(
    database: &Database,
    GuestSecretHash(hash): GuestSecretHash,
    product: Uuid,
    change: Change,
    now: Timestamp,
    ttl: Duration,
) -> Result<Cart, ChangeError> {
    let mut transaction = database.begin().await?;
    let locked = Locked { id: Uuid::new_v4(), version: 0 };
    in_transaction!(&mut transaction, |connection| {
        sqlx::query("INSERT INTO carts (id, guest_secret_hash, version, expires_at) VALUES ($1, $2, 0, $3)")
            .bind(locked.id)
            .bind(hash.as_slice())
            .bind(now + ttl)
            .execute(connection)
            .await
            .map(drop)
    })?;
    let cart = change_locked(&mut transaction, &locked, product, change, now).await?;
    transaction.commit().await?;
    Ok(cart)
}

async fn change_locked(
    transaction: &mut Transaction,
    locked: &Locked,
    product: Uuid,
    change: Change,
    now: Timestamp,
) -> Result<Cart, ChangeError> {
    let offer = products::offer(transaction, product).await?.ok_or(ChangeError::NoSuchProduct)?;
    let mut cart = Cart { lines: lines(transaction, locked).await?, version: locked.version };
    if let Some(quantity) = cart.change(offer, change)? {
        write_line(transaction, locked, product, quantity, now).await?;
        cart.version = count_change(transaction, locked).await?;
    }
    Ok(cart)
}

/// Removes a product's line, and answers the cart, or `None` where a guest's is gone: a guest's cart goes with its last
/// line, and lives `ttl` from now on before. A line that is not there is no error.
///
/// # Errors
/// The database does not answer.
pub async fn remove_line(
    database: &Database,
    owner: &Owner,
    product: Uuid,
    now: Timestamp,
    ttl: Duration,
) -> sqlx::Result<Option<Cart>> {
    let mut transaction = database.begin().await?;
    // A line that is not there prolongs nothing: otherwise a cart would live for ever, and cost nothing.
    let Some(locked) = lock(&mut transaction, owner, now, None).await? else { return Ok(None) };
    let removed = in_transaction!(&mut transaction, |connection| {
        sqlx::query("DELETE FROM cart_lines WHERE cart_id = $1 AND product_id = $2")
            .bind(locked.id)
            .bind(product)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    let version = if removed > 0 {
        lock(&mut transaction, owner, now, Some(now + ttl)).await?;
        count_change(&mut transaction, &locked).await?
    } else {
        locked.version
    };
    let cart = Cart { lines: lines(&mut transaction, &locked).await?, version };
    let is_over = matches!(owner, Owner::Guest(_)) && cart.lines.is_empty();
    if is_over {
        delete(&mut transaction, &locked).await?;
    }
    transaction.commit().await?;
    Ok((!is_over).then_some(cart))
}

/// Removes all lines, and a guest's cart with them. A cart that is not there is no error.
///
/// # Errors
/// The database does not answer.
pub async fn clear(database: &Database, owner: &Owner, now: Timestamp) -> sqlx::Result<()> {
    let mut transaction = database.begin().await?;
    let Some(locked) = lock(&mut transaction, owner, now, None).await? else { return Ok(()) };
    match owner {
        Owner::User(_) => empty(&mut transaction, &locked).await?,
        Owner::Guest(_) => delete(&mut transaction, &locked).await?,
    }
    transaction.commit().await
}

/// Makes a guest's cart part of a user's, and answers whether it did. Of many that try, one does: the guest's cart is
/// gone with the same commit.
///
/// # Errors
/// The database does not answer; both carts are as they were before.
pub async fn merge(database: &Database, guest: GuestSecretHash, user: UserId, now: Timestamp) -> sqlx::Result<bool> {
    let mut transaction = database.begin().await?;
    let Some(claimed) = lock(&mut transaction, &Owner::Guest(guest), now, None).await? else { return Ok(false) };
    let offered = lines(&mut transaction, &claimed).await?;
    absorb(&mut transaction, user, offered, now).await?;
    delete(&mut transaction, &claimed).await?;
    transaction.commit().await?;
    Ok(true)
}

async fn delete(transaction: &mut Transaction, cart: &Locked) -> sqlx::Result<()> {
    in_transaction!(transaction, |connection| {
        sqlx::query("DELETE FROM carts WHERE id = $1").bind(cart.id).execute(connection).await.map(drop)
    })
}

/// Removes guests' carts that have expired, at most `batch`, and answers how many.
///
/// # Errors
/// The database does not answer.
pub async fn remove_expired(database: &Database, now: Timestamp, batch: i64) -> sqlx::Result<u64> {
    on_database!(database, |pool| {
        sqlx::query(
            "DELETE FROM carts WHERE expires_at <= $1 AND id IN (SELECT id FROM carts WHERE expires_at <= $1 LIMIT $2)",
        )
        .bind(now)
        .bind(batch)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
    })
}

/// Takes the cart's row until the transaction ends. A user's is made if there is none. A guest's lives until `until`, if
/// that is given, and is `None` where it is gone.
async fn lock(
    transaction: &mut Transaction,
    owner: &Owner,
    now: Timestamp,
    until: Option<Timestamp>,
) -> sqlx::Result<Option<Locked>> {
    let row: Option<(Uuid, i64)> = match owner {
        Owner::User(user) => return lock_users(transaction, *user).await.map(Some),
        Owner::Guest(GuestSecretHash(hash)) => in_transaction!(transaction, |connection| {
            sqlx::query_as(
                "UPDATE carts SET expires_at = COALESCE($2, expires_at)
                 WHERE guest_secret_hash = $1 AND expires_at > $3 RETURNING id, version",
            )
            .bind(hash.as_slice())
            .bind(until)
            .bind(now)
            .fetch_optional(connection)
            .await
        })?,
    };
    Ok(row.map(|(id, version)| Locked { id, version }))
}

/// Takes the row of a user's cart until the transaction ends, and makes it if there is none.
pub(super) async fn lock_users(transaction: &mut Transaction, user: UserId) -> sqlx::Result<Locked> {
    let (id, version) = in_transaction!(transaction, |connection| {
        sqlx::query_as(
            "INSERT INTO carts (id, user_id, version) VALUES ($1, $2, 0)
             ON CONFLICT (user_id) DO UPDATE SET version = carts.version RETURNING id, version",
        )
        .bind(Uuid::new_v4())
        .bind(user)
        .fetch_one(connection)
        .await
    })?;
    Ok(Locked { id, version })
}

/// Puts lines into a user's cart, as far as they fit.
pub(super) async fn absorb(
    transaction: &mut Transaction,
    user: UserId,
    offered: Vec<Line>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let locked = lock_users(transaction, user).await?;
    let mut cart = Cart { lines: lines(transaction, &locked).await?, version: locked.version };
    let changed = cart.absorb(offered);
    for (product, quantity) in &changed {
        write_line(transaction, &locked, *product, *quantity, now).await?;
    }
    if !changed.is_empty() {
        count_change(transaction, &locked).await?;
    }
    Ok(())
}

/// The lines in the order in which they were added.
pub(super) async fn lines(transaction: &mut Transaction, cart: &Locked) -> sqlx::Result<Vec<Line>> {
    let rows: Vec<LineRow> = in_transaction!(transaction, |connection| {
        sqlx::query_as(
            "SELECT products.id, products.name, products.amount, products.stock, cart_lines.quantity
             FROM cart_lines JOIN products ON products.id = cart_lines.product_id
             WHERE cart_lines.cart_id = $1 ORDER BY cart_lines.added_at, cart_lines.product_id",
        )
        .bind(cart.id)
        .fetch_all(connection)
        .await
    })?;
    rows.into_iter().map(line).collect()
}

/// Removes all lines of a cart that is locked.
pub(super) async fn empty(transaction: &mut Transaction, cart: &Locked) -> sqlx::Result<()> {
    let removed = in_transaction!(&mut *transaction, |connection| {
        sqlx::query("DELETE FROM cart_lines WHERE cart_id = $1")
            .bind(cart.id)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    if removed > 0 {
        count_change(transaction, cart).await?;
    }
    Ok(())
}

async fn write_line(
    transaction: &mut Transaction,
    cart: &Locked,
    product: Uuid,
    quantity: Quantity,
    now: Timestamp,
) -> sqlx::Result<()> {
    in_transaction!(transaction, |connection| {
        sqlx::query(
            "INSERT INTO cart_lines (cart_id, product_id, quantity, added_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (cart_id, product_id) DO UPDATE SET quantity = excluded.quantity",
        )
        .bind(cart.id)
        .bind(product)
        .bind(quantity.get())
        .bind(now)
        .execute(connection)
        .await
        .map(drop)
    })
}

async fn count_change(transaction: &mut Transaction, cart: &Locked) -> sqlx::Result<i64> {
    let (version,) = in_transaction!(transaction, |connection| {
        sqlx::query_as("UPDATE carts SET version = version + 1 WHERE id = $1 RETURNING version")
            .bind(cart.id)
            .fetch_one(connection)
            .await
    })?;
    Ok(version)
}
