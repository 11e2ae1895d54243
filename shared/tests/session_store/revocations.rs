//! The revocations that a service holds, and the task that follows the feed of a store that is there.

use std::time::{Duration, Instant};

use shared::clock::Clock;
use shared::session::{EndReason, Revocation, Revocations, Revoked, SessionId, UserId};

use crate::{Subject, WINDOW};

fn session() -> SessionId {
    SessionId::random_for(UserId::random())
}

#[tokio::test]
async fn a_revoked_session_and_a_revoked_token_are_known_and_no_other() {
    let clock = Clock::default();
    let revocations = Revocations::new(WINDOW, clock.clone());
    let (ended, lives) = (session(), session());
    assert!(revocations.apply(&Revocation { revoked: Revoked::Session(ended), at: clock.now() }));
    assert!(revocations.apply(&Revocation { revoked: Revoked::Token(7), at: clock.now() }));
    assert!(revocations.is_revoked(ended, 1) && revocations.is_revoked(lives, 7) && revocations.is_revoked(ended, 7));
    assert!(!revocations.is_revoked(lives, 1));
    assert!(!revocations.apply(&Revocation { revoked: Revoked::Token(7), at: clock.now() }), "no news");
    assert_eq!(revocations.len(), 2);
}

#[tokio::test]
async fn a_revocation_is_held_as_long_as_a_token_may_live_and_then_dropped() {
    let clock = Clock::default();
    let revocations = Revocations::new(WINDOW, clock.clone());
    let (first, second) = (session(), session());
    revocations.apply(&Revocation { revoked: Revoked::Session(first), at: clock.now() });
    clock.advance(WINDOW);
    revocations.apply(&Revocation { revoked: Revoked::Session(second), at: clock.now() });
    assert!(revocations.is_revoked(first, 0));
    clock.advance(WINDOW);
    revocations.apply(&Revocation { revoked: Revoked::Token(1), at: clock.now() });
    assert!(revocations.is_revoked(second, 0));
    for token in 2..5 {
        clock.advance(WINDOW + Duration::from_secs(60));
        revocations.apply(&Revocation { revoked: Revoked::Token(token), at: clock.now() });
    }
    assert!(!revocations.is_revoked(first, 0) && !revocations.is_revoked(second, 0));
    assert!(revocations.len() <= 2, "{} are held", revocations.len());
}

#[tokio::test]
async fn a_revocation_that_no_token_outlived_is_not_held() {
    let clock = Clock::default();
    let revocations = Revocations::new(WINDOW, clock.clone());
    let at = clock.now() - WINDOW * 2;
    assert!(!revocations.apply(&Revocation { revoked: Revoked::Token(1), at }));
    assert!(revocations.is_empty());
}

#[tokio::test]
async fn what_is_announced_again_is_held_anew() {
    let clock = Clock::default();
    let revocations = Revocations::new(WINDOW, clock.clone());
    let keep = WINDOW + Duration::from_secs(60);
    revocations.apply(&Revocation { revoked: Revoked::Token(1), at: clock.now() });
    clock.advance(keep);
    revocations.apply(&Revocation { revoked: Revoked::Token(2), at: clock.now() });
    clock.advance(keep / 2);
    revocations.apply(&Revocation { revoked: Revoked::Token(1), at: clock.now() });
    clock.advance(keep / 2);
    revocations.apply(&Revocation { revoked: Revoked::Token(3), at: clock.now() });
    assert!(revocations.is_revoked(session(), 1), "tokens from before the second announcement may live");
}

async fn a_follower_knows_what_was_and_what_comes(subject: Subject) {
    let user = UserId::random();
    let before = subject.begin(user).await.id;
    subject.store.end(before, EndReason::Logout).await.unwrap();
    let revocations = Revocations::new(WINDOW, subject.clock.clone());
    assert!(!revocations.has_caught_up() && !revocations.is_current());
    let following = tokio::spawn(shared::session::follow(subject.store.clone(), revocations.clone()));
    wait_until(|| revocations.has_caught_up()).await;
    assert!(revocations.is_revoked(before, 0), "it has not caught up before it knows what was");
    let after = subject.begin(user).await.id;
    subject.store.end(after, EndReason::Logout).await.unwrap();
    subject.store.revoke_token(user, 42).await.unwrap();
    wait_until(|| revocations.is_revoked(after, 0) && revocations.is_revoked(session(), 42)).await;
    assert!(revocations.is_current());
    following.abort();
}

async fn wait_until(is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_follower_in_memory_knows_what_was_and_what_comes() {
    a_follower_knows_what_was_and_what_comes(Subject::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn a_follower_on_redis_knows_what_was_and_what_comes() {
    if let Some(subject) = Subject::on_redis().await {
        a_follower_knows_what_was_and_what_comes(subject).await;
    }
}
