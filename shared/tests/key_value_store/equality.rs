//! Memory and Redis, driven by the same random verbs and moves of the clock, answer the same.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use shared::clock::Clock;
use shared::key_value::{Key, KeyValueStore, MemoryKeyValueStore, RedisKeyValueStore};
use shared::redis::Redis;

/// The clock moves in whole steps, and every time to live ends in the middle of one: a slow machine does not change an
/// answer.
const STEP: Duration = Duration::from_secs(100);

#[derive(Debug, Clone)]
enum Verb {
    Put { key: u8, value: Vec<u8>, steps: u32 },
    Claim { key: u8, value: Vec<u8>, steps: u32 },
    Get { key: u8 },
    Take { key: u8 },
    Count { key: u8, steps: u32 },
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
        4 => (key.clone(), steps.clone()).prop_map(|(key, steps)| Verb::Count { key, steps }),
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
        Verb::Count { key: k, steps } => {
            let count = store.count(&key(*k), ttl(*steps)).await.unwrap();
            format!("{} for {} steps", count.count, count.ends_in.as_secs().div_ceil(STEP.as_secs()))
        }
        Verb::Remove { key: k } => format!("{:?}", store.remove(&key(*k)).await.unwrap()),
        Verb::Move { .. } => String::new(),
    }
}

fn compare(url: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let redis = runtime.block_on(async { Redis::open(url).unwrap() });
    let outcome = TestRunner::new(config).run(&prop::collection::vec(verb(), 1..60), |verbs| {
        runtime.block_on(async {
            let (clock, run) = (Clock::default(), uuid::Uuid::new_v4());
            let memory = MemoryKeyValueStore::new(clock.clone());
            let redis = RedisKeyValueStore::new(redis.clone(), clock.clone());
            for verb in &verbs {
                if let Verb::Move { steps } = verb {
                    clock.advance(STEP * *steps);
                }
                let (expected, answer) = (act(&memory, run, verb).await, act(&redis, run, verb).await);
                prop_assert_eq!(expected, answer, "memory and Redis differ at {:?}", verb);
            }
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[tokio::test]
async fn memory_and_redis_answer_the_same() {
    if let Some(url) = shared::testing::redis().await {
        tokio::task::spawn_blocking(move || compare(&url)).await.unwrap();
    }
}
