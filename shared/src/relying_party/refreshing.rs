//! Refreshes under way, and those of just now: one for all tabs that ask with the same token. Owns who asks the provider;
//! never touches a cookie.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::provider::ProviderError;
use super::tokens::Tokens;
use crate::calls;

/// How long a result serves those who come later with the same token: a tab whose request was on its way. As long as the
/// provider's own grace.
const KEPT: Duration = Duration::from_secs(10);

/// What a refresh came to.
pub(super) type Outcome = Result<Tokens, ProviderError>;

#[derive(Default)]
pub(super) struct Refreshing(Mutex<HashMap<[u8; 32], Flight>>);

struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    begun: Instant,
}

impl Flight {
    fn is_worth_keeping(&self) -> bool {
        match &*self.outcome.borrow() {
            // A provider that is away may be back for the next one, and a mistake be mended.
            Some(Err(ProviderError::Away(_) | ProviderError::SetUpWrongly(_))) => false,
            Some(_) => self.begun.elapsed() < KEPT,
            None => self.outcome.has_changed().is_ok(),
        }
    }
}

impl Refreshing {
    /// The tokens that follow `refresh_token`: by `refresh`, which runs once for all who ask, and to its end even when
    /// they leave, for the provider may have rotated the token by then.
    pub(super) async fn once(
        &self,
        refresh_token: &str,
        refresh: impl Future<Output = Outcome> + Send + 'static,
    ) -> Outcome {
        let mut outcome = self.join(refresh_token, refresh);
        let done = outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        done.ok().flatten().unwrap_or_else(|| Err(ProviderError::Away("the refresh was given up".to_owned())))
    }

    fn join(
        &self,
        refresh_token: &str,
        refresh: impl Future<Output = Outcome> + Send + 'static,
    ) -> watch::Receiver<Option<Outcome>> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, refresh_token.as_bytes()).as_ref());
        let mut flights = self.0.lock();
        flights.retain(|_, flight| flight.is_worth_keeping());
        if let Some(flight) = flights.get(&key) {
            return flight.outcome.clone();
        }
        let (tell, outcome) = watch::channel(None);
        flights.insert(key, Flight { outcome: outcome.clone(), begun: Instant::now() });
        tokio::spawn(calls::in_service(calls::service(), async move {
            let done = refresh.await;
            tell.send_replace(Some(done));
        }));
        outcome
    }
}
