//! Redis is away, hangs, or is no longer the master: calls answer in time, and all recovers by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use shared::clock::Clock;
use shared::redis::Redis;
use shared::session::{EndReason, Revocations, StoreUnavailable, UserId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::private_redis::PrivateRedis;
use crate::{Subject, WINDOW};

/// Within this time every call answers, whatever Redis does. The limit is one second; the rest is for a busy machine.
const IN_TIME: Duration = Duration::from_millis(1_500);

/// Waits for something to come true, for a bounded time.
async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < Duration::from_secs(20), "in vain waited until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn answers(subject: &Subject) -> bool {
    subject.store.ping().await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_is_unavailable_at_once_and_recovers() {
    let Some(mut redis) = PrivateRedis::start().await else { return };
    let subject = Subject::at(&redis.url());
    let session = subject.begin(UserId::random()).await;
    redis.kill();
    let started = Instant::now();
    for _ in 0..300 {
        let answer: Result<_, StoreUnavailable> = subject.store.load(session.id).await;
        assert!(answer.is_err());
    }
    assert!(started.elapsed() < IN_TIME, "300 calls took {:?}", started.elapsed());
    assert!(subject.store.end(session.id, EndReason::Logout).await.is_err());
    assert!(subject.store.follow(&subject.store.feed_start()).await.is_err());
    redis.start_again().await;
    until("Redis answers again", || answers(&subject)).await;
    assert!(subject.store.load(session.id).await.unwrap().is_none(), "this Redis keeps nothing on disk");
    subject.begin(session.user).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_two_calls_is_not_noticed() {
    let Some(mut redis) = PrivateRedis::start().await else { return };
    let subject = Subject::at(&redis.url());
    subject.begin(UserId::random()).await;
    redis.kill();
    redis.start_again().await;
    subject.begin(UserId::random()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_given_up_in_time_and_not_stormed() {
    let Some(redis) = PrivateRedis::start().await else { return };
    let subject = Subject::at(&redis.url());
    let session = subject.begin(UserId::random()).await;
    let (before, started) = (redis.connections_taken().await, Instant::now());
    redis.pause(true);
    for _ in 0..3 {
        let asked = Instant::now();
        let answers = join_all((0..100).map(|_| subject.store.load(session.id))).await;
        assert!(answers.iter().all(Result::is_err));
        assert!(asked.elapsed() < IN_TIME, "100 calls took {:?}", asked.elapsed());
    }
    redis.pause(false);
    until("Redis answers again", || answers(&subject)).await;
    assert_eq!(subject.store.load(session.id).await.unwrap(), Some(session));
    let taken = redis.connections_taken().await - before;
    assert!(taken < 10 + started.elapsed().as_secs(), "{taken} connections in {:?}", started.elapsed());
}

/// Passes bytes on between its port and Redis. What is connected goes dead, without a word, when `frozen` says so; who
/// connects later is served.
async fn proxy(redis: String, frozen: watch::Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("redis://{}", listener.local_addr().unwrap());
    let redis = redis.trim_start_matches("redis://").to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&redis).await.unwrap();
            let mut frozen = frozen.clone();
            frozen.mark_unchanged();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = frozen.changed() => std::future::pending().await,
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_went_dead_without_a_word_is_replaced() {
    let Some(redis) = PrivateRedis::start().await else { return };
    let (freeze, frozen) = watch::channel(false);
    let subject = Subject::at(&proxy(redis.url(), frozen).await);
    let session = subject.begin(UserId::random()).await;
    freeze.send(true).unwrap();
    let started = Instant::now();
    assert!(subject.store.load(session.id).await.is_err());
    assert!(started.elapsed() < IN_TIME, "a call took {:?}", started.elapsed());
    until("another connection is made", || answers(&subject)).await;
    assert_eq!(subject.store.load(session.id).await.unwrap(), Some(session));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_became_a_replica_is_left_until_it_is_one_again() {
    let Some(redis) = PrivateRedis::start().await else { return };
    let subject = Subject::at(&redis.url());
    let session = subject.begin(UserId::random()).await;
    let (before, started) = (redis.connections_taken().await, Instant::now());
    let () = redis.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    for _ in 0..200 {
        assert!(subject.store.end(session.id, EndReason::Logout).await.is_err());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let () = redis.ask(&["REPLICAOF", "NO", "ONE"]).await;
    until("it can be written to", || async { subject.store.end(session.id, EndReason::Logout).await.is_ok() }).await;
    let taken = redis.connections_taken().await - before;
    assert!(taken < 10 + started.elapsed().as_secs(), "{taken} connections in {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_of_revocations_goes_on_after_redis_was_away() {
    let Some(mut redis) = PrivateRedis::start().await else { return };
    let subject = Subject::at(&redis.url());
    let revocations = Revocations::new(WINDOW, Clock::default());
    let following = tokio::spawn(shared::session::follow(subject.store.clone(), revocations.clone()));
    until("the feed is read", || async { revocations.has_caught_up() }).await;
    let (user, first) = (UserId::random(), subject.begin(UserId::random()).await.id);
    subject.store.end(first, EndReason::Logout).await.unwrap();
    until("the first end is known", || async { revocations.is_revoked(first, 0) }).await;
    redis.kill();
    assert!(subject.store.ping().await.is_err());
    redis.start_again().await;
    until("Redis answers again", || answers(&subject)).await;
    let second = subject.begin(user).await.id;
    assert!(!revocations.is_revoked(second, 0));
    subject.store.end(second, EndReason::Logout).await.unwrap();
    until("the second end is known", || async { revocations.is_revoked(second, 0) }).await;
    assert!(revocations.is_revoked(first, 0), "what was known is not forgotten");
    assert!(revocations.is_current());
    following.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_the_worker_that_asked_for_it() {
    let Some(redis) = PrivateRedis::start().await else { return };
    let store = Subject::at(&redis.url()).store;
    let worker = store.clone();
    let asked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(worker.ping())
    });
    asked.join().unwrap().unwrap();
    let before = redis.connections_taken().await;
    store.ping().await.unwrap();
    assert_eq!(redis.connections_taken().await, before + 1, "only the question's own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_one_connection() {
    let Some(redis) = PrivateRedis::start().await else { return };
    let before = redis.connections_taken().await;
    let store = Arc::new(Subject::at(&redis.url()).store);
    let pings = (0..200).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.ping().await.unwrap() })
    });
    assert!(join_all(pings).await.iter().all(Result::is_ok));
    assert_eq!(redis.connections_taken().await, before + 2, "one for 200 calls, one for this question");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_may_drop_keys_is_refused() {
    let Some(server) = PrivateRedis::start().await else { return };
    let redis = Redis::open(&server.url()).unwrap();
    redis.check_eviction_policy().await.unwrap();
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let () = server.ask(&["CONFIG", "SET", "maxmemory-policy", policy]).await;
        let refused = redis.check_eviction_policy().await.unwrap_err();
        // With the next step, which its text does not have.
        let refused = format!("{:?}", refused.downcast_ref::<shared::program::Fault>().unwrap());
        assert!(refused.contains(policy) && refused.contains("noeviction"), "{refused}");
    }
    // A user who may not read the configuration, as with managed services.
    let () = server.ask(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-config"]).await;
    let limited = server.url().replace("redis://", "redis://app:secret@");
    let refused = Redis::open(&limited).unwrap().check_eviction_policy().await.unwrap_err().to_string();
    assert!(refused.contains("volatile-ttl"), "{refused}");
    let () = server.ask(&["ACL", "SETUSER", "app", "-info"]).await;
    Redis::open(&limited).unwrap().check_eviction_policy().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full_or_a_replica_is_not_ready_and_is_again_when_it_takes_writes() {
    let Some(server) = PrivateRedis::start().await else { return };
    let subject = Subject::at(&server.url());
    subject.store.ping().await.unwrap();
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(server.ask::<String>(&["PING"]).await, "PONG", "it still answers questions");
    let refused = subject.store.ping().await.unwrap_err().to_string();
    assert!(refused.contains("OOM"), "{refused}");
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    until("it takes writes again", || answers(&subject)).await;
    let () = server.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let refused = subject.store.ping().await.unwrap_err().to_string();
    assert!(refused.contains("READONLY") || refused.contains("read only"), "{refused}");
    let () = server.ask(&["REPLICAOF", "NO", "ONE"]).await;
    until("it takes writes again", || answers(&subject)).await;
    assert_eq!(server.ask::<Vec<String>>(&["KEYS", "roam:probe:*"]).await.len(), 1, "however often it is asked");
}

#[tokio::test]
async fn a_redis_url_is_checked_and_its_password_is_never_repeated() {
    for refused in
        ["", "localhost", "http://localhost", "redis:/localhost", "redis://h:port/0", "redis://:hunter2@h/db"]
    {
        let error = format!("{:?}", Redis::open(refused).unwrap_err());
        assert!(error.contains("redis://HOST") && !error.contains("hunter2"), "{refused}: {error}");
    }
    let redis = Redis::open("redis://:hunter2@localhost:1/3").unwrap();
    assert!(!format!("{redis:?}").contains("hunter2"));
    assert!(redis.ping().await.is_err());
}

#[tokio::test]
async fn tls_to_a_server_without_it_is_unavailable() {
    let Some(server) = PrivateRedis::start().await else { return };
    let redis = Redis::open(&server.url().replace("redis://", "rediss://")).unwrap();
    let started = Instant::now();
    assert!(redis.ping().await.is_err());
    assert!(started.elapsed() < IN_TIME);
}
