//! Where a service joins: its verifier, the revocations that it follows, and the session store for sensitive requests.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::COOKIE;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::agreement::Agreement;
#[cfg(feature = "redis")]
use super::agreement::{Here, PlatformCheck, keep_comparing};
use super::challenge;
use super::cookie_keys::CookieKeys;
use super::credential::{Scheme, Values, credential};
use super::login_cookie::LoginCookie;
use super::principal::Principal;
use super::proof_nonces::ProofNonces;
use super::sealed_cookie::SealedCookie;
use super::session_cookie::SessionCookie;
use super::strategy::{self, Strategy};
use super::verdict::{Audience, Binding, Demand, RequestView, Shown};
use crate::calls;
use crate::clock::{Clock, Timestamp};
use crate::problem::Problem;
use crate::request::sent_method;
use crate::session::{self, Revocations, Session, SessionId, SessionStore, StoreUnavailable};
use crate::token::dpop::SeenProofs;
use crate::token::{KeySet, SharedSecret, TokenError, VerifiedToken, Verifier};

/// How long a sensitive request waits for the session store.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a start waits for the issuer's keys and the revocations, and how often it looks.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);
const SETTLE_LOOK: Duration = Duration::from_millis(10);

/// From the beginning of a second to its last microsecond.
const LAST_OF_A_SECOND: Duration = Duration::from_micros(999_999);

/// What a service needs to know to join.
#[derive(Clone)]
pub struct SingleSignOnConfig {
    /// The auth service's public address, byte for byte as its tokens name it.
    pub issuer: String,
    /// This service's name: tokens for others are refused.
    pub audience: String,
    /// The word of scope that a token must have for any request here; without one, its audience is enough.
    pub scope: Option<String>,
    /// Where callers reach this service: what a DPoP proof names (RFC 9449). Never the `Host` that a request names: whoever
    /// replays a proof that was made for another service would name that one. Without it, tokens that are bound to a key
    /// are refused.
    pub public_url: Option<String>,
    /// Where the issuer's key set is read.
    pub jwks_url: Url,
    pub strategy: Strategy,
    /// The cookie that a strategy of cookies reads,
    pub session_cookie: SessionCookie,
    /// and the keys that open it where it holds the session itself.
    pub cookie_keys: Option<CookieKeys>,
    /// The words of scope that a login by that cookie is good for here, beside `scope`.
    pub cookie_scope: BTreeSet<String>,
    /// What signs access tokens in place of the published keys: `JWT_COMPATIBILITY`.
    pub shared_secret: Option<SharedSecret>,
    /// What callers with a wrong clock are offered for the proofs of their keys: the same at every replica.
    pub nonces: ProofNonces,
    pub sessions: Arc<dyn SessionStore>,
    /// The longest life of an access token: one that would live longer is refused.
    pub access_token_ttl: Duration,
    /// How long a revocation is remembered: as long as an access token, or a sealed cookie, lives.
    pub remember: Duration,
    /// How old a login may be for a [`ConfirmedPrincipal`](super::ConfirmedPrincipal).
    pub step_up_after: Duration,
    /// How the service finds out whether it is set up as the platform is; none in one process with the auth service.
    #[cfg(feature = "redis")]
    pub platform: Option<PlatformCheck>,
    pub clock: Clock,
}

/// A service's part in the single sign-on. Put it into the `App` as `web::Data`; a copy is the same.
///
/// Tasks work for it until the last copy is dropped: one keeps the issuer's keys fresh, one follows revocations, and one
/// compares how this service and the platform are set up.
#[derive(Clone)]
pub struct SingleSignOn(pub(super) Arc<Joined>);

