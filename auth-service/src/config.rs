//! The auth service's settings. A field's meaning is in its setting's description, which `auth-service config` prints.

mod browser_cookie;
mod session_rules;

use std::sync::Arc;
use std::time::Duration;

use actix_web::cookie::SameSite;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use shared::authentication::strategy::Strategy;
use shared::authentication::{CookieKeys, DenyListMode, SessionCookie, issuer_mistake};
use shared::clock::Clock;
use shared::config::{ConnectionUrl, Settings};
use shared::key_value::{BudgetLimits, KeyValueStore};
use shared::pages::Site;
use shared::redis::Redis;
use shared::request::TrustedProxies;
use shared::server::ServerConfig;
use shared::session::{AttributeKeys, SessionStore};
use shared::token::SharedSecret;
use url::Url;

pub use self::session_rules::SessionRules;
use crate::back_channel::BackChannelRules;
use crate::clients::first::FirstClients;
use crate::clients::registration::RegistrationRules;
use crate::clients::scope::ADMINISTRATION;
use crate::clients::{FirstClient, Scope};
use crate::email::Email;
use crate::password::NewPassword;
use crate::pruning::Retention;
use crate::roles::Roles;
use crate::scopes::ApiScopes;
use crate::seal::MasterKeys;
use crate::signing_keys::{KeyPlan, SHORTEST_LEAD, SigningAlg};
use crate::throttle::ThrottleLimits;

/// What the auth service needs to start.
pub struct Config {
    pub server: ServerConfig,
    /// Empty only where the one process that embeds the service has yet to name it.
    pub database_url: String,
    pub database_connections: u32,
    pub stores: Stores,
    /// The public address, byte for byte as the tokens name it.
    pub issuer: String,
    /// Where this service reads the published keys; its own listener when `None`.
    pub jwks_url: Option<Url>,
    /// The services that the platform's own tokens are for, this one among them.
    pub audiences: Vec<String>,
    /// The words of scope that open services.
    pub api_scopes: ApiScopes,
    /// Whether browsers come by https.
    pub cookie_secure: bool,
    /// Of the cookie of a browser's session at this service.
    pub browser_same_site: SameSite,
    pub site: Site,
    pub strategy: Strategy,
    pub session_cookie: SessionCookie,
    /// Where the session itself is in the cookie.
    pub cookie_keys: Option<CookieKeys>,
    /// What seals the attributes of sessions in Redis, if anything does.
    pub attribute_keys: Option<AttributeKeys>,
    /// How services learn of ended sessions where nobody keeps any.
    pub deny_list: DenyListMode,
    /// What signs access tokens in place of the keys: `JWT_COMPATIBILITY`.
    pub shared_secret: Option<SharedSecret>,
    /// Empty only where the one process that embeds the service has yet to name it.
    pub master_key: SecretString,
    pub keys: KeyPlan,
    pub sessions: SessionRules,
    pub retention: Retention,
    pub back_channel: BackChannelRules,
    pub throttle: ThrottleLimits,
    /// What callers may leave behind.
    pub budget: BudgetLimits,
    /// How long a browser is known after its last login.
    pub device_cookie_ttl: Duration,
    pub hash_threads: usize,
    pub hash_queue: usize,
    pub trusted_proxies: TrustedProxies,
    /// From where administrators may act; from everywhere when empty.
    pub admin_allowed_networks: Vec<IpNet>,
    /// Made at the start when they are missing.
    pub first_users: Vec<FirstUser>,
    /// Brought up to date at each start.
    pub first_clients: Vec<FirstClient>,
    /// Whether and how clients register themselves.
    pub registration: RegistrationRules,
    pub clock: Clock,
}

/// Where sessions and small values live.
pub enum Stores {
    Redis(String),
    Embedded(EmbeddedStores),
}

/// Stores of the process that embeds the service.
#[derive(Clone)]
pub struct EmbeddedStores {
    pub sessions: Arc<dyn SessionStore>,
    /// None where the service's own database has them, for all nodes.
    pub key_values: Option<Arc<dyn KeyValueStore>>,
    /// Where ends of sessions are told to other processes too, if they are.
    pub redis: Option<Redis>,
}

/// An account that a start makes when it is missing: an administrator when nobody is one, anybody else when the address
/// has no account.
#[derive(Debug, Clone)]
pub struct FirstUser {
    pub email: Email,
    pub display_name: String,
    /// Made up when `None`, and then shown once: see [`CreatedUser`](crate::CreatedUser).
    pub password: Option<NewPassword>,
    pub roles: Roles,
}

