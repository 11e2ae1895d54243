//! What only Redis can get wrong: what it holds, for how long, and how it is found again.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{FromRedisValue, cmd};
use shared::session::{
    EndReason, FeedPosition, LimitPolicy, RedisSessionStore, Rotation, SessionId, SessionLimit, Touched, UserId,
};

use crate::private_redis::PrivateRedis;
use crate::{ABSOLUTE, CLIENT, IDLE, Subject, WINDOW, look_into};

/// The store, and a plain connection to the same database.
async fn both() -> Option<(Subject, MultiplexedConnection)> {
    let url = shared::testing::redis().await?;
    Some((Subject::at(&url), look_into(&url).await))
}

async fn ask<T: FromRedisValue>(raw: &mut MultiplexedConnection, words: &[&str]) -> T {
    cmd(words[0]).arg(&words[1..]).query_async(raw).await.unwrap()
}

async fn key_of(raw: &mut MultiplexedConnection, id: SessionId) -> String {
    let keys: Vec<String> = ask(raw, &["KEYS", &format!("*{id}")]).await;
    let [key] = keys.try_into().unwrap();
    key
}

#[tokio::test]
async fn every_key_but_the_feed_expires_by_itself() {
    let Some((subject, mut raw)) = both().await else { return };
    let user = UserId::random();
    let session = subject.begin(user).await;
    let ended = subject.begin(user).await;
    subject.store.end(ended.id, EndReason::Logout).await.unwrap();
    subject.store.rotate(session.id, CLIENT, 1, Duration::ZERO).await.unwrap();
    let keys: Vec<String> = ask(&mut raw, &["KEYS", "*"]).await;
    assert_eq!(keys.len(), 4, "{keys:?}");
    let tags: BTreeSet<_> = keys.iter().map(|key| key.split(['{', '}']).nth(1).unwrap()).collect();
    assert_eq!(tags.len(), 1, "one user, one slot: {keys:?}");
    for key in keys {
        let left: i64 = ask(&mut raw, &["PTTL", &key]).await;
        let longest = if key.contains(":s:") { IDLE } else { ABSOLUTE };
        let longest = i64::try_from(longest.as_millis()).unwrap();
        let expected = if key.ends_with(":rev") { -1..=-1 } else { longest - 60_000..=longest + 1 };
        assert!(expected.contains(&left), "{key} lives for another {left} ms");
    }
}

#[tokio::test]
async fn what_has_ended_leaves_nothing_but_its_announcement() {
    let Some((subject, mut raw)) = both().await else { return };
    let user = UserId::random();
    for how in ["end", "end_all", "rotate"] {
        let id = subject.begin(user).await.id;
        match how {
            "end" => drop(subject.store.end(id, EndReason::Logout).await.unwrap()),
            "end_all" => drop(subject.store.end_all(user, None, EndReason::Logout).await.unwrap()),
            _ => {
                subject.store.rotate(id, CLIENT, 5, Duration::ZERO).await.unwrap();
                let rotation = subject.store.rotate(id, CLIENT, 1, Duration::ZERO).await.unwrap();
                assert!(matches!(rotation, Rotation::Stolen { .. }), "{rotation:?}");
            }
        }
        let keys: Vec<String> = ask(&mut raw, &["KEYS", "*"]).await;
        assert!(keys.len() == 1 && keys[0].ends_with(":rev"), "after {how}: {keys:?}");
    }
    let limit = SessionLimit { max: 1, policy: LimitPolicy::EndOldest };
    for _ in 0..4 {
        subject.begin_within(user, limit).await.unwrap();
    }
    let indexes: Vec<String> = ask(&mut raw, &["KEYS", "*[}]:[ou]*"]).await;
    assert_eq!(indexes.len(), 2, "{indexes:?}");
    for index in indexes {
        assert_eq!(ask::<i64>(&mut raw, &["ZCARD", &index]).await, 1, "{index}");
    }
}