pub(super) struct Joined {
    pub(super) verifier: Verifier,
    pub(super) revocations: Revocations,
    pub(super) sessions: Arc<dyn SessionStore>,
    /// Where the strategy is one of cookies.
    pub(super) cookie: Option<LoginCookie>,
    pub(super) cookie_scope: BTreeSet<String>,
    scope: Option<String>,
    /// Without a slash at its end.
    pub(super) public_url: Option<String>,
    pub(super) proofs: SeenProofs,
    pub(super) nonces: ProofNonces,
    pub(super) clock: Clock,
    step_up_after: Duration,
    agreement: Agreement,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl SingleSignOn {
    /// Joins, and starts its tasks on the current tokio runtime. Until the keys are read, requests are refused with
    /// 503; see [`SingleSignOn::missing`] for readiness.
    pub fn join(config: SingleSignOnConfig) -> Self {
        Self::join_with(config, KeySet::default())
    }

    /// Joins with a key set of the caller's making: one with another cool-down, or with keys already in it.
    pub fn join_with(config: SingleSignOnConfig, keys: KeySet) -> Self {
        let guarantees = config.strategy.guarantees(&*config.sessions);
        tracing::info!(strategy = config.strategy.as_str(), ?guarantees, "how sessions are shared");
        if config.shared_secret.is_some() {
            tracing::warn!(
                audience = config.audience,
                "JWT_COMPATIBILITY is hs256: access tokens are signed with a shared secret, and each service that verifies \
                 them could issue them; the published keys sign none"
            );
        }
        let service: Arc<str> = config.audience.as_str().into();
        let fetching =
            tokio::spawn(calls::in_service(service.clone(), keys.clone().keep_fresh(config.jwks_url.clone())));
        let revocations = Revocations::new(config.remember, config.clock.clone());
        let following = session::follow(config.sessions.clone(), revocations.clone());
        let following = tokio::spawn(calls::in_service(service.clone(), following));
        let mut tasks = vec![AbortOnDropHandle::new(fetching), AbortOnDropHandle::new(following)];
        #[cfg(feature = "redis")]
        let agreement = compare(&config, service, &mut tasks);
        #[cfg(not(feature = "redis"))]
        let agreement = Agreement::needless();
        let cookie = match config.strategy.credential() {
            strategy::Credential::BearerToken => None,
            strategy::Credential::SessionCookie => Some(LoginCookie::Opens(config.session_cookie)),
            // Without keys of its own, a service opens none: it fails closed.
            strategy::Credential::SealedCookie => Some(LoginCookie::Holds(SealedCookie {
                cookie: config.session_cookie,
                keys: config.cookie_keys.unwrap_or_else(CookieKeys::random),
            })),
        };
        let verifier = Verifier::new(keys, config.issuer, config.audience, config.clock.clone());
        Self(Arc::new(Joined {
            verifier: verifier.with_longest_life(config.access_token_ttl).with_shared_secret(config.shared_secret),
            revocations,
            sessions: config.sessions,
            cookie,
            cookie_scope: config.scope.iter().cloned().chain(config.cookie_scope).collect(),
            scope: config.scope,
            public_url: config.public_url.map(|url| url.trim_end_matches('/').to_owned()),
            proofs: SeenProofs::new(config.clock.clone()),
            nonces: config.nonces,
            clock: config.clock,
            step_up_after: config.step_up_after,
            agreement,
            _tasks: tasks,
        }))
    }

    /// The token of whoever calls, or none where none was sent. Touches no network, but for an unknown key id.
    ///
    /// # Errors
    /// 401 for a token, or the proof of its key, that is refused, 403 `insufficient_scope` for one without this service's scope, 400 for two, 503
    /// while the keys are not known.
    pub async fn authenticate(&self, request: &HttpRequest) -> Result<Option<VerifiedToken>, Problem> {
        self.authenticate_for(request, self.0.scope.as_deref()).await
    }

    /// As [`SingleSignOn::authenticate`], for a resource that demands another word of scope than the service does, or none.
    ///
    /// # Errors
    /// As [`SingleSignOn::authenticate`].
    pub async fn authenticate_for(
        &self,
        request: &HttpRequest,
        scope: Option<&str>,
    ) -> Result<Option<VerifiedToken>, Problem> {
        let (authorization, dpop) = Values::of_credentials(request.headers());
        match self.authenticate_view(&view(request, &authorization, &dpop), scope).await? {
            None => self.by_live_cookie(request).await,
            token => Ok(token),
        }
    }

    /// As [`SingleSignOn::authenticate_for`], for a caller without an `HttpRequest`. A cookie of a login is not looked at.
    ///
    /// # Errors
    /// As [`SingleSignOn::authenticate`].
    pub async fn authenticate_view(
        &self,
        request: &RequestView<'_>,
        scope: Option<&str>,
    ) -> Result<Option<VerifiedToken>, Problem> {
        match credential(request.authorization, self.takes_proofs())? {
            Some(shown) => self.admit(shown, &demand(request, scope)).await.map(Some),
            None => Ok(None),
        }
    }

    /// As [`SingleSignOn::authenticate`], but without waiting: pending where a key id is not known, or a session or the
    /// list of ended ones is to be looked up.
    pub(super) fn authenticate_now(&self, request: &HttpRequest) -> Poll<Result<Option<VerifiedToken>, Problem>> {
        let (authorization, dpop) = Values::of_credentials(request.headers());
        let seen = view(request, &authorization, &dpop);
        match credential(seen.authorization, self.takes_proofs()) {
            Ok(Some(shown)) => self.admit_now(shown, &demand(&seen, self.0.scope.as_deref())).map_ok(Some),
            Ok(None) if self.0.cookie.is_some() && request.headers().contains_key(COOKIE) => Poll::Pending,
            Ok(None) => Poll::Ready(Ok(None)),
            Err(problem) => Poll::Ready(Err(problem)),
        }
    }

    pub(super) async fn load(&self, id: SessionId) -> Result<Option<Session>, StoreUnavailable> {
        in_time(self.0.sessions.load(id)).await
    }

    /// # Errors
    /// As [`SingleSignOn::authenticate`], 401 where no token was sent, and 403 `user_required` for a client's own.
    pub async fn principal(&self, request: &HttpRequest) -> Result<Principal, Problem> {
        self.present(self.authenticate(request).await?)?.try_into()
    }

    /// # Errors
    /// 401 where there is none.
    pub(super) fn present(&self, token: Option<VerifiedToken>) -> Result<VerifiedToken, Problem> {
        token.ok_or_else(|| challenge::missing(self.takes_proofs()))
    }

    /// As [`SingleSignOn::authenticate_for`], for a token that came in a form (RFC 6750, section 2.2).
    ///
    /// # Errors
    /// As [`SingleSignOn::authenticate`].
    pub async fn authenticate_form(
        &self,
        request: &HttpRequest,
        token: &str,
        scope: Option<&str>,
    ) -> Result<VerifiedToken, Problem> {
        let (authorization, dpop) = Values::of_credentials(request.headers());
        let shown = Shown { token, scheme: Scheme::Bearer };
        self.admit(shown, &demand(&view(request, &authorization, &dpop), scope)).await
    }

    /// Whether a token that is bound to a key can be used here.
    pub(super) fn takes_proofs(&self) -> bool {
        self.0.public_url.is_some()
    }

    /// Part of the verdict: what was taken back, as far as this process knows.
    pub(super) fn unrevoked(&self, verdict: Result<VerifiedToken, TokenError>) -> Result<VerifiedToken, TokenError> {
        // A wrong clock finds good tokens too old, or from the future.
        if verdict.as_ref().is_err_and(TokenError::is_of_its_times) && self.clocks_are_in_doubt() {
            return Err(TokenError::ClockInDoubt);
        }
        // So does a service that is set up wrongly.
        if verdict.as_ref().is_err_and(TokenError::is_of_the_setup) && self.0.agreement.differs() {
            return Err(TokenError::Misconfigured);
        }
        verdict.and_then(|token| {
            if self.0.revocations.holds_any(token.named()) || self.is_forgotten(&token) {
                return Err(TokenError::Revoked);
            }
            self.can_tell().map(|()| token)
        })
    }

    /// Whether anything can be said of a session's end and of a token's times: it fails closed.
    ///
    /// # Errors
    /// [`TokenError::RevocationsUnknown`] before the feed has been read, and again after this process stood still;
    /// [`TokenError::ClockInDoubt`] where clocks are too far apart; [`TokenError::Misconfigured`] where this service is set up
    /// otherwise than the platform.
    pub(crate) fn can_tell(&self) -> Result<(), TokenError> {
        self.is_set_up_alike()?;
        if !self.0.revocations.are_known() {
            return Err(TokenError::RevocationsUnknown);
        }
        if self.clocks_are_in_doubt() { Err(TokenError::ClockInDoubt) } else { Ok(()) }
    }

    /// # Errors
    /// [`TokenError::Misconfigured`] where this service is set up otherwise than the platform, and
    /// [`TokenError::RevocationsUnknown`] before that has been compared.
    pub(super) fn is_set_up_alike(&self) -> Result<(), TokenError> {
        self.0.agreement.check()
    }

    pub(super) fn clocks_are_in_doubt(&self) -> bool {
        self.clocks_in_doubt().next().is_some()
    }

    fn clocks_in_doubt(&self) -> impl Iterator<Item = &'static str> {
        let store = self.0.revocations.skew().is_too_far();
        let issuer = self.0.verifier.keys().skew().is_too_far();
        let store = store.then_some("the clock of this machine differs by 30 s or more from the session store's");
        store.into_iter().chain(issuer.then_some("the clock of this machine differs by 30 s or more from the issuer's"))
    }

