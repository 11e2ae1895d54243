//! Whether this process stood still: stopped by a signal, suspended with its machine, or frozen by its host. Owns the
//! thread that looks, and the count of pauses; decides nothing that follows from one.
//!
//! A pause shows as a look that is overdue by one of two clocks. The monotonic clock stands still while the machine is
//! suspended, and the wall clock does not. A look costs two readings of the clock and no system call.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::{Clock, Timestamp};

/// The shortest pause that counts: 1 second, within which an end is promised to be seen. A thread that only waits for a core
/// of a busy machine is back before, and after a shorter pause the read of the feed that was under way goes on in
/// milliseconds.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// How often the thread looks.
const LOOK: Duration = Duration::from_millis(50);

/// The pauses of one process. A copy is the same.
#[derive(Clone)]
pub struct Pauses(Arc<Inner>);

struct Inner {
    began: Instant,
    wall: Clock,
    /// When it was last looked, in microseconds: since `began`,
    looked: AtomicU64,
    /// and by the wall clock.
    looked_wall: AtomicI64,
    count: AtomicU64,
    /// When the last pause ended, as `looked`.
    woke: AtomicU64,
    noticing: Mutex<()>,
}

impl Pauses {
    /// The pauses of this process, from the first call on.
    pub fn of_this_process() -> &'static Self {
        static PAUSES: OnceLock<Pauses> = OnceLock::new();
        PAUSES.get_or_init(|| {
            let pauses = Self::new();
            let looking = pauses.clone();
            let looks = move || {
                loop {
                    thread::sleep(LOOK);
                    looking.look();
                }
            };
            if let Err(error) = thread::Builder::new().name("pauses".to_owned()).spawn(looks) {
                tracing::error!(%error, "no thread looks for pauses of this process; only requests notice them");
            }
            pauses
        })
    }

    fn new() -> Self {
        let wall = Clock::default();
        Self(Arc::new(Inner {
            began: Instant::now(),
            looked: AtomicU64::new(0),
            looked_wall: AtomicI64::new(wall.now().micros()),
            wall,
            count: AtomicU64::new(0),
            woke: AtomicU64::new(0),
            noticing: Mutex::new(()),
        }))
    }

    /// How many pauses there were, with the one that has just ended.
    pub fn count(&self) -> u64 {
        let inner = &*self.0;
        if self.is_overdue(self.now(), inner.wall.now()) {
            self.look();
        }
        inner.count.load(Ordering::Acquire)
    }

    /// How long ago the last pause ended; none where there was none.
    pub fn since_the_last(&self) -> Option<Duration> {
        let count = self.count();
        let woke = self.0.woke.load(Ordering::Acquire);
        (count > 0).then(|| Duration::from_micros(self.now().saturating_sub(woke)))
    }

    /// Microseconds since the first look.
    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn is_overdue(&self, now: u64, wall: Timestamp) -> bool {
        let waited = Duration::from_micros(now.saturating_sub(self.0.looked.load(Ordering::Acquire)));
        let waited_wall = wall.since(Timestamp::from_micros(self.0.looked_wall.load(Ordering::Acquire)));
        waited >= SHORTEST || waited_wall >= SHORTEST
    }

    fn look(&self) {
        self.look_at(self.now(), self.0.wall.now());
    }

    fn look_at(&self, now: u64, wall: Timestamp) {
        let inner = &*self.0;
        let _one_at_a_time = inner.noticing.lock();
        if self.is_overdue(now, wall) {
            let since = Timestamp::from_micros(inner.looked_wall.load(Ordering::Acquire));
            // Before the look is stamped: no reader finds all well and the count of before.
            inner.woke.store(now, Ordering::Release);
            inner.count.fetch_add(1, Ordering::AcqRel);
            metrics::counter!("roam_process_pauses_total").increment(1);
            tracing::warn!(
                seconds = wall.since(since).as_secs_f64(),
                "this process stood still; what waited for it is refused, and revocations are read before others are trusted"
            );
        }
        inner.looked.fetch_max(now, Ordering::AcqRel);
        inner.looked_wall.store(wall.micros(), Ordering::Release);
    }
}

#[cfg(any(test, feature = "testing"))]
impl Pauses {
    /// Pauses that a test makes up: no thread looks.
    pub fn made_up() -> Self {
        Self::new()
    }

    /// Has a pause end now.
    pub fn pause(&self) {
        self.look_at(self.now(), self.0.wall.now() + SHORTEST * 2);
        self.0.looked_wall.store(self.0.wall.now().micros(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK_MICROS: u64 = 50_000;

    #[test]
    fn looks_in_time_are_no_pause_and_a_late_one_is() {
        let pauses = Pauses::made_up();
        let began = pauses.0.wall.now();
        for number in 1..40 {
            pauses.look_at(number * LOOK_MICROS, began + LOOK * u32::try_from(number).expect("a small number"));
        }
        assert_eq!(pauses.0.count.load(Ordering::Acquire), 0);
        let (late, wall) = (39 * LOOK_MICROS + 1_000_000, began + LOOK * 39 + SHORTEST);
        pauses.look_at(late, wall);
        assert_eq!(pauses.0.count.load(Ordering::Acquire), 1);
        pauses.look_at(late + LOOK_MICROS, wall + LOOK);
        assert_eq!(pauses.0.count.load(Ordering::Acquire), 1, "it is over");
    }

    #[test]
    fn a_suspended_machine_shows_by_the_wall_clock_alone() {
        let pauses = Pauses::made_up();
        let began = pauses.0.wall.now();
        pauses.look_at(LOOK_MICROS, began + Duration::from_secs(3600));
        assert_eq!(pauses.0.count.load(Ordering::Acquire), 1);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_is_no_pause() {
        let pauses = Pauses::made_up();
        let began = pauses.0.wall.now();
        pauses.look_at(LOOK_MICROS, began - Duration::from_secs(600));
        pauses.look_at(2 * LOOK_MICROS, began - Duration::from_secs(600) + LOOK);
        assert_eq!(pauses.0.count.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_pause_is_noticed_by_whoever_asks_first() {
        let pauses = Pauses::made_up();
        assert_eq!((pauses.count(), pauses.since_the_last()), (0, None));
        pauses.pause();
        assert_eq!(pauses.count(), 1);
        assert!(pauses.since_the_last().expect("there was one") < Duration::from_secs(60));
    }
}
