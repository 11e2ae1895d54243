//! The contract, sentence by sentence, run against each store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use shared::session::{
    Attributes, ClientGrant, EndReason, Granted, LimitPolicy, MOST_GRANTS, Revoked, Rotation, SessionId, SessionLimit,
    Touched, UserId, Written,
};
use shared::testing::late;

use crate::{ABSOLUTE, CLIENT, IDLE, NO_LIMIT, Subject, WINDOW, login, session_of};

const GRACE: Duration = Duration::from_secs(10);

macro_rules! contract {
    ($($sentence:ident)*) => {
        mod in_memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(crate::Subject::in_memory().await.unwrap()).await;
            }
        )*}
        mod on_one_node {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(crate::Subject::on_nodes(1).await).await;
            }
        )*}
        mod on_redis {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                if let Some(subject) = crate::Subject::on_redis().await {
                    super::$sentence(subject).await;
                }
            }
        )*}
        mod sealed_on_redis {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                if let Some(subject) = crate::Subject::sealed_on_redis().await {
                    super::$sentence(subject).await;
                }
            }
        )*}
        // These have no databases: the sentences follow each other.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn every_sentence_holds_on_a_cluster() {
            let Some(cluster) = e2e::servers::steady_redis_cluster_for_test() else { return };
            $(
                cluster.clear().unwrap();
                $sentence(crate::Subject::at(&cluster.url())).await;
            )*
        }
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn every_sentence_holds_under_sentinels_with_sealed_attributes() {
            let Some(sentinels) = e2e::servers::steady_sentinels_for_test() else { return };
            $(
                sentinels.clear().unwrap();
                $sentence(crate::Subject::sealed_at(&sentinels.url(), crate::sealed::keys(&[1]))).await;
            )*
        }
    };
}

contract! {
    a_session_is_loaded_as_it_began
    a_long_device_is_cut_between_two_characters
    what_never_was_is_gone_and_no_error
    a_session_that_is_not_seen_is_gone_after_its_idle_time
    a_session_is_gone_at_its_absolute_expiry_however_often_it_is_seen
    a_touch_is_not_due_before_a_thirtieth_of_the_idle_time
    a_write_changes_what_it_names_and_nothing_else
    a_write_on_an_older_version_changes_nothing
    of_many_writes_on_one_version_one_succeeds
    no_verb_revives_an_ended_session
    the_oldest_sessions_end_for_one_too_many
    one_too_many_is_refused
    what_has_expired_does_not_count_against_the_limit
    two_hundred_logins_at_once_leave_the_newest_three
    two_hundred_logins_at_once_are_refused_but_three
    the_current_generation_rotates
    the_one_before_gets_the_same_successor_within_the_grace
    the_one_before_is_theft_after_the_grace
    an_older_generation_is_theft_at_once
    a_used_token_of_a_client_ends_its_family_and_nothing_else
    hf4_one_that_arrived_before_the_last_rotation_is_late_and_no_theft
    hf4_a_request_that_waited_too_long_changes_nothing
    a_generation_ahead_of_the_store_moves_it_forward
    a_client_without_a_grant_has_nothing_to_rotate
    a_rotation_keeps_the_session_alive
    another_clients_grant_begins_in_a_live_session_and_ends_alone
    no_grant_makes_room_for_another
    two_hundred_rotations_of_one_token_have_one_successor
    ending_a_session_answers_what_it_was_and_is_announced
    ending_all_spares_the_exception
    ending_all_leaves_other_users_alone
    logins_that_race_with_ending_all_are_ended_or_listed
    a_list_begins_with_the_newest
    who_is_online_comes_page_by_page
    who_is_online_leaves_out_the_ended_and_the_expired
    the_feed_tells_everything_once_and_in_order
    a_follower_is_woken_by_an_announcement
    a_follower_at_the_end_of_a_silent_feed_is_answered
    the_feed_forgets_what_no_token_outlives
    a_backlog_is_read_to_its_end
}

/// What two nodes promise that are asked in turn: all but what happens at both in the same moment.
macro_rules! in_turn {
    ($($sentence:ident)*) => {
        mod on_two_nodes_in_turn {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(crate::Subject::on_nodes(2).await).await;
            }
        )*}
    };
}

