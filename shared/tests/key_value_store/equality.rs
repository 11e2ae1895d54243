//! Memory and the other stores, driven by the same random verbs and moves of the clock, answer the same.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use shared::clock::Clock;
use shared::key_value::{DatabaseKeyValueStore, Key, KeyValueStore, MemoryKeyValueStore, RedisKeyValueStore};
use shared::redis::Redis;

use crate::{sqlite, with_table};

/// The clock moves in whole steps, and every time to live ends in the middle of one: a slow machine does not change an
/// answer.
const STEP: Duration = Duration::from_secs(100);

#[derive(Debug, Clone)]
enum Verb {
    Put { key: u8, value: Vec<u8>, steps: u32 },
    Claim { key: u8, value: Vec<u8>, steps: u32 },
    Get { key: u8 },
    Take { key: u8 },
    Count { key: u8, amount: u64, steps: u32 },
    Uncount { key: u8 },
    Remove { key: u8 },
    Move { steps: u32 },
}

fn verb() -> impl Strategy<Value = Verb> {
    let (key, value, steps) = (0..3_u8, prop::collection::vec(any::<u8>(), 0..80), 0..6_u32);
    prop_oneof![
        3 => (key.clone(), value.clone(), steps.clone()).prop_map(|(key, value, steps)| Verb::Put { key, value, steps }),
        3 => (key.clone(), value, steps.clone()).prop_map(|(key, value, steps)| Verb::Claim { key, value, steps }),
        3 => key.clone().prop_map(|key| Verb::Get { key }),
        2 => key.clone().prop_map(|key| Verb::Take { key }),
        4 => (key.clone(), 0..2000_u64, steps.clone()).prop_map(|(key, amount, steps)| Verb::Count { key, amount, steps }),
        2 => key.clone().prop_map(|key| Verb::Uncount { key }),
        1 => key.prop_map(|key| Verb::Remove { key }),
        3 => steps.prop_map(|steps| Verb::Move { steps }),
    ]
}

async fn act(store: &dyn KeyValueStore, run: uuid::Uuid, verb: &Verb) -> String {
    let key = |key: u8| Key::new("equality", &[run.as_bytes(), &[key][..]].concat());
    let ttl = |steps: u32| STEP * steps + STEP / 2;
    match verb {
        Verb::Put { key: k, value, steps } => format!("{:?}", store.put(&key(*k), value, ttl(*steps)).await.unwrap()),
        Verb::Claim { key: k, value, steps } => {
            format!("{:?}", store.claim(&key(*k), value, ttl(*steps)).await.unwrap())
        }
        Verb::Get { key: k } => format!("{:?}", store.get(&key(*k)).await.unwrap()),
        Verb::Take { key: k } => format!("{:?}", store.take(&key(*k)).await.unwrap()),
        Verb::Count { key: k, amount, steps } => {
            let count = store.count_by(&key(*k), *amount, ttl(*steps)).await.unwrap();
            format!("{} for {} steps", count.count, count.ends_in.as_secs().div_ceil(STEP.as_secs()))
        }
        Verb::Uncount { key: k } => format!("{:?}", store.uncount(&key(*k)).await.unwrap()),
        Verb::Remove { key: k } => format!("{:?}", store.remove(&key(*k)).await.unwrap()),
        Verb::Move { .. } => String::new(),
    }
}

/// Makes a store that a clock moves.
type Make = Box<dyn Fn(&Clock) -> Arc<dyn KeyValueStore> + Send>;

fn compare(name: &str, opening: impl Future<Output = Make>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let make = runtime.block_on(opening);
    let outcome = TestRunner::new(config).run(&prop::collection::vec(verb(), 1..60), |verbs| {
        runtime.block_on(async {
            let (clock, run) = (Clock::default(), uuid::Uuid::new_v4());
            let memory = MemoryKeyValueStore::new(clock.clone());
            let other = make(&clock);
            for verb in &verbs {
                if let Verb::Move { steps } = verb {
                    clock.advance(STEP * *steps);
                }
                let (expected, answer) = (act(&memory, run, verb).await, act(&*other, run, verb).await);
                prop_assert_eq!(expected, answer, "memory and {} differ at {:?}", name, verb);
            }
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

async fn in_database(url: String) -> Make {
    let database = with_table(&url).await;
    Box::new(move |clock| Arc::new(DatabaseKeyValueStore::new(database.clone(), clock.clone())))
}

#[tokio::test]
async fn memory_and_redis_answer_the_same() {
    let Some(url) = shared::testing::redis().await else { return };
    let on_redis = async move {
        let redis = Redis::open(&url).unwrap();
        let make: Make = Box::new(move |clock| Arc::new(RedisKeyValueStore::new(redis.clone(), clock.clone())));
        make
    };
    tokio::task::spawn_blocking(move || compare("Redis", on_redis)).await.unwrap();
}

#[tokio::test]
async fn memory_and_sqlite_answer_the_same() {
    let (url, _folder) = sqlite();
    tokio::task::spawn_blocking(move || compare("SQLite", in_database(url))).await.unwrap();
}

#[tokio::test]
async fn memory_and_postgresql_answer_the_same() {
    let Some(url) = shared::testing::postgres().await else { return };
    tokio::task::spawn_blocking(move || compare("PostgreSQL", in_database(url))).await.unwrap();
}
