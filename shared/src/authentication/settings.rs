//! What a service must be told to join, from its settings: the same names at every service.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::cookie::SameSite;
use url::Url;

use super::issuer;
use super::strategy::{Credential, Place, Strategy};
use super::{CookieKeys, DenyListMode, DomainPattern, PlatformCheck, ProofNonces, SessionCookie, SingleSignOnConfig};
use crate::clock::Clock;
use crate::config::{ConnectionUrl, Setting, Settings, quoted};
use crate::key_value::RedisKeyValueStore;
use crate::platform::StoreMark;
use crate::redis::Redis;
use crate::session::{AttributeKeys, Endings, MemorySessionStore, NoSessionStore, RedisSessionStore, SessionStore};
use crate::token::SharedSecret;

impl SingleSignOnConfig {
    /// Reads `ISSUER`, `ISSUER_INTERNAL_URL`, `JWKS_URL`, `PUBLIC_URL`, `SESSION_STRATEGY`, the session cookie's settings, `ACCESS_TOKEN_TTL`, `STEP_UP_AFTER` and, without `embedded`
    /// sessions, `REDIS_URL` and `SESSION_ATTRIBUTE_KEY`. `audience` is the service's name. Touches no network.
    ///
    /// Mistakes are kept in `settings`; call [`Settings::finish`] before [`join`](super::SingleSignOn::join).
    pub fn read(settings: &mut Settings, audience: &str, embedded: Option<Arc<dyn SessionStore>>) -> Self {
        let issuer = issuer::read(settings);
        let meaning = "the life of an access token, as at the auth service";
        let access_token_ttl: Duration = settings.positive("ACCESS_TOKEN_TTL", "5m", meaning);
        let clock = Clock::default();
        let strategy: Strategy = settings.or("SESSION_STRATEGY", "hybrid", "how sessions are shared between servers");
        let remember = how_long_to_remember(settings, strategy, access_token_ttl);
        if let Some(mistake) = strategy.refuses_separate_services().filter(|_| embedded.is_none()) {
            settings.mistake(mistake);
        }
        let public_url = public_url(settings);
        let addresses = Addresses::read(settings, &issuer);
        let (sessions, platform) = match embedded {
            Some(embedded) => (embedded, None),
            None => {
                let (sessions, redis) = shared_sessions(settings, strategy, &clock, remember);
                let (metadata_url, deny_list) = (addresses.metadata, DenyListMode::read(settings));
                (sessions, Some(PlatformCheck { metadata_url, store: redis.map(StoreMark::of), deny_list }))
            }
        };
        Self {
            audience: audience.to_owned(),
            scope: None,
            public_url: public_url.clone(),
            jwks_url: addresses.keys,
            issuer,
            strategy,
            session_cookie: SessionCookie::read(settings).of_pages_at(public_url.as_deref()),
            cookie_keys: CookieKeys::read(settings, strategy),
            cookie_scope: BTreeSet::new(),
            shared_secret: SharedSecret::read(settings, strategy),
            nonces: ProofNonces::read(settings),
            sessions,
            platform,
            access_token_ttl,
            remember,
            step_up_after: settings.positive("STEP_UP_AFTER", "15m", "how old a login may be for a sensitive request"),
            clock,
        }
    }

    /// Demands this word of scope of every token: one that was issued for less opens nothing here.
    pub fn with_scope(self, word: &str) -> Self {
        Self { scope: Some(word.to_owned()), ..self }
    }

    /// Where callers reach the service if `PUBLIC_URL` does not say so: where it listens, at localhost.
    pub fn listening_at(self, address: SocketAddr) -> Self {
        let own = || format!("http://localhost:{}", address.port());
        Self { public_url: self.public_url.or_else(|| Some(own())), ..self }
    }
}

/// How long a revocation matters: as long as what it takes back may be shown.
pub fn how_long_to_remember(settings: &mut Settings, strategy: Strategy, access_token_ttl: Duration) -> Duration {
    let meaning = "with a session cookie: a session ends after so long in any case";
    let longest: Duration = settings.or("SESSION_ABSOLUTE_TTL", "12h", meaning);
    strategy.remembers(longest, access_token_ttl)
}

