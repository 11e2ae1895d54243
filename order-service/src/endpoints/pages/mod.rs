//! The pages of orders. Owns their words and forms; decides nothing: what becomes of an order is the acts' to say.
//!
//! A form is answered by 303, or by the page again with what is wrong.

mod checkout;
mod order;
mod orders;
mod payment;
mod texts;

use actix_web::{HttpResponse, web};
use shared::pages::{self, Page};
use shared::relying_party;

use crate::rules::lines::OrderLine;
use crate::rules::money::Money;

/// Every page.
pub(super) fn pages(app: &mut web::ServiceConfig) -> &mut web::ServiceConfig {
    // Before the other assets: its script is one of them.
    relying_party::endpoints(app);
    app.configure(pages::assets)
        .route("/", web::get().to(orders::list))
        .route("/checkout", web::get().to(checkout::show))
        .route("/checkout", web::post().to(checkout::place))
        .route("/o/{id}", web::get().to(order::show))
        .route("/o/{id}/cancel", web::post().to(order::cancel))
        .route("/o/{id}/pay", web::get().to(payment::show))
        .route("/o/{id}/pay", web::post().to(payment::pay))
        .route("/signed-out", web::get().to(signed_out))
}

/// Where a sign-out ends: every page of this service would ask to sign in again.
async fn signed_out(page: Page) -> HttpResponse {
    page.see_other(&page.account("/signed-out"))
}

/// `€1,190.00`
fn price(money: Money) -> String {
    let (whole, cents) = (money.amount / 100, money.amount % 100);
    let digits = whole.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match money.currency.as_str() {
        "EUR" => format!("€{grouped}.{cents:02}"),
        currency => format!("{currency} {grouped}.{cents:02}"),
    }
}

/// A line as it is shown.
struct Row {
    product: String,
    name: String,
    quantity: u32,
    each: String,
    total: String,
}

impl Row {
    fn of(line: &OrderLine) -> Self {
        Self {
            product: line.product_id.clone(),
            name: line.name.clone(),
            quantity: line.quantity,
            each: price(line.price),
            total: price(line.total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_written_as_people_read_it() {
        for (amount, currency, text) in
            [(0, "EUR", "€0.00"), (1290, "EUR", "€12.90"), (119_000, "EUR", "€1,190.00"), (5, "USD", "USD 0.05")]
        {
            let money = Money { amount, currency: currency.parse().expect("a currency") };
            assert_eq!(price(money), text);
        }
    }
}
