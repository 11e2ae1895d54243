//! Sessions whose end was confirmed: each is tried at every replica until that refuses it. One that is accepted, a moment
//! after the confirmation, breaks the promise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use e2e::{Person, Service};
use reqwest::Method;

use crate::verdict::{Invariant, Verdict};

/// For so long a replica may not have heard of it.
const MOMENT: Duration = Duration::from_secs(1);
/// While Redis is away, a replica that had not heard of the end goes on with what it knows, as documented; so long after
/// it is back, it has read on.
const READ_ON: Duration = Duration::from_secs(3);
const GIVES_UP: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

/// The ended sessions. A copy is the same list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended {
    sessions: Arc<Mutex<Vec<(String, Instant)>>>,
    /// When Redis was away last; in the future while it is.
    away: Arc<Mutex<Option<Instant>>>,
}

impl Ended {
    pub(crate) fn add(&self, access_token: String) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push((access_token, Instant::now()));
    }

    pub(crate) fn count(&self) -> usize {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn after(&self, known: usize) -> Vec<(String, Instant)> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)[known..].to_vec()
    }

    pub(crate) fn redis_goes(&self) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + Duration::from_secs(3600));
    }

    pub(crate) fn redis_is_back(&self) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn redis_was_there(&self) -> bool {
        let away = *self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_none_or(|away| away.checked_add(READ_ON).is_some_and(|read_on| read_on < Instant::now()))
    }

    /// Tries each session at one replica until it is refused there. Ends when `stop` is set and all were refused, or answers
    /// how many were not.
    pub(crate) async fn try_at(
        self,
        (name, service, url): (String, Service, String),
        nobody: Person,
        verdict: Verdict,
        stop: Arc<AtomicBool>,
    ) -> usize {
        let path = match service {
            Service::Auth => "/auth/me",
            Service::Cart => "/cart",
            Service::Orders => "/orders?limit=1",
        };
        let (url, mut known, mut pending) = (format!("{url}{path}"), 0, Vec::new());
        let mut stopped = None;
        loop {
            let new = self.after(known);
            known += new.len();
            pending.extend(new);
            let mut rest = Vec::new();
            for (token, since) in pending {
                let began = Instant::now();
                match status(&nobody, &url, &token).await {
                    Some(401) => {}
                    Some(200) if began.duration_since(since) > MOMENT && self.redis_was_there() => {
                        let age = began.duration_since(since);
                        verdict.broken(Invariant::EndedSessions, format!("{name} accepts one {age:?} after its end"));
                    }
                    Some(500) => verdict.broken(Invariant::NoInternalError, format!("{name} answers 500 at {path}")),
                    _ => rest.push((token, since)),
                }
            }
            pending = rest;
            if stop.load(Ordering::Relaxed) {
                let since = *stopped.get_or_insert_with(Instant::now);
                if pending.is_empty() || since.elapsed() > Duration::from_secs(20) {
                    return pending.len();
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn status(nobody: &Person, url: &str, token: &str) -> Option<u16> {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    let asked = nobody.try_send(Method::GET, url, None, &headers);
    Some(tokio::time::timeout(GIVES_UP, asked).await.ok()?.ok()?.status)
}
