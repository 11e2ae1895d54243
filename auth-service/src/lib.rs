//! Accounts, login, sessions, tokens and keys: where users sign in, once for all services. Owns passwords and private
//! keys, and hands out neither; knows no cart and no order.
//!
//! Endpoints call acts ([`sign_in`], [`issue`], [`refresh`], [`end_session`], [`accounts`]), acts call storage and the
//! session store, and all of them call rules.

pub mod accounts;
pub mod authorization;
pub mod back_channel;
pub mod browser_session;
pub mod client_authentication;
pub mod client_commands;
pub mod clients;
pub mod codes;
mod config;
pub mod consent_epoch;
pub mod device;
pub mod device_grant;
pub mod email;
pub mod end_session;
mod endpoints;
mod epoch;
pub mod form;
pub mod grants;
pub mod id_token;
pub mod issue;
mod joiners;
pub mod known_browser;
pub mod logout_request;
mod look_alike;
mod measures;
pub mod oauth_error;
pub mod password;
pub mod platform;
pub mod pruning;
pub mod refresh;
pub mod refresh_token;
pub mod refusals;
pub mod roles;
pub mod scopes;
pub mod seal;
pub mod sealed_requests;
pub mod self_contained;
mod service;
pub mod session_cookie;
mod session_owners;
pub mod sign_in;
pub mod signing_keys;
pub mod small_values;
pub mod storage;
pub mod throttle;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use shared::authentication::{SingleSignOn, SingleSignOnConfig};
use shared::server::{self, Readiness, Running};
use shared::telemetry;
use shared::token::KeySet;
use url::Url;

pub use self::accounts::CreatedUser;
pub use self::back_channel::BackChannelRules;
pub use self::config::{Config, EmbeddedStores, FirstUser, SessionRules, Stores};
pub use self::endpoints::endpoints;
pub use self::service::{AuthService, open_database};
use self::signing_keys::SigningAlg;

/// How often sessions are looked for that should have ended and could not.
const FINISH_EVERY: Duration = Duration::from_secs(2);
/// How often the marks of the store and of its revocation feed are looked at.
const LOOK_AT_MARK: Duration = Duration::from_secs(1);

/// A service that listens.
pub struct Started {
    pub running: Running,
    pub service: Arc<AuthService>,
    /// The accounts of [`Config::first_users`] that this start made. Passwords that were made up are in it, and nowhere
    /// else: show them once, on the terminal, and never log them.
    pub created: Vec<CreatedUser>,
}

/// Opens the database and the stores, brings the tables up to date, makes the first keys and accounts, and listens.
///
/// # Errors
/// What is missing or does not answer, in words for an operator.
pub async fn start(config: Config) -> anyhow::Result<Started> {
    telemetry::describe(measures::METRICS);
    let listener = server::bind(&config.server)?;
    let address = listener.local_addr()?;
    let service = Arc::new(AuthService::open(&config).await?);
    let created = accounts::create_first(&service, &config.first_users).await?;
    clients::first::align(&service, &config.first_clients).await?;
    end_session::suspect_all(&service).await?;
    // Before any session begins here, and before anybody takes the feed for read.
    let (last_ending, _) = storage::endings::position(&service.database).await?;
    let mut marked = end_session::Marked::default();
    if let Err(error) = service.platform.keep_marked().await {
        tracing::warn!(%error, "the store's mark, by which other services know it, is written later");
    }
    if let Err(problem) = end_session::keep_published(&service, &mut marked).await {
        tracing::warn!(%problem, "what the session store has lost is announced again later");
    }
    let own_keys = || Url::parse(&format!("http://{}/.well-known/jwks.json", reached_at(address)));
    // Its own keys are known before its listener answers for them.
    let keys = KeySet::default();
    keys.replace(&serde_json::to_vec(&service.keys.published())?)?;
    let joining = SingleSignOnConfig {
        strategy: config.strategy,
        session_cookie: config.session_cookie.clone(),
        cookie_keys: config.cookie_keys.clone(),
        shared_secret: config.shared_secret.clone(),
        nonces: service.proof_nonces.clone(),
        cookie_scope: service.api_scopes.words().to_vec().into_iter().collect(),
        issuer: config.issuer.clone(),
        audience: config.server.name.to_owned(),
        scope: Some("account".to_owned()),
        public_url: Some(config.issuer.clone()),
        jwks_url: config.jwks_url.clone().map_or_else(own_keys, Ok)?,
        sessions: service.sessions.clone(),
        access_token_ttl: config.sessions.access_token_ttl,
        remember: config.remember(),
        step_up_after: config.sessions.step_up_after,
        // It is the platform.
        platform: None,
        clock: config.clock.clone(),
    };
    let single_sign_on = SingleSignOn::join_with(joining, keys);
    single_sign_on.settle().await;
    let readiness = readiness(&service, &single_sign_on);
    let data = (web::Data::from(service.clone()), web::Data::new(single_sign_on), web::Data::new(config.site.clone()));
    let mut running = server::serve_on(listener, &config.server, readiness, move |config| {
        config.app_data(data.0.clone()).app_data(data.1.clone()).app_data(data.2.clone());
        endpoints(config);
    })?;
    running.close_at_the_end(&service.database);
    running.keep(service.keys.clock_watch().clone().keep_comparing());
    running.keep(tend_keys(service.clone()));
    running.keep(finish_endings(service.clone()));
    running.keep(pruning::keep_pruning(service.clone()));
    running.keep(end_session::follow_others(service.clone(), last_ending));
    running.keep(keep_published(service.clone(), marked));
    running.keep(back_channel::deliver(service.clone()));
    Ok(Started { running, service, created })
}

