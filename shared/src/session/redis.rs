//! Sessions on Redis. Owns the keys and the scripts: one round trip and one atomic step for each verb.
//!
//! A partition's keys share a hash tag, so that they share a slot of a cluster, and each script works in one. A script
//! names the keys that it always needs: while their slot moves to another node, it is refused as long as one of them is
//! elsewhere. Nothing enumerates keys. `T` is one of [`TAGS`], chosen by the user; keys are named here and in `redis/record.lua` only.
//!
//! | key | what | content | lives until |
//! |---|---|---|---|
//! | `roam:{T}:s:SESSION` | hash | `u` user, `r` roles, `m` methods, `d` device, `p` address, `c` created, `l` last seen, `i` idle, `x` expires, `v` version, `g:CLIENT` generation:rotated, `a:NAME` attribute | idle or absolute expiry |
//! | `roam:{T}:u:USER` | sorted set | sessions by creation | the last expiry; pruned on read |
//! | `roam:{T}:on` | sorted set | sessions by last seen | the last expiry; pruned on read |
//! | `roam:{T}:rev` | stream | `s` session or `j` token | each entry an access token's life |
//! | `roam:{T}:mark` | text | the number up to which the stream holds what the auth service's database remembers | Redis forgets |
//!
//! Times are microseconds of the Redis server's clock. Short values keep a hash in its compact form: 400 bytes.
//! With [`RedisSessionStore::sealing_attributes`], the value of an attribute is sealed.

mod feed;
mod sealing;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{Script, ScriptInvocation, pipe};
use futures_util::future::try_join_all;

pub use self::sealing::AttributeKeys;
use super::{
    Attributes, ClientGrant, Created, EndReason, FEED_MARGIN, FeedMark, FeedPosition, Granted, LimitPolicy,
    MOST_GRANTS, NewSession, OnlineCursor, OnlinePage, PLATFORM_CLIENT, Revocation, Rotation, Session, SessionId,
    SessionLimit, SessionStore, StoreUnavailable, Touched, UserId, Written,
};
use crate::arrival;
use crate::clock::{Clock, Timestamp};
use crate::redis::{NOW, Redis, Slot};

/// Hash tags whose slots lie in one sixteenth of a cluster's 16,384 slots each.
const TAGS: [&str; SessionId::PARTITIONS as usize] =
    ["03", "21", "0b", "2d", "02", "20", "0c", "2a", "01", "23", "0d", "2b", "00", "22", "0a", "2c"];

macro_rules! scripts {
    ($($name:ident = $file:literal),* $(,)?) => {$(
        static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(&[NOW, include_str!("redis/record.lua"), include_str!($file)].concat())
        });
    )*};
}

scripts! {
    CREATE = "redis/create.lua",
    TOUCH = "redis/touch.lua",
    WRITE = "redis/write.lua",
    ROTATE = "redis/rotate.lua",
    GRANT = "redis/grant.lua",
    END_GRANT = "redis/end_grant.lua",
    END = "redis/end.lua",
    END_ALL = "redis/end_all.lua",
    LIST = "redis/list.lua",
    ONLINE = "redis/online.lua",
    REVOKE_TOKEN = "redis/revoke_token.lua",
    MARK = "redis/mark.lua",
}

fn prefix(partition: u8) -> String {
    format!("roam:{{{}}}:", TAGS[usize::from(partition % SessionId::PARTITIONS)])
}

fn slot(partition: u8) -> Slot {
    Slot::of(&prefix(partition))
}

fn session_key(id: SessionId) -> String {
    format!("{}s:{id}", prefix(id.partition()))
}

fn user_key(user: UserId) -> String {
    format!("{}u:{user}", prefix(user.partition()))
}

fn online_key(partition: u8) -> String {
    format!("{}on", prefix(partition))
}

fn feed_key(partition: u8) -> String {
    format!("{}rev", prefix(partition))
}

fn mark_key(partition: u8) -> String {
    format!("{}mark", prefix(partition))
}

/// A hash's fields and values, as Redis answers them.
type Contents = Vec<(Vec<u8>, Vec<u8>)>;

/// Sessions on Redis, for any number of processes.
pub struct RedisSessionStore {
    redis: Redis,
    clock: Clock,
    feed_window: Duration,
    attribute_keys: Option<AttributeKeys>,
    demands_mark: bool,
}

impl RedisSessionStore {
    /// `feed_window` is the longest life of an access token: so long a revocation matters. The time is the Redis
    /// server's; of the clock only what a test moved it by counts.
    pub fn new(redis: Redis, clock: Clock, feed_window: Duration) -> Self {
        Self { redis, clock, feed_window: feed_window + FEED_MARGIN, attribute_keys: None, demands_mark: false }
    }

