//! The shop's pages. Owns their words and forms; decides nothing: what a cart holds and what is for sale is said elsewhere.
//!
//! A form is answered by 303, or by the page again with what is wrong.

mod basket;
mod catalogue;
mod texts;

use actix_web::{HttpRequest, web};
use shared::pages;
use shared::problem::Problem;
use shared::relying_party::{self, Visitor};

use super::cart::Shopper;
use crate::CartService;
use crate::rules::money::Money;

/// Every page.
pub(super) fn pages(app: &mut web::ServiceConfig) -> &mut web::ServiceConfig {
    // Before the other assets: its script is one of them.
    relying_party::endpoints(app);
    app.configure(pages::assets)
        .route("/", web::get().to(catalogue::list))
        .route("/p/{id}", web::get().to(catalogue::show))
        .route("/basket", web::get().to(basket::show))
        .route("/basket/items", web::post().to(basket::add))
        .route("/basket/items/{id}", web::post().to(basket::change))
        .route("/basket/checkout", web::get().to(basket::check_out))
}

/// Takes over what a guest had in the cart, as soon as it is known who the guest was.
async fn take_over(
    service: &CartService,
    visitor: &Visitor,
    request: &HttpRequest,
) -> Result<Option<Shopper>, Problem> {
    let brings_a_cart = service.guest_cookie.presented(request.headers()).any;
    if visitor.signed_in().is_none() || !brings_a_cart {
        return Ok(None);
    }
    Shopper::find(service, &visitor.caller(), request).await.map(Some)
}

/// `€1,190.00`
fn price(money: Money) -> String {
    let (whole, cents) = (money.minor_units() / 100, money.minor_units() % 100);
    let digits = whole.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("€{grouped}.{cents:02}")
}

/// Which of the six tints a product's picture has: always the same one.
fn tint(product: uuid::Uuid) -> u128 {
    product.as_u128() % 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_written_as_people_read_it() {
        for (cents, text) in [(0, "€0.00"), (5, "€0.05"), (1290, "€12.90"), (119_000, "€1,190.00")] {
            assert_eq!(price(Money::new(cents).expect("an amount")), text);
        }
        assert_eq!(price(Money::MAX), "€90,071,992,547,409.91");
    }
}