impl CookieKeys {
    /// Reads `COOKIE_KEY` where the strategy seals sessions into cookies: then all services have the same.
    pub fn read(settings: &mut Settings, strategy: Strategy) -> Option<Self> {
        let meaning = "seals cookies: 32 random bytes in base64; under the strategy cookie the same at every service";
        if strategy.credential() != Credential::SealedCookie {
            return None;
        }
        let keys = settings.optional("COOKIE_KEY", meaning);
        if keys.is_none() {
            settings.mistake(format!("COOKIE_KEY: {meaning}: set the output of `openssl rand -base64 32`"));
        }
        // Others stand in until `finish` fails.
        keys.or_else(|| Some(Self::random()))
    }
}

impl ProofNonces {
    /// Reads `COOKIE_KEY`, where the service has one: its replicas take each other's nonces then.
    pub fn read(settings: &mut Settings) -> Self {
        let meaning = "seals cookies, and nonces of DPoP: 32 random bytes in base64; several with commas, the first seals. The \
                       same at every replica, under the strategy cookie at every service";
        settings.optional("COOKIE_KEY", meaning).map_or_else(Self::of_this_process, Self::new)
    }
}

impl AttributeKeys {
    /// Reads `SESSION_ATTRIBUTE_KEY`, and refuses it where the strategy keeps no sessions in Redis.
    pub fn read(settings: &mut Settings, strategy: Strategy) -> Option<Self> {
        let meaning = "seals the attributes of sessions in Redis: as COOKIE_KEY; the same at every service";
        let keys = settings.optional("SESSION_ATTRIBUTE_KEY", meaning)?;
        if matches!(strategy.place(), Place::Redis | Place::RedisOrMemory) {
            return Some(keys);
        }
        let name = strategy.as_str();
        settings.mistake(format!("SESSION_ATTRIBUTE_KEY: {name} keeps no sessions in Redis: there is nothing to seal"));
        None
    }
}

impl SessionCookie {
    /// Reads `SESSION_COOKIE_NAME`, `COOKIE_DOMAIN`, `COOKIE_DOMAIN_PATTERN`, `COOKIE_PATH`, `COOKIE_SECURE`,
    /// `COOKIE_SAME_SITE` and `COOKIE_ORIGINS`, and `ISSUER`, `SHOP_URL` and `ORDERS_URL`, whose pages may use it: the same
    /// at every service. Mistakes are kept in `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        let meaning = "the session cookie's name, where the strategy has one";
        let name: String = settings.or("SESSION_COOKIE_NAME", "SESSIONID", meaning);
        let meaning = "the parent domain whose hosts share the session cookie; without one it is the host's own";
        let domain: Option<String> = settings.optional("COOKIE_DOMAIN", meaning);
        let domain = domain.map(|domain| domain.trim_start_matches('.').to_ascii_lowercase());
        let meaning = "in its place: an expression for the host of a request, whose first group is the domain";
        let domain_pattern: Option<DomainPattern> = settings.optional("COOKIE_DOMAIN_PATTERN", meaning);
        let meaning = "true where browsers come by https: cookies are Secure and named __Host-…";
        let cookie = Self {
            name,
            domain,
            domain_pattern,
            path: settings.or("COOKIE_PATH", "/", "the session cookie's path"),
            secure: settings.or("COOKIE_SECURE", "false", meaning),
            same_site: settings.or::<CrossSite>("COOKIE_SAME_SITE", "lax", "strict, lax or none").0,
            origins: origins(settings),
        };
        for mistake in cookie.mistakes() {
            settings.mistake(mistake);
        }
        cookie
    }
}

impl SessionCookie {
    /// Lets the pages of the service itself use it too, where browsers know it by that address.
    fn of_pages_at(mut self, public_url: Option<&str>) -> Self {
        self.origins.extend(public_url.and_then(origin));
        self
    }
}

/// The origins of the platform's own pages, and those that the operator names. An address that is left out adds none.
fn origins(settings: &mut Settings) -> Vec<String> {
    let meaning = "origins of other pages that may change something by the session cookie, with commas between: \
                   https://app.shop.example";
    let named: Vec<String> = settings.or("COOKIE_ORIGINS", "", meaning);
    let mut origins = Vec::new();
    for text in named {
        match origin(&text).filter(|origin| text.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
            Some(origin) => origins.push(origin),
            None => {
                settings.mistake(format!("COOKIE_ORIGINS: expected http(s)://HOST[:PORT], found {}", quoted(&text)))
            }
        }
    }
    for (name, meaning) in [
        ("ISSUER", "the auth service's public address, as its tokens name it"),
        ("SHOP_URL", "the shop's public address, for links on pages"),
        ("ORDERS_URL", "the order service's public address, for links on pages"),
    ] {
        // The part that needs it reports the mistake.
        let told: Option<String> = settings.optional(name, meaning);
        origins.extend(told.as_deref().and_then(origin));
    }
    origins
}

