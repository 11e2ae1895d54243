//! Tokens for other services, in the name of a user who called this one (RFC 8693). Owns who asks the provider, and its
//! answers for as long as the tokens that they came for; never decides what a service does without one.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use actix_web::{HttpResponse, ResponseError};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::Instant;

use super::RelyingParty;
use super::provider::ProviderError;
use crate::authentication::Principal;
use crate::calls;
use crate::clock::Timestamp;
use crate::problem::Problem;

/// How long a request waits for the provider. The call itself goes on, for the next one.
const PATIENCE: Duration = Duration::from_secs(1);
/// A provider that gave none is left alone for so long: no request waits for it meanwhile.
const REST: Duration = Duration::from_secs(2);
/// The most answers that are kept. With more, all of them are forgotten: each costs one call again.
const MOST: usize = 10_000;

/// Why there is no token for another service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnBehalfError {
    /// The provider takes the user's token no longer: its session has ended, and this service will hear of it.
    #[error("the provider does not take the user's token")]
    TokenRefused,
    /// The provider does not answer in time, or gives this client none.
    #[error("{0}")]
    Unavailable(String),
    /// The client is not registered for it. `code` is what a person tells the operator; `why` names the setting at both ends.
    #[error("{why}")]
    Misconfigured { code: &'static str, why: String },
}

impl From<ProviderError> for OnBehalfError {
    fn from(error: ProviderError) -> Self {
        match error {
            // RFC 8693, section 2.2.2; the second is what this provider said before.
            ProviderError::Refused(error) if matches!(&*error, "invalid_request" | "invalid_grant") => {
                Self::TokenRefused
            }
            ProviderError::SetUpWrongly(mistake) => {
                Self::Misconfigured { code: mistake.code(), why: mistake.to_string() }
            }
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// 401 where the user's session has ended, 503 where no token is to be had: so a handler may pass it on with `?`.
impl From<OnBehalfError> for Problem {
    fn from(error: OnBehalfError) -> Self {
        match error {
            OnBehalfError::TokenRefused => {
                let detail = "the session has ended; sign in again";
                Self::new(StatusCode::UNAUTHORIZED, "session_ended", detail).header(WWW_AUTHENTICATE, "Bearer")
            }
            OnBehalfError::Unavailable(why) => Self::unavailable("the sign-in service", why),
            OnBehalfError::Misconfigured { code, why } => Self::misconfigured(code, why),
        }
    }
}

impl ResponseError for OnBehalfError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::TokenRefused => StatusCode::UNAUTHORIZED,
            Self::Unavailable(_) | Self::Misconfigured { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        Problem::from(self.clone()).error_response()
    }
}

type Outcome = Result<SecretString, OnBehalfError>;

impl RelyingParty {
    /// An access token for the service that `scope` opens, in the name of a user who called with `access_token`: it names
    /// this client as the one who acts, and ends no later than the user's. The provider is asked once for each token and
    /// scope, however many wait; the answer is kept until the token expires. `principal` is what the token says: it was
    /// verified for this very request, so that nothing is given for one that is revoked.
    ///
    /// # Errors
    /// [`OnBehalfError`]; within a second, also while the provider hangs.
    pub async fn on_behalf(
        &self,
        principal: &Principal,
        access_token: &str,
        scope: &str,
    ) -> Result<SecretString, OnBehalfError> {
        let exchange = {
            let (this, token, scope) = (self.clone(), SecretString::from(access_token), scope.to_owned());
            async move { this.0.provider.exchange_token(&token, &scope).await }
        };
        let key = Key { token: principal.token_id, scope: scope.to_owned() };
        self.0.acting.once(key, principal.expires_at, self.clock().now(), exchange).await
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    token: u128,
    scope: String,
}

struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    begun: Instant,
    /// When the user's token expires, and with it what was given for it.
    good_until: Timestamp,
}

impl Flight {
    fn is_worth_keeping(&self, now: Timestamp) -> bool {
        match &*self.outcome.borrow() {
            Some(Ok(_)) => now < self.good_until,
            Some(Err(_)) => self.begun.elapsed() < REST,
            None => self.outcome.has_changed().is_ok(),
        }
    }
}

/// Exchanges under way, and what came of them.
#[derive(Default)]
pub(super) struct Acting {
    flights: Mutex<HashMap<Key, Flight>>,
    rests_until: Mutex<Option<Instant>>,
}

impl Acting {
    async fn once(
        &self,
        key: Key,
        good_until: Timestamp,
        now: Timestamp,
        exchange: impl Future<Output = Result<String, ProviderError>> + Send + 'static,
    ) -> Outcome {
        let mut outcome = self.join(key, good_until, now, exchange)?;
        let done = tokio::time::timeout(PATIENCE, outcome.wait_for(Option::is_some)).await;
        let unavailable = |why: &str| Err(OnBehalfError::Unavailable(why.to_owned()));
        let outcome = match done {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| unavailable("the exchange was given up")),
            Ok(Err(_)) => unavailable("the exchange was given up"),
            Err(_) => unavailable("the provider does not answer in time"),
        };
        if matches!(outcome, Err(OnBehalfError::Unavailable(_) | OnBehalfError::Misconfigured { .. })) {
            *self.rests_until.lock() = Some(Instant::now() + REST);
        }
        outcome
    }

    /// The exchange for `key` that is kept or under way, or a new one.
    fn join(
        &self,
        key: Key,
        good_until: Timestamp,
        now: Timestamp,
        exchange: impl Future<Output = Result<String, ProviderError>> + Send + 'static,
    ) -> Result<watch::Receiver<Option<Outcome>>, OnBehalfError> {
        let mut flights = self.flights.lock();
        match flights.get(&key) {
            Some(flight) if flight.is_worth_keeping(now) && !self.hangs(flight) => return Ok(flight.outcome.clone()),
            _ if self.is_resting() => {
                return Err(OnBehalfError::Unavailable("the provider gave none just now".to_owned()));
            }
            _ => {}
        }
        if flights.len() >= MOST {
            flights.retain(|_, flight| flight.is_worth_keeping(now));
        }
        if flights.len() >= MOST {
            flights.clear();
        }
        let (tell, outcome) = watch::channel(None);
        flights.insert(key, Flight { outcome: outcome.clone(), begun: Instant::now(), good_until });
        tokio::spawn(calls::in_service(calls::service(), async move {
            tell.send_replace(Some(counted(exchange.await)));
        }));
        Ok(outcome)
    }

    fn is_resting(&self) -> bool {
        self.rests_until.lock().is_some_and(|until| Instant::now() < until)
    }

    /// Whether others have waited in vain for it: nobody else does, while the provider rests.
    fn hangs(&self, flight: &Flight) -> bool {
        flight.outcome.borrow().is_none() && self.is_resting()
    }
}

fn counted(answer: Result<String, ProviderError>) -> Outcome {
    let outcome = answer.map(SecretString::from).map_err(OnBehalfError::from);
    let word = match &outcome {
        Ok(_) => "given",
        Err(OnBehalfError::TokenRefused) => "refused",
        Err(OnBehalfError::Unavailable(why) | OnBehalfError::Misconfigured { why, .. }) => {
            tracing::warn!(why, "no token for another service in a user's name");
            "unavailable"
        }
    };
    metrics::counter!("roam_token_exchanges_total", "outcome" => word).increment(1);
    outcome
}
