//! The contract, sentence by sentence, run against each store.

use std::time::Duration;

use futures_util::future::join_all;
use shared::key_value::Key;

use crate::Subject;

const TTL: Duration = Duration::from_secs(600);

macro_rules! contract {
    ($($sentence:ident)*) => {
        mod in_memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(crate::Subject::in_memory().await.unwrap()).await;
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
        mod on_sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(crate::Subject::on_sqlite().await.unwrap()).await;
            }
        )*}
        mod on_postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                if let Some(subject) = crate::Subject::on_postgres().await {
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
        async fn every_sentence_holds_under_sentinels() {
            let Some(sentinels) = e2e::servers::steady_sentinels_for_test() else { return };
            $(
                sentinels.clear().unwrap();
                $sentence(crate::Subject::at(&sentinels.url())).await;
            )*
        }
    };
}

contract! {
    a_value_comes_back_byte_for_byte
    an_absent_key_is_no_error
    a_value_is_replaced_with_its_time_to_live
    an_expired_value_is_absent_to_every_verb
    one_of_two_hundred_claims_wins
    one_of_two_hundred_takes_gets_the_value
    two_hundred_counts_at_once_are_all_counted
    a_window_ends_after_its_first_count
    amounts_add_up_and_nought_only_looks
    what_is_taken_back_is_counted_again_and_moves_no_window
    a_counter_never_falls_below_nought
    two_hundred_counts_taken_back_at_once_are_all_taken_back
    values_and_counters_do_not_meet
    purposes_and_subjects_do_not_meet
    a_removed_key_may_be_claimed_again
    hf4_a_request_that_comes_too_late_leaves_no_note
    no_time_to_live_is_too_long_or_too_short
}

fn key(subject: &str) -> Key {
    Key::new("test", subject.as_bytes())
}

async fn a_value_comes_back_byte_for_byte(subject: Subject) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    for value in [&b""[..], b"0", b"12345678901234567", b"\r\n$5\r\n", &all_bytes, &all_bytes.repeat(400)] {
        subject.store.put(&key("k"), value, TTL).await.unwrap();
        assert_eq!(subject.store.get(&key("k")).await.unwrap().as_deref(), Some(value));
        assert_eq!(subject.store.take(&key("k")).await.unwrap().as_deref(), Some(value));
    }
}

async fn an_absent_key_is_no_error(subject: Subject) {
    assert_eq!(subject.store.get(&key("k")).await.unwrap(), None);
    assert_eq!(subject.store.take(&key("k")).await.unwrap(), None);
    subject.store.remove(&key("k")).await.unwrap();
}

async fn a_value_is_replaced_with_its_time_to_live(subject: Subject) {
    subject.store.put(&key("k"), b"long", TTL * 2).await.unwrap();
    subject.store.put(&key("k"), b"short", TTL).await.unwrap();
    assert_eq!(subject.store.get(&key("k")).await.unwrap().unwrap(), b"short");
    subject.clock.advance(TTL);
    assert_eq!(subject.store.get(&key("k")).await.unwrap(), None);
    subject.store.put(&key("k"), b"short", TTL).await.unwrap();
    subject.store.put(&key("k"), b"long", TTL * 2).await.unwrap();
    subject.clock.advance(TTL);
    assert_eq!(subject.store.get(&key("k")).await.unwrap().unwrap(), b"long");
}

async fn an_expired_value_is_absent_to_every_verb(subject: Subject) {
    for name in ["get", "take", "claim"] {
        subject.store.put(&key(name), b"old", TTL).await.unwrap();
    }
    subject.clock.advance(TTL - Duration::from_secs(60));
    assert!(subject.store.get(&key("get")).await.unwrap().is_some());
    assert!(!subject.store.claim(&key("claim"), b"new", TTL).await.unwrap());
    subject.clock.advance(Duration::from_secs(60));
    assert_eq!(subject.store.get(&key("get")).await.unwrap(), None);
    assert_eq!(subject.store.take(&key("take")).await.unwrap(), None);
    assert!(subject.store.claim(&key("claim"), b"new", TTL).await.unwrap());
    assert_eq!(subject.store.get(&key("claim")).await.unwrap().unwrap(), b"new");
}