in_turn! {
    a_session_is_loaded_as_it_began
    a_long_device_is_cut_between_two_characters
    what_never_was_is_gone_and_no_error
    a_session_that_is_not_seen_is_gone_after_its_idle_time
    a_session_is_gone_at_its_absolute_expiry_however_often_it_is_seen
    a_touch_is_not_due_before_a_thirtieth_of_the_idle_time
    a_write_changes_what_it_names_and_nothing_else
    a_write_on_an_older_version_changes_nothing
    no_verb_revives_an_ended_session
    the_oldest_sessions_end_for_one_too_many
    one_too_many_is_refused
    what_has_expired_does_not_count_against_the_limit
    the_current_generation_rotates
    the_one_before_gets_the_same_successor_within_the_grace
    the_one_before_is_theft_after_the_grace
    an_older_generation_is_theft_at_once
    a_used_token_of_a_client_ends_its_family_and_nothing_else
    hf4_one_that_arrived_before_the_last_rotation_is_late_and_no_theft
    hf4_a_request_that_waited_too_long_changes_nothing
    a_generation_ahead_of_the_store_moves_it_forward
    a_client_without_a_grant_has_nothing_to_rotate
    a_rotation_keeps_the_session_alive
    another_clients_grant_begins_in_a_live_session_and_ends_alone
    no_grant_makes_room_for_another
    ending_a_session_answers_what_it_was_and_is_announced
    ending_all_spares_the_exception
    ending_all_leaves_other_users_alone
    a_list_begins_with_the_newest
    who_is_online_comes_page_by_page
    who_is_online_leaves_out_the_ended_and_the_expired
    the_feed_tells_everything_once_and_in_order
    a_follower_is_woken_by_an_announcement
    a_follower_at_the_end_of_a_silent_feed_is_answered
    the_feed_forgets_what_no_token_outlives
    a_backlog_is_read_to_its_end
}

async fn a_session_is_loaded_as_it_began(subject: Subject) {
    let user = UserId::random();
    let began = subject.begin(user).await;
    assert_eq!(subject.store.load(began.id).await.unwrap().as_ref(), Some(&began));
    let expected = login(user);
    assert_eq!(began.id.partition(), user.partition());
    assert_eq!((began.user, &began.roles, &began.amr), (user, &expected.roles, &expected.amr));
    assert_eq!((&began.device, &began.address), (&expected.device, &expected.address));
    assert_eq!((began.idle, began.version, &began.attributes), (IDLE, 0, &Attributes::new()));
    assert_eq!(began.expires_at.since(began.last_seen_at), ABSOLUTE);
    assert_eq!(began.created_at, began.last_seen_at);
    let grant = ClientGrant { generation: 1, rotated_at: began.last_seen_at };
    assert_eq!(began.clients, BTreeMap::from([(CLIENT.to_owned(), grant)]));
}

async fn a_long_device_is_cut_between_two_characters(subject: Subject) {
    let mut new = login(UserId::random());
    new.device = format!("{}é and more", "x".repeat(63));
    let shared::session::Created::Begun { session, .. } = subject.store.create(new, NO_LIMIT).await.unwrap() else {
        panic!("there is no limit");
    };
    assert_eq!(session.device, "x".repeat(63));
}

async fn what_never_was_is_gone_and_no_error(subject: Subject) {
    let user = UserId::random();
    let id = SessionId::random_for(user);
    assert!(is_gone(&subject, id).await);
    assert!(subject.store.end(id, EndReason::Logout).await.unwrap().is_none());
    assert!(subject.store.end_all(user, None, EndReason::Logout).await.unwrap().is_empty());
    assert!(subject.store.list(user).await.unwrap().is_empty());
    let page = subject.store.online(None, 10).await.unwrap();
    assert!(page.sessions.is_empty() && page.next.is_none());
}

/// Whether every verb says so.
async fn is_gone(subject: &Subject, id: SessionId) -> bool {
    let store = &subject.store;
    let change = [("cart".to_owned(), Some("full".to_owned()))];
    store.load(id).await.unwrap().is_none()
        && store.touch(id).await.unwrap() == Touched::Gone
        && store.write(id, &change, None).await.unwrap() == Written::Gone
        && store.write(id, &[], Some(0)).await.unwrap() == Written::Gone
        && matches!(store.rotate(id, CLIENT, 1, GRACE).await.unwrap(), Rotation::Gone)
        && store.load(id).await.unwrap().is_none()
}

