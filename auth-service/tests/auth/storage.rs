//! Every question to the database, on both databases.

use auth_service::email::Email;
use auth_service::roles::Roles;
use auth_service::scopes::Words;
use auth_service::storage::MIGRATIONS;
use auth_service::storage::audit::{self, Act, Actor, By, Entry};
use auth_service::storage::consents;
use auth_service::storage::grants::{self, Grant, GrantId, StoredSession};
use auth_service::storage::keys::{self, StoredKey};
use auth_service::storage::outbox::{self, Delivery, Which};
use auth_service::storage::users::{self, User, UserReader};
use futures_util::future::join_all;
use shared::clock::Timestamp;
use shared::database::{Database, Transaction};
use shared::problem::Problem;
use shared::session::{SessionId, UserId};

/// Makes each function a test on SQLite and one on PostgreSQL.
macro_rules! on_both_databases {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().join("auth.db").display());
                super::$test(super::open(&url).await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(url) = shared::testing::postgres().await {
                    super::$test(super::open(&url).await).await;
                }
            })*
        }
    };
}

on_both_databases! {
    the_migrations_run_twice,
    an_account_comes_back_as_it_was,
    accounts_that_are_asked_for_at_once_are_each_answered,
    an_address_is_taken_once,
    an_account_changes_only_from_the_version_that_was_seen,
    a_lock_keeps_its_time_and_ends_sessions_and_an_unlock_ends_none,
    only_the_hash_that_was_seen_is_renewed,
    pages_of_accounts_follow_each_other,
    a_role_is_found_as_a_whole_word,
    addresses_are_found_by_their_ids,
    a_generation_of_keys_is_taken_once,
    a_planned_end_is_never_put_off,
    a_ring_ends_and_is_distrusted_alone,
    a_key_is_resealed_once,
    an_entry_comes_back_as_it_was,
    refusals_of_one_kind_from_one_site_count_in_one_entry_and_none_is_lost,
    each_kind_of_entry_is_forgotten_in_its_time_and_in_batches,
    a_withdrawn_key_is_forgotten_unless_it_is_the_newest_of_its_ring,
    what_is_rolled_back_was_never_written,
    how_often_a_consent_was_taken_back_outlives_it,
    another_grant_of_the_client_in_the_session_is_seen,
    the_grants_of_a_session_end_together_and_once,
    a_session_is_looked_at_by_one_and_when_it_is_time,
    what_ended_long_ago_is_forgotten,
    a_delivery_comes_back_as_it_was_and_is_claimed_by_one,
    whoever_lost_a_delivery_changes_nothing_of_it,
    a_delivery_is_left_with_the_end_or_not_at_all,
    a_grant_comes_back_as_it_was_and_ends_once,
    open_grants_are_found_by_whom_they_concern,
    a_consent_is_replaced_and_taken_back,
}

async fn open(url: &str) -> Database {
    let database = Database::open(url, 4).await.unwrap();
    database.migrate(&MIGRATIONS).await.unwrap();
    database
}

fn user(email: &str) -> User {
    User {
        id: UserId::random(),
        email: email.parse().unwrap(),
        display_name: "Ada \u{1f511}".to_owned(),
        password_hash: "$argon2id$".to_owned(),
        roles: Roles::administrator(),
        locked_at: None,
        version: 1,
        ended_version: 1,
        created_at: Timestamp::from_micros(1_795_230_000_123_456),
    }
}

async fn by_id(database: &Database, id: UserId) -> Result<Option<User>, Problem> {
    UserReader::new(database.clone(), "auth-service").by_id(id).await
}

async fn insert(database: &Database, user: &User) -> bool {
    let mut transaction = database.begin().await.unwrap();
    let inserted = users::insert(&mut transaction, user).await.unwrap();
    transaction.commit().await.unwrap();
    inserted
}

async fn the_migrations_run_twice(database: Database) {
    database.migrate(&MIGRATIONS).await.unwrap();
    assert!(!users::any_with_role(&database, "admin").await.unwrap());
}

async fn an_account_comes_back_as_it_was(database: Database) {
    let ada = User { locked_at: Some(Timestamp::from_micros(7)), ..user("ada@example.com") };
    assert!(insert(&database, &ada).await);
    assert_eq!(by_id(&database, ada.id).await.unwrap().as_ref(), Some(&ada));
    assert_eq!(users::by_email(&database, &ada.email).await.unwrap(), Some(ada));
    assert_eq!(by_id(&database, UserId::random()).await.unwrap(), None);
    assert_eq!(users::by_email(&database, &"eve@example.com".parse().unwrap()).await.unwrap(), None);
}

