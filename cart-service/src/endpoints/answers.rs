//! The shapes of the answers. A product, a cart and a checkout are what the README says they are; a field is added,
//! never changed.

use serde::Serialize;
use shared::clock::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::rules::cart::{self, Cart, Line};
use crate::rules::checkout::Status;
use crate::rules::money::{AmountOutOfRange, CURRENCY, Money};
use crate::storage::checkouts::Checkout;
use crate::storage::products::{Page, Product};

/// An amount of money.
#[derive(Serialize, ToSchema)]
#[schema(as = Money)]
pub(super) struct MoneyAnswer {
    /// Whole minor units: cents.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 1490)]
    amount: i64,
    /// ISO 4217.
    #[schema(example = "EUR")]
    currency: &'static str,
}

impl From<Money> for MoneyAnswer {
    fn from(money: Money) -> Self {
        Self { amount: money.minor_units(), currency: CURRENCY }
    }
}

/// A product.
#[derive(Serialize, ToSchema)]
#[schema(as = Product)]
pub(super) struct ProductAnswer {
    id: Uuid,
    name: String,
    description: String,
    category: String,
    price: MoneyAnswer,
    /// How many are free.
    #[schema(minimum = 0)]
    stock: i64,
}

impl From<Product> for ProductAnswer {
    fn from(product: Product) -> Self {
        let Product { id, name, description, category, price, stock } = product;
        Self { id, name, description, category, price: price.into(), stock }
    }
}

/// A page of the catalogue.
#[derive(Serialize, ToSchema)]
#[schema(as = ProductPage)]
pub(super) struct PageAnswer {
    items: Vec<ProductAnswer>,
    /// Pass it as `cursor` to get the page after this one; null on the last page.
    next: Option<String>,
}

impl From<Page> for PageAnswer {
    fn from(page: Page) -> Self {
        Self {
            items: page.products.into_iter().map(ProductAnswer::from).collect(),
            next: page.next.map(|position| position.to_cursor()),
        }
    }
}

/// So many of a product.
#[derive(Serialize, ToSchema)]
#[schema(as = Line)]
pub(super) struct LineAnswer {
    product_id: Uuid,
    name: String,
    #[schema(minimum = 1, maximum = 99)]
    quantity: i64,
    /// Of one.
    price: MoneyAnswer,
    /// Of all of them.
    total: MoneyAnswer,
}

fn line_answers(lines: &[Line]) -> Result<Vec<LineAnswer>, AmountOutOfRange> {
    let answer = |line: &Line| {
        Ok(LineAnswer {
            product_id: line.offer.product,
            name: line.offer.name.clone(),
            quantity: line.quantity.get(),
            price: line.offer.price.into(),
            total: line.total()?.into(),
        })
    };
    lines.iter().map(answer).collect()
}

/// A cart. One that was never used is empty and has version 0.
#[derive(Serialize, ToSchema)]
#[schema(as = Cart)]
pub(super) struct CartAnswer {
    lines: Vec<LineAnswer>,
    total: MoneyAnswer,
    /// Counts the changes.
    #[schema(minimum = 0)]
    version: i64,
}

impl TryFrom<&Cart> for CartAnswer {
    type Error = AmountOutOfRange;

    fn try_from(cart: &Cart) -> Result<Self, AmountOutOfRange> {
        Ok(Self { lines: line_answers(&cart.lines)?, total: cart.total()?.into(), version: cart.version })
    }
}

/// Stock that is held for an order, or was.
#[derive(Serialize, ToSchema)]
#[schema(as = Checkout)]
pub(super) struct CheckoutAnswer {
    id: Uuid,
    status: StatusAnswer,
    /// At the prices of the moment of the hold.
    lines: Vec<LineAnswer>,
    total: MoneyAnswer,
    /// When a hold that is not confirmed ends.
    expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CheckoutStatus)]
enum StatusAnswer {
    Held,
    Confirmed,
    Released,
}

impl CheckoutAnswer {
    /// How the checkout stands at `now`.
    ///
    /// # Errors
    /// An amount is out of range: what is held never is.
    pub(super) fn at(now: Timestamp, checkout: &Checkout) -> Result<Self, AmountOutOfRange> {
        let status = match checkout.status.at(now, checkout.expires_at) {
            Status::Held => StatusAnswer::Held,
            Status::Confirmed => StatusAnswer::Confirmed,
            Status::Released => StatusAnswer::Released,
        };
        let (lines, total) = (line_answers(&checkout.lines)?, cart::total(&checkout.lines)?.into());
        Ok(Self { id: checkout.id, status, lines, total, expires_at: checkout.expires_at })
    }
}
