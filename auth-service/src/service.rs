//! The service's parts, opened and put together. Decides nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::cookie::SameSite;
use anyhow::Context as _;
use ipnet::IpNet;
use secrecy::ExposeSecret as _;
use shared::authentication::strategy::{Credential, Place, Strategy};
use shared::authentication::{CookieKeys, DenyListMode, ProofNonces, SessionCookie};
use shared::clock::{Clock, Timestamp};
use shared::database::Database;
use shared::key_value::{Budget, DatabaseKeyValueStore, KeyValueStore, RedisKeyValueStore};
use shared::problem::Problem;
use shared::redis::Redis;
use shared::request::TrustedProxies;
use shared::session::{NoSessionStore, RedisSessionStore, SessionStore, StoreUnavailable};

use crate::back_channel::BackChannel;
use crate::clients::WebAddress;
use crate::clients::fetch::Fetch;
use crate::clients::registration::RegistrationRules;
use crate::clients::remote_keys::RemoteKeys;
use crate::config::{Config, SessionRules, Stores};
use crate::end_session::{Own, Unsettled, is_followed};
use crate::grants::Ungiven;
use crate::known_browser::DeviceCookies;
use crate::password::PasswordHasher;
use crate::platform::OwnPlatform;
use crate::pruning::Retention;
use crate::refresh_token::RefreshTokens;
use crate::refusals::Refusals;
use crate::scopes::ApiScopes;
use crate::seal::MasterKeys;
use crate::sealed_requests::SealedRequests;
use crate::session_owners::SessionOwners;
use crate::signing_keys::SigningKeys;
use crate::small_values::SmallValues;
use crate::storage::MIGRATIONS;
use crate::storage::audit::{self, Entry};
use crate::storage::users::UserReader;
use crate::throttle::Throttle;

/// How long a start waits for a Redis that does not answer, and between two tries.
const START_PATIENCE: Duration = Duration::from_secs(10);
const START_PAUSE: Duration = Duration::from_millis(250);

/// How far clocks are apart at the most, as verifiers allow.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
const A_DAY: Duration = Duration::from_secs(86_400);

/// What acts work with. Opened without a listener, it serves the command line too.
pub struct AuthService {
    pub database: Database,
    pub users: UserReader,
    pub sessions: Arc<dyn SessionStore>,
    pub owners: SessionOwners,
    pub key_values: SmallValues,
    /// Requests that wait in the browser.
    pub sealed_requests: SealedRequests,
    pub proof_nonces: ProofNonces,
    pub throttle: Throttle,
    pub device_cookies: DeviceCookies,
    pub hasher: PasswordHasher,
    pub keys: SigningKeys,
    pub fetch: Arc<Fetch>,
    pub client_keys: RemoteKeys,
    pub registration: RegistrationRules,
    pub refresh_tokens: RefreshTokens,
    pub issuer: String,
    pub audiences: Vec<String>,
    pub api_scopes: ApiScopes,
    pub cookie_secure: bool,
    /// Of the cookie of a browser's session at this service.
    pub browser_same_site: SameSite,
    pub strategy: Strategy,
    /// What other services are told of this one.
    pub platform: OwnPlatform,
    pub session_cookie: SessionCookie,
    /// Where the session itself is in the cookie.
    pub cookie_keys: Option<CookieKeys>,
    /// The endings that this process carries out itself, where it follows those of others.
    pub own_endings: Own,
    /// How long an announcement of the feed matters.
    pub remembers_announcements: Duration,
    name: &'static str,
    pub rules: SessionRules,
    pub retention: Retention,
    pub back_channel: BackChannel,
    pub unsettled: Unsettled,
    /// The log lines of refused clients.
    pub refusals: Refusals,
    pub ungiven: Ungiven,
    pub trusted_proxies: TrustedProxies,
    pub admin_allowed_networks: Vec<IpNet>,
    pub clock: Clock,
}

