//! The revocations that a service follows. Owns the memory of them and the task that follows the feed; a look at them
//! touches no network.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;
use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};

use super::{EndReason, FEED_MARGIN, Revocation, Revoked, SessionId, SessionStore, StoresClock};
use crate::clock::{Clock, Timestamp};
use crate::clock_skew::ClockSkew;
use crate::pauses::Pauses;

/// A feed that was read to its end within this time is current.
const CURRENT: Duration = Duration::from_secs(5);

/// How many sessions are asked for at once after a failover.
const AT_ONCE: usize = 32;

/// Between two tries; the first one comes at once, for a connection breaks more often than a server.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// The revocations that still matter, in memory. A copy is the same.
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    /// How long an entry matters.
    keep: Duration,
    clock: Clock,
    held: RwLock<Generations>,
    caught_up: AtomicBool,
    read_at: Mutex<Option<Instant>>,
    /// How far `clock` is ahead of the store's, in microseconds: entries are judged by the store's time.
    ahead: AtomicI64,
    skew: ClockSkew,
    pauses: Pauses,
    /// The pause of the process, by its number, after which the feed was read again.
    read_after: AtomicU64,
}

/// Two generations, each of which takes entries for as long as one matters; then the older one is dropped whole. An
/// entry costs no time stamp, and a look no more than four probes.
struct Generations {
    current: Numbers,
    previous: Numbers,
    began_at: Timestamp,
}

impl Generations {
    /// Drops what no longer matters: each entry after once to twice the time that it matters.
    fn sweep(&mut self, now: Timestamp, keep: Duration) {
        let age = now.since(self.began_at);
        if age >= keep {
            let last = std::mem::take(&mut self.current);
            self.previous = if age < keep * 2 { last } else { Numbers::default() };
            self.began_at = now;
        }
    }
}

/// What is revoked, in as few bytes as may be.
#[derive(Default)]
struct Numbers {
    sessions: HashSet<[u8; 17], RandomState>,
    tokens: HashSet<u128, RandomState>,
}

impl Numbers {
    fn contains(&self, revoked: Revoked) -> bool {
        match revoked {
            Revoked::Session(id) => self.sessions.contains(&id.packed()),
            Revoked::Token(id) => self.tokens.contains(&id),
        }
    }

    fn insert(&mut self, revoked: Revoked) {
        match revoked {
            Revoked::Session(id) => self.sessions.insert(id.packed()),
            Revoked::Token(id) => self.tokens.insert(id),
        };
    }

    fn len(&self) -> usize {
        self.sessions.len() + self.tokens.len()
    }
}

impl Revocations {
    /// `keep` is the longest life of an access token: so long a revocation matters.
    pub fn new(keep: Duration, clock: Clock) -> Self {
        Self::paused_by(keep, clock, Pauses::of_this_process().clone())
    }

    fn paused_by(keep: Duration, clock: Clock, pauses: Pauses) -> Self {
        let began_at = clock.now();
        let held = Generations { current: Numbers::default(), previous: Numbers::default(), began_at };
        Self(Arc::new(Inner {
            keep: keep + FEED_MARGIN,
            clock,
            held: RwLock::new(held),
            caught_up: AtomicBool::new(false),
            read_at: Mutex::new(None),
            ahead: AtomicI64::new(0),
            skew: ClockSkew::from("store"),
            read_after: AtomicU64::new(0),
            pauses,
        }))
    }

    /// Remembers a revocation. Answers whether it was news.
    pub fn apply(&self, revocation: &Revocation) -> bool {
        let now = self.now();
        let mut held = self.0.held.write();
        held.sweep(now, self.0.keep);
        let news = !held.current.contains(revocation.revoked) && !held.previous.contains(revocation.revoked);
        let matters = now.since(revocation.at) <= self.0.keep;
        // What was announced again, for tokens issued since, is held as long as if it were new.
        if matters && (news || revocation.at > held.began_at) {
            held.current.insert(revocation.revoked);
        }
        news && matters
    }

    /// Whether the token was taken back, or the session, if it is part of one, has ended.
    pub fn is_revoked(&self, session: impl Into<Option<SessionId>>, token_id: u128) -> bool {
        let (session, token) = (session.into().map(Revoked::Session), Revoked::Token(token_id));
        let held = self.0.held.read();
        [&held.current, &held.previous]
            .into_iter()
            .any(|numbers| session.is_some_and(|session| numbers.contains(session)) || numbers.contains(token))
    }

    /// Whether one of these was taken back.
    pub fn holds_any(&self, mut named: impl Iterator<Item = Revoked>) -> bool {
        let held = self.0.held.read();
        named.any(|revoked| held.current.contains(revoked) || held.previous.contains(revoked))
    }