    /// Takes the feed for read only where it is marked ([`SessionStore::feed_mark`]): an empty feed may be one that has
    /// lost its memory. For services beside an auth service, which marks it.
    pub fn demanding_a_mark(self) -> Self {
        Self { demands_mark: true, ..self }
    }

    /// Seals the values of attributes; their names stay plain. One that no key opens, that is not sealed, or that was
    /// sealed for another session or name, is absent: so each attribute must mean less when it is absent. All who read
    /// these sessions need the same keys.
    pub fn sealing_attributes(self, keys: AttributeKeys) -> Self {
        Self { attribute_keys: Some(keys), ..self }
    }

    /// As it is kept.
    fn kept<'a>(&self, id: SessionId, name: &str, value: &'a str) -> Cow<'a, str> {
        match &self.attribute_keys {
            Some(keys) => keys.seal(id, name, value).into(),
            None => value.into(),
        }
    }

    fn session(&self, id: SessionId, contents: &Contents) -> Option<Session> {
        let mut session = session(id, contents)?;
        if let Some(keys) = &self.attribute_keys {
            let kept = std::mem::take(&mut session.attributes);
            let opened = kept.into_iter().filter_map(|(name, value)| Some((keys.open(id, &name, &value)?, name)));
            session.attributes = opened.map(|(value, name)| (name, value)).collect();
        }
        Some(session)
    }

    fn named_session(&self, (id, contents): &(String, Contents)) -> Option<Session> {
        self.session(id.parse().ok()?, contents)
    }

    /// A call of `script` on one key, with the keys and the three arguments that all scripts take.
    fn call<'a>(&self, script: &'a Script, key: String, partition: u8) -> ScriptInvocation<'a> {
        let mut call = script.key(key);
        call.key(online_key(partition)).key(feed_key(partition));
        let (moved, window) = (self.clock.offset().as_micros(), self.feed_window.as_micros());
        call.arg(number(moved)).arg(prefix(partition)).arg(number(window));
        call
    }

    /// A call on one session.
    fn on_session<'a>(&self, script: &'a Script, id: SessionId) -> ScriptInvocation<'a> {
        let mut call = self.call(script, session_key(id), id.partition());
        call.arg(id.to_string());
        call
    }
}