async fn a_session_that_is_not_seen_is_gone_after_its_idle_time(subject: Subject) {
    let user = UserId::random();
    let session = subject.begin(user).await;
    subject.clock.advance(IDLE - Duration::from_secs(60));
    assert_eq!(subject.store.touch(session.id).await.unwrap(), Touched::Seen);
    subject.clock.advance(IDLE - Duration::from_secs(60));
    assert!(subject.store.load(session.id).await.unwrap().is_some());
    subject.clock.advance(Duration::from_secs(60));
    assert!(is_gone(&subject, session.id).await);
    assert!(subject.store.list(user).await.unwrap().is_empty());
}

async fn a_session_is_gone_at_its_absolute_expiry_however_often_it_is_seen(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    for _ in 0..19 {
        subject.clock.advance(Duration::from_secs(500));
        assert_eq!(subject.store.touch(session.id).await.unwrap(), Touched::Seen);
    }
    subject.clock.advance(Duration::from_secs(500));
    assert!(is_gone(&subject, session.id).await);
}

async fn a_touch_is_not_due_before_a_thirtieth_of_the_idle_time(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    assert_eq!(subject.store.touch(session.id).await.unwrap(), Touched::NotDue);
    assert_eq!(subject.store.load(session.id).await.unwrap().unwrap().last_seen_at, session.last_seen_at);
    subject.clock.advance(IDLE / 30);
    assert_eq!(subject.store.touch(session.id).await.unwrap(), Touched::Seen);
    let seen = subject.store.load(session.id).await.unwrap().unwrap().last_seen_at;
    assert!(seen.since(session.last_seen_at) >= IDLE / 30);
    assert_eq!(subject.store.touch(session.id).await.unwrap(), Touched::NotDue);
}

fn change(name: &str, value: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), value.map(str::to_owned))
}

async fn a_write_changes_what_it_names_and_nothing_else(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    let first = [change("cart", Some("7")), change("theme", Some("dark")), change("u", Some("not the user"))];
    assert_eq!(subject.store.write(session.id, &first, None).await.unwrap(), Written::Version(1));
    let second = [change("cart", None), change("never there", None), change("theme", Some(""))];
    assert_eq!(subject.store.write(session.id, &second, Some(1)).await.unwrap(), Written::Version(2));
    let mut expected = session.clone();
    expected.version = 2;
    expected.attributes =
        BTreeMap::from([("theme".to_owned(), String::new()), ("u".to_owned(), "not the user".to_owned())]);
    assert_eq!(subject.store.load(session.id).await.unwrap(), Some(expected));
}

async fn a_write_on_an_older_version_changes_nothing(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    let write = |value, expected| {
        let (store, changes) = (&subject.store, [change("cart", Some(value))]);
        async move { store.write(session.id, &changes, expected).await.unwrap() }
    };
    assert_eq!(write("first", Some(0)).await, Written::Version(1));
    assert_eq!(write("second", Some(0)).await, Written::VersionConflict);
    assert_eq!(write("third", Some(7)).await, Written::VersionConflict);
    let now = subject.store.load(session.id).await.unwrap().unwrap();
    assert_eq!((now.version, now.attributes["cart"].as_str()), (1, "first"));
}

async fn of_many_writes_on_one_version_one_succeeds(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    for version in 0..3 {
        let writes = join_all((0..50).map(async |writer: usize| {
            let changes = [change("winner", Some(&writer.to_string()))];
            subject.store.write(session.id, &changes, Some(version)).await.unwrap()
        }));
        let writes = writes.await;
        let won: Vec<_> = (0..50).filter(|writer| writes[*writer] == Written::Version(version + 1)).collect();
        let lost = writes.iter().filter(|outcome| **outcome == Written::VersionConflict).count();
        assert_eq!((won.len(), lost), (1, 49));
        let now = subject.store.load(session.id).await.unwrap().unwrap();
        assert_eq!((now.version, &now.attributes["winner"]), (version + 1, &won[0].to_string()));
    }
}

async fn no_verb_revives_an_ended_session(subject: Subject) {
    let user = UserId::random();
    for end_all in [false, true] {
        let session = subject.begin(user).await;
        if end_all {
            subject.store.end_all(user, None, EndReason::PasswordChanged).await.unwrap();
        } else {
            subject.store.end(session.id, EndReason::Logout).await.unwrap();
        }
        assert!(is_gone(&subject, session.id).await);
        assert!(subject.store.list(user).await.unwrap().is_empty());
        assert!(subject.store.online(None, 10).await.unwrap().sessions.is_empty());
    }
}