    /// The sessions that are held and not in `told`.
    fn sessions_beside(&self, told: &HashSet<Revoked, RandomState>) -> Vec<SessionId> {
        let held = self.0.held.read();
        let packed = held.current.sessions.union(&held.previous.sessions);
        let sessions = packed.map(|packed| SessionId::unpacked(*packed));
        sessions.filter(|session| !told.contains(&Revoked::Session(*session))).collect()
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        let held = self.0.held.read();
        held.current.len() + held.previous.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the feed was once read to its end: since then, all that was announced before is known.
    pub fn has_caught_up(&self) -> bool {
        self.0.caught_up.load(Ordering::Acquire)
    }

    /// Whether what is held can be trusted: the feed has been read, and was read again since this process last stood still.
    /// What was announced during a pause is not known before, however long the store is away.
    pub fn are_known(&self) -> bool {
        self.has_caught_up() && self.0.read_after.load(Ordering::Acquire) >= self.0.pauses.count()
    }

    /// Whether the feed was read to its end within the last 5 seconds.
    pub fn is_current(&self) -> bool {
        self.are_known() && self.0.read_at.lock().is_some_and(|read_at| read_at.elapsed() < CURRENT)
    }

    /// How far this machine's clock is from the store's.
    pub fn skew(&self) -> &ClockSkew {
        &self.0.skew
    }

    /// The store's time, whatever this machine's clock says.
    fn now(&self) -> Timestamp {
        let (now, ahead) = (self.0.clock.now(), self.0.ahead.load(Ordering::Acquire));
        Timestamp::from_micros(now.micros().saturating_sub(ahead))
    }

    /// What the store's clock said when the feed was read.
    fn told_the_time(&self, by: StoresClock) {
        let ahead = self.0.clock.now().micros().saturating_sub(by.now.micros());
        self.0.ahead.store(ahead, Ordering::Release);
        self.0.skew.measured(by.ahead);
    }

    fn sweep(&self) {
        self.0.held.write().sweep(self.now(), self.0.keep);
    }

    /// `pause` is the last one before the read began.
    fn read_to_the_end(&self, pause: u64) {
        *self.0.read_at.lock() = Some(Instant::now());
        self.0.read_after.fetch_max(pause, Ordering::AcqRel);
        self.0.caught_up.store(true, Ordering::Release);
    }
}

/// Follows the feed of `store` for ever. Exports `roam_revocation_lag_seconds`, `roam_revocation_feed_errors_total` and
/// `roam_revocations_held`.
///
/// After a pause of this process the next read does not wait, for the answer to the one under way may be as old as the pause.
/// After an error, or at another server, it reads again all that still matters, not only what came after its last position:
/// a failover may have put entries before it. And it may have lost some, with the end of the session itself: what is
/// remembered here and not told any more, and lives again, is ended again.
pub async fn follow(store: Arc<dyn SessionStore>, revocations: Revocations) {
    let mut position = store.feed_start();
    let mut failures = 0_u32;
    // What was told since all is read again, until that is done.
    let mut told_again: Option<HashSet<Revoked, RandomState>> = None;
    loop {
        let pause = revocations.0.pauses.count();
        if !revocations.are_known() {
            position = position.without_waiting();
        }
        match store.follow(&position).await {
            Ok((entries, next)) => {
                if let Some(clock) = next.clock {
                    revocations.told_the_time(clock);
                }
                if !next.is_of_the_same_server(&position) {
                    told_again = Some(HashSet::default());
                }
                if let Some(told) = &mut told_again {
                    told.extend(entries.iter().map(|entry| entry.revoked));
                }
                if failures > 0 && next.is_at_end() {
                    tracing::info!(failures, "the revocation feed is back");
                    failures = 0;
                }
                take_in(&revocations, &entries);
                if next.is_at_end() {
                    revocations.read_to_the_end(pause);
                    if let Some(told) = told_again.take() {
                        end_again(&*store, &revocations.sessions_beside(&told)).await;
                    }
                }
                position = next;
            }
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(%error, "the revocation feed is lost; revocations are not seen until it is back");
                }
                metrics::counter!("roam_revocation_feed_errors_total").increment(1);
                tokio::time::sleep(pause_after(failures)).await;
                failures = failures.saturating_add(1);
                position = store.feed_start();
                told_again = Some(HashSet::default());
            }
        }
    }
}

/// Ends those of `sessions` that live. Every service that heard of their end does it: which of them are left is not known.
async fn end_again(store: &dyn SessionStore, sessions: &[SessionId]) {
    for some in sessions.chunks(AT_ONCE) {
        join_all(some.iter().map(async |session| match store.load(*session).await {
            Ok(Some(_)) => match store.end(*session, EndReason::LostInFailover).await {
                Ok(_) => tracing::warn!(%session, "the store had lost the end of a session; it has ended again"),
                Err(error) => tracing::error!(%session, %error, "the store has lost the end of a session"),
            },
            Ok(None) => {}
            Err(error) => tracing::error!(%session, %error, "whether an ended session lives again is not known"),
        }))
        .await;
    }
}

fn take_in(revocations: &Revocations, entries: &[Revocation]) {
    revocations.sweep();
    // What was announced before the first look is no lag.
    let live = revocations.has_caught_up();
    for entry in entries {
        if revocations.apply(entry) && live {
            let lag = revocations.now().since(entry.at);
            metrics::histogram!("roam_revocation_lag_seconds").record(lag.as_secs_f64());
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("roam_revocations_held").set(revocations.len() as f64);
}

/// None after the first failure. Then it doubles with each, and differs between replicas, which lost the feed at the same
/// moment.
fn pause_after(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let longest = FIRST_PAUSE.saturating_mul(1 << doublings.min(10)).min(LONGEST_PAUSE);
    let mut dice = [0_u8; 1];
    // Without dice, all wait equally long.
    let _ = aws_lc_rs::rand::fill(&mut dice);
    longest / 2 + longest / 2 * u32::from(dice[0]) / 255
}