/// More than one query asks for, some of them twice, some that are not there.
async fn accounts_that_are_asked_for_at_once_are_each_answered(database: Database) {
    let accounts: Vec<User> = (0..150).map(|number| user(&format!("person-{number}@example.com"))).collect();
    for account in &accounts {
        insert(&database, account).await;
    }
    let reader = UserReader::new(database, "auth-service");
    let asked = accounts.iter().chain(&accounts[..20]).map(|account| (account.id, Some(account)));
    let strangers = (0..30).map(|_| (UserId::random(), None));
    let answers = asked.chain(strangers).map(async |(id, expected)| (reader.by_id(id).await.unwrap(), expected));
    for (found, expected) in join_all(answers).await {
        assert_eq!(found.as_ref(), expected);
    }
}

async fn an_address_is_taken_once(database: Database) {
    let first = user("ada@example.com");
    assert!(insert(&database, &first).await);
    assert!(!insert(&database, &user("ada@example.com")).await);
    assert_eq!(users::by_email(&database, &first.email).await.unwrap().unwrap().id, first.id);
}

async fn an_account_changes_only_from_the_version_that_was_seen(database: Database) {
    let ada = user("ada@example.com");
    insert(&database, &ada).await;
    let mut transaction = database.begin().await.unwrap();
    assert!(users::set_password(&mut transaction, ada.id, 1, "new").await.unwrap());
    assert!(!users::set_password(&mut transaction, ada.id, 1, "newer").await.unwrap());
    let changed = users::set_roles(&mut transaction, ada.id, &Roles::user()).await.unwrap().unwrap();
    assert!(users::set_roles(&mut transaction, UserId::random(), &Roles::user()).await.unwrap().is_none());
    transaction.commit().await.unwrap();
    assert_eq!((changed.password_hash.as_str(), changed.version, &changed.roles), ("new", 3, &Roles::user()));
    assert_eq!(by_id(&database, ada.id).await.unwrap(), Some(changed));
}

async fn a_lock_keeps_its_time_and_ends_sessions_and_an_unlock_ends_none(database: Database) {
    let ada = user("ada@example.com");
    insert(&database, &ada).await;
    let mut transaction = database.begin().await.unwrap();
    let mut lock = async |at: Option<i64>| {
        users::set_locked(&mut transaction, ada.id, at.map(Timestamp::from_micros)).await.unwrap().unwrap()
    };
    let steps = [lock(Some(5)).await, lock(Some(9)).await, lock(None).await, lock(Some(11)).await];
    let seen: Vec<_> = steps.iter().map(|user| (user.locked_at.map(Timestamp::micros), user.version)).collect();
    assert_eq!(seen, [(Some(5), 2), (Some(5), 3), (None, 3), (Some(11), 4)]);
    assert!(users::set_locked(&mut transaction, UserId::random(), None).await.unwrap().is_none());
    transaction.commit().await.unwrap();
}

async fn only_the_hash_that_was_seen_is_renewed(database: Database) {
    let ada = user("ada@example.com");
    insert(&database, &ada).await;
    users::renew_hash(&database, ada.id, "another", "renewed").await.unwrap();
    assert_eq!(by_id(&database, ada.id).await.unwrap(), Some(ada.clone()));
    users::renew_hash(&database, ada.id, &ada.password_hash, "renewed").await.unwrap();
    let renewed = by_id(&database, ada.id).await.unwrap().unwrap();
    assert_eq!((renewed.password_hash.as_str(), renewed.version), ("renewed", 1), "no session ends for it");
}

async fn pages_of_accounts_follow_each_other(database: Database) {
    for name in ["b", "a_x", "abc", "ab", "a%x", "c"] {
        insert(&database, &user(&format!("{name}@example.com"))).await;
    }
    let (mut seen, mut after): (Vec<String>, Option<Email>) = (Vec::new(), None);
    loop {
        let page = users::page(&database, "", after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.email.clone());
        seen.extend(page.iter().map(|user| user.email.to_string()));
    }
    assert_eq!(seen.len(), 6);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6, "each once");
    let count = async |prefix: &str| users::page(&database, prefix, None, 100).await.unwrap().len();
    assert_eq!(
        [count("a").await, count("ab").await, count("a_").await, count("a%").await, count("\\").await],
        [4, 2, 1, 1, 0]
    );
}

async fn a_role_is_found_as_a_whole_word(database: Database) {
    let roles = Roles::new(["administrator", "super-admin", "x_y"]).unwrap();
    insert(&database, &User { roles, ..user("ada@example.com") }).await;
    assert!(!users::any_with_role(&database, "admin").await.unwrap());
    assert!(!users::any_with_role(&database, "xzy").await.unwrap());
    assert!(!users::any_with_role(&database, "_-admin").await.unwrap());
    for role in ["administrator", "super-admin", "x_y"] {
        assert!(users::any_with_role(&database, role).await.unwrap(), "{role}");
    }
}