    /// Whether the token is older than the store's memory: its session, if it is part of one, has ended with the process
    /// before this one, and its revocation may be forgotten.
    fn is_forgotten(&self, token: &VerifiedToken) -> bool {
        let begun = match token {
            VerifiedToken::User(token) => token.auth_time,
            VerifiedToken::Client(token) => token.issued_at,
        };
        // Tokens know whole seconds.
        self.is_older_than_memory(Timestamp::from_seconds(begun.seconds()) + LAST_OF_A_SECOND)
    }

    /// Asks the store that the principal's session lives now, and that the login is recent enough. Where nothing keeps
    /// sessions, the token's word is all there is.
    ///
    /// # Errors
    /// 401 when it has ended or the login is too old, 503 when the store does not answer or revocations do not arrive.
    pub async fn confirm(&self, principal: &Principal) -> Result<Session, Problem> {
        let sent = Scheme::of(principal.bound_to);
        let session = if self.0.sessions.keeps_sessions() {
            self.load(principal.session).await?.filter(|session| session.user == principal.user)
        } else {
            Some(principal.as_session())
        };
        let session = session.ok_or_else(|| challenge::refused(TokenError::Revoked, sent))?;
        if self.0.clock.now().since(principal.auth_time) > self.0.step_up_after {
            return Err(challenge::login_too_old(self.0.step_up_after.as_secs(), sent));
        }
        // The store knows of ended sessions, but only the feed of single tokens that were taken back.
        if !self.0.revocations.is_current() {
            return Err(Problem::unavailable("the revocation feed", "it is behind"));
        }
        Ok(session)
    }