#[tokio::test]
async fn a_session_takes_the_compact_form() {
    let Some((subject, mut raw)) = both().await else { return };
    let mut new = crate::login(UserId::random());
    new.device = "é".repeat(1_000);
    new.address = "x".repeat(1_000);
    subject.store.create(new.clone(), crate::NO_LIMIT).await.unwrap();
    let id = subject.store.list(new.user).await.unwrap()[0].id;
    let key = key_of(&mut raw, id).await;
    assert_eq!(ask::<String>(&mut raw, &["OBJECT", "ENCODING", &key]).await, "listpack");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_gone() {
    let Some((subject, mut raw)) = both().await else { return };
    let user = UserId::random();
    let spoilt: [&[&str]; 7] = [
        &["HSET", "KEY", "l", "yesterday"],
        &["HDEL", "KEY", "x"],
        &["HSET", "KEY", "r", "customer"],
        &["HSET", "KEY", "u", "nobody"],
        &["HSET", "KEY", "g:web", "first"],
        &["DEL", "KEY"],
        &["SET", "KEY", "another type"],
    ];
    for words in spoilt {
        let session = subject.begin(user).await;
        let key = key_of(&mut raw, session.id).await;
        let words: Vec<_> = words.iter().map(|word| if *word == "KEY" { &key } else { *word }).collect();
        let () = ask(&mut raw, &words).await;
        assert!(subject.store.load(session.id).await.unwrap().is_none(), "{words:?}");
        let rotation = subject.store.rotate(session.id, CLIENT, 1, Duration::ZERO).await.unwrap();
        assert!(matches!(rotation, Rotation::Gone), "{words:?}: {rotation:?}");
        assert!(subject.store.list(user).await.unwrap().is_empty(), "{words:?}");
        assert!(subject.store.online(None, 10).await.unwrap().sessions.is_empty(), "{words:?}");
        assert!(subject.store.end(session.id, EndReason::Logout).await.unwrap().is_none(), "{words:?}");
        assert_eq!(ask::<i64>(&mut raw, &["EXISTS", &key]).await, 0, "{words:?}");
    }
}

#[tokio::test]
async fn a_record_that_redis_has_not_dropped_is_gone_when_it_has_expired() {
    let Some((subject, mut raw)) = both().await else { return };
    let session = subject.begin(UserId::random()).await;
    let key = key_of(&mut raw, session.id).await;
    let () = ask(&mut raw, &["PERSIST", &key]).await;
    let past = (session.last_seen_at - IDLE).micros().to_string();
    let () = ask(&mut raw, &["HSET", &key, "l", &past]).await;
    assert!(subject.store.load(session.id).await.unwrap().is_none());
    assert_eq!(subject.store.touch(session.id).await.unwrap(), Touched::Gone);
}

#[tokio::test]
async fn a_field_of_a_later_release_is_left_alone() {
    let Some((subject, mut raw)) = both().await else { return };
    let session = subject.begin(UserId::random()).await;
    let key = key_of(&mut raw, session.id).await;
    let () = ask(&mut raw, &["HSET", &key, "z", "from tomorrow"]).await;
    assert_eq!(subject.store.load(session.id).await.unwrap().as_ref(), Some(&session));
    subject.store.write(session.id, &[("a".to_owned(), None)], None).await.unwrap();
    assert_eq!(ask::<String>(&mut raw, &["HGET", &key, "z"]).await, "from tomorrow");
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_told_again() {
    // Forgetting is for the whole server, and the other tests share theirs.
    let Some(redis) = PrivateRedis::start().await else { return };
    let (subject, mut raw) = (Subject::at(&redis.url()), look_into(&redis.url()).await);
    let session = subject.begin(UserId::random()).await;
    let () = ask(&mut raw, &["SCRIPT", "FLUSH"]).await;
    assert_eq!(subject.store.touch(session.id).await.unwrap(), Touched::NotDue);
    let () = ask(&mut raw, &["SCRIPT", "FLUSH"]).await;
    assert_eq!(subject.store.online(None, 10).await.unwrap().sessions, [session]);
}

#[tokio::test]
async fn sessions_seen_at_the_same_moment_are_paged_by_their_ids() {
    let Some((subject, mut raw)) = both().await else { return };
    let mut expected = Vec::new();
    let moment = subject.clock.now().micros().to_string();
    for n in 0..48_u128 {
        // Three in each partition.
        let session = subject.begin(UserId(uuid::Uuid::from_u128(n))).await;
        let key = key_of(&mut raw, session.id).await;
        let online = format!("{}on", key.split("s:").next().unwrap());
        let () = ask(&mut raw, &["HSET", &key, "l", &moment]).await;
        let () = ask(&mut raw, &["ZADD", &online, &moment, &session.id.to_string()]).await;
        expected.push(session.id.to_string());
    }
    expected.sort_unstable_by(|one, other| other.cmp(one));
    for size in [1, 5, 47, 48] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = subject.store.online(after, size).await.unwrap();
            seen.extend(page.sessions.iter().map(|session| session.id.to_string()));
            assert!(seen.len() <= expected.len(), "pages of {size} go on and on");
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "pages of {size}");
    }
}