async fn one_of_two_hundred_claims_wins(subject: Subject) {
    let claims = (0..200).map(|n: u32| {
        let store = subject.store.clone();
        tokio::spawn(async move { store.claim(&key("k"), &n.to_be_bytes(), TTL).await.unwrap().then_some(n) })
    });
    let won: Vec<_> = join_all(claims).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(subject.store.get(&key("k")).await.unwrap().unwrap(), won[0].to_be_bytes());
}

async fn one_of_two_hundred_takes_gets_the_value(subject: Subject) {
    subject.store.put(&key("k"), b"once", TTL).await.unwrap();
    let takes = (0..200).map(|_| {
        let store = subject.store.clone();
        tokio::spawn(async move { store.take(&key("k")).await.unwrap() })
    });
    let got: Vec<_> = join_all(takes).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(got, [b"once"]);
}

async fn two_hundred_counts_at_once_are_all_counted(subject: Subject) {
    let counts = (0..200).map(|_| {
        let store = subject.store.clone();
        tokio::spawn(async move { store.count(&key("k"), TTL).await.unwrap().count })
    });
    let mut counts: Vec<_> = join_all(counts).await.into_iter().map(Result::unwrap).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=200).collect::<Vec<_>>());
}

async fn a_window_ends_after_its_first_count(subject: Subject) {
    let first = subject.store.count(&key("k"), TTL).await.unwrap();
    assert_eq!((first.count, first.ends_in), (1, TTL));
    subject.clock.advance(TTL / 2);
    let second = subject.store.count(&key("k"), TTL * 10).await.unwrap();
    assert_eq!(second.count, 2);
    assert!(second.ends_in <= TTL / 2 && second.ends_in > TTL / 2 - Duration::from_secs(60), "{second:?}");
    subject.clock.advance(TTL / 2);
    assert_eq!(subject.store.count(&key("k"), TTL).await.unwrap().count, 1);
}

async fn amounts_add_up_and_nought_only_looks(subject: Subject) {
    let count = async |amount| subject.store.count_by(&key("k"), amount, TTL).await.unwrap().count;
    assert_eq!(count(0).await, 0);
    assert_eq!(count(1_000_000).await, 1_000_000);
    assert_eq!(count(24).await, 1_000_024);
    assert_eq!(count(0).await, 1_000_024);
    assert_eq!(count(u64::MAX).await, 1_000_024 + (1 << 32), "what is too much counts as much");
    subject.clock.advance(TTL);
    assert_eq!(count(7).await, 7);
}

async fn what_is_taken_back_is_counted_again_and_moves_no_window(subject: Subject) {
    for _ in 0..3 {
        subject.store.count(&key("k"), TTL).await.unwrap();
    }
    subject.clock.advance(TTL / 2);
    subject.store.uncount(&key("k")).await.unwrap();
    let again = subject.store.count(&key("k"), TTL).await.unwrap();
    assert_eq!(again.count, 3);
    assert!(again.ends_in <= TTL / 2 && again.ends_in > TTL / 2 - Duration::from_secs(60), "{again:?}");
    subject.store.put(&key("k"), b"value", TTL).await.unwrap();
    subject.store.uncount(&key("k")).await.unwrap();
    assert_eq!(subject.store.get(&key("k")).await.unwrap().unwrap(), b"value", "a value is no counter");
    subject.clock.advance(TTL / 2);
    subject.store.uncount(&key("k")).await.unwrap();
    let next = subject.store.count(&key("k"), TTL).await.unwrap();
    assert_eq!((next.count, next.ends_in), (1, TTL), "nothing is taken back from a window that has ended");
}

async fn a_counter_never_falls_below_nought(subject: Subject) {
    subject.store.uncount(&key("k")).await.unwrap();
    assert_eq!(subject.store.count(&key("k"), TTL).await.unwrap().count, 1, "an absent one stays absent");
    subject.clock.advance(TTL / 2);
    for _ in 0..3 {
        subject.store.uncount(&key("k")).await.unwrap();
    }
    let next = subject.store.count(&key("k"), TTL).await.unwrap();
    assert_eq!((next.count, next.ends_in), (1, TTL), "at nought it is gone, and nothing of it stays");
}

