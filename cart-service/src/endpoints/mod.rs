//! Every URL of the service on one screen. An endpoint reads the request and words the answer; it decides nothing.

mod answers;
mod cart;
mod checkouts;
mod guest_cookie;
mod pages;
mod products;
mod refusals;
mod service_credential;

use utoipa_actix_web::service_config::ServiceConfig;

#[cfg(feature = "measurement")]
pub(crate) use self::cart::show_to as show_cart_to;
pub(crate) use self::guest_cookie::GuestCookie;
pub(crate) use self::service_credential::CheckoutSecret;

/// The table of what the service answers. Its state is in the `App`: `web::Data` of `CartService`, `SingleSignOn`,
/// `RelyingParty` and `Site`.
pub fn endpoints(app: &mut ServiceConfig) {
    // The catalogue, for everybody.
    app.service(products::list).service(products::show);
    // The cart of a user or a guest.
    app.service(cart::show).service(cart::clear);
    app.service(cart::add_item).service(cart::set_item).service(cart::remove_item);
    // Pages for people, and how they sign in.
    app.map(pages::pages);
    // Held stock, for the order service.
    app.service(checkouts::open).service(checkouts::show);
    app.service(checkouts::confirm).service(checkouts::release);
}