impl Config {
    /// How long a revocation matters: as long as what it takes back may be shown.
    pub fn remember(&self) -> Duration {
        self.strategy.remembers(self.sessions.absolute_ttl, self.sessions.access_token_ttl)
    }

    /// Reads the settings. With embedded stores, `REDIS_URL` is not asked for, and `DATABASE_URL` and `MASTER_KEY` may be
    /// left to whoever embeds; without, all three are required: memory on two nodes would be silently wrong.
    ///
    /// Mistakes are kept in `settings`; call [`Settings::finish`] before anything else.
    pub fn read(settings: &mut Settings, embedded: Option<EmbeddedStores>) -> Self {
        let names = ("auth-service", "Accounts, login, sessions, tokens and keys.", env!("CARGO_PKG_VERSION"));
        let server = ServerConfig {
            open_paths: &crate::endpoints::OPEN_PATHS,
            ending_paths: &crate::endpoints::ENDING_PATHS,
            ..ServerConfig::read(settings, names, ("AUTH_ADDR", "127.0.0.1:8081"))
        };
        let is_embedded = embedded.is_some();
        let ConnectionUrl(database_url) = {
            let (name, meaning) = ("DATABASE_URL", "the service's own database: postgres://… or sqlite:PATH");
            if is_embedded {
                settings.optional(name, meaning).unwrap_or_default()
            } else {
                settings.required(name, "postgres://auth:PASSWORD@localhost/auth", meaning)
            }
        };
        let stores = match embedded {
            Some(embedded) => Stores::Embedded(embedded),
            None => {
                let ConnectionUrl(url) =
                    settings.required("REDIS_URL", "redis://localhost:6379", "where sessions live");
                Stores::Redis(url)
            }
        };
        let strategy = read_strategy(settings, is_embedded);
        let sessions = SessionRules::read(settings, strategy);
        let issuer = read_issuer(settings);
        let session_cookie = SessionCookie::read(settings);
        if address_of(&issuer).scheme() == "https" && !session_cookie.secure {
            settings.mistake("COOKIE_SECURE: expected true, for browsers come by https, as ISSUER says");
        }
        let api_scopes = read_api_scopes(settings);
        let first_clients = read_first_clients(settings, &api_scopes);
        let registration = read_registration_rules(settings, &api_scopes);
        Self {
            database_url,
            stores,
            database_connections: settings.at_least_one(
                "DATABASE_CONNECTIONS",
                "16",
                "the most connections to the database",
            ),
            site: Site::read(settings, address_of(&issuer), address_of(&issuer), ("/sign-in", "/sign-out")),
            issuer,
            jwks_url: settings
                .optional("JWKS_URL", "where the published keys are read; by default at this service itself"),
            audiences: read_audiences(settings, server.name, &api_scopes),
            api_scopes,
            cookie_secure: session_cookie.secure,
            browser_same_site: browser_cookie::read_same_site(settings, strategy, session_cookie.secure),
            session_cookie,
            cookie_keys: CookieKeys::read(settings, strategy),
            attribute_keys: if is_embedded { None } else { AttributeKeys::read(settings, strategy) },
            deny_list: DenyListMode::read(settings),
            shared_secret: SharedSecret::read(settings, strategy),
            strategy,
            master_key: read_master_key(settings, is_embedded),
            keys: read_key_plan(settings, sessions.access_token_ttl),
            retention: Retention::read(settings),
            back_channel: read_back_channel(settings),
            throttle: read_throttle_limits(settings),
            budget: BudgetLimits::read(settings),
            device_cookie_ttl: settings.positive(
                "DEVICE_COOKIE_TTL",
                "180d",
                "how long a browser is known after its last login: strangers' guesses do not lock it out",
            ),
            hash_threads: read_hash_threads(settings),
            hash_queue: settings.or("HASH_QUEUE", "64", "how many passwords may wait to be hashed"),
            trusted_proxies: TrustedProxies::read(settings),
            admin_allowed_networks: settings.or(
                "ADMIN_ALLOWED_NETWORKS",
                "",
                "networks from which administrators may act; empty: all",
            ),
            first_users: vec![read_administrator(settings)],
            first_clients,
            registration,
            clock: Clock::default(),
            sessions,
            server,
        }
    }
}

