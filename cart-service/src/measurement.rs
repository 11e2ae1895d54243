//! For `cargo xtask bench`, behind the feature `measurement`: the cart's handler as it is, without the look at who calls.
//! Mounted by the example `cart_without_authentication` alone; the service itself never answers so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_web::web::{Data, get};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret as _;
use shared::authentication::Caller;
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::server::{self, Readiness, Running};
use shared::session::{SessionId, UserId};
use shared::token::UserToken;

use crate::endpoints::{CheckoutSecret, GuestCookie, show_cart_to};
use crate::guests::Guests;
use crate::{CartService, Config, storage};

/// Listens as the service does, and shows everybody the cart of `user` at `GET /cart`. Nothing else.
///
/// # Errors
/// As [`start`](crate::start).
pub async fn start_without_authentication(config: Config, user: UserId) -> anyhow::Result<Running> {
    let database = storage::open(&config.database_url, config.database_connections).await?;
    let service = Data::new(CartService {
        database: database.clone(),
        clock: config.single_sign_on.clock.clone(),
        checkout_hold: config.checkout_hold,
        checkout_secret: CheckoutSecret::new(config.checkout_secret.expose_secret()),
        guest_cookie: GuestCookie::new(config.cookie_secure, config.guests.ttl),
        guests: Guests::new(config.guests, &database, &config.single_sign_on.clock),
    });
    let caller = Data::new(Caller::User(Arc::new(token_of(user)).into()));
    server::serve(&config.server, Readiness::default().database(&database), move |app| {
        app.app_data(service.clone()).app_data(caller.clone()).route("/cart", get().to(show));
    })
}

async fn show(service: Data<CartService>, caller: Data<Caller>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    show_cart_to(&service, &caller, &request).await
}

fn token_of(user: UserId) -> UserToken {
    UserToken {
        user,
        session: SessionId::random_for(user),
        client_id: "platform".to_owned(),
        scope: BTreeSet::new(),
        roles: BTreeSet::new(),
        amr: Vec::new(),
        acr: None,
        auth_time: Timestamp::default(),
        actor: None,
        bound_to: None,
        grant: None,
        attributes: BTreeMap::new(),
        token_id: 0,
        issued_at: Timestamp::default(),
        expires_at: Timestamp::from_micros(i64::MAX),
    }
}