/// Redis takes no 128-bit integers.
fn number(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[async_trait]
impl SessionStore for RedisSessionStore {
    async fn create(&self, new: NewSession, limit: SessionLimit) -> Result<Created, StoreUnavailable> {
        arrival::before_an_effect()?;
        let new = new.bounded();
        let id = SessionId::random_for(new.user);
        let policy = match limit.policy {
            LimitPolicy::EndOldest => "end",
            LimitPolicy::Refuse => "refuse",
        };
        let mut call = self.call(&CREATE, user_key(new.user), id.partition());
        call.arg(id.to_string()).arg(new.user.to_string()).arg(limit.max.max(1)).arg(policy);
        call.arg(number(new.idle.as_micros())).arg(number(new.absolute.as_micros())).arg(new.client);
        call.arg("r").arg(list_to_text(&new.roles)).arg("m").arg(list_to_text(&new.amr));
        call.arg("d").arg(new.device).arg("p").arg(new.address);
        for (name, value) in &new.attributes {
            call.arg(format!("a:{name}")).arg(&*self.kept(id, name, value));
        }
        let created: Option<(Contents, Vec<String>)> = self.redis.invoke(slot(id.partition()), &call).await?;
        let Some((contents, ended)) = created else { return Ok(Created::LimitReached) };
        let session = self.session(id, &contents).ok_or_else(|| unexpected("create"))?;
        Ok(Created::Begun { session, ended: ids(&ended) })
    }

    async fn load(&self, id: SessionId) -> Result<Option<Session>, StoreUnavailable> {
        let mut both = pipe();
        both.cmd("HGETALL").arg(session_key(id)).cmd("TIME");
        let answer: Result<(Contents, (i64, i64)), _> = self.redis.pipeline(slot(id.partition()), &both).await;
        let (contents, (seconds, micros)) = match answer {
            // Not a record of ours, and so not to be read.
            Err(error) if error.0.contains("WRONGTYPE") => return Ok(None),
            answer => answer?,
        };
        let now = Timestamp::from_seconds(seconds) + Duration::from_micros(micros.unsigned_abs()) + self.clock.offset();
        Ok(self.session(id, &contents).filter(|session| now < session.ends_at()))
    }

    async fn touch(&self, id: SessionId) -> Result<Touched, StoreUnavailable> {
        match self.redis.invoke(slot(id.partition()), &self.on_session(&TOUCH, id)).await? {
            0 => Ok(Touched::Gone),
            1 => Ok(Touched::NotDue),
            2 => Ok(Touched::Seen),
            _ => Err(unexpected("touch")),
        }
    }

    async fn write(
        &self,
        id: SessionId,
        changes: &[(String, Option<String>)],
        expected: Option<u64>,
    ) -> Result<Written, StoreUnavailable> {
        arrival::before_an_effect()?;
        let mut call = self.on_session(&WRITE, id);
        call.arg(expected.map_or_else(String::new, |version| version.to_string()));
        for (name, value) in changes {
            let kept = value.as_deref().map(|value| self.kept(id, name, value));
            call.arg(if kept.is_some() { "set" } else { "remove" });
            call.arg(format!("a:{name}")).arg(kept.as_deref().unwrap_or_default());
        }
        match self.redis.invoke::<i64>(slot(id.partition()), &call).await? {
            -1 => Ok(Written::Gone),
            -2 => Ok(Written::VersionConflict),
            version => u64::try_from(version).map(Written::Version).map_err(|_| unexpected("write")),
        }
    }

    async fn rotate(
        &self,
        id: SessionId,
        client: &str,
        presented: u64,
        grace: Duration,
    ) -> Result<Rotation, StoreUnavailable> {
        arrival::before_an_effect()?;
        let mut call = self.on_session(&ROTATE, id);
        call.arg(client).arg(presented).arg(number(grace.as_micros()));
        call.arg(number(arrival::waited().as_micros())).arg(u8::from(client == PLATFORM_CLIENT));
        let answer: Option<(String, u64, Contents)> = self.redis.invoke(slot(id.partition()), &call).await?;
        let Some((done, generation, contents)) = answer else { return Ok(Rotation::Gone) };
        let Some(session) = self.session(id, &contents) else { return Ok(Rotation::Gone) };
        match done.as_str() {
            "rotated" => Ok(Rotation::Rotated { session, generation }),
            "repeated" => Ok(Rotation::Repeated { session, generation }),
            "stolen" => Ok(Rotation::Stolen { session }),
            "stolen from client" => Ok(Rotation::StolenFromClient { session }),
            "late" => Ok(Rotation::Late),
            _ => Err(unexpected("rotate")),
        }
    }

    async fn grant(&self, id: SessionId, client: &str) -> Result<Granted, StoreUnavailable> {
        arrival::before_an_effect()?;
        let mut call = self.on_session(&GRANT, id);
        call.arg(client).arg(MOST_GRANTS);
        let answer: Option<(String, Contents)> = self.redis.invoke(slot(id.partition()), &call).await?;
        match answer {
            None => Ok(Granted::Gone),
            Some((done, _)) if done == "full" => Ok(Granted::Full),
            Some((_, contents)) => Ok(self.session(id, &contents).map_or(Granted::Gone, Granted::Begun)),
        }
    }

    async fn end_grant(&self, id: SessionId, client: &str) -> Result<(), StoreUnavailable> {
        arrival::before_an_effect()?;
        let mut call = self.on_session(&END_GRANT, id);
        call.arg(client);
        self.redis.invoke(slot(id.partition()), &call).await
    }

    async fn end(&self, id: SessionId, _reason: EndReason) -> Result<Option<Session>, StoreUnavailable> {
        arrival::before_an_effect()?;
        let was: Option<Contents> = self.redis.invoke(slot(id.partition()), &self.on_session(&END, id)).await?;
        Ok(was.and_then(|contents| self.session(id, &contents)))
    }

    async fn end_all(
        &self,
        user: UserId,
        except: Option<SessionId>,
        _reason: EndReason,
    ) -> Result<Vec<SessionId>, StoreUnavailable> {
        arrival::before_an_effect()?;
        let mut call = self.call(&END_ALL, user_key(user), user.partition());
        call.arg(user.to_string()).arg(except.map_or_else(String::new, |id| id.to_string()));
        let ended: Vec<String> = self.redis.invoke(slot(user.partition()), &call).await?;
        Ok(ids(&ended))
    }

    async fn list(&self, user: UserId) -> Result<Vec<Session>, StoreUnavailable> {
        let mut call = self.call(&LIST, user_key(user), user.partition());
        call.arg(user.to_string());
        let found: Vec<(String, Contents)> = self.redis.invoke(slot(user.partition()), &call).await?;
        Ok(found.iter().filter_map(|named| self.named_session(named)).collect())
    }

    async fn online(&self, after: Option<OnlineCursor>, limit: usize) -> Result<OnlinePage, StoreUnavailable> {
        let limit = limit.clamp(1, 100);
        let pages = (0..SessionId::PARTITIONS).map(async |partition| {
            let mut call = self.call(&ONLINE, online_key(partition), partition);
            call.arg(limit + 1);
            if let Some(cursor) = after {
                call.arg(cursor.last_seen_at.micros()).arg(cursor.session.to_string());
            }
            self.redis.invoke(slot(partition), &call).await
        });
        let found: Vec<Vec<(String, Contents)>> = try_join_all(pages).await?;
        let mut sessions: Vec<_> = found.iter().flatten().filter_map(|named| self.named_session(named)).collect();
        sessions.sort_by_cached_key(|session| std::cmp::Reverse((session.last_seen_at, session.id.to_string())));
        let more = sessions.len() > limit;
        sessions.truncate(limit);
        Ok(OnlinePage::of(sessions, more))
    }

    async fn revoke_token(&self, user: UserId, token_id: u128) -> Result<(), StoreUnavailable> {
        arrival::before_an_effect()?;
        let mut call = self.call(&REVOKE_TOKEN, feed_key(user.partition()), user.partition());
        call.arg(format!("{token_id:032x}"));
        self.redis.invoke(slot(user.partition()), &call).await
    }

    /// Which entries matter still only the server's clock tells: where each stream begins is asked when it is read.
    fn feed_start(&self) -> FeedPosition {
        FeedPosition::default()
    }

    async fn follow(&self, position: &FeedPosition) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable> {
        self.read_feed(position).await
    }

    async fn feed_mark(&self) -> Result<FeedMark, StoreUnavailable> {
        self.read_mark().await
    }

    async fn mark_feed(&self, seen: &FeedMark, through: i64) -> Result<(), StoreUnavailable> {
        let marks = (0..SessionId::PARTITIONS).zip(&seen.0).filter(|(_, seen)| through >= 0 || seen.is_none());
        let marks = marks.map(async |(partition, seen)| {
            let mut call = self.call(&MARK, mark_key(partition), partition);
            call.arg(seen.map_or_else(String::new, |seen| seen.to_string())).arg(through);
            self.redis.invoke::<()>(slot(partition), &call).await
        });
        try_join_all(marks).await.map(drop)
    }

    fn remembers_since(&self) -> Option<Timestamp> {
        None
    }

    async fn ping(&self) -> Result<(), StoreUnavailable> {
        self.redis.ping().await
    }
}

fn unexpected(verb: &str) -> StoreUnavailable {
    StoreUnavailable(format!("{verb} answered what it never answers"))
}

fn ids(texts: &[String]) -> Vec<SessionId> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn list_to_text(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

/// The record as it is kept, or none where it cannot be read. Fields of a later release are left alone.
fn session(id: SessionId, contents: &Contents) -> Option<Session> {
    let mut fields = BTreeMap::new();
    for (name, value) in contents {
        fields.insert(str::from_utf8(name).ok()?, str::from_utf8(value).ok()?);
    }
    let list = |name| serde_json::from_str(fields.get(name)?).ok();
    let moment = |name| fields.get(name)?.parse().ok().map(Timestamp::from_micros);
    let named =
        |kind: &'static str| fields.iter().filter_map(move |(name, value)| Some((name.strip_prefix(kind)?, value)));
    let mut clients = BTreeMap::new();
    for (client, grant) in named("g:") {
        let (generation, rotated_at) = grant.split_once(':')?;
        let rotated_at = Timestamp::from_micros(rotated_at.parse().ok()?);
        clients.insert(client.to_owned(), ClientGrant { generation: generation.parse().ok()?, rotated_at });
    }
    Some(Session {
        id,
        user: fields.get("u")?.parse().ok()?,
        roles: list("r")?,
        amr: list("m")?,
        device: (*fields.get("d")?).to_owned(),
        address: (*fields.get("p")?).to_owned(),
        created_at: moment("c")?,
        last_seen_at: moment("l")?,
        idle: Duration::from_micros(fields.get("i")?.parse().ok()?),
        expires_at: moment("x")?,
        version: fields.get("v")?.parse().ok()?,
        clients,
        attributes: named("a:").map(|(name, value)| (name.to_owned(), (*value).to_owned())).collect::<Attributes>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_lies_in_its_own_sixteenth_of_a_cluster() {
        let mut sixteenths: Vec<u16> =
            (0..SessionId::PARTITIONS).map(|partition| slot(partition).0 / (Slot::COUNT / 16)).collect();
        sixteenths.sort_unstable();
        assert_eq!(sixteenths, (0..16).collect::<Vec<_>>());
    }
}