async fn two_hundred_counts_taken_back_at_once_are_all_taken_back(subject: Subject) {
    for _ in 0..201 {
        subject.store.count(&key("k"), TTL).await.unwrap();
    }
    let taken_back = (0..200).map(|_| {
        let store = subject.store.clone();
        tokio::spawn(async move { store.uncount(&key("k")).await.unwrap() })
    });
    join_all(taken_back).await.into_iter().for_each(Result::unwrap);
    assert_eq!(subject.store.count(&key("k"), TTL).await.unwrap().count, 2);
}

async fn values_and_counters_do_not_meet(subject: Subject) {
    subject.store.put(&key("k"), b"value", TTL).await.unwrap();
    assert_eq!(subject.store.count(&key("k"), TTL).await.unwrap().count, 1);
    assert_eq!(subject.store.take(&key("k")).await.unwrap().unwrap(), b"value");
    assert_eq!(subject.store.get(&key("k")).await.unwrap(), None);
    assert!(subject.store.claim(&key("k"), b"value", TTL).await.unwrap());
    assert_eq!(subject.store.count(&key("k"), TTL).await.unwrap().count, 2);
    subject.store.remove(&key("k")).await.unwrap();
    assert_eq!(subject.store.get(&key("k")).await.unwrap(), None);
    assert_eq!(subject.store.count(&key("k"), TTL).await.unwrap().count, 1);
}

async fn purposes_and_subjects_do_not_meet(subject: Subject) {
    subject.store.put(&Key::new("code", b"a"), b"1", TTL).await.unwrap();
    for other in [Key::new("code", b"b"), Key::new("codea", b""), Key::new("throttle", b"a")] {
        assert_eq!(subject.store.get(&other).await.unwrap(), None, "{other}");
    }
}

async fn a_removed_key_may_be_claimed_again(subject: Subject) {
    assert!(subject.store.claim(&key("k"), b"first", TTL).await.unwrap());
    assert!(!subject.store.claim(&key("k"), b"second", TTL).await.unwrap());
    subject.store.remove(&key("k")).await.unwrap();
    assert!(subject.store.claim(&key("k"), b"third", TTL).await.unwrap());
}

async fn hf4_a_request_that_comes_too_late_leaves_no_note(subject: Subject) {
    let (store, [kept, other]) = (&subject.store, [Key::new("test", b"kept"), Key::new("test", b"other")]);
    store.put(&kept, b"1", TTL).await.unwrap();
    let waited = shared::arrival::LONGEST_WAIT + Duration::from_secs(1);
    shared::testing::late(waited, async {
        assert!(store.put(&kept, b"2", TTL).await.is_err());
        assert!(store.claim(&other, b"2", TTL).await.is_err());
        assert!(store.take(&kept).await.is_err());
        assert!(store.count(&other, TTL).await.is_err());
        assert_eq!(store.get(&kept).await.unwrap().as_deref(), Some(&b"1"[..]), "to look is no change");
    })
    .await;
    assert!(store.claim(&other, b"3", TTL).await.unwrap());
    assert_eq!(store.count(&other, TTL).await.unwrap().count, 1);
}

async fn no_time_to_live_is_too_long_or_too_short(subject: Subject) {
    subject.store.put(&key("k"), b"for ever", Duration::MAX).await.unwrap();
    assert!(subject.store.get(&key("k")).await.unwrap().is_some());
    subject.store.put(&key("k"), b"never", Duration::ZERO).await.unwrap();
    assert_eq!(subject.store.get(&key("k")).await.unwrap(), None);
    assert_eq!(subject.store.count(&key("k"), Duration::ZERO).await.unwrap().count, 1);
    assert_eq!(subject.store.count(&key("k"), Duration::ZERO).await.unwrap().count, 1);
    assert_eq!(subject.store.count(&key("k"), Duration::MAX).await.unwrap().count, 1);
    assert_eq!(subject.store.count(&key("k"), Duration::MAX).await.unwrap().count, 2);
}
