//! What is known of revocations before and after a pause, by whichever clock.

use super::*;
use crate::session::{MemorySessionStore, UserId};

const TTL: Duration = Duration::from_secs(300);

fn session() -> SessionId {
    SessionId::random_for(UserId::random())
}

#[tokio::test]
async fn hf3_entries_are_judged_by_the_stores_time_whatever_this_machines_clock_says() {
    for ahead in [Duration::from_secs(600), Duration::from_secs(86_400)] {
        let (clock, stores) = (Clock::default(), Clock::default());
        clock.advance(ahead);
        let revocations = Revocations::new(TTL, clock);
        revocations.told_the_time(StoresClock { now: stores.now(), ahead: 0 });
        let ended = session();
        assert!(revocations.apply(&Revocation { revoked: Revoked::Session(ended), at: stores.now() }));
        assert!(revocations.is_revoked(ended, 0), "{ahead:?} ahead");
        let old = Revocation { revoked: Revoked::Token(1), at: stores.now() - TTL * 2 };
        assert!(!revocations.apply(&old), "it matters to no token");
    }
}

#[tokio::test]
async fn hf2_after_a_pause_nothing_is_known_until_the_feed_was_read_again() {
    let (clock, pauses) = (Clock::default(), Pauses::made_up());
    let store = Arc::new(MemorySessionStore::new(clock.clone(), TTL));
    let revocations = Revocations::paused_by(TTL, clock, pauses.clone());
    assert!(!revocations.are_known(), "nothing was read");
    let following = tokio::spawn(follow(store.clone(), revocations.clone()));
    until(|| revocations.are_known()).await;
    following.abort();
    let ended = session();
    store.end(ended, EndReason::Logout).await.expect("memory answers");
    pauses.pause();
    assert!(!revocations.are_known() && !revocations.is_current());
    let following = tokio::spawn(follow(store, revocations.clone()));
    until(|| revocations.are_known()).await;
    assert!(revocations.is_revoked(ended, 0), "what was announced meanwhile is known first");
    following.abort();
}

#[tokio::test]
async fn hf2_an_answer_to_a_read_from_before_the_pause_tells_nothing() {
    let revocations = Revocations::paused_by(TTL, Clock::default(), Pauses::made_up());
    let before = revocations.0.pauses.count();
    revocations.read_to_the_end(before);
    assert!(revocations.are_known());
    revocations.0.pauses.pause();
    revocations.read_to_the_end(before);
    assert!(!revocations.are_known());
    revocations.read_to_the_end(revocations.0.pauses.count());
    assert!(revocations.are_known());
}

#[test]
fn the_first_try_comes_at_once_and_the_others_soon() {
    assert_eq!(pause_after(0), Duration::ZERO);
    for failures in 1..100 {
        let pause = pause_after(failures);
        assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE, "{pause:?} after {failures}");
    }
}

async fn until(is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(10), "waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
