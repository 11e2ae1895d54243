//! Where the one process keeps sessions and small values, as the strategy and `REDIS_URL` say. Owns its node of a cluster;
//! knows no service.

use std::sync::Arc;
use std::time::Duration;

use auth_service::EmbeddedStores;
use secrecy::{ExposeSecret as _, SecretString};
use shared::authentication::strategy::{Credential, Place, Strategy};
use shared::authentication::{DenyListMode, how_long_to_remember};
use shared::clock::Clock;
use shared::config::Settings;
use shared::key_value::{KeyValueStore, MemoryKeyValueStore, RedisKeyValueStore};
use shared::redis::Redis;
use shared::session::{
    AttributeKeys, Endings, MemorySessionStore, NoSessionStore, RedisSessionStore, ReplicatedConfig,
    ReplicatedSessionStore, SessionStore,
};

/// What was read of the settings.
pub(crate) struct ReadStores {
    /// None where each service opens its own, in Redis.
    pub(crate) embedded: Option<EmbeddedStores>,
    /// Where all nodes hold all sessions: then those that are embedded stand in until [`Node::start`], and keep nothing.
    pub(crate) node: Option<Node>,
    /// A gateway leads each browser to the one node that has its session.
    pub(crate) is_pinned: bool,
}

/// One of the nodes that hold all sessions, before it starts.
pub(crate) struct Node {
    config: ReplicatedConfig,
    clock: Clock,
    longest_token: Duration,
}

impl Node {
    /// Listens for the other nodes, and begins to take over what they hold.
    ///
    /// # Errors
    /// `CLUSTER_LISTEN` is not free.
    pub(crate) async fn start(self) -> anyhow::Result<Arc<dyn SessionStore>> {
        Ok(Arc::new(ReplicatedSessionStore::start(&self.config, self.clock, self.longest_token).await?))
    }
}

/// Sessions and small values in memory, unless a Redis is named or the strategy says where they are.
pub(crate) fn read_stores(settings: &mut Settings) -> ReadStores {
    let meaning = "the Redis with the sessions; without it they are in memory, and end with the process";
    let redis: Option<SecretString> = settings.optional("REDIS_URL", meaning);
    let meaning = "life of an access token; the same for all services";
    let access_token_ttl: Duration = settings.or("ACCESS_TOKEN_TTL", "5m", meaning);
    let strategy: Strategy = settings.or("SESSION_STRATEGY", "hybrid", "how sessions are shared between servers");
    if AttributeKeys::read(settings, strategy).is_some() && redis.is_none() {
        settings.mistake("SESSION_ATTRIBUTE_KEY: without REDIS_URL no sessions are in Redis: there is nothing to seal");
    }
    let clock = Clock::default();
    let (mut node, is_pinned) = (None, strategy.place() == Place::Memory);
    let sessions: Arc<dyn SessionStore> = match strategy.place() {
        Place::Client => {
            let remember = how_long_to_remember(settings, strategy, access_token_ttl);
            let embedded = Some(no_sessions(settings, redis.as_ref(), strategy, remember));
            return ReadStores { embedded, node, is_pinned };
        }
        Place::EachNode => {
            let config = ReplicatedConfig::read(settings);
            node = Some(Node { config, clock: clock.clone(), longest_token: access_token_ttl });
            Arc::new(NoSessionStore::new(clock.clone(), Endings::Untold))
        }
        Place::Redis if redis.is_none() => {
            settings.mistake("SESSION_STRATEGY: redis needs REDIS_URL");
            in_memory(&clock, access_token_ttl)
        }
        Place::Redis | Place::RedisOrMemory if redis.is_some() => {
            return ReadStores { embedded: None, node, is_pinned };
        }
        Place::Memory | Place::Redis | Place::RedisOrMemory => in_memory(&clock, access_token_ttl),
    };
    // Of several nodes, each is asked for what another one has written.
    let are_many = matches!(strategy.place(), Place::Memory | Place::EachNode);
    let key_values = if are_many && redis.is_none() { None } else { Some(key_values(settings, redis.as_ref(), clock)) };
    ReadStores { embedded: Some(EmbeddedStores { sessions, key_values, redis: None }), node, is_pinned }
}

fn in_memory(clock: &Clock, access_token_ttl: Duration) -> Arc<dyn SessionStore> {
    Arc::new(MemorySessionStore::new(clock.clone(), access_token_ttl))
}

/// Stores that keep no session, and tell of ended ones as `JWT_DENY_LIST` says.
fn no_sessions(
    settings: &mut Settings,
    redis: Option<&SecretString>,
    strategy: Strategy,
    remember: Duration,
) -> EmbeddedStores {
    let clock = Clock::default();
    let key_values = key_values(settings, redis, clock.clone());
    let told = DenyListMode::read(settings);
    if told == DenyListMode::Redis && redis.is_none() {
        settings.mistake("JWT_DENY_LIST: redis needs REDIS_URL");
    }
    let redis = redis.and_then(|url| Redis::open(url.expose_secret()).ok());
    let feed: Arc<dyn SessionStore> = match redis.clone() {
        Some(redis) => Arc::new(RedisSessionStore::new(redis, clock.clone(), remember).demanding_a_mark()),
        None => Arc::new(MemorySessionStore::new(clock.clone(), remember)),
    };
    let mode = if strategy.credential() == Credential::SealedCookie { DenyListMode::Feed } else { told };
    let endings = mode.endings(feed, key_values.clone(), remember);
    let sessions = Arc::new(NoSessionStore::new(clock, endings));
    EmbeddedStores { sessions, key_values: Some(key_values), redis }
}

/// One-time codes and the counts of attempts, which all nodes share where there is a Redis.
fn key_values(settings: &mut Settings, redis: Option<&SecretString>, clock: Clock) -> Arc<dyn KeyValueStore> {
    match redis.map(|url| Redis::open(url.expose_secret())) {
        Some(Ok(redis)) => return Arc::new(RedisKeyValueStore::new(redis, clock)),
        Some(Err(error)) => settings.mistake(format!("REDIS_URL: {error}")),
        None => {}
    }
    Arc::new(MemoryKeyValueStore::new(clock))
}
