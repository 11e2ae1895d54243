//! The cart of whoever calls: a user's by the access token, a guest's by cookie. No request names a cart.

use actix_web::cookie::Cookie;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put};
use serde::Deserialize;
use shared::authentication::Caller;
use shared::problem::Problem;
use shared::request::{Json, Path};
use shared::session::UserId;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answers::CartAnswer;
use super::guest_cookie::GuestSecret;
use super::refusals::{BodyRefused, NotFound, TokenRefused, TooManyWrites, Unavailable};
use crate::CartService;
use crate::guests::Write;
use crate::rules::cart::{Cart, Change, Quantity};
use crate::storage::carts::{self, Owner};

/// Whose cart a request is about.
pub(super) enum Shopper {
    User {
        user: UserId,
        brought_a_guests_cookie: bool,
    },
    /// With the secret of a cart that lives, if there is one.
    Guest(Option<GuestSecret>),
}

impl Shopper {
    /// Tells who it is. A user who brings a guest's cookie takes the guest's cart over, here and once.
    pub(super) async fn find(service: &CartService, caller: &Caller, request: &HttpRequest) -> Result<Self, Problem> {
        let presented = service.guest_cookie.presented(request.headers());
        let now = service.clock.now();
        let Caller::User(principal) = caller else {
            for secret in presented.secrets {
                if carts::show(&service.database, &Owner::Guest(secret.hash()), now).await?.is_some() {
                    return Ok(Self::Guest(Some(secret)));
                }
            }
            return Ok(Self::Guest(None));
        };
        for secret in &presented.secrets {
            if carts::merge(&service.database, secret.hash(), principal.user, now).await? {
                metrics::counter!("roam_guest_carts_total", "outcome" => "merged").increment(1);
            }
        }
        Ok(Self::User { user: principal.user, brought_a_guests_cookie: presented.any })
    }

    fn is_guest(&self) -> bool {
        matches!(self, Self::Guest(_))
    }

    fn owner(&self) -> Option<Owner> {
        match self {
            Self::User { user, .. } => Some(Owner::User(*user)),
            Self::Guest(secret) => secret.as_ref().map(|secret| Owner::Guest(secret.hash())),
        }
    }

    /// What the browser is to do with its cookie: a merged cart's is forgotten, a living one's is kept on.
    pub(super) fn cookie(&self, service: &CartService) -> Option<Cookie<'static>> {
        match self {
            Self::User { brought_a_guests_cookie, .. } => {
                brought_a_guests_cookie.then(|| service.guest_cookie.forget())
            }
            Self::Guest(secret) => secret.as_ref().map(|secret| service.guest_cookie.keep(secret)),
        }
    }

    fn answer(&self, service: &CartService, cart: &Cart) -> Result<HttpResponse, Problem> {
        let answer = CartAnswer::try_from(cart)?;
        let mut response = HttpResponse::Ok();
        if let Some(cookie) = self.cookie(service) {
            response.cookie(cookie);
        }
        Ok(response.json(answer))
    }
}

/// Show the caller's cart.
#[utoipa::path(tag = "cart", operation_id = "show_cart", security((), ("bearer" = [])), responses(
    (status = 200, description = "The cart", body = CartAnswer),
    (status = 409, description = "The cart cannot be priced", body = Problem, content_type = "application/problem+json"),
    TokenRefused,
    Unavailable,
))]
#[get("/cart")]
pub(super) async fn show(
    service: Data<CartService>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    show_to(&service, &caller, &request).await
}

/// The whole handler, once it is known who calls.
pub(crate) async fn show_to(
    service: &CartService,
    caller: &Caller,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (shopper, cart) = look(service, caller, request).await?;
    shopper.answer(service, &cart)
}

/// The caller's cart. One that was never used is empty.
pub(super) async fn look(
    service: &CartService,
    caller: &Caller,
    request: &HttpRequest,
) -> Result<(Shopper, Cart), Problem> {
    let shopper = Shopper::find(service, caller, request).await?;
    let cart = match shopper.owner() {
        Some(owner) => carts::show(&service.database, &owner, service.clock.now()).await?,
        None => None,
    };
    Ok((shopper, cart.unwrap_or_default()))
}

/// So many more of a product.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewItem {
    product_id: Uuid,
    #[schema(value_type = i64, minimum = 1, maximum = 99)]
    quantity: Quantity,
}

/// Exactly so many.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ItemQuantity {
    #[schema(value_type = i64, minimum = 1, maximum = 99)]
    quantity: Quantity,
}

/// Add a product to what is in the cart. A guest's first item begins a cart, with a cookie.
#[utoipa::path(tag = "cart", operation_id = "add_item", security((), ("bearer" = [])), request_body = NewItem, responses(
    (status = 200, description = "The cart after the change", body = CartAnswer),
    (status = 409, description = "`insufficient_stock`, `cart_full` or `total_too_large`", body = Problem, content_type = "application/problem+json"),
    TokenRefused, BodyRefused, NotFound, TooManyWrites, Unavailable,
))]
#[post("/cart/items")]
pub(super) async fn add_item(
    service: Data<CartService>,
    caller: Caller,
    request: HttpRequest,
    Json(item): Json<NewItem>,
) -> Result<HttpResponse, Problem> {
    change(&service, &caller, &request, item.product_id, Change::Add(item.quantity)).await
}

