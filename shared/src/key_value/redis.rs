//! Small values on Redis. Owns their keys and scripts: one round trip and one atomic step for each verb.
//!
//! | key | content |
//! |---|---|
//! | `roam:v:{PURPOSE:SUBJECT}` | a value: when it expires as 16 digits (microseconds), then its bytes |
//! | `roam:n:{PURPOSE:SUBJECT}` | a counter: when its window ends as 16 digits, then its number |
//!
//! Both lie in one slot of a cluster. The moment is in the value, for a test moves the clock and Redis does not see it.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{FromRedisValue, Script, ScriptInvocation, cmd};

use super::{Count, Key, KeyValueStore, MOST_AT_ONCE};
use crate::arrival::before_a_note;
use crate::clock::Clock;
use crate::redis::{NOW, Redis, Slot};
use crate::session::StoreUnavailable;

macro_rules! scripts {
    ($($name:ident = $verb:literal),* $(,)?) => {$(
        static $name: LazyLock<Script> = LazyLock::new(|| Script::new(&[NOW, ENTRY, $verb].concat()));
    )*};
}

const ENTRY: &str = "
-- What a key holds and until when, or nil when that is past.
local function read(key)
  local held = redis.call('GET', key)
  local expires = held and tonumber(string.sub(held, 1, 16))
  if expires and now < expires then
    return string.sub(held, 17), expires
  end
end

local function write(key, content, expires)
  redis.call('SET', key, string.format('%016.0f', expires) .. content)
  drop_at(key, expires)
end
";

scripts! {
    PUT = "write(KEYS[1], ARGV[2], now + ARGV[3])",
    CLAIM = "
if read(KEYS[1]) then
  return 0
end
write(KEYS[1], ARGV[2], now + ARGV[3])
return 1",
    GET = "return read(KEYS[1])",
    TAKE = "
local value = read(KEYS[1])
redis.call('DEL', KEYS[1])
return value",
    COUNT = "
local before, ends = read(KEYS[1])
ends = ends or now + ARGV[2]
local count = (tonumber(before) or 0) + tonumber(ARGV[3])
write(KEYS[1], string.format('%.0f', count), ends)
return { count, ends - now }",
    UNCOUNT = "
local before, ends = read(KEYS[1])
local count = tonumber(before) or 0
if count == 1 then
  redis.call('DEL', KEYS[1])
elseif count > 1 then
  write(KEYS[1], string.format('%.0f', count - 1), ends)
end
return 0",
}

fn value_key(key: &Key) -> String {
    format!("roam:v:{{{key}}}")
}

fn counter_key(key: &Key) -> String {
    format!("roam:n:{{{key}}}")
}

/// Small values on Redis, for any number of processes.
pub struct RedisKeyValueStore {
    redis: Redis,
    clock: Clock,
}

impl RedisKeyValueStore {
    /// The time is the Redis server's; of the clock only what a test moved it by counts.
    pub fn new(redis: Redis, clock: Clock) -> Self {
        Self { redis, clock }
    }

    /// Runs `script` on one key; `more` adds the arguments after the clock's.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        more: impl FnOnce(&mut ScriptInvocation<'_>) + Send,
    ) -> Result<T, StoreUnavailable> {
        let mut call = script.key(key);
        call.arg(micros(self.clock.offset()));
        more(&mut call);
        self.redis.invoke(Slot::of(key), &call).await
    }
}

/// At most a hundred years: a script counts with it.
fn micros(duration: Duration) -> u64 {
    const LONGEST: u64 = 100 * 365 * 86_400 * 1_000_000;
    u64::try_from(duration.as_micros()).map_or(LONGEST, |micros| micros.min(LONGEST))
}

#[async_trait]
impl KeyValueStore for RedisKeyValueStore {
    async fn put(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<(), StoreUnavailable> {
        before_a_note()?;
        self.run(&PUT, &value_key(key), |call| {
            call.arg(value).arg(micros(ttl));
        })
        .await
    }

    async fn claim(&self, key: &Key, value: &[u8], ttl: Duration) -> Result<bool, StoreUnavailable> {
        before_a_note()?;
        self.run(&CLAIM, &value_key(key), |call| {
            call.arg(value).arg(micros(ttl));
        })
        .await
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        self.run(&GET, &value_key(key), |_| {}).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        before_a_note()?;
        self.run(&TAKE, &value_key(key), |_| {}).await
    }

    async fn count_by(&self, key: &Key, amount: u64, window: Duration) -> Result<Count, StoreUnavailable> {
        before_a_note()?;
        let answer = self
            .run(&COUNT, &counter_key(key), |call| {
                call.arg(micros(window)).arg(amount.min(MOST_AT_ONCE));
            })
            .await;
        let (count, ends_in) = answer?;
        Ok(Count { count, ends_in: Duration::from_micros(ends_in) })
    }

    async fn uncount(&self, key: &Key) -> Result<(), StoreUnavailable> {
        self.run(&UNCOUNT, &counter_key(key), |_| {}).await
    }

    async fn remove(&self, key: &Key) -> Result<(), StoreUnavailable> {
        let value = value_key(key);
        self.redis.query(Slot::of(&value), cmd("DEL").arg(&value).arg(counter_key(key))).await
    }

    async fn ping(&self) -> Result<(), StoreUnavailable> {
        self.redis.ping().await
    }
}