async fn the_oldest_sessions_end_for_one_too_many(subject: Subject) {
    let user = UserId::random();
    let mut begun = Vec::new();
    for _ in 0..5 {
        begun.push(subject.begin(user).await.id);
    }
    let limit = SessionLimit { max: 3, policy: LimitPolicy::EndOldest };
    let (newest, ended) = subject.begin_within(user, limit).await.unwrap();
    assert_eq!(ended, begun[..3]);
    let live: Vec<_> = subject.store.list(user).await.unwrap().iter().map(|session| session.id).collect();
    assert_eq!(live, [newest.id, begun[4], begun[3]]);
    assert_eq!(subject.ended_by_the_feed().await, ended);
    assert!(is_gone(&subject, begun[0]).await);
}

async fn one_too_many_is_refused(subject: Subject) {
    let (user, limit) = (UserId::random(), SessionLimit { max: 2, policy: LimitPolicy::Refuse });
    let first = subject.begin_within(user, limit).await.unwrap().0;
    subject.begin_within(user, limit).await.unwrap();
    assert!(subject.begin_within(user, limit).await.is_none());
    assert_eq!(subject.store.list(user).await.unwrap().len(), 2);
    assert!(subject.begin_within(UserId::random(), limit).await.is_some(), "another user's limit");
    subject.store.end(first.id, EndReason::Logout).await.unwrap();
    assert!(subject.begin_within(user, limit).await.is_some());
}

async fn what_has_expired_does_not_count_against_the_limit(subject: Subject) {
    let (user, limit) = (UserId::random(), SessionLimit { max: 2, policy: LimitPolicy::Refuse });
    subject.begin_within(user, limit).await.unwrap();
    subject.begin_within(user, limit).await.unwrap();
    subject.clock.advance(IDLE);
    assert!(subject.begin_within(user, limit).await.is_some());
    assert_eq!(subject.store.list(user).await.unwrap().len(), 1);
}

async fn two_hundred_logins_at_once_leave_the_newest_three(subject: Subject) {
    let (user, limit) = (UserId::random(), SessionLimit { max: 3, policy: LimitPolicy::EndOldest });
    let logins = join_all((0..200).map(|_| subject.begin_within(user, limit))).await;
    let ended: BTreeSet<_> = logins.iter().flatten().flat_map(|(_, ended)| ended).copied().collect();
    assert_eq!((logins.iter().flatten().count(), ended.len()), (200, 197));
    let live: BTreeSet<_> = subject.store.list(user).await.unwrap().iter().map(|session| session.id).collect();
    assert_eq!(live.len(), 3);
    assert!(live.is_disjoint(&ended));
    assert_eq!(subject.ended_by_the_feed().await.len(), 197);
    assert_eq!(subject.store.online(None, 100).await.unwrap().sessions.len(), 3);
}

async fn two_hundred_logins_at_once_are_refused_but_three(subject: Subject) {
    let (user, limit) = (UserId::random(), SessionLimit { max: 3, policy: LimitPolicy::Refuse });
    let logins = join_all((0..200).map(|_| subject.begin_within(user, limit))).await;
    assert_eq!(logins.iter().flatten().count(), 3);
    assert_eq!(subject.store.list(user).await.unwrap().len(), 3);
    assert!(subject.announced().await.is_empty());
}

/// What a rotation did, and the generation that it answered.
async fn rotate(subject: &Subject, id: SessionId, presented: u64) -> (&'static str, u64) {
    match subject.store.rotate(id, CLIENT, presented, GRACE).await.unwrap() {
        Rotation::Rotated { session, generation } => {
            assert_eq!(session.clients[CLIENT].generation, generation);
            ("rotated", generation)
        }
        Rotation::Repeated { session, generation } => {
            assert_eq!(session.clients[CLIENT].generation, generation);
            ("repeated", generation)
        }
        Rotation::Stolen { session } => {
            assert_eq!(session.id, id);
            ("stolen", 0)
        }
        Rotation::StolenFromClient { .. } => ("stolen from client", 0),
        Rotation::Late => ("late", 0),
        Rotation::Gone => ("gone", 0),
    }
}

async fn the_current_generation_rotates(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    for generation in 1..=5 {
        assert_eq!(rotate(&subject, session.id, generation).await, ("rotated", generation + 1));
    }
    let grant = subject.store.load(session.id).await.unwrap().unwrap().clients[CLIENT];
    assert_eq!(grant.generation, 6);
    assert!(grant.rotated_at > session.created_at);
}