async fn addresses_are_found_by_their_ids(database: Database) {
    let (ada, eve) = (user("ada@example.com"), user("eve@example.com"));
    insert(&database, &ada).await;
    insert(&database, &eve).await;
    assert!(users::emails_of(&database, &[]).await.unwrap().is_empty());
    let found = users::emails_of(&database, &[eve.id, UserId::random(), ada.id, ada.id]).await.unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&(ada.id, ada.email)) && found.contains(&(eve.id, eve.email)));
}

fn key(generation: i64) -> StoredKey {
    StoredKey {
        kid: format!("key {generation} {}", UserId::random()),
        generation,
        alg: "EdDSA".to_owned(),
        public_jwk: "{}".to_owned(),
        sealed_private_key: vec![0, 1, 255],
        created_at: Timestamp::from_micros(1),
        activates_at: Timestamp::from_micros(2),
        retires_at: None,
        withdrawn_at: None,
        compromised_at: None,
    }
}

async fn insert_key(database: &Database, key: &StoredKey) -> bool {
    let mut transaction = database.begin().await.unwrap();
    let inserted = keys::insert(&mut transaction, key).await.unwrap();
    transaction.commit().await.unwrap();
    inserted
}

async fn a_generation_of_keys_is_taken_once(database: Database) {
    let keys: Vec<_> = (0..8).map(|_| key(1)).collect();
    let inserted = crate::harness::all(keys.iter().map(|key| insert_key(&database, key))).await;
    assert_eq!(inserted.iter().filter(|inserted| **inserted).count(), 1);
    let winner = &keys[inserted.iter().position(|inserted| *inserted).unwrap()];
    assert_eq!(keys::published(&database, Timestamp::from_micros(5)).await.unwrap(), std::slice::from_ref(winner));
    let other = StoredKey { alg: "RS256".to_owned(), ..key(1) };
    assert!(insert_key(&database, &other).await, "another algorithm's first key is another");
    assert!(!insert_key(&database, &StoredKey { alg: "RS256".to_owned(), ..key(1) }).await);
}

async fn a_ring_ends_and_is_distrusted_alone(database: Database) {
    let other = StoredKey { alg: "RS256".to_owned(), ..key(1) };
    for key in [&key(1), &key(2), &other] {
        assert!(insert_key(&database, key).await);
    }
    let next = StoredKey { activates_at: Timestamp::from_micros(10), ..key(2) };
    let mut transaction = database.begin().await.unwrap();
    keys::retire_before(&mut transaction, &next, Timestamp::from_micros(20)).await.unwrap();
    keys::distrust_before(&mut transaction, &next).await.unwrap();
    let later = StoredKey { activates_at: Timestamp::from_micros(15), ..key(2) };
    keys::distrust_before(&mut transaction, &later).await.unwrap();
    transaction.commit().await.unwrap();
    let all = keys::published(&database, Timestamp::from_micros(1)).await.unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|key| {
            (key.alg.as_str(), key.generation, key.retires_at.is_some(), key.compromised_at.map(Timestamp::micros))
        })
        .collect();
    assert_eq!(seen, [("EdDSA", 1, true, Some(10)), ("EdDSA", 2, false, None), ("RS256", 1, false, None)]);
}

async fn a_planned_end_is_never_put_off(database: Database) {
    for generation in 1..=3 {
        assert!(insert_key(&database, &key(generation)).await);
    }
    let retire = async |generation, retires, withdrawn| {
        let mut transaction = database.begin().await.unwrap();
        let next = StoredKey { activates_at: Timestamp::from_micros(retires), ..key(generation) };
        keys::retire_before(&mut transaction, &next, Timestamp::from_micros(withdrawn)).await.unwrap();
        transaction.commit().await.unwrap();
    };
    retire(2, 10, 20).await;
    retire(3, 30, 40).await;
    let ends = async |now| {
        let keys = keys::published(&database, Timestamp::from_micros(now)).await.unwrap();
        let ends = |key: &StoredKey| {
            (key.generation, key.retires_at.map(Timestamp::micros), key.withdrawn_at.map(Timestamp::micros))
        };
        keys.iter().map(ends).collect::<Vec<_>>()
    };
    assert_eq!(ends(5).await, [(1, Some(10), Some(20)), (2, Some(30), Some(40)), (3, None, None)]);
    assert_eq!(ends(20).await, [(2, Some(30), Some(40)), (3, None, None)]);
    retire(3, 6, 6).await;
    assert_eq!(ends(6).await, [(3, None, None)], "an earlier end wins");
}

async fn a_key_is_resealed_once(database: Database) {
    let key = key(1);
    insert_key(&database, &key).await;
    keys::reseal(&database, &key.kid, &[9], &[5]).await.unwrap();
    keys::reseal(&database, &key.kid, &key.sealed_private_key, &[7]).await.unwrap();
    let kept = keys::published(&database, Timestamp::from_micros(5)).await.unwrap().remove(0);
    assert_eq!(kept.sealed_private_key, [7]);
}

