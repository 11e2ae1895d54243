//! Sessions whose attributes are sealed: what Redis then holds, and what opens it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::cmd;
use futures_util::future::join_all;
use shared::session::{
    AttributeKeys, Attributes, Created, Rotation, Session, SessionId, UserId, Written, cookie_attribute,
};

use crate::private_redis::PrivateRedis;
use crate::{CLIENT, NO_LIMIT, Subject, login, look_into};

/// Keys that were made of these numbers, the first of which seals.
pub(crate) fn keys(seeds: &[u8]) -> AttributeKeys {
    let key = |seed: &u8| STANDARD.encode((0..32).map(|step| seed.wrapping_add(step)).collect::<Vec<_>>());
    let text = seeds.iter().map(key).collect::<Vec<_>>().join(",");
    AttributeKeys::parse(&text.into()).unwrap()
}

fn set(name: &str, value: &str) -> (String, Option<String>) {
    (name.to_owned(), Some(value.to_owned()))
}

/// A session whose cookie has the secret `secret`, and with a cart.
async fn begin(subject: &Subject, user: UserId) -> Session {
    let mut new = login(user);
    new.attributes = [cookie_attribute("secret"), ("cart".to_owned(), "seven pears".to_owned())].into();
    let Created::Begun { session, .. } = subject.store.create(new, NO_LIMIT).await.unwrap() else {
        panic!("there is no limit");
    };
    session
}

async fn attributes(subject: &Subject, id: SessionId) -> Attributes {
    subject.store.load(id).await.unwrap().unwrap().attributes
}

/// Redis itself, without the store.
struct Raw(MultiplexedConnection);

impl Raw {
    async fn fields(&mut self, id: SessionId) -> BTreeMap<String, String> {
        let key = self.key(id).await;
        cmd("HGETALL").arg(key).query_async(&mut self.0).await.unwrap()
    }

    async fn put(&mut self, id: SessionId, name: &str, value: &str) {
        let key = self.key(id).await;
        let () = cmd("HSET").arg(key).arg(format!("a:{name}")).arg(value).query_async(&mut self.0).await.unwrap();
    }

    async fn key(&mut self, id: SessionId) -> String {
        let keys: Vec<String> = cmd("KEYS").arg(format!("*{id}")).query_async(&mut self.0).await.unwrap();
        let [key] = keys.try_into().unwrap();
        key
    }
}

#[tokio::test]
async fn redis_holds_no_plain_value_and_only_what_changed_is_written() {
    let Some(url) = shared::testing::redis().await else { return };
    let (subject, mut raw) = (Subject::sealed_at(&url, keys(&[1])), Raw(look_into(&url).await));
    let session = begin(&subject, UserId::random()).await;
    let (_, hash) = cookie_attribute("secret");
    assert_eq!(session.attributes["cart"], "seven pears");
    let before = raw.fields(session.id).await;
    let changes = [set("theme", "dark as night"), set("cart", "eight plums")];
    subject.store.write(session.id, &changes, None).await.unwrap();
    let after = raw.fields(session.id).await;
    for fields in [&before, &after] {
        let shown = format!("{fields:?}");
        for plain in [&*hash, "seven", "pears", "eight", "plums", "dark", "night"] {
            assert!(!shown.contains(plain), "{plain} in {shown}");
        }
    }
    // Sealing the same value again would give another text.
    let changed: BTreeSet<_> =
        after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| &**name).collect();
    assert_eq!(changed, BTreeSet::from(["a:cart", "a:theme", "v"]));
    let expected = [("cart", "eight plums"), ("cookie", &*hash), ("theme", "dark as night")];
    let expected: Attributes = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(attributes(&subject, session.id).await, expected);
    assert_eq!(subject.store.list(session.user).await.unwrap()[0].attributes, expected);
    assert_eq!(subject.store.online(None, 10).await.unwrap().sessions[0].attributes, expected);
}

#[tokio::test]
async fn a_new_key_in_front_opens_what_the_old_one_sealed_until_that_is_taken_out() {
    let Some(url) = shared::testing::redis().await else { return };
    let with = |seeds: &[u8]| Subject::sealed_at(&url, keys(seeds));
    let session = begin(&with(&[1]), UserId::random()).await;
    let rotated = with(&[2, 1]);
    assert_eq!(attributes(&rotated, session.id).await, session.attributes);
    rotated.store.write(session.id, &[set("theme", "dark")], None).await.unwrap();

    let seen_by_the_old_key: Vec<_> = attributes(&with(&[1]), session.id).await.into_keys().collect();
    assert_eq!(seen_by_the_old_key, ["cart", "cookie"], "the first key seals");
    let new_alone = with(&[2]);
    assert_eq!(attributes(&new_alone, session.id).await, Attributes::from([("theme".to_owned(), "dark".to_owned())]));
    let found = new_alone.store.load(session.id).await.unwrap().unwrap();
    assert!(!found.is_opened_by("secret"), "the cookie's hash is sealed by a key that is gone");
    // And without any key, what is sealed is worth nothing.
    let found = Subject::at(&url).store.load(session.id).await.unwrap().unwrap();
    assert!(!found.is_opened_by("secret"));
}