fn read_strategy(settings: &mut Settings, is_embedded: bool) -> Strategy {
    let strategy: Strategy = settings.or("SESSION_STRATEGY", "hybrid", "how sessions are shared between servers");
    if let Some(mistake) = strategy.refuses_separate_services().filter(|_| !is_embedded) {
        settings.mistake(mistake);
    }
    strategy
}

fn read_back_channel(settings: &mut Settings) -> BackChannelRules {
    let rules = BackChannelRules {
        patience: settings.positive(
            "BACKCHANNEL_LOGOUT_TIMEOUT",
            "5s",
            "how long a client may take to hear of a logout",
        ),
        attempts: settings.or(
            "BACKCHANNEL_LOGOUT_ATTEMPTS",
            "12",
            "how often a client is told of a logout that does not confirm it; 12 take about 35 minutes",
        ),
    };
    if rules.attempts == 0 {
        settings.mistake("BACKCHANNEL_LOGOUT_ATTEMPTS: expected at least 1");
    }
    if rules.patience > Duration::from_secs(60) {
        settings.mistake("BACKCHANNEL_LOGOUT_TIMEOUT: expected at most 60s");
    }
    rules
}

fn read_issuer(settings: &mut Settings) -> String {
    // Kept as it was written: tokens name it byte for byte.
    let issuer: String =
        settings.or("ISSUER", "http://localhost:8081", "the public address of this service, as tokens name it");
    if let Some(mistake) = issuer_mistake(&issuer) {
        settings.mistake(mistake);
    } else if let Some(url) = Url::parse(&issuer).ok().filter(|url| url.path() != "/") {
        settings.mistake(format!(
            "ISSUER: {} has a path, and this service answers at the root of its host alone: give it a host of its own, and \
             set ISSUER to that, such as {}",
            url.as_str(),
            host_of_its_own(&url)
        ));
    }
    issuer
}

/// A host beside the one of an issuer with a path, for a mistake's example.
fn host_of_its_own(issuer: &Url) -> String {
    let port = issuer.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = issuer.domain().unwrap_or("example.com");
    format!("{}://auth.{host}{port}", issuer.scheme())
}

/// The issuer as an address; one that is none is a mistake that was noted when it was read.
fn address_of(issuer: &str) -> Url {
    let readable = Url::parse(issuer).or_else(|_| Url::parse("http://localhost:8081"));
    readable.expect("the default of ISSUER is an address")
}

fn read_api_scopes(settings: &mut Settings) -> ApiScopes {
    let meaning = "words of scope that open services of your own, as wishes=wish-service, with commas between; those of the \
                   platform (account, admin, cart, orders) are there in any case";
    settings.optional("API_SCOPES", meaning).unwrap_or_default()
}

fn read_audiences(settings: &mut Settings, own: &str, scopes: &ApiScopes) -> Vec<String> {
    let meaning = "the services that the platform's own tokens are for; by default all that API_SCOPES names";
    let audiences: Vec<String> = settings.or("AUDIENCES", &scopes.services().join(","), meaning);
    if !audiences.iter().any(|audience| audience == own) {
        settings.mistake(format!("AUDIENCES: {own} must be among them, for it checks its own tokens"));
    }
    audiences
}

fn read_master_key(settings: &mut Settings, is_embedded: bool) -> SecretString {
    const EXAMPLE: &str = "$(openssl rand -base64 32)";
    let meaning = "seals what must be read back: 32 bytes in base64; several with commas, the first seals";
    let key: SecretString = if is_embedded {
        settings.optional("MASTER_KEY", meaning).unwrap_or_default()
    } else {
        settings.required("MASTER_KEY", EXAMPLE, meaning)
    };
    if !["", EXAMPLE].contains(&key.expose_secret())
        && let Err(mistake) = MasterKeys::parse(&key)
    {
        settings.mistake(format!("MASTER_KEY: {mistake}"));
    }
    key
}

fn read_key_plan(settings: &mut Settings, token_life: Duration) -> KeyPlan {
    let plan = KeyPlan {
        alg: settings.or::<SigningAlg>("SIGNING_ALG", "ES256", "how access tokens are signed: ES256, EdDSA or RS256"),
        rotation: settings.or("KEY_ROTATION", "30d", "how long a signing key signs"),
        publish_lead: settings.or("KEY_PUBLISH_LEAD", "15m", "how long it is published before it signs"),
        token_life,
    };
    if plan.publish_lead < SHORTEST_LEAD {
        settings
            .mistake("KEY_PUBLISH_LEAD: expected at least 30s, for others keep the published keys for a third of it");
    }
    if plan.rotation < plan.publish_lead * 2 {
        settings.mistake("KEY_ROTATION: expected at least twice KEY_PUBLISH_LEAD");
    }
    plan
}

