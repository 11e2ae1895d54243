//! When a request arrived, and whether it is still worth carrying out. Owns the one question that is asked before a request
//! first changes something; knows no request's content.
//!
//! A request may wait unseen: in the socket of a process that stands still, for a worker, for a password's
//! hash, for a connection. Its client gives up meanwhile and repeats it elsewhere. Carried out late, it would undo what came
//! after it. So it is looked at twice: when it is read, and before its first effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::calls;
use crate::clock::{Clock, Timestamp};
use crate::pauses::Pauses;
use crate::problem::Problem;

/// How long a request may wait for its first effect: 15 seconds, of which its body may take 10.
pub const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// How long a client is asked to wait that is refused after a pause of the process: longer than requests are suspect.
pub const AFTER_A_PAUSE: Duration = Duration::from_secs(3);

/// Why a request is not carried out any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLate {
    #[error("the client has hung up")]
    HungUp,
    #[error("the process stood still while the request waited")]
    Paused,
    #[error("the request waited for too long")]
    Waited,
}

impl TooLate {
    /// One word for a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::Paused => "paused",
            Self::Waited => "waited",
        }
    }
}

impl From<TooLate> for Problem {
    /// 503 `unavailable`: nothing was changed, and the request may be repeated.
    fn from(late: TooLate) -> Self {
        use actix_web::http::StatusCode;
        let detail = format!("{late}; nothing was changed, try again");
        // Sooner, another connection of the client's could be taken for one that has waited, too.
        let pause = if late == TooLate::Paused { AFTER_A_PAUSE } else { Duration::from_secs(1) };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(pause)
    }
}

/// The arrival of one request. One that only reads is answered however late it is.
#[derive(Debug)]
pub struct Arrival {
    at: Instant,
    wall: Timestamp,
    /// The last pause of the process before it arrived.
    pause: u64,
    /// Set when the client closes its side of the connection.
    hung_up: Arc<AtomicBool>,
    has_effects: AtomicBool,
    goes_on: AtomicBool,
}

impl Arrival {
    /// Now. One that may have lain in the socket through the last pause of the process has arrived before it.
    pub fn now(may_have_lain: bool, hung_up: Arc<AtomicBool>) -> Self {
        let pause = Pauses::of_this_process().count().saturating_sub(u64::from(may_have_lain));
        let (at, wall) = (Instant::now(), Clock::default().now());
        Self { at, wall, pause, hung_up, has_effects: AtomicBool::new(false), goes_on: AtomicBool::new(false) }
    }

    /// One so long ago.
    #[cfg(feature = "testing")]
    pub(crate) fn ago(waited: Duration) -> Self {
        let now = Self::now(false, Arc::default());
        Self { wall: now.wall - waited, ..now }
    }

    /// How long ago it was, by whichever clock went on.
    pub fn waited(&self) -> Duration {
        self.at.elapsed().max(Clock::default().now().since(self.wall))
    }

    /// The request is carried out though its client hangs up: it only ends something.
    #[cfg(any(feature = "server", test))]
    #[cfg(feature = "server")]
    pub(crate) fn goes_on_when_hung_up(&self) {
        self.goes_on.store(true, Ordering::Release);
    }

    /// # Errors
    /// It is too late for the request.
    pub fn is_in_time(&self) -> Result<(), TooLate> {
        if self.hung_up.load(Ordering::Acquire) && !self.goes_on.load(Ordering::Acquire) {
            return Err(TooLate::HungUp);
        }
        if Pauses::of_this_process().count() > self.pause {
            return Err(TooLate::Paused);
        }
        if self.waited() > LONGEST_WAIT { Err(TooLate::Waited) } else { Ok(()) }
    }

    /// As [`Arrival::is_in_time`], for a request that is about to leave a note (a counter, a mark that a proof was used) and may
    /// still be refused after it.
    ///
    /// # Errors
    /// It is too late for the request.
    fn before_a_note(&self) -> Result<(), TooLate> {
        if self.has_effects.load(Ordering::Acquire) {
            return Ok(());
        }
        self.is_in_time().inspect_err(|late| count(*late))
    }

