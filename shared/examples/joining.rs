//! A service of another team that joins: wishes, for whoever has signed in. `docs/joining.md` goes through it.

use std::net::SocketAddr;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, get, web};
use shared::authentication::{Principal, SingleSignOn, SingleSignOnConfig};
use shared::config::Settings;
use shared::problem::Problem;
use shared::relying_party::{self, RelyingParty, RelyingPartyConfig, SignedIn};
use shared::secrecy::ExposeSecret as _;
use tracing_subscriber::EnvFilter;

/// A page: a browser without a session goes to the sign-in, and comes back.
#[get("/")]
async fn page(visitor: SignedIn) -> String {
    let name = visitor.profile().name.clone().unwrap_or_else(|| visitor.principal().user.to_string());
    format!("The wishes of {name}.")
}

/// JSON for programs and scripts: a request without a good access token is a 401.
#[get("/wishes")]
async fn wishes(principal: Principal) -> String {
    format!("[\"a longer day, for {}\"]", principal.user)
}

/// Another service, called in the visitor's name: with a token for that service alone.
struct Shop {
    http: reqwest::Client,
    cart: String,
}

#[get("/basket")]
async fn basket(
    visitor: SignedIn,
    relying_party: web::Data<RelyingParty>,
    shop: web::Data<Shop>,
) -> Result<String, Problem> {
    let token = relying_party.on_behalf(visitor.principal(), visitor.access_token(), "cart").await?;
    let away = |error| Problem::unavailable("the cart service", error);
    let asked = shop.http.get(&shop.cart).bearer_auth(token.expose_secret()).send().await;
    asked.map_err(away)?.text().await.map_err(away)
}

/// For whatever sends requests here: 503 with what is missing, such as a setting that is not the platform's.
#[get("/readyz")]
async fn readyz(single_sign_on: web::Data<SingleSignOn>) -> HttpResponse {
    let missing = single_sign_on.missing();
    if missing.is_empty() {
        return HttpResponse::Ok().body("ready\n");
    }
    HttpResponse::ServiceUnavailable().body(missing.join("\n"))
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut settings = Settings::from_env();
    let listens: SocketAddr = settings.or("WISH_ADDR", "127.0.0.1:8084", "where the service listens");
    let cart: String = settings.or("CART_URL", "http://localhost:8082", "the cart service");
    let joining = SingleSignOnConfig::read(&mut settings, "wish-service", None);
    // What a token must have for any request here; and where callers reach the service, for tokens that are bound to a key.
    let joining = joining.with_scope("wishes").listening_at(listens);
    let scope = "openid profile email offline_access wishes cart";
    let signing_in = RelyingPartyConfig::read(&mut settings, "wish-service", scope, listens);
    settings.finish()?;
    let single_sign_on = SingleSignOn::join(joining);
    single_sign_on.settle().await;
    let relying_party = web::Data::new(RelyingParty::new(signing_in, single_sign_on.clone())?);
    let single_sign_on = web::Data::new(single_sign_on);
    let shop = web::Data::new(Shop { http: reqwest::Client::new(), cart: format!("{cart}/cart") });
    HttpServer::new(move || {
        let app = App::new().app_data(single_sign_on.clone()).app_data(relying_party.clone()).app_data(shop.clone());
        let app = app.service(page).service(wishes).service(basket).service(readyz).configure(relying_party::endpoints);
        app.wrap(from_fn(relying_party::answer_with_cookies)).wrap(from_fn(relying_party::refusals_as_pages))
    })
    .bind(listens)?
    .run()
    .await?;
    Ok(())
}
