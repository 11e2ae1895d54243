//! A service of another team that joins: wishes, for whoever has signed in. `docs/joining.md` goes through it.

use std::net::SocketAddr;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, get, web};
use shared::authentication::{Principal, SingleSignOn, SingleSignOnConfig};
use shared::config::Settings;
use shared::relying_party::{self, RelyingParty, RelyingPartyConfig, SignedIn};

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

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let listens: SocketAddr = settings.or("WISH_ADDR", "127.0.0.1:8084", "where the service listens");
    let joining = SingleSignOnConfig::read(&mut settings, "wish-service", None).with_scope("wishes");
    let scope = "openid profile email offline_access wishes";
    let signing_in = RelyingPartyConfig::read(&mut settings, "wish-service", scope, listens);
    settings.finish()?;
    let single_sign_on = SingleSignOn::join(joining);
    single_sign_on.settle().await;
    let relying_party = web::Data::new(RelyingParty::new(signing_in, single_sign_on.clone())?);
    let single_sign_on = web::Data::new(single_sign_on);
    HttpServer::new(move || {
        let app = App::new().app_data(single_sign_on.clone()).app_data(relying_party.clone());
        let app = app.service(page).service(wishes).configure(relying_party::endpoints);
        app.wrap(from_fn(relying_party::answer_with_cookies))
    })
    .bind(listens)?
    .run()
    .await?;
    Ok(())
}