#[tokio::test]
async fn indexes_do_not_outgrow_what_lives() {
    let Some((subject, mut raw)) = both().await else { return };
    let user = UserId::random();
    for _ in 0..40 {
        subject.begin(user).await;
    }
    // The clock moves, so Redis drops nothing by itself: the indexes are full of the dead.
    subject.clock.advance(IDLE);
    for _ in 0..40 {
        subject.begin(user).await;
    }
    let keys: Vec<String> = ask(&mut raw, &["KEYS", "roam:*"]).await;
    for index in keys.iter().filter(|key| key.ends_with(":on") || key.contains(":u:")) {
        assert_eq!(ask::<i64>(&mut raw, &["ZCARD", index]).await, 40, "{index}");
    }
}

#[tokio::test]
async fn the_feed_is_trimmed_as_it_grows() {
    let Some((subject, mut raw)) = both().await else { return };
    let user = UserId::random();
    for round in 0..20_u128 {
        for n in 0..100 {
            subject.store.revoke_token(user, round * 100 + n).await.unwrap();
        }
        subject.clock.advance(WINDOW);
    }
    let keys: Vec<String> = ask(&mut raw, &["KEYS", "*:rev"]).await;
    let length: i64 = ask(&mut raw, &["XLEN", &keys[0]]).await;
    assert!((100..500).contains(&length), "2,000 were announced, and {length} are left");
}

/// Reads on for some times, and answers where the feed is then.
async fn reads_on(subject: &Subject, from: &FeedPosition) -> (Vec<SessionId>, FeedPosition) {
    let (mut ended, mut position) = (Vec::new(), from.clone());
    for _ in 0..4 {
        if position.is_at_end() {
            break;
        }
        let (entries, next) = subject.store.follow(&position).await.unwrap();
        ended.extend(entries.iter().filter_map(|entry| crate::session_of(entry.revoked)));
        position = next;
    }
    (ended, position)
}

#[tokio::test]
async fn a_feed_that_lost_its_memory_is_not_taken_for_read_before_it_is_marked_again() {
    let Some(url) = shared::testing::redis().await else { return };
    let (auth, service) = (Subject::at(&url), Subject::made_of(&url, RedisSessionStore::demanding_a_mark));
    let mut raw = look_into(&url).await;
    let start = service.store.feed_start();
    let lost = auth.store.feed_mark().await.unwrap();
    assert!(lost.through().is_none() && !lost.is_unneeded());
    assert!(!reads_on(&service, &start).await.1.is_at_end(), "it was never marked");
    let session = auth.begin(UserId::random()).await;
    auth.store.end(session.id, EndReason::Logout).await.unwrap();
    auth.store.mark_feed(&lost, -5).await.unwrap();
    let restoring = auth.store.feed_mark().await.unwrap();
    assert_eq!(restoring.through(), None, "it is being restored");
    auth.store.mark_feed(&restoring, 7).await.unwrap();
    let (ended, read) = reads_on(&service, &start).await;
    assert!(read.is_at_end() && ended == [session.id], "{ended:?}");
    auth.store.mark_feed(&restoring, 3).await.unwrap();
    let marked = auth.store.feed_mark().await.unwrap();
    assert_eq!(marked.through(), Some(7), "the mark was another one when it was seen");

    let _: String = ask(&mut raw, &["FLUSHDB"]).await;
    auth.store.mark_feed(&marked, 8).await.unwrap();
    assert_eq!(auth.store.feed_mark().await.unwrap().through(), None, "what was lost meanwhile is not marked");
    assert!(!reads_on(&service, &start).await.1.is_at_end(), "a newcomer cannot know what was lost");
    let (_, position) = service.store.follow(&read).await.unwrap();
    assert!(position.is_at_end(), "whoever has read it remembers");
    // A part that was lost is a loss.
    auth.store.mark_feed(&lost, 8).await.unwrap();
    assert_eq!(auth.store.feed_mark().await.unwrap().through(), Some(8));
    let marks: Vec<String> = ask(&mut raw, &["KEYS", "roam:*:mark"]).await;
    assert_eq!(marks.len(), usize::from(SessionId::PARTITIONS));
    let _: u32 = ask(&mut raw, &["DEL", &marks[0]]).await;
    assert_eq!(auth.store.feed_mark().await.unwrap().through(), None);
}