/// The origin of an address, as browsers write it.
fn origin(address: &str) -> Option<String> {
    let origin = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

impl Setting for DomainPattern {
    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text)
    }
}

struct CrossSite(SameSite);

impl Setting for CrossSite {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "strict" => Ok(Self(SameSite::Strict)),
            "lax" => Ok(Self(SameSite::Lax)),
            "none" => Ok(Self(SameSite::None)),
            _ => Err(format!("expected strict, lax or none, found {text:?}")),
        }
    }
}

fn public_url(settings: &mut Settings) -> Option<String> {
    let meaning = "this service's address as callers know it; by default where it listens, at localhost";
    let url: Url = settings.optional("PUBLIC_URL", meaning)?;
    let is_plain = url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
        settings.mistake("PUBLIC_URL: expected an http or https URL without query and fragment");
    }
    Some(url.into())
}

/// Where the auth service is asked.
struct Addresses {
    keys: Url,
    metadata: Url,
}

const KEYS: &str = "/.well-known/jwks.json";
const METADATA: &str = "/.well-known/openid-configuration";

impl Addresses {
    /// Both are under the same address, unless `JWKS_URL` is a place of its own for the keys.
    fn read(settings: &mut Settings, issuer: &str) -> Self {
        let meaning = "where this process reaches the auth service, if not by ISSUER";
        let internal: Option<Url> = settings.optional("ISSUER_INTERNAL_URL", meaning);
        let meaning = "where the issuer's keys are read; by default under ISSUER_INTERNAL_URL or ISSUER";
        let keys: Option<Url> = settings.optional("JWKS_URL", meaning);
        let beside_the_keys = keys.as_ref().and_then(|keys| keys.as_str().strip_suffix(KEYS).map(str::to_owned));
        let base = internal.map_or_else(|| issuer.to_owned(), String::from);
        let metadata = at(&beside_the_keys.unwrap_or_else(|| base.clone()), METADATA);
        Self { keys: keys.unwrap_or_else(|| at(&base, KEYS)), metadata }
    }
}

/// An issuer that is no address is a mistake that is named already.
fn at(base: &str, path: &str) -> Url {
    let url = Url::parse(&format!("{}{path}", base.trim_end_matches('/')));
    url.unwrap_or_else(|_| Url::parse(&format!("http://localhost:8081{path}")).expect("a constant that is a URL"))
}

/// The sessions in Redis; under `jwt`, what tells of their ends, if anything does. With the Redis, where there is one.
fn shared_sessions(
    settings: &mut Settings,
    strategy: Strategy,
    clock: &Clock,
    ttl: Duration,
) -> (Arc<dyn SessionStore>, Option<Redis>) {
    let mode = DenyListMode::read(settings);
    let attribute_keys = AttributeKeys::read(settings, strategy);
    let nobody_keeps_any = strategy.place() == Place::Client;
    let meaning = "the Redis of the auth service: sessions and revocations";
    let mode = match strategy.credential() {
        Credential::SealedCookie => DenyListMode::Feed,
        Credential::SessionCookie | Credential::BearerToken => mode,
    };
    if nobody_keeps_any && mode == DenyListMode::Off {
        return (Arc::new(NoSessionStore::new(clock.clone(), Endings::Untold)), None);
    }
    let ConnectionUrl(url) = settings.required("REDIS_URL", "redis://localhost:6379/0", meaning);
    match Redis::open(&url) {
        Ok(redis) => {
            let mut sessions = RedisSessionStore::new(redis.clone(), clock.clone(), ttl).demanding_a_mark();
            if let Some(keys) = attribute_keys {
                sessions = sessions.sealing_attributes(keys);
            }
            let sessions = Arc::new(sessions);
            if !nobody_keeps_any {
                return (sessions, Some(redis));
            }
            let list = Arc::new(RedisKeyValueStore::new(redis.clone(), clock.clone()));
            let endings = mode.endings(sessions, list, ttl);
            (Arc::new(NoSessionStore::new(clock.clone(), endings)), Some(redis))
        }
        Err(error) => {
            settings.mistake(format!("REDIS_URL: {error}"));
            // Stands in until `finish` fails.
            (Arc::new(MemorySessionStore::new(clock.clone(), ttl)), None)
        }
    }
}