/// Set how many of a product are in the cart. One that is not in it yet is added.
#[utoipa::path(tag = "cart", operation_id = "set_item", security((), ("bearer" = [])),
    params(("product_id" = Uuid, Path)), request_body = ItemQuantity, responses(
    (status = 200, description = "The cart after the change", body = CartAnswer),
    (status = 409, description = "`insufficient_stock`, `cart_full` or `total_too_large`", body = Problem, content_type = "application/problem+json"),
    TokenRefused, BodyRefused, NotFound, TooManyWrites, Unavailable,
))]
#[put("/cart/items/{product_id}")]
pub(super) async fn set_item(
    service: Data<CartService>,
    caller: Caller,
    request: HttpRequest,
    Path(product): Path<Uuid>,
    Json(item): Json<ItemQuantity>,
) -> Result<HttpResponse, Problem> {
    change(&service, &caller, &request, product, Change::Set(item.quantity)).await
}

async fn change(
    service: &CartService,
    caller: &Caller,
    request: &HttpRequest,
    product: Uuid,
    change: Change,
) -> Result<HttpResponse, Problem> {
    let (shopper, cart) = make(service, caller, request, product, change).await?;
    shopper.answer(service, &cart)
}

/// Makes a change of the caller's cart, and answers the cart after it. A guest's first one begins a cart.
pub(super) async fn make(
    service: &CartService,
    caller: &Caller,
    request: &HttpRequest,
    product: Uuid,
    change: Change,
) -> Result<(Shopper, Cart), Problem> {
    let shopper = Shopper::find(service, caller, request).await?;
    let (now, ttl) = (service.clock.now(), service.guests.ttl);
    if let Some(owner) = shopper.owner() {
        if shopper.is_guest() {
            service.guests.admit(request, Write::Change).await?;
        }
        if let Some(cart) = carts::change(&service.database, &owner, product, change, now, ttl).await? {
            return Ok((shopper, cart));
        }
    }
    // A guest without a cart, or whose cart was taken over a moment ago.
    service.guests.admit(request, Write::Cart).await?;
    let secret = GuestSecret::random();
    let cart = carts::open_for_guest(&service.database, secret.hash(), product, change, now, ttl).await?;
    metrics::counter!("roam_guest_carts_total", "outcome" => "opened").increment(1);
    Ok((Shopper::Guest(Some(secret)), cart))
}

/// Remove a product from the cart. One that is not in it is no error.
#[utoipa::path(tag = "cart", operation_id = "remove_item", security((), ("bearer" = [])),
    params(("product_id" = Uuid, Path)), responses(
    (status = 200, description = "The cart after the change", body = CartAnswer),
    (status = 409, description = "The cart cannot be priced", body = Problem, content_type = "application/problem+json"),
    TokenRefused, NotFound, Unavailable,
))]
#[delete("/cart/items/{product_id}")]
pub(super) async fn remove_item(
    service: Data<CartService>,
    caller: Caller,
    request: HttpRequest,
    Path(product): Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let (shopper, cart) = take_out(&service, &caller, &request, product).await?;
    shopper.answer(&service, &cart)
}

/// Takes a product out of the caller's cart, and answers the cart after it.
pub(super) async fn take_out(
    service: &CartService,
    caller: &Caller,
    request: &HttpRequest,
    product: Uuid,
) -> Result<(Shopper, Cart), Problem> {
    let shopper = Shopper::find(service, caller, request).await?;
    let Some(owner) = shopper.owner() else { return Ok((shopper, Cart::default())) };
    let (now, ttl) = (service.clock.now(), service.guests.ttl);
    match carts::remove_line(&service.database, &owner, product, now, ttl).await? {
        Some(cart) => Ok((shopper, cart)),
        // A guest's cart that is empty is gone. The cookie is left alone: another tab may have begun a new cart meanwhile.
        None => Ok((Shopper::Guest(None), Cart::default())),
    }
}

/// Empty the cart.
#[utoipa::path(tag = "cart", operation_id = "clear_cart", security((), ("bearer" = [])), responses(
    (status = 204, description = "The cart is empty"),
    TokenRefused,
    Unavailable,
))]
#[delete("/cart")]
pub(super) async fn clear(
    service: Data<CartService>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let shopper = Shopper::find(&service, &caller, &request).await?;
    if let Some(owner) = shopper.owner() {
        carts::clear(&service.database, &owner, service.clock.now()).await?;
    }
    let mut response = HttpResponse::NoContent();
    // A guest's cart is gone.
    if let Some(cookie) = shopper.cookie(&service).filter(|_| !shopper.is_guest()) {
        response.cookie(cookie);
    }
    Ok(response.finish())
}
