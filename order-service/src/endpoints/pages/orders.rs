//! The list of a user's orders.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;
use shared::pages::Page;
use shared::problem::Problem;
use shared::relying_party::SignedIn;
use shared::request::Query;
use uuid::Uuid;

use super::price;
use super::texts::OrderTexts;
use crate::OrderService;
use crate::rules::cursor::OrderCursor;
use crate::rules::order::Order;
use crate::storage;

const PAGE: usize = 20;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "orders.html")]
struct Orders<'a> {
    page: &'a Page,
    t: OrderTexts,
    rows: Vec<Shown>,
    next: Option<String>,
    is_first: bool,
}

/// An order as it is shown in the list.
struct Shown {
    id: Uuid,
    placed: String,
    what: String,
    total: String,
    status: &'static str,
    status_text: &'static str,
}

impl Shown {
    fn of(order: &Order, page: &Page, t: OrderTexts) -> Option<Self> {
        let reservation = order.reservation.as_ref()?;
        let names: Vec<&str> = reservation.lines.iter().map(|line| line.name.as_str()).collect();
        Some(Self {
            id: order.id,
            placed: page.moment(&order.placed_at?),
            what: names.join(" · "),
            total: price(reservation.total),
            status: order.status.as_str(),
            status_text: t.status_name(order.status),
        })
    }
}

/// The visitor's orders, the newest first.
pub(super) async fn list(
    service: Data<OrderService>,
    visitor: SignedIn,
    page: Page,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let refused = |_| Problem::bad_request("invalid_cursor", "the cursor is not one that a page gave out");
    let after: Option<OrderCursor> = query.cursor.as_deref().map(str::parse).transpose().map_err(refused)?;
    let is_first = after.is_none();
    let user = visitor.principal().user;
    let mut orders = storage::orders::list(&service.database, user, after, PAGE as u32 + 1).await?;
    let more = orders.len() > PAGE;
    orders.truncate(PAGE);
    let last = orders.last().filter(|_| more);
    let next = last.map(|order| OrderCursor { created_at: order.created_at, id: order.id }.to_string());
    let page = visitor.greeted_on(page);
    let t = OrderTexts(page.language);
    let rows = orders.iter().filter_map(|order| Shown::of(order, &page, t)).collect();
    page.show(&Orders { page: &page, t, rows, next, is_first })
}
