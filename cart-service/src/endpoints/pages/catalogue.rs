//! The catalogue as pages.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;
use shared::pages::Page;
use shared::problem::Problem;
use shared::relying_party::Visitor;
use shared::request::{Path, Query};
use url::form_urlencoded;
use uuid::Uuid;

use super::texts::ShopTexts;
use super::{price, take_over, tint};
use crate::CartService;
use crate::rules::cart::Quantity;
use crate::rules::catalogue::Listing;
use crate::storage::products::{self, Product};

/// How many products a page shows: whole rows of two, three and four.
const PAGE: &str = "24";

/// Unknown parameters are other people's: links from elsewhere carry some.
#[derive(Default, Deserialize)]
pub(super) struct ListQuery {
    q: Option<String>,
    category: Option<String>,
    cursor: Option<String>,
}

impl ListQuery {
    /// This listing's address with another category, or with what follows.
    fn address(&self, category: Option<&str>, cursor: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", self.q.as_deref()), ("category", category), ("cursor", cursor)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }

    fn category(&self) -> Option<&str> {
        self.category.as_deref().filter(|category| !category.is_empty())
    }
}

#[derive(Template)]
#[template(path = "catalogue.html")]
struct Catalogue<'a> {
    page: &'a Page,
    t: ShopTexts,
    search: &'a str,
    query: &'a ListQuery,
    categories: Vec<String>,
    products: Vec<Shown>,
    next: Option<String>,
}

/// A product as it is shown.
struct Shown {
    id: Uuid,
    name: String,
    description: String,
    category: String,
    price: String,
    stock: String,
    tint: u128,
    /// How many one may put into the basket.
    most: i64,
}

impl Shown {
    fn of(product: Product, t: ShopTexts) -> Self {
        let Product { id, name, description, category, price: amount, stock } = product;
        let (price, most, tint) = (price(amount), stock.clamp(0, Quantity::MAX), tint(id));
        Self { id, name, description, category, price, stock: t.stock(stock), tint, most }
    }
}

#[derive(Template)]
#[template(path = "product.html")]
struct ProductPage<'a> {
    page: &'a Page,
    t: ShopTexts,
    product: Shown,
}

/// The catalogue, searched and by category.
pub(super) async fn list(
    service: Data<CartService>,
    visitor: Result<Visitor, Problem>,
    request: HttpRequest,
    page: Page,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let visitor = or_guest(visitor);
    let listing = Listing::read(query.q.as_deref(), query.category(), Some(PAGE), query.cursor.as_deref())?;
    let found = products::list(&service.database, &listing).await?;
    let page = visitor.greeted_on(page);
    let t = ShopTexts(page.language);
    let catalogue = Catalogue {
        t,
        page: &page,
        search: query.q.as_deref().unwrap_or_default(),
        categories: products::categories(&service.database).await?,
        next: found.next.map(|position| query.address(query.category(), Some(&position.to_cursor()))),
        products: found.products.into_iter().map(|product| Shown::of(product, t)).collect(),
        query: &query,
    };
    answer(&service, &visitor, &request, page.show(&catalogue)?).await
}

/// A product, and the form that puts it into the basket.
pub(super) async fn show(
    service: Data<CartService>,
    visitor: Result<Visitor, Problem>,
    request: HttpRequest,
    page: Page,
    Path(id): Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let visitor = or_guest(visitor);
    let product = products::find(&service.database, id).await?.ok_or_else(|| Problem::not_found("product"))?;
    let page = visitor.greeted_on(page);
    let t = ShopTexts(page.language);
    let shown = page.show(&ProductPage { t, page: &page, product: Shown::of(product, t) })?;
    answer(&service, &visitor, &request, shown).await
}

/// The catalogue is for everybody, also while it cannot be said who visits.
fn or_guest(visitor: Result<Visitor, Problem>) -> Visitor {
    visitor.unwrap_or(Visitor::Guest)
}

async fn answer(
    service: &CartService,
    visitor: &Visitor,
    request: &HttpRequest,
    mut response: HttpResponse,
) -> Result<HttpResponse, Problem> {
    let shopper = take_over(service, visitor, request).await?;
    if let Some(cookie) = shopper.and_then(|shopper| shopper.cookie(service)) {
        response.add_cookie(&cookie).map_err(Problem::internal)?;
    }
    Ok(response)
}