/// Where this process reaches its own listener: one that listens everywhere listens at the loopback address too.
fn reached_at(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(loopback, address.port())
}

fn readiness(service: &Arc<AuthService>, single_sign_on: &SingleSignOn) -> Readiness {
    let (sessions, values, keys) = (service.sessions.clone(), service.clone(), service.clone());
    let ready = Readiness::default().database(&service.database).clock(service.keys.clock_watch());
    let ready = ready.single_sign_on(single_sign_on);
    let ready = ready.check("session store", move || {
        let sessions = sessions.clone();
        async move { sessions.ping().await.map_err(|error| error.to_string()) }
    });
    let ready = ready.check("store of small values", move || {
        let values = values.clone();
        async move { values.key_values.ping().await.map_err(|error| error.to_string()) }
    });
    ready.check("signing keys", move || {
        let missing: Vec<_> = keys.keys.missing().into_iter().map(SigningAlg::as_str).collect();
        let unreadable = keys.keys.are_unreadable();
        async move {
            match (missing.as_slice(), unreadable) {
                (_, true) => Err("MASTER_KEY does not open the keys that another replica has sealed".to_owned()),
                ([], false) => Ok(()),
                (missing, false) => Err(format!("no key yet for {}", missing.join(", "))),
            }
        }
    })
}

async fn finish_endings(service: Arc<AuthService>) {
    let mut tick = tokio::time::interval(FINISH_EVERY);
    let mut unfinished = end_session::Unfinished::default();
    loop {
        tick.tick().await;
        if let Err(problem) = end_session::finish(&service, &mut unfinished).await {
            tracing::warn!(%problem, "sessions that a change should have ended are ended later");
        }
        if let Err(error) = end_session::settle_rest(&service).await {
            tracing::warn!(%error, "what clients had in ended sessions is ended later");
        }
        if let Err(problem) = grants::take_back_rest(&service).await {
            tracing::warn!(%problem, "grants that were not given are ended later");
        }
        if let Err(problem) = end_session::carry_out_left(&service).await {
            tracing::warn!(%problem, "ends that were asked for are carried out later");
        }
        if let Err(problem) = end_session::notice_gone(&service).await {
            tracing::warn!(%problem, "sessions that have expired are noticed later");
        }
    }
}

async fn keep_published(service: Arc<AuthService>, mut marked: end_session::Marked) {
    let mut tick = tokio::time::interval(LOOK_AT_MARK);
    loop {
        tick.tick().await;
        if let Err(error) = service.platform.keep_marked().await {
            tracing::debug!(%error, "whether the session store has lost its mark is not known");
        }
        if let Err(problem) = end_session::keep_published(&service, &mut marked).await {
            tracing::debug!(%problem, "whether the session store has lost endings is not known");
        }
    }
}

async fn tend_keys(service: Arc<AuthService>) {
    let mut tick = tokio::time::interval(service.keys.plan().reload_every());
    loop {
        tick.tick().await;
        if let Err(error) = service.keys.tend().await {
            tracing::error!(
                error = format!("{error:#}"),
                "the signing keys could not be read again; the known ones stay"
            );
        }
    }
}