impl AuthService {
    /// Opens the database and the stores, brings the tables up to date, and reads or makes the signing keys.
    ///
    /// # Errors
    /// What is missing or does not answer, in words for an operator.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let master_keys = || MasterKeys::parse(&config.master_key).context("MASTER_KEY");
        anyhow::ensure!(!config.master_key.expose_secret().is_empty(), "MASTER_KEY is not set");
        let refresh_tokens = RefreshTokens::new(&master_keys()?);
        let database = open_database(config).await?;
        let OpenStores { sessions, key_values, redis } = open_stores(config, &database).await?;
        let budget = Budget::new("anonymous", key_values.clone(), config.budget, config.clock.clone());
        let follows = is_followed(config.strategy.place(), sessions.remembers_since().is_some());
        let keys =
            SigningKeys::open(database.clone(), master_keys()?, config.keys.clone(), config.clock.clone()).await?;
        let keys = keys.with_shared_secret(config.shared_secret.clone());
        let fetch = Arc::new(Fetch::new(is_at_this_machine(&config.issuer))?);
        Ok(Self {
            users: UserReader::new(database.clone(), config.server.name),
            database,
            sessions,
            owners: SessionOwners::default(),
            throttle: Throttle::new(key_values.clone(), config.throttle.clone()),
            device_cookies: DeviceCookies::new(&master_keys()?, config.device_cookie_ttl),
            key_values: SmallValues::new(key_values, budget),
            sealed_requests: SealedRequests::new(&master_keys()?),
            proof_nonces: ProofNonces::new(CookieKeys::of(master_keys()?.derive("nonce of a DPoP proof"))),
            hasher: PasswordHasher::start(config.hash_threads, config.hash_queue)?,
            keys,
            client_keys: RemoteKeys::new(fetch.clone(), config.clock.clone()),
            fetch,
            registration: config.registration.clone(),
            refresh_tokens,
            issuer: config.issuer.clone(),
            audiences: config.audiences.clone(),
            api_scopes: config.api_scopes.clone(),
            cookie_secure: config.cookie_secure,
            browser_same_site: config.browser_same_site,
            strategy: config.strategy,
            platform: OwnPlatform::new(config, redis),
            session_cookie: config.session_cookie.clone(),
            cookie_keys: config.cookie_keys.clone(),
            own_endings: Own::new(follows),
            remembers_announcements: config.remember() + CLOCKS_DIFFER,
            name: config.server.name,
            rules: config.sessions.clone(),
            retention: config.retention.clone(),
            back_channel: BackChannel::new(config.back_channel.clone()),
            unsettled: Unsettled::default(),
            refusals: Refusals::default(),
            ungiven: Ungiven::default(),
            trusted_proxies: config.trusted_proxies.clone(),
            admin_allowed_networks: config.admin_allowed_networks.clone(),
            clock: config.clock.clone(),
        })
    }

    /// Endings from before may be forgotten: nothing that they took back can be shown any more. Where a store keeps the
    /// sessions, they are remembered for a day, for a store that comes back as it was before.
    pub(crate) fn remembers_endings_since(&self) -> Timestamp {
        let rules = &self.rules;
        let remember = match self.strategy.place() {
            Place::Client => rules.absolute_ttl + rules.access_token_ttl,
            Place::Memory | Place::EachNode | Place::Redis | Place::RedisOrMemory => rules.access_token_ttl.max(A_DAY),
        };
        self.clock.now() - remember - CLOCKS_DIFFER
    }

    /// This service's own name as an audience: tokens for it open userinfo and the account.
    pub fn own_audience(&self) -> &'static str {
        self.name
    }

    /// Writes to the audit, or refuses: what cannot be written down must not happen.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn record(&self, entry: &Entry) -> Result<(), Problem> {
        Ok(audit::write(&self.database, self.clock.now(), entry).await?)
    }

    /// Writes to the audit what has happened already and must not be held back by it. Without the database, the log is
    /// the audit.
    pub(crate) async fn record_or_log(&self, entry: &Entry) {
        if let Err(error) = audit::write(&self.database, self.clock.now(), entry).await {
            tracing::error!(%error, ?entry, "an entry is missing from the audit");
        }
    }
}

/// Whether the platform runs on a developer's machine, for that machine.
fn is_at_this_machine(issuer: &str) -> bool {
    issuer.parse::<WebAddress>().is_ok_and(|address| address.is_this_machine())
}

/// Opens the service's database and brings its tables up to date.
///
/// # Errors
/// It does not answer, or a migration fails.
pub async fn open_database(config: &Config) -> anyhow::Result<Database> {
    anyhow::ensure!(!config.database_url.is_empty(), "DATABASE_URL is not set");
    let opened = Database::open(&config.database_url, config.database_connections).await;
    let database = opened.context("the auth service's database cannot be opened")?;
    database.migrate(&MIGRATIONS).await.context("the tables could not be brought up to date")?;
    Ok(database)
}

struct OpenStores {
    sessions: Arc<dyn SessionStore>,
    key_values: Arc<dyn KeyValueStore>,
    /// Where other services hear of ended sessions too.
    redis: Option<Redis>,
}

async fn open_stores(config: &Config, database: &Database) -> anyhow::Result<OpenStores> {
    match &config.stores {
        Stores::Embedded(embedded) => {
            let in_database = || Arc::new(DatabaseKeyValueStore::new(database.clone(), config.clock.clone())) as _;
            Ok(OpenStores {
                sessions: embedded.sessions.clone(),
                key_values: embedded.key_values.clone().unwrap_or_else(in_database),
                redis: embedded.redis.clone(),
            })
        }
        Stores::Redis(url) => {
            let redis = Redis::open(url).context("REDIS_URL")?;
            check(&redis).await?;
            let feed_window = config.remember();
            let mut sessions =
                RedisSessionStore::new(redis.clone(), config.clock.clone(), feed_window).demanding_a_mark();
            if let Some(keys) = config.attribute_keys.clone() {
                sessions = sessions.sealing_attributes(keys);
            }
            let sessions = Arc::new(sessions);
            let key_values = Arc::new(RedisKeyValueStore::new(redis.clone(), config.clock.clone()));
            let redis = Some(redis);
            if config.strategy.place() != Place::Client {
                return Ok(OpenStores { sessions, key_values, redis });
            }
            let mode = match config.strategy.credential() {
                Credential::SealedCookie => DenyListMode::Feed,
                Credential::SessionCookie | Credential::BearerToken => config.deny_list,
            };
            let endings = mode.endings(sessions, key_values.clone(), feed_window);
            let sessions = Arc::new(NoSessionStore::new(config.clock.clone(), endings));
            Ok(OpenStores { sessions, key_values, redis })
        }
    }
}

/// Refuses a Redis that would lose revocations. One that does not answer may be starting too, or be busy: it gets a while.
async fn check(redis: &Redis) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        match redis.check_eviction_policy().await {
            Err(error) if error.is::<StoreUnavailable>() && started.elapsed() < START_PATIENCE => {
                tracing::warn!(error = format!("{error:#}"), "the start waits for Redis");
                tokio::time::sleep(START_PAUSE).await;
            }
            checked => return checked,
        }
    }
}