#[tokio::test]
async fn a_value_opens_nothing_in_another_session_or_under_another_name() {
    let Some(url) = shared::testing::redis().await else { return };
    let (subject, mut raw) = (Subject::sealed_at(&url, keys(&[1])), Raw(look_into(&url).await));
    let user = UserId::random();
    let mine = begin(&subject, user).await;
    let mut new = login(user);
    new.attributes = [cookie_attribute("of the victim")].into();
    let Created::Begun { session: victim, .. } = subject.store.create(new, NO_LIMIT).await.unwrap() else {
        panic!("there is no limit");
    };
    let sealed = raw.fields(mine.id).await["a:cookie"].clone();

    raw.put(victim.id, "cookie", &sealed).await;
    let found = subject.store.load(victim.id).await.unwrap().unwrap();
    assert!(found.attributes.is_empty() && !found.is_opened_by("secret") && !found.is_opened_by("of the victim"));
    raw.put(mine.id, "cart", &sealed).await;
    let names: Vec<_> = attributes(&subject, mine.id).await.into_keys().collect();
    assert_eq!(names, ["cookie"]);
    assert!(subject.store.load(mine.id).await.unwrap().unwrap().is_opened_by("secret"), "in its place it opens");
}

#[tokio::test]
async fn a_value_that_is_not_sealed_is_absent_and_no_verb_fails_for_it() {
    let Some(url) = shared::testing::redis().await else { return };
    let (subject, mut raw) = (Subject::sealed_at(&url, keys(&[1])), Raw(look_into(&url).await));
    let session = begin(&subject, UserId::random()).await;
    let cut = raw.fields(session.id).await["a:cookie"][..40].to_owned();
    let (_, hash) = cookie_attribute("forged");
    for (forged, secret) in [(&*hash, "forged"), (&*cut, "secret"), ("", ""), ("AQ", ""), ("\u{0}é", "")] {
        raw.put(session.id, "cookie", forged).await;
        let found = subject.store.load(session.id).await.unwrap().unwrap();
        assert!(!found.is_opened_by(secret), "{forged:?} opens");
        assert_eq!(found.attributes.into_keys().collect::<Vec<_>>(), ["cart"], "{forged:?}");
    }
    assert_eq!(subject.store.list(session.user).await.unwrap().len(), 1);
    assert_eq!(subject.store.online(None, 10).await.unwrap().sessions.len(), 1);
    let rotation = subject.store.rotate(session.id, CLIENT, 1, Duration::ZERO).await.unwrap();
    assert!(matches!(rotation, Rotation::Rotated { .. }), "{rotation:?}");
    // A write heals it.
    let (name, value) = cookie_attribute("new");
    subject.store.write(session.id, &[(name, Some(value))], None).await.unwrap();
    assert!(subject.store.load(session.id).await.unwrap().unwrap().is_opened_by("new"));
}

#[tokio::test]
async fn a_sealed_session_takes_the_compact_form_where_redis_is_told_to() {
    let Some(redis) = PrivateRedis::start().await else { return };
    let (subject, mut raw) = (Subject::sealed_at(&redis.url(), keys(&[1])), Raw(look_into(&redis.url()).await));
    let conf = include_str!("../../../deploy/redis/redis.conf");
    let longest = conf.lines().find_map(|line| line.strip_prefix("hash-max-listpack-value ")).unwrap();
    for (told, form) in [(None, "hashtable"), (Some(longest), "listpack")] {
        if let Some(longest) = told {
            let () = redis.ask(&["CONFIG", "SET", "hash-max-listpack-value", longest]).await;
        }
        let session = begin(&subject, UserId::random()).await;
        let key = raw.key(session.id).await;
        let encoding: String = redis.ask(&["OBJECT", "ENCODING", &key]).await;
        let bytes: usize = redis.ask(&["MEMORY", "USAGE", &key]).await;
        assert_eq!(encoding, form, "{bytes} bytes");
        let expected = if told.is_some() { 400..800 } else { 800..1_600 };
        assert!(expected.contains(&bytes), "{bytes} bytes as {form}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_two_services_that_race_win_each_version_once() {
    let Some(url) = shared::testing::redis().await else { return };
    let services = [Subject::sealed_at(&url, keys(&[1])), Subject::sealed_at(&url, keys(&[1]))];
    let session = begin(&services[0], UserId::random()).await;
    const WRITERS: usize = 8;
    const EACH: usize = 5;
    let won = join_all((0..WRITERS).map(|writer| {
        let (store, id) = (services[writer % 2].store.clone(), session.id);
        tokio::spawn(async move {
            let mut won = Vec::new();
            while won.len() < EACH {
                let now = store.load(id).await.unwrap().unwrap();
                let count: usize = now.attributes.get("count").map_or(0, |text| text.parse().unwrap());
                match store.write(id, &[set("count", &(count + 1).to_string())], Some(now.version)).await.unwrap() {
                    Written::Version(version) => won.push(version),
                    Written::VersionConflict => {}
                    Written::Gone => panic!("nobody ended it"),
                }
            }
            won
        })
    }))
    .await;
    let mut won: Vec<u64> = won.into_iter().flat_map(Result::unwrap).collect();
    won.sort_unstable();
    assert_eq!(won, (1..=(WRITERS * EACH) as u64).collect::<Vec<_>>(), "each version has one winner");
    let counted = &attributes(&services[0], session.id).await["count"];
    assert_eq!(*counted, (WRITERS * EACH).to_string(), "no write was lost");
}