    /// As [`Arrival::is_in_time`], for a request that is about to change something. One that has begun to is finished.
    ///
    /// # Errors
    /// It is too late for the request: nothing was changed.
    pub fn before_an_effect(&self) -> Result<(), TooLate> {
        if !self.has_effects.load(Ordering::Acquire) {
            self.is_in_time().inspect_err(|late| count(*late))?;
            self.has_effects.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// Asked before the current request changes something, by all that keeps something: a transaction that begins, a session
/// that is changed. Of a task's own accord anything may be changed.
///
/// # Errors
/// It is too late for the request, and nothing was changed.
pub(crate) fn before_an_effect() -> Result<(), TooLate> {
    calls::arrival().map_or(Ok(()), |arrival| arrival.before_an_effect())
}

/// As [`before_an_effect`], before the current request leaves a note: one that is late leaves none, and one that has left one
/// may still be refused.
///
/// # Errors
/// It is too late for the request.
pub(crate) fn before_a_note() -> Result<(), TooLate> {
    calls::arrival().map_or(Ok(()), |arrival| arrival.before_a_note())
}

/// How long the current request has waited; nothing where there is none.
pub(crate) fn waited() -> Duration {
    calls::arrival().map_or(Duration::ZERO, |arrival| arrival.waited())
}

pub(crate) fn count(late: TooLate) {
    metrics::counter!("roam_late_requests_total", "why" => late.as_str()).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(hung_up: bool) -> Arrival {
        Arrival::now(false, Arc::new(AtomicBool::new(hung_up)))
    }

    #[test]
    fn whoever_hung_up_before_the_first_effect_gets_none() {
        let hung_up = Arc::new(AtomicBool::new(false));
        let arrival = Arrival::now(false, hung_up.clone());
        assert_eq!(arrival.is_in_time(), Ok(()));
        hung_up.store(true, Ordering::Release);
        assert_eq!(arrival.before_an_effect(), Err(TooLate::HungUp));
    }

    #[test]
    fn an_end_is_carried_out_though_its_client_has_hung_up() {
        let arrival = arrival(true);
        assert_eq!(arrival.is_in_time(), Err(TooLate::HungUp));
        arrival.goes_on_when_hung_up();
        assert_eq!((arrival.is_in_time(), arrival.before_an_effect()), (Ok(()), Ok(())));
    }

    #[test]
    fn a_request_that_has_begun_to_change_something_is_finished() {
        let hung_up = Arc::new(AtomicBool::new(false));
        let arrival = Arrival::now(false, hung_up.clone());
        assert_eq!(arrival.before_an_effect(), Ok(()));
        hung_up.store(true, Ordering::Release);
        assert_eq!(arrival.before_an_effect(), Ok(()));
    }

    #[test]
    fn a_note_of_a_late_request_is_refused_and_one_that_was_left_lets_nothing_pass() {
        let hung_up = Arc::new(AtomicBool::new(false));
        let arrival = Arrival::now(false, hung_up.clone());
        assert_eq!(arrival.before_a_note(), Ok(()));
        hung_up.store(true, Ordering::Release);
        assert_eq!(arrival.before_a_note(), Err(TooLate::HungUp));
        assert_eq!(arrival.before_an_effect(), Err(TooLate::HungUp));
    }

    #[test]
    fn a_request_that_waited_too_long_is_refused_by_either_clock() {
        let now = arrival(false);
        let old = Arrival { wall: now.wall - LONGEST_WAIT - Duration::from_secs(1), ..arrival(false) };
        assert_eq!(old.is_in_time(), Err(TooLate::Waited), "the machine was suspended");
        assert!(old.waited() > LONGEST_WAIT && now.waited() < LONGEST_WAIT);
    }

    #[test]
    fn a_refusal_may_be_repeated_and_says_when() {
        for late in [TooLate::HungUp, TooLate::Paused, TooLate::Waited] {
            let problem = Problem::from(late);
            assert_eq!((problem.status().as_u16(), problem.code()), (503, "unavailable"));
            assert_eq!(problem.retry_after_seconds(), Some(if late == TooLate::Paused { 3 } else { 1 }));
        }
    }

    #[tokio::test]
    async fn what_a_task_does_of_its_own_accord_is_never_late() {
        assert_eq!((before_an_effect(), waited()), (Ok(()), Duration::ZERO));
    }
}