fn entry(subject: Option<UserId>) -> Entry {
    let by = By { actor: Actor::User(UserId::random()), address: Some("192.0.2.1".to_owned()) };
    Entry { subject, ..Entry::done(Act::LogIn, &by).detail("a detail") }
}

/// A refusal from an address: of an account, or of none.
fn refusal(address: &str, subject: Option<UserId>, why: &'static str) -> Entry {
    let by = By { actor: Actor::Anonymous, address: Some(address.to_owned()) };
    Entry { subject, ..Entry::refused(Act::LogIn, &by, why).detail(UserId::random().to_string()) }
}

async fn an_entry_comes_back_as_it_was(database: Database) {
    let user = UserId::random();
    let session = SessionId::random_for(user);
    let written = entry(Some(user)).session(session);
    for at in [3, 1, 2, 2, 2] {
        audit::write(&database, Timestamp::from_micros(at), &written).await.unwrap();
    }
    audit::write(&database, Timestamp::from_micros(4), &entry(None)).await.unwrap();
    let read = audit::page(&database, Some(user), None, 10).await.unwrap();
    assert_eq!(read.iter().map(|entry| entry.at.micros()).collect::<Vec<_>>(), [3, 2, 2, 2, 1]);
    let newest = &read[0];
    assert_eq!((newest.act.as_str(), newest.outcome.as_str()), ("log_in", "done"));
    assert_eq!((newest.count, newest.last_at), (1, newest.at), "what is done stands alone");
    assert_eq!((newest.subject, newest.session.clone()), (Some(user), Some(session.to_string())));
    assert_eq!((newest.address.as_deref(), newest.detail.as_str()), (Some("192.0.2.1"), "a detail"));
    assert_eq!(newest.actor, written.by.actor.to_string());

    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = audit::page(&database, None, before, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.at, last.id));
        seen.extend(page.iter().map(|entry| (entry.at.micros(), entry.id)));
    }
    assert_eq!(
        seen.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        [4, 3, 2, 2, 2, 1],
        "equal times are split between pages"
    );
}

async fn refusals_of_one_kind_from_one_site_count_in_one_entry_and_none_is_lost(database: Database) {
    const HOUR: i64 = 3_600_000_000;
    let ada = UserId::random();
    let at = |micros: i64| Timestamp::from_micros(1_000 * HOUR + micros);
    // Fifty at once, out of order, from the networks of one IPv6 site.
    join_all((0..50_i64).map(|number| {
        let refused = refusal(&format!("2001:db8:1:{number}::1"), None, "unknown_account");
        let database = &database;
        async move { audit::write(database, at(number), &refused).await.unwrap() }
    }))
    .await;
    let [counted] = audit::page(&database, None, None, 9).await.unwrap().try_into().unwrap();
    assert_eq!((counted.count, counted.last_at), (50, at(49)));
    assert!(counted.at <= counted.last_at && counted.address.unwrap().starts_with("2001:db8:1:"));

    // Another network, another kind, another account, another hour: an entry each.
    for (address, subject, why, when) in [
        ("2001:db8:2:2::1", None, "unknown_account", at(0)),
        ("2001:db8:1:2::1", None, "throttled", at(0)),
        ("2001:db8:1:2::1", Some(ada), "unknown_account", at(0)),
        ("2001:db8:1:2::1", None, "unknown_account", at(HOUR)),
        ("2001:db8:1:2::1", None, "unknown_account", at(-1)),
    ] {
        for _ in 0..3 {
            audit::write(&database, when, &refusal(address, subject, why)).await.unwrap();
        }
    }
    let entries = audit::page(&database, None, None, 9).await.unwrap();
    let mut counts: Vec<i64> = entries.iter().map(|entry| entry.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [3, 3, 3, 3, 3, 50]);
    assert_eq!(audit::page(&database, Some(ada), None, 9).await.unwrap().len(), 1, "the account's own entry is found");
}

async fn each_kind_of_entry_is_forgotten_in_its_time_and_in_batches(database: Database) {
    let at = Timestamp::from_micros;
    for moment in 0..10 {
        audit::write(&database, at(moment), &entry(None)).await.unwrap();
        let refused = refusal(&format!("192.0.2.{moment}"), None, "unknown_account");
        audit::write(&database, at(moment), &refused).await.unwrap();
    }
    let left = async || {
        let entries = audit::page(&database, None, None, 99).await.unwrap();
        let done = entries.iter().filter(|entry| entry.outcome == "done").count();
        (done, entries.len() - done)
    };
    assert_eq!(audit::forget_refused(&database, at(8), 3).await.unwrap(), 3);
    assert_eq!(left().await, (10, 7));
    assert_eq!(audit::forget_refused(&database, at(8), 99).await.unwrap(), 5);
    assert_eq!(left().await, (10, 2));
    assert_eq!(audit::forget_done(&database, at(2), 99).await.unwrap(), 2);
    assert_eq!(left().await, (8, 2));
    assert_eq!(audit::forget_done(&database, at(0), 99).await.unwrap(), 0);
    let oldest = audit::page(&database, None, None, 99).await.unwrap().pop().unwrap();
    assert_eq!(oldest.at, at(2), "the oldest go first");
}