async fn the_one_before_gets_the_same_successor_within_the_grace(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    assert_eq!(rotate(&subject, session.id, 1).await, ("rotated", 2));
    for _ in 0..3 {
        assert_eq!(rotate(&subject, session.id, 1).await, ("repeated", 2));
    }
    subject.clock.advance(GRACE / 2);
    assert_eq!(rotate(&subject, session.id, 1).await, ("repeated", 2));
    assert_eq!(rotate(&subject, session.id, 2).await, ("rotated", 3));
    subject.clock.advance(GRACE / 2);
    assert_eq!(rotate(&subject, session.id, 2).await, ("repeated", 3));
}

async fn hf4_one_that_arrived_before_the_last_rotation_is_late_and_no_theft(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    for generation in 1..=2 {
        assert_eq!(rotate(&subject, session.id, generation).await, ("rotated", generation + 1));
    }
    let waited = Duration::from_secs(5);
    assert_eq!(late(waited, rotate(&subject, session.id, 1)).await, ("late", 0));
    assert_eq!(late(waited, rotate(&subject, session.id, 2)).await, ("repeated", 3), "within the grace");
    assert_eq!(late(waited, rotate(&subject, session.id, 3)).await, ("rotated", 4), "its client waits for it");
    // However long ago the rotation was, one that came after it is theft.
    subject.clock.advance(waited * 2);
    assert_eq!(late(waited, rotate(&subject, session.id, 1)).await, ("stolen", 0));
    assert_eq!(subject.ended_by_the_feed().await, [session.id]);
}

async fn hf4_a_request_that_waited_too_long_changes_nothing(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    let waited = shared::arrival::LONGEST_WAIT + Duration::from_secs(1);
    late(waited, async {
        let store = &subject.store;
        assert!(store.rotate(session.id, CLIENT, 1, GRACE).await.is_err());
        assert!(store.end(session.id, EndReason::Logout).await.is_err());
        assert!(store.end_all(session.user, None, EndReason::Logout).await.is_err());
        assert!(store.write(session.id, &[], None).await.is_err());
        assert!(store.grant(session.id, "other").await.is_err());
        assert!(store.end_grant(session.id, CLIENT).await.is_err());
        assert!(store.revoke_token(session.user, 7).await.is_err());
        assert!(store.create(login(session.user), NO_LIMIT).await.is_err());
        assert_eq!(store.load(session.id).await.unwrap(), Some(session.clone()), "to look is no change");
    })
    .await;
    assert_eq!(rotate(&subject, session.id, 1).await, ("rotated", 2));
}

async fn the_one_before_is_theft_after_the_grace(subject: Subject) {
    let user = UserId::random();
    let session = subject.begin(user).await;
    assert_eq!(rotate(&subject, session.id, 1).await, ("rotated", 2));
    subject.clock.advance(GRACE + Duration::from_millis(1));
    assert_eq!(rotate(&subject, session.id, 1).await, ("stolen", 0));
    assert_eq!(rotate(&subject, session.id, 2).await, ("gone", 0));
    assert!(subject.store.list(user).await.unwrap().is_empty());
    assert_eq!(subject.ended_by_the_feed().await, [session.id]);
}

async fn an_older_generation_is_theft_at_once(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    assert_eq!(rotate(&subject, session.id, 1).await, ("rotated", 2));
    assert_eq!(rotate(&subject, session.id, 2).await, ("rotated", 3));
    assert_eq!(rotate(&subject, session.id, 1).await, ("stolen", 0));
    assert!(is_gone(&subject, session.id).await);
    assert_eq!(subject.ended_by_the_feed().await, [session.id]);
}

async fn a_used_token_of_a_client_ends_its_family_and_nothing_else(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    for client in ["one", "other"] {
        assert!(matches!(subject.store.grant(session.id, client).await.unwrap(), Granted::Begun(_)));
    }
    let rotate = async |client, presented| subject.store.rotate(session.id, client, presented, GRACE).await.unwrap();
    for presented in [1, 2] {
        assert!(matches!(rotate("one", presented).await, Rotation::Rotated { .. }));
    }
    let stolen = rotate("one", 1).await;
    let Rotation::StolenFromClient { session: left } = stolen else { panic!("it was used: {stolen:?}") };
    assert_eq!(left.clients.keys().collect::<Vec<_>>(), ["other", CLIENT]);
    assert!(matches!(rotate("one", 3).await, Rotation::Gone), "the newest of it has ended too");
    for client in ["other", CLIENT] {
        assert!(matches!(rotate(client, 1).await, Rotation::Rotated { generation: 2, .. }), "{client}");
    }
    assert_eq!(subject.store.load(session.id).await.unwrap().unwrap().clients.len(), 2);
    assert!(subject.announced().await.is_empty(), "the session goes on");
}