fn read_throttle_limits(settings: &mut Settings) -> ThrottleLimits {
    let attempts_per_account: u64 = settings.at_least_one(
        "LOGIN_ATTEMPTS_PER_ACCOUNT",
        "10",
        "wrong passwords per account and network, or per browser that knows the account, and window",
    );
    let limits = ThrottleLimits {
        attempts_per_account,
        attempts_per_account_overall: settings.at_least_one(
            "LOGIN_ATTEMPTS_PER_ACCOUNT_OVERALL",
            &attempts_per_account.saturating_mul(10).to_string(),
            "wrong passwords per account and window, from all networks together; by default ten times those from one",
        ),
        attempts_per_address: settings.at_least_one(
            "LOGIN_ATTEMPTS_PER_ADDRESS",
            "100",
            "wrong passwords per network and window, for all accounts together",
        ),
        registrations_per_address: settings.at_least_one(
            "REGISTRATIONS_PER_ADDRESS",
            "100",
            "accounts made per address and window",
        ),
        client_failures: settings.at_least_one(
            "CLIENT_FAILURES",
            "100",
            "failed proofs of who a client is, per client, address and window",
        ),
        client_registrations_per_address: settings.at_least_one(
            "CLIENT_REGISTRATIONS_PER_ADDRESS",
            "100",
            "clients that try to register themselves per address and window",
        ),
        changes_per_owner: settings.at_least_one(
            "CHANGES_PER_OWNER",
            "100",
            "changes of its own entry by an account or a registered client, per window",
        ),
        window: settings.positive("LOGIN_ATTEMPTS_WINDOW", "15m", "the window of these"),
    };
    if limits.attempts_per_account_overall < limits.attempts_per_account {
        settings.mistake("LOGIN_ATTEMPTS_PER_ACCOUNT_OVERALL: expected at least LOGIN_ATTEMPTS_PER_ACCOUNT");
    }
    limits
}

fn read_hash_threads(settings: &mut Settings) -> usize {
    let threads: usize =
        settings.or("HASH_THREADS", "0", "threads that hash passwords, 19 MiB each; 0: one for each core");
    if threads > 0 { threads } else { std::thread::available_parallelism().map_or(2, usize::from) }
}

fn read_first_clients(settings: &mut Settings, known: &ApiScopes) -> Vec<FirstClient> {
    let meaning = "clients that each start brings up to date: a JSON array of metadata (RFC 7591) with client_id, \
                   client_secret and first_party";
    let FirstClients(clients) = settings.or("FIRST_CLIENTS", "[]", meaning);
    for FirstClient { id, metadata, .. } in &clients {
        if let Err(unknown) = metadata.scope.check_words(known, &Scope::default()) {
            settings.mistake(format!("FIRST_CLIENTS: {id}: {unknown}"));
        }
    }
    clients
}

fn read_registration_rules(settings: &mut Settings, known: &ApiScopes) -> RegistrationRules {
    let rules = RegistrationRules {
        mode: settings.or("CLIENT_REGISTRATION", "off", "whether clients may register themselves: off, or token"),
        scope: settings.or(
            "CLIENT_REGISTRATION_SCOPE",
            "openid profile email address phone offline_access",
            "all that such clients may ask for",
        ),
        max_clients: settings.or("MAX_REGISTERED_CLIENTS", "1000", "how many such clients there may be"),
    };
    if rules.scope.contains(ADMINISTRATION) {
        settings.mistake("CLIENT_REGISTRATION_SCOPE: expected no admin: nobody here has looked at such a client");
    }
    if let Err(unknown) = rules.scope.check_words(known, &Scope::default()) {
        settings.mistake(format!("CLIENT_REGISTRATION_SCOPE: {}", unknown.detail));
    }
    rules
}

fn read_administrator(settings: &mut Settings) -> FirstUser {
    let email = settings.or("ADMIN_EMAIL", "admin@example.com", "the administrator that a first start makes");
    let password: Option<SecretString> =
        settings.optional("ADMIN_PASSWORD", "the first administrator's password; else one is made up and printed once");
    let password = password.and_then(|text| {
        NewPassword::parse(text.expose_secret())
            .map_err(|error| settings.mistake(format!("ADMIN_PASSWORD: {error}")))
            .ok()
    });
    FirstUser { email, display_name: "Administrator".to_owned(), password, roles: Roles::administrator() }
}