async fn a_withdrawn_key_is_forgotten_unless_it_is_the_newest_of_its_ring(database: Database) {
    let at = Timestamp::from_micros;
    for generation in 1..4 {
        let withdrawn_at = Some(at(10 * generation));
        assert!(insert_key(&database, &StoredKey { withdrawn_at, ..key(generation) }).await);
    }
    assert_eq!(keys::forget_withdrawn(&database, at(20), 9).await.unwrap(), 1);
    assert_eq!(keys::forget_withdrawn(&database, at(1_000), 9).await.unwrap(), 1, "the newest stays");
    let left = keys::published(&database, at(0)).await.unwrap();
    assert_eq!(left.iter().map(|key| key.generation).collect::<Vec<_>>(), [3]);
}

async fn what_is_rolled_back_was_never_written(database: Database) {
    let ada = user("ada@example.com");
    let mut transaction = database.begin().await.unwrap();
    assert!(users::insert(&mut transaction, &ada).await.unwrap());
    audit::write_in(&mut transaction, Timestamp::from_micros(1), &entry(Some(ada.id))).await.unwrap();
    drop(transaction);
    assert_eq!(by_id(&database, ada.id).await.unwrap(), None);
    assert!(audit::page(&database, None, None, 10).await.unwrap().is_empty());
}

fn grant(user: UserId, client: &str) -> Grant {
    Grant {
        id: GrantId::random(),
        session: StoredSession(SessionId::random_for(user)),
        user_id: user,
        client_id: client.to_owned(),
        scope: Words::split("openid cart"),
        audiences: Words::split("auth-service cart-service"),
        claims: "{}".to_owned(),
        dpop_jkt: Some("a thumbprint".to_owned()),
        created_at: Timestamp::from_micros(1_000_001),
        ended_at: None,
    }
}

async fn end_grant(database: &Database, id: GrantId, at: Timestamp) -> bool {
    let mut transaction = database.begin().await.unwrap();
    let ended = grants::end(&mut transaction, id, at).await.unwrap();
    transaction.commit().await.unwrap();
    ended
}

async fn a_grant_comes_back_as_it_was_and_ends_once(database: Database) {
    let given = grant(UserId::random(), "shop");
    grants::insert(&database, &given, Timestamp::from_micros(3)).await.unwrap();
    assert_eq!(grants::by_id(&database, given.id).await.unwrap(), Some(given.clone()));
    assert_eq!(grants::by_id(&database, GrantId::random()).await.unwrap(), None);
    let at = Timestamp::from_micros(7);
    assert!(end_grant(&database, given.id, at).await);
    assert!(!end_grant(&database, given.id, Timestamp::from_micros(8)).await);
    assert_eq!(grants::by_id(&database, given.id).await.unwrap().unwrap().ended_at, Some(at));
}

async fn open_grants_are_found_by_whom_they_concern(database: Database) {
    let (ada, bob) = (UserId::random(), UserId::random());
    let shop = Grant { created_at: Timestamp::from_micros(1), ..grant(ada, "shop") };
    let desk = Grant { session: shop.session, created_at: Timestamp::from_micros(2), ..grant(ada, "desk") };
    let (other, over) = (grant(bob, "shop"), grant(ada, "shop"));
    for given in [&shop, &desk, &other, &over] {
        grants::insert(&database, given, Timestamp::from_micros(3)).await.unwrap();
    }
    end_grant(&database, over.id, Timestamp::from_micros(9)).await;
    assert_eq!(grants::open_of_user(&database, ada).await.unwrap(), [desk.clone(), shop.clone()], "the newest first");
    assert_eq!(grants::open_of_session(&database, shop.session.0).await.unwrap(), [shop.clone(), desk]);
    assert_eq!(grants::open_of_client(&database, "shop", 9).await.unwrap().len(), 2);
    assert_eq!(grants::open_of_client(&database, "shop", 1).await.unwrap().len(), 1);
    assert!(grants::open_of_client(&database, "sho", 9).await.unwrap().is_empty());
}