async fn a_generation_ahead_of_the_store_moves_it_forward(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    assert_eq!(rotate(&subject, session.id, 5).await, ("rotated", 6));
    assert_eq!(rotate(&subject, session.id, 5).await, ("repeated", 6));
    assert_eq!(rotate(&subject, session.id, 6).await, ("rotated", 7));
    assert_eq!(rotate(&subject, session.id, 1).await, ("stolen", 0));
}

async fn a_client_without_a_grant_has_nothing_to_rotate(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    for client in ["", "mobile", "platform:", "%"] {
        let rotation = subject.store.rotate(session.id, client, 1, GRACE).await.unwrap();
        assert!(matches!(rotation, Rotation::Gone), "{client:?}: {rotation:?}");
    }
    assert_eq!(subject.store.load(session.id).await.unwrap(), Some(session));
}

async fn another_clients_grant_begins_in_a_live_session_and_ends_alone(subject: Subject) {
    let began = subject.begin(UserId::random()).await;
    let Granted::Begun(with_two) = subject.store.grant(began.id, "shop").await.unwrap() else { panic!("it lives") };
    assert_eq!(
        with_two.clients.keys().collect::<BTreeSet<_>>(),
        BTreeSet::from([&CLIENT.to_owned(), &"shop".to_owned()])
    );
    assert_eq!(with_two.clients["shop"].generation, 1);
    assert!(matches!(
        subject.store.rotate(began.id, "shop", 1, GRACE).await.unwrap(),
        Rotation::Rotated { generation: 2, .. }
    ));
    subject.store.end_grant(began.id, "shop").await.unwrap();
    subject.store.end_grant(began.id, "shop").await.unwrap();
    assert!(matches!(subject.store.rotate(began.id, "shop", 2, GRACE).await.unwrap(), Rotation::Gone));
    assert!(matches!(subject.store.rotate(began.id, CLIENT, 1, GRACE).await.unwrap(), Rotation::Rotated { .. }));
    subject.store.end(began.id, EndReason::Logout).await.unwrap();
    let again = subject.store.grant(began.id, "shop").await.unwrap();
    assert_eq!(again, Granted::Gone, "an ended session was revived");
    assert!(subject.store.load(began.id).await.unwrap().is_none());
}

async fn no_grant_makes_room_for_another(subject: Subject) {
    let began = subject.begin(UserId::random()).await;
    let begin = |number: usize| {
        let (store, id) = (subject.store.clone(), began.id);
        async move { store.grant(id, &format!("client-{number:03}")).await.unwrap() }
    };
    // All but a few, then more at once than there is room for.
    for number in 1..MOST_GRANTS - 4 {
        assert!(matches!(begin(number).await, Granted::Begun(_)), "{number}");
    }
    let last = join_all((MOST_GRANTS..MOST_GRANTS + 4).map(begin)).await;
    assert!(last.iter().all(|granted| matches!(granted, Granted::Begun(_))));
    for number in [0, MOST_GRANTS + 9] {
        assert_eq!(begin(number).await, Granted::Full);
    }
    let session = subject.store.load(began.id).await.unwrap().unwrap();
    assert_eq!(session.clients.len(), MOST_GRANTS);
    assert!(session.clients.contains_key(CLIENT) && session.clients.contains_key("client-001"), "nobody has lost any");
    assert!(matches!(rotate(&subject, began.id, 1).await, ("rotated", 2)));
    // One that is there begins again, and one that ends makes room.
    let Granted::Begun(again) = begin(1).await else { panic!("it is there") };
    assert_eq!((again.clients.len(), again.clients["client-001"].generation), (MOST_GRANTS, 1));
    subject.store.end_grant(began.id, "client-002").await.unwrap();
    assert!(matches!(begin(0).await, Granted::Begun(_)));
    assert_eq!(begin(2).await, Granted::Full);
}

async fn a_rotation_keeps_the_session_alive(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    subject.clock.advance(IDLE - Duration::from_secs(60));
    assert_eq!(rotate(&subject, session.id, 1).await, ("rotated", 2));
    subject.clock.advance(IDLE - Duration::from_secs(60));
    assert!(subject.store.load(session.id).await.unwrap().is_some());
    assert_eq!(subject.store.online(None, 10).await.unwrap().sessions.len(), 1);
}

