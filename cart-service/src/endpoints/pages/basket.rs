//! The cart as a page: whoever visits has one, guests too.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::relying_party::{SignedIn, Visitor};
use shared::request::Path;
use uuid::Uuid;

use super::price;
use super::texts::ShopTexts;
use crate::CartService;
use crate::endpoints::cart::{self, Shopper};
use crate::rules::cart::{Cart, Change, Line, Quantity};
use crate::rules::money::AmountOutOfRange;

#[derive(Template)]
#[template(path = "basket.html")]
struct Basket<'a> {
    page: &'a Page,
    t: ShopTexts,
    rows: Vec<Row>,
    total: String,
    alert: &'static str,
    is_guest: bool,
}

/// A line as it is shown.
struct Row {
    product: Uuid,
    name: String,
    quantity: i64,
    each: String,
    total: String,
}

impl Row {
    fn of(line: &Line) -> Result<Self, AmountOutOfRange> {
        Ok(Self {
            product: line.offer.product,
            name: line.offer.name.clone(),
            quantity: line.quantity.get(),
            each: price(line.offer.price),
            total: price(line.total()?),
        })
    }
}

/// The basket.
pub(super) async fn show(
    service: Data<CartService>,
    visitor: Visitor,
    request: HttpRequest,
    page: Page,
) -> Result<HttpResponse, Problem> {
    let (shopper, cart) = cart::look(&service, &visitor.caller(), &request).await?;
    answer(&service, &shopper, basket(visitor.greeted_on(page), &cart, &visitor, StatusCode::OK, "")?)
}

#[derive(Deserialize)]
pub(super) struct NewItem {
    product_id: String,
    quantity: String,
}

/// Puts a product into the basket.
pub(super) async fn add(
    service: Data<CartService>,
    visitor: Visitor,
    request: HttpRequest,
    page: Page,
    HtmlForm(form): HtmlForm<NewItem>,
) -> Result<HttpResponse, Problem> {
    let product = form.product_id.parse().map_err(|_| Problem::not_found("product"))?;
    let change = match quantity(&form.quantity) {
        Some(quantity) => cart::make(&service, &visitor.caller(), &request, product, Change::Add(quantity)).await,
        None => Err(no_quantity()),
    };
    conclude(&service, visitor, &request, page, change).await
}

#[derive(Deserialize)]
pub(super) struct ChangedItem {
    quantity: String,
    /// The button that was pressed.
    action: Option<String>,
}

/// Changes how many of a product there are, or takes it out.
pub(super) async fn change(
    service: Data<CartService>,
    visitor: Visitor,
    request: HttpRequest,
    page: Page,
    Path(product): Path<Uuid>,
    HtmlForm(form): HtmlForm<ChangedItem>,
) -> Result<HttpResponse, Problem> {
    let caller = visitor.caller();
    let change = match (form.action.as_deref(), quantity(&form.quantity)) {
        (Some("remove"), _) => cart::take_out(&service, &caller, &request, product).await,
        (_, Some(quantity)) => cart::make(&service, &caller, &request, product, Change::Set(quantity)).await,
        (_, None) => Err(no_quantity()),
    };
    conclude(&service, visitor, &request, page, change).await
}

/// On to the order service, once it is known who buys: what the guest had in the basket is the user's by then.
pub(super) async fn check_out(
    service: Data<CartService>,
    visitor: SignedIn,
    request: HttpRequest,
    page: Page,
) -> Result<HttpResponse, Problem> {
    let visitor = Visitor::SignedIn(Box::new(visitor));
    let shopper = Shopper::find(&service, &visitor.caller(), &request).await?;
    answer(&service, &shopper, page.see_other(&page.orders("/checkout")))
}

/// The basket after a change, or again with what is wrong.
async fn conclude(
    service: &CartService,
    visitor: Visitor,
    request: &HttpRequest,
    page: Page,
    change: Result<(Shopper, Cart), Problem>,
) -> Result<HttpResponse, Problem> {
    let problem = match change {
        Ok((shopper, _)) => return answer(service, &shopper, page.see_other("/basket")),
        Err(problem) => problem,
    };
    let t = ShopTexts(page.language);
    let alert = match problem.code() {
        "insufficient_stock" => t.problem_stock(),
        "cart_full" => t.problem_full(),
        "total_too_large" => t.problem_total(),
        "invalid_field" => t.problem_quantity(),
        _ => return Err(problem),
    };
    let (shopper, cart) = cart::look(service, &visitor.caller(), request).await?;
    answer(service, &shopper, basket(visitor.greeted_on(page), &cart, &visitor, problem.status(), alert)?)
}

fn basket(
    page: Page,
    cart: &Cart,
    visitor: &Visitor,
    status: StatusCode,
    alert: &'static str,
) -> Result<HttpResponse, Problem> {
    let rows = cart.lines.iter().map(Row::of).collect::<Result<_, _>>()?;
    let (t, total, is_guest) = (ShopTexts(page.language), price(cart.total()?), visitor.signed_in().is_none());
    page.answer(status, &Basket { page: &page, t, rows, total, alert, is_guest })
}

fn answer(service: &CartService, shopper: &Shopper, mut response: HttpResponse) -> Result<HttpResponse, Problem> {
    if let Some(cookie) = shopper.cookie(service) {
        response.add_cookie(&cookie).map_err(Problem::internal)?;
    }
    Ok(response)
}

fn quantity(text: &str) -> Option<Quantity> {
    text.trim().parse::<i64>().ok()?.try_into().ok()
}

fn no_quantity() -> Problem {
    Problem::invalid_field("/quantity", "expected a whole number from 1 to 99")
}