    /// Whether the store knows that the session has ended: it is there no more.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn has_ended(&self, session: SessionId) -> Result<bool, StoreUnavailable> {
        Ok(self.0.sessions.keeps_sessions() && self.load(session).await?.is_none())
    }

    /// This service's name: its tokens are for it.
    pub fn audience(&self) -> &str {
        self.0.verifier.audience()
    }

    /// The issuer's published keys, as the verifier knows them.
    pub fn keys(&self) -> &KeySet {
        self.0.verifier.keys()
    }

    /// The word of scope that a token must have here.
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// How old a login may be for a [`ConfirmedPrincipal`](super::ConfirmedPrincipal).
    pub fn step_up_after(&self) -> Duration {
        self.0.step_up_after
    }

    /// Waits until nothing is missing any more, for a moment at most: a service that listens only then refuses nobody when
    /// it starts beside others. Where the issuer is away for longer, it listens all the same, and says what is missing.
    pub async fn settle(&self) {
        let settled = async {
            while !self.missing().is_empty() {
                tokio::time::sleep(SETTLE_LOOK).await;
            }
        };
        // Readiness tells the rest.
        let _ = tokio::time::timeout(SETTLE_PATIENCE, settled).await;
    }

    /// What is still missing before this service can tell who calls: readiness. Empty when nothing is. Where this service is
    /// set up otherwise than the platform, a line names each setting, at both ends.
    pub fn missing(&self) -> Vec<Cow<'static, str>> {
        let keys = (!self.0.verifier.has_keys()).then_some("the issuer's key set has not been read");
        let feed = (!self.0.revocations.are_known()).then_some("the revocations have not been read");
        let own = keys.into_iter().chain(feed).chain(self.clocks_in_doubt()).map(Cow::Borrowed);
        own.chain(self.0.agreement.missing().into_iter().map(Cow::Owned)).collect()
    }
}

/// Begins to compare how this service and the platform are set up, where they are two processes.
#[cfg(feature = "redis")]
fn compare(config: &SingleSignOnConfig, service: Arc<str>, tasks: &mut Vec<AbortOnDropHandle<()>>) -> Agreement {
    let Some(check) = config.platform.clone() else { return Agreement::needless() };
    let agreement = Agreement::unknown();
    let here = Here {
        issuer: config.issuer.clone(),
        strategy: config.strategy,
        deny_list: check.deny_list,
        access_token_ttl: config.access_token_ttl,
        remember: config.remember,
    };
    let comparing = keep_comparing(agreement.clone(), check, here);
    tasks.push(AbortOnDropHandle::new(tokio::spawn(calls::in_service(service, comparing))));
    agreement
}

/// A request as the verdict sees it.
fn view<'a>(request: &'a HttpRequest, authorization: &'a Values<'_>, dpop: &'a Values<'_>) -> RequestView<'a> {
    RequestView {
        method: sent_method(request),
        path: request.path(),
        authorization: authorization.as_slice(),
        dpop: dpop.as_slice(),
    }
}

/// What is demanded of a token that came with a request to this service.
fn demand<'a>(request: &'a RequestView<'a>, scope: Option<&'a str>) -> Demand<'a> {
    Demand { audience: Audience::Own, scope, binding: Binding::Request(request) }
}

/// What the store answers, in time.
pub(super) async fn in_time<T>(
    asking: impl Future<Output = Result<T, StoreUnavailable>>,
) -> Result<T, StoreUnavailable> {
    let answer = tokio::time::timeout(STORE_PATIENCE, asking).await;
    answer.unwrap_or_else(|_| Err(StoreUnavailable("no answer in time".to_owned())))
}

impl fmt::Debug for SingleSignOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleSignOn").field("missing", &self.missing()).finish_non_exhaustive()
    }
}