async fn two_hundred_rotations_of_one_token_have_one_successor(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    let answers = join_all((0..200).map(|_| rotate(&subject, session.id, 1))).await;
    assert_eq!(answers.iter().filter(|answer| **answer == ("rotated", 2)).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == ("repeated", 2)).count(), 199);
    assert_eq!(rotate(&subject, session.id, 2).await, ("rotated", 3));
    assert!(subject.announced().await.is_empty());
}

async fn ending_a_session_answers_what_it_was_and_is_announced(subject: Subject) {
    let session = subject.begin(UserId::random()).await;
    assert_eq!(subject.store.end(session.id, EndReason::Logout).await.unwrap(), Some(session.clone()));
    assert_eq!(subject.store.end(session.id, EndReason::Logout).await.unwrap(), None);
    assert_eq!(subject.ended_by_the_feed().await, [session.id, session.id], "its access tokens may live on");
}

async fn ending_all_spares_the_exception(subject: Subject) {
    let user = UserId::random();
    let (first, second, third) = (subject.begin(user).await, subject.begin(user).await, subject.begin(user).await);
    let ended = subject.store.end_all(user, Some(second.id), EndReason::PasswordChanged).await.unwrap();
    assert_eq!(ended, [first.id, third.id]);
    assert_eq!(subject.store.list(user).await.unwrap(), [second]);
    assert_eq!(subject.ended_by_the_feed().await, ended);
}

async fn ending_all_leaves_other_users_alone(subject: Subject) {
    // Both in one partition.
    let [user, other] = [16, 32].map(|id| UserId(uuid::Uuid::from_u128(id)));
    subject.begin(user).await;
    let spared = subject.begin(other).await;
    let ended = subject.store.end_all(user, Some(spared.id), EndReason::AccountLocked).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(subject.store.list(other).await.unwrap(), [spared]);
}

async fn logins_that_race_with_ending_all_are_ended_or_listed(subject: Subject) {
    let user = UserId::random();
    let (logins, endings) = tokio::join!(
        join_all((0..100).map(|_| subject.begin(user))),
        join_all((0..20).map(|_| subject.store.end_all(user, None, EndReason::EndedByAdministrator))),
    );
    let begun: BTreeSet<_> = logins.iter().map(|session| session.id).collect();
    let ended: Vec<_> = endings.into_iter().flat_map(Result::unwrap).collect();
    let listed: BTreeSet<_> = subject.store.list(user).await.unwrap().iter().map(|session| session.id).collect();
    let announced: BTreeSet<_> = subject.ended_by_the_feed().await.into_iter().collect();
    assert_eq!(ended.len() + listed.len(), begun.len());
    assert_eq!(announced, ended.iter().copied().collect());
    for session in logins {
        let lives = subject.store.load(session.id).await.unwrap().is_some();
        assert_eq!(lives, listed.contains(&session.id), "the index and the records differ");
        assert_ne!(lives, announced.contains(&session.id));
    }
}

async fn a_list_begins_with_the_newest(subject: Subject) {
    let user = UserId::random();
    let mut begun = join_all((0..20).map(|_| subject.begin(user))).await;
    begun.sort_by_key(|session| std::cmp::Reverse(session.created_at));
    assert!(begun.windows(2).all(|pair| pair[0].created_at > pair[1].created_at), "no two at the same moment");
    subject.clock.advance(IDLE / 2);
    // To be seen is not to begin.
    subject.store.touch(begun[19].id).await.unwrap();
    let listed: Vec<_> = subject.store.list(user).await.unwrap().iter().map(|session| session.id).collect();
    assert_eq!(listed, begun.iter().map(|session| session.id).collect::<Vec<_>>());
}

async fn who_is_online_comes_page_by_page(subject: Subject) {
    let mut begun = Vec::new();
    for _ in 0..60 {
        begun.push(subject.begin(UserId::random()).await.id);
    }
    subject.clock.advance(IDLE / 2);
    subject.store.touch(begun[0]).await.unwrap();
    begun.rotate_left(1);
    begun.reverse();
    for size in [1, 7, 30, 59, 60, 61, 100] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = subject.store.online(after, size).await.unwrap();
            assert!(page.sessions.len() == size || page.next.is_none());
            seen.extend(page.sessions.iter().map(|session| session.id));
            assert!(seen.len() <= begun.len(), "pages of {size} go on and on");
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, begun, "pages of {size}");
    }
    assert_eq!(subject.store.online(None, 0).await.unwrap().sessions.len(), 1);
    assert_eq!(subject.store.online(None, usize::MAX).await.unwrap().sessions.len(), 60);
}