/// Runs it in a transaction of its own.
async fn in_one<T>(database: &Database, act: impl AsyncFnOnce(&mut Transaction) -> Result<T, sqlx::Error>) -> T {
    let mut transaction = database.begin().await.unwrap();
    let answer = act(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    answer
}

async fn allow(database: &Database, user: UserId, client: &str, scope: &str, at: i64) {
    let (scope, at) = (Words::split(scope), Timestamp::from_micros(at));
    in_one(database, async |transaction| consents::put(transaction, user, client, &scope, at).await).await;
}

async fn withdraw(database: &Database, user: UserId, client: &str) -> bool {
    in_one(database, async |transaction| consents::withdraw(transaction, user, client).await).await
}

async fn a_consent_is_replaced_and_taken_back(database: Database) {
    let ada = UserId::random();
    assert_eq!(consents::of(&database, ada, "shop").await.unwrap(), None);
    assert_eq!(consents::standing(&database, ada, "shop").await.unwrap(), consents::Standing::default());
    allow(&database, ada, "shop", "openid", 5).await;
    allow(&database, ada, "shop", "openid cart", 5).await;
    allow(&database, ada, "desk", "openid", 6).await;
    let kept = consents::of(&database, ada, "shop").await.unwrap().unwrap();
    assert_eq!((kept.scope.to_string().as_str(), kept.granted_at), ("cart openid", Timestamp::from_micros(5)));
    let held = in_one(&database, async |transaction| consents::hold(transaction, ada, "shop").await).await;
    assert_eq!(held, Some(kept));
    let clients: Vec<_> = consents::of_user(&database, ada).await.unwrap().into_iter().map(|it| it.client_id).collect();
    assert_eq!(clients, ["desk", "shop"], "the newest first");
    assert!(withdraw(&database, ada, "shop").await);
    assert!(!withdraw(&database, ada, "shop").await);
    assert!(!withdraw(&database, UserId::random(), "desk").await);
}

async fn how_often_a_consent_was_taken_back_outlives_it(database: Database) {
    let ada = UserId::random();
    let standing = async |client: &str| {
        let standing = consents::standing(&database, ada, client).await.unwrap();
        (standing.allowed.to_string(), standing.withdrawals)
    };
    allow(&database, ada, "shop", "openid", 5).await;
    assert_eq!(standing("shop").await, ("openid".to_owned(), 0));
    let all = join_all((0..8).map(|_| withdraw(&database, ada, "shop"))).await;
    assert_eq!(all.iter().filter(|had| **had).count(), 1);
    assert_eq!(standing("shop").await, (String::new(), 8), "each is counted");
    allow(&database, ada, "shop", "openid cart", 6).await;
    assert_eq!(standing("shop").await, ("cart openid".to_owned(), 8));
    let counted = in_one(&database, async |transaction| consents::withdrawals(transaction, ada, "shop").await).await;
    assert_eq!((counted, standing("desk").await), (8, (String::new(), 0)));
    in_one(&database, async |transaction| consents::remove_of_client(transaction, "shop").await).await;
    assert_eq!(standing("shop").await, (String::new(), 0));
}

async fn another_grant_of_the_client_in_the_session_is_seen(database: Database) {
    let ada = UserId::random();
    let shop = grant(ada, "shop");
    let again = Grant { session: shop.session, ..grant(ada, "shop") };
    let desk = Grant { session: shop.session, ..grant(ada, "desk") };
    for given in [&shop, &again, &desk, &grant(ada, "desk")] {
        grants::insert(&database, given, Timestamp::from_micros(3)).await.unwrap();
    }
    let others = async |of: &Grant| in_one(&database, async |it| grants::has_others(it, of).await).await;
    assert!(others(&shop).await && !others(&desk).await);
    end_grant(&database, again.id, Timestamp::from_micros(9)).await;
    assert!(!others(&shop).await);
}

async fn the_grants_of_a_session_end_together_and_once(database: Database) {
    let ada = UserId::random();
    let shop = grant(ada, "shop");
    let again = Grant { session: shop.session, ..grant(ada, "shop") };
    let desk = Grant { session: shop.session, ..grant(ada, "desk") };
    let elsewhere = grant(ada, "shop");
    for given in [&shop, &again, &desk, &elsewhere] {
        grants::insert(&database, given, Timestamp::from_micros(3)).await.unwrap();
    }
    let at = Timestamp::from_micros(7);
    let end = async || {
        let mut transaction = database.begin().await.unwrap();
        let mut ended = grants::end_of_session(&mut transaction, shop.session.0, at).await.unwrap();
        transaction.commit().await.unwrap();
        ended.sort();
        ended
    };
    let both = crate::harness::all((0..4).map(|_| end())).await;
    let all: Vec<_> = both.into_iter().flatten().collect();
    assert_eq!(all, ["desk", "shop", "shop"].map(|client| (client.to_owned(), ada)), "one of several ends them");
    assert_eq!(grants::by_id(&database, desk.id).await.unwrap().unwrap().ended_at, Some(at));
    assert_eq!(grants::open_of_user(&database, ada).await.unwrap(), [elsewhere]);
}

async fn a_session_is_looked_at_by_one_and_when_it_is_time(database: Database) {
    let ada = UserId::random();
    let at = Timestamp::from_micros;
    let given: Vec<_> = (0..6).map(|_| grant(ada, "shop")).collect();
    for (number, grant) in given.iter().enumerate() {
        grants::insert(&database, grant, at(10 + i64::try_from(number).unwrap())).await.unwrap();
    }
    end_grant(&database, given[0].id, at(1)).await;
    assert!(grants::sessions_to_look_at(&database, at(9), at(100), 10).await.unwrap().is_empty());
    let looks = (0..4).map(|_| grants::sessions_to_look_at(&database, at(14), at(100), 10));
    let mut seen: Vec<_> =
        crate::harness::all(looks).await.into_iter().flat_map(Result::unwrap).map(|(session, _)| session).collect();
    seen.sort();
    let mut due: Vec<_> = given[1..5].iter().map(|grant| grant.session.0).collect();
    due.sort();
    assert_eq!(seen, due, "each once, and none that has ended or is not due");
    grants::look_again(&database, due[0], at(20)).await.unwrap();
    let next = grants::sessions_to_look_at(&database, at(20), at(100), 1).await.unwrap();
    assert_eq!(next, [(given[5].session.0, ada)], "at most so many, the longest due first");
    assert_eq!(grants::sessions_to_look_at(&database, at(20), at(100), 9).await.unwrap(), [(due[0], ada)]);
    grants::look_at_older(&database, at(1_000_001)).await.unwrap();
    assert!(grants::sessions_to_look_at(&database, at(20), at(100), 9).await.unwrap().is_empty());
    grants::look_at_older(&database, at(1_000_002)).await.unwrap();
    assert_eq!(grants::sessions_to_look_at(&database, at(20), at(100), 9).await.unwrap().len(), 5);
}

async fn what_ended_long_ago_is_forgotten(database: Database) {
    let ada = UserId::random();
    let given: Vec<_> = (0..3).map(|_| grant(ada, "shop")).collect();
    for grant in &given {
        grants::insert(&database, grant, Timestamp::from_micros(3)).await.unwrap();
    }
    end_grant(&database, given[0].id, Timestamp::from_micros(5)).await;
    end_grant(&database, given[1].id, Timestamp::from_micros(6)).await;
    grants::forget_ended(&database, Timestamp::from_micros(6), 10).await.unwrap();
    assert_eq!(grants::by_id(&database, given[0].id).await.unwrap(), None);
    assert!(grants::by_id(&database, given[1].id).await.unwrap().is_some());
    grants::forget_ended(&database, Timestamp::from_micros(i64::MAX), 10).await.unwrap();
    assert_eq!(grants::open_of_user(&database, ada).await.unwrap(), [given[2].clone()], "what is open stays");

    let (dead, waiting) = (delivery("shop", 1), delivery("shop", 1));
    let dead = Delivery { dead_at: Some(Timestamp::from_micros(5)), ..dead };
    for delivery in [&dead, &waiting] {
        leave(&database, delivery).await;
    }
    assert_eq!(outbox::forget_dead(&database, Timestamp::from_micros(5), 9).await.unwrap(), 0);
    assert_eq!(outbox::page(&database, Which::All, None, 9).await.unwrap().len(), 2);
    assert_eq!(outbox::forget_dead(&database, Timestamp::from_micros(6), 9).await.unwrap(), 1);
    assert_eq!(outbox::page(&database, Which::All, None, 9).await.unwrap(), [waiting]);
}

fn delivery(client: &str, next_at: i64) -> Delivery {
    let user = UserId::random();
    Delivery {
        id: uuid::Uuid::new_v4(),
        client_id: client.to_owned(),
        session: StoredSession(SessionId::random_for(user)),
        user_id: user,
        uri: "https://shop.example/out".to_owned(),
        alg: "ES256".to_owned(),
        own_claim: true,
        created_at: Timestamp::from_micros(1_795_230_000_123_456),
        attempts: 0,
        next_at: Timestamp::from_micros(next_at),
        dead_at: None,
        last_error: None,
    }
}

async fn leave(database: &Database, delivery: &Delivery) {
    let mut transaction = database.begin().await.unwrap();
    outbox::insert(&mut transaction, delivery).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn a_delivery_comes_back_as_it_was_and_is_claimed_by_one(database: Database) {
    let at = Timestamp::from_micros;
    let left: Vec<_> = (0..8).map(|number| delivery("shop", number)).collect();
    let other = Delivery { own_claim: false, ..delivery("desk", 3) };
    for delivery in left.iter().chain([&other]) {
        leave(&database, delivery).await;
    }
    assert_eq!(outbox::count_waiting(&database).await.unwrap(), 9);
    assert!(outbox::clients_to_tell(&database, at(-1)).await.unwrap().is_empty());
    assert_eq!(outbox::clients_to_tell(&database, at(0)).await.unwrap(), [("shop".to_owned(), true)].into());
    let claims = (0..4).map(|_| outbox::claim(&database, "shop", at(5), at(50), 9));
    let mut claimed: Vec<_> = crate::harness::all(claims).await.into_iter().flat_map(Result::unwrap).collect();
    claimed.sort_by_key(|delivery| left.iter().position(|it| it.id == delivery.id));
    let expected: Vec<_> =
        left[..6].iter().map(|delivery| Delivery { attempts: 1, next_at: at(50), ..delivery.clone() }).collect();
    assert_eq!(claimed, expected, "each once, as it was left, and none that is not due");
    assert_eq!(outbox::claim(&database, "shop", at(7), at(50), 1).await.unwrap().len(), 1, "at most so many");
    assert_eq!(outbox::clients_to_tell(&database, at(6)).await.unwrap(), [("desk".to_owned(), false)].into());
    leave(&database, &Delivery { own_claim: true, ..delivery("desk", 3) }).await;
    let known = outbox::clients_to_tell(&database, at(6)).await.unwrap();
    assert_eq!(known, [("desk".to_owned(), true)].into(), "one that registered itself, by any of its deliveries");
    assert_eq!(outbox::claim(&database, "shop", at(50), at(99), 99).await.unwrap().len(), 8, "a lease that is over");
}

async fn whoever_lost_a_delivery_changes_nothing_of_it(database: Database) {
    let at = Timestamp::from_micros;
    leave(&database, &delivery("shop", 0)).await;
    let late = outbox::claim(&database, "shop", at(0), at(10), 1).await.unwrap().remove(0);
    let now = outbox::claim(&database, "shop", at(10), at(20), 1).await.unwrap().remove(0);
    outbox::remove(&database, &late).await.unwrap();
    outbox::put_off(&database, &late, at(0), Some(at(5)), "late").await.unwrap();
    assert_eq!(outbox::page(&database, Which::Waiting, None, 9).await.unwrap(), std::slice::from_ref(&now));
    outbox::put_off(&database, &now, at(30), None, "timeout").await.unwrap();
    let waiting = outbox::page(&database, Which::Waiting, None, 9).await.unwrap().remove(0);
    assert_eq!((waiting.next_at, waiting.attempts, waiting.last_error.as_deref()), (at(30), 2, Some("timeout")));
    outbox::put_off(&database, &now, at(30), Some(at(31)), "timeout").await.unwrap();
    assert!(outbox::page(&database, Which::Waiting, None, 9).await.unwrap().is_empty());
    assert!(outbox::claim(&database, "shop", at(99), at(100), 9).await.unwrap().is_empty(), "it is left alone");
    let mut transaction = database.begin().await.unwrap();
    let again = outbox::retry(&mut transaction, now.id, at(40)).await.unwrap().unwrap();
    assert_eq!(outbox::retry(&mut transaction, uuid::Uuid::new_v4(), at(40)).await.unwrap(), None);
    transaction.commit().await.unwrap();
    assert_eq!((again.attempts, again.next_at, again.dead_at), (0, at(40), None));
    let last = outbox::claim(&database, "shop", at(40), at(50), 9).await.unwrap().remove(0);
    outbox::remove(&database, &last).await.unwrap();
    assert_eq!(outbox::count_waiting(&database).await.unwrap(), 0);
}

async fn a_delivery_is_left_with_the_end_or_not_at_all(database: Database) {
    let given = grant(UserId::random(), "shop");
    grants::insert(&database, &given, Timestamp::from_micros(3)).await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    grants::end_of_session(&mut transaction, given.session.0, Timestamp::from_micros(4)).await.unwrap();
    outbox::insert(&mut transaction, &delivery("shop", 0)).await.unwrap();
    drop(transaction);
    assert_eq!(grants::by_id(&database, given.id).await.unwrap().unwrap().ended_at, None);
    assert_eq!(outbox::count_waiting(&database).await.unwrap(), 0);
}

/// A thread's place is given to the next one, whose runtime is another.
#[test]
fn an_account_is_read_although_the_runtime_that_asked_first_is_gone() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("auth.db").display());
    let ada = user("ada@example.com");
    let (database, first) = (runtime(), runtime());
    let opened = database.block_on(async {
        let opened = open(&url).await;
        insert(&opened, &ada).await;
        opened
    });
    let reader = UserReader::new(opened, "auth-service");
    assert_eq!(first.block_on(reader.by_id(ada.id)).unwrap().as_ref(), Some(&ada));
    drop(first);
    assert_eq!(runtime().block_on(reader.by_id(ada.id)).unwrap().as_ref(), Some(&ada));
}