async fn who_is_online_leaves_out_the_ended_and_the_expired(subject: Subject) {
    for _ in 0..20 {
        subject.begin(UserId::random()).await;
    }
    subject.clock.advance(IDLE / 2);
    let (stays, ends) = (subject.begin(UserId::random()).await, subject.begin(UserId::random()).await);
    subject.store.end(ends.id, EndReason::Logout).await.unwrap();
    subject.clock.advance(IDLE / 2);
    let page = subject.store.online(None, 5).await.unwrap();
    assert_eq!(page.sessions, [stays]);
    assert_eq!(page.next, None);
}

async fn the_feed_tells_everything_once_and_in_order(subject: Subject) {
    let (user, other) = (UserId::random(), UserId::random());
    let mut expected = Vec::new();
    let mut position = subject.store.feed_start();
    let mut told = Vec::new();
    for round in 0..10_u128 {
        let ends = subject.begin(user).await.id;
        subject.store.end(ends, EndReason::Logout).await.unwrap();
        subject.store.revoke_token(user, round << 100 | round).await.unwrap();
        subject.store.revoke_token(other, u128::MAX - round).await.unwrap();
        expected.extend([Revoked::Session(ends), Revoked::Token(round << 100 | round)]);
        let (entries, next) = subject.store.follow(&position).await.unwrap();
        assert_eq!(entries.len(), 3, "round {round}: {entries:?}");
        assert!(entries.iter().all(|entry| subject.clock.now().since(entry.at) < Duration::from_secs(10)));
        told.extend(entries.into_iter().map(|entry| entry.revoked));
        position = next;
        subject.clock.advance(Duration::from_secs(1));
    }
    told.retain(|revoked| !matches!(revoked, Revoked::Token(id) if *id > u128::MAX - 10));
    assert_eq!(told, expected);
    assert_eq!(subject.announced().await.len(), 30, "a newcomer reads it all");
}

async fn a_follower_is_woken_by_an_announcement(subject: Subject) {
    let (_, position) = subject.store.follow(&subject.store.feed_start()).await.unwrap();
    let session = subject.begin(UserId::random()).await;
    let (followed, ended) =
        tokio::join!(subject.store.follow(&position), subject.store.end(session.id, EndReason::Logout));
    ended.unwrap();
    let (entries, _) = followed.unwrap();
    assert_eq!(entries.iter().filter_map(|entry| session_of(entry.revoked)).collect::<Vec<_>>(), [session.id]);
}

async fn a_follower_at_the_end_of_a_silent_feed_is_answered(subject: Subject) {
    let (entries, position) = subject.store.follow(&subject.store.feed_start()).await.unwrap();
    assert!(entries.is_empty() && position.is_at_end());
    let (entries, after) = subject.store.follow(&position).await.unwrap();
    assert!(entries.is_empty());
    assert_eq!(after, position);
}

async fn the_feed_forgets_what_no_token_outlives(subject: Subject) {
    let user = UserId::random();
    subject.store.revoke_token(user, 1).await.unwrap();
    subject.clock.advance(WINDOW);
    subject.store.revoke_token(user, 2).await.unwrap();
    assert_eq!(subject.announced().await.len(), 2, "a token may have been issued just before the first");
    subject.clock.advance(Duration::from_secs(120));
    let left: Vec<_> = subject.announced().await.iter().map(|entry| entry.revoked).collect();
    assert_eq!(left, [Revoked::Token(2)]);
}

async fn a_backlog_is_read_to_its_end(subject: Subject) {
    let user = UserId::random();
    // Not all at once: a slow machine would not get through them in the time that one command has.
    for first in (0..2_500).step_by(50) {
        let announced = join_all((first..first + 50).map(|id| subject.store.revoke_token(user, id))).await;
        assert!(announced.iter().all(Result::is_ok));
    }
    let mut read = BTreeSet::new();
    for entry in subject.announced().await {
        let Revoked::Token(id) = entry.revoked else { panic!("a session among the tokens") };
        assert!(read.insert(id), "{id} came twice");
    }
    assert_eq!(read, (0..2_500).collect());
}
