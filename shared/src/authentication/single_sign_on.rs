//! Where a service joins: its verifier, the revocations that it follows, and the session store for sensitive requests.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::COOKIE;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::challenge::{self, Refusal};
use super::cookie_keys::CookieKeys;
use super::credential::{Credential, Scheme, credential, dpop_proof};
use super::login_cookie::LoginCookie;
use super::principal::Principal;
use super::sealed_cookie::SealedCookie;
use super::session_cookie::SessionCookie;
use super::strategy::{self, Strategy};
use crate::calls;
use crate::clock::Clock;
use crate::problem::Problem;
use crate::session::{self, Revocations, Session, SessionId, SessionStore, StoreUnavailable};
use crate::token::dpop::{self, Proof, ProofError, ProvenRequest, SeenProofs};
use crate::token::{KeySet, SharedSecret, Thumbprint, TokenError, VerifiedToken, Verifier};

/// How long a sensitive request waits for the session store.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a start waits for the issuer's keys and the revocations, and how often it looks.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);
const SETTLE_LOOK: Duration = Duration::from_millis(10);

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
    pub sessions: Arc<dyn SessionStore>,
    /// The longest life of an access token: one that would live longer is refused.
    pub access_token_ttl: Duration,
    /// How long a revocation is remembered: as long as an access token, or a sealed cookie, lives.
    pub remember: Duration,
    /// How old a login may be for a [`ConfirmedPrincipal`](super::ConfirmedPrincipal).
    pub step_up_after: Duration,
    pub clock: Clock,
}

/// A service's part in the single sign-on. Put it into the `App` as `web::Data`; a copy is the same.
///
/// Two tasks work for it until the last copy is dropped: one keeps the issuer's keys fresh, one follows revocations.
#[derive(Clone)]
pub struct SingleSignOn(pub(super) Arc<Joined>);

pub(super) struct Joined {
    verifier: Verifier,
    pub(super) revocations: Revocations,
    pub(super) sessions: Arc<dyn SessionStore>,
    /// Where the strategy is one of cookies.
    pub(super) cookie: Option<LoginCookie>,
    pub(super) cookie_scope: BTreeSet<String>,
    scope: Option<String>,
    /// Without a slash at its end.
    public_url: Option<String>,
    proofs: SeenProofs,
    pub(super) clock: Clock,
    step_up_after: Duration,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl SingleSignOn {
    /// Joins, and starts the two tasks on the current tokio runtime. Until the keys are read, requests are refused with
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
        let fetching = tokio::spawn(calls::in_service(service.clone(), keys.clone().keep_fresh(config.jwks_url)));
        let revocations = Revocations::new(config.remember, config.clock.clone());
        let following = session::follow(config.sessions.clone(), revocations.clone());
        let following = tokio::spawn(calls::in_service(service, following));
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
            clock: config.clock,
            step_up_after: config.step_up_after,
            _tasks: [AbortOnDropHandle::new(fetching), AbortOnDropHandle::new(following)],
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
        let Some(credential) = credential(request.headers(), self.takes_proofs())? else {
            return self.by_live_cookie(request).await;
        };
        let verdict = self.0.verifier.verify(credential.token).await;
        let scheme = credential.scheme;
        let token = self.admit(request, credential, verdict, scope)?;
        match (self.0.sessions.deny_list(), token.session()) {
            (Some(list), Some(session)) if in_time(list.has(session)).await? => {
                Err(challenge::refused(TokenError::Revoked, scheme))
            }
            _ => Ok(Some(token)),
        }
    }

    /// As [`SingleSignOn::authenticate`], but without waiting: pending where a key id is not known, or a session or the
    /// list of ended ones is to be looked up.
    pub(super) fn authenticate_now(&self, request: &HttpRequest) -> Poll<Result<Option<VerifiedToken>, Problem>> {
        let credential = match credential(request.headers(), self.takes_proofs()) {
            Ok(Some(_)) if self.0.sessions.deny_list().is_some() => return Poll::Pending,
            Ok(Some(credential)) => credential,
            Ok(None) if self.0.cookie.is_some() && request.headers().contains_key(COOKIE) => {
                return Poll::Pending;
            }
            Ok(None) => return Poll::Ready(Ok(None)),
            Err(problem) => return Poll::Ready(Err(problem)),
        };
        match self.0.verifier.verify_now(credential.token) {
            Err(TokenError::UnknownKey) => Poll::Pending,
            verdict => Poll::Ready(self.admit(request, credential, verdict, self.0.scope.as_deref()).map(Some)),
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

    /// What a good token says that is not revoked, whoever has it: neither its scope nor the key that it is bound to is
    /// looked at.
    ///
    /// # Errors
    /// Why the token is refused.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        self.unrevoked(self.0.verifier.verify(token).await)
    }

    /// As [`SingleSignOn::verify`], whichever service the token is for: introspection.
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn verify_any_audience(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        self.unrevoked(self.0.verifier.verify_any_audience(token))
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
        let credential = Credential { token, scheme: Scheme::Bearer };
        self.admit(request, credential, self.0.verifier.verify(token).await, scope)
    }

    /// Whether a token that is bound to a key can be used here.
    fn takes_proofs(&self) -> bool {
        self.0.public_url.is_some()
    }

    /// Decides on a token that came with a request.
    fn admit(
        &self,
        request: &HttpRequest,
        credential: Credential<'_>,
        verdict: Result<VerifiedToken, TokenError>,
        scope: Option<&str>,
    ) -> Result<VerifiedToken, Problem> {
        let decided = self.decide(request, credential, verdict, scope);
        let outcome = decided.as_ref().map_or_else(|refusal| refusal.as_str(), |_| "accepted");
        metrics::counter!("roam_token_checks_total", "outcome" => outcome).increment(1);
        Ok(decided?)
    }

    fn decide<'a>(
        &self,
        request: &HttpRequest,
        Credential { token: text, scheme }: Credential<'_>,
        verdict: Result<VerifiedToken, TokenError>,
        scope: Option<&'a str>,
    ) -> Result<VerifiedToken, Refusal<'a>> {
        let token = self.unrevoked(verdict).map_err(|error| Refusal::Token(error, scheme))?;
        let proof = match (scheme, token.bound_to()) {
            (Scheme::Bearer, None) => None,
            (Scheme::Bearer, Some(_)) => {
                let wanted = if self.takes_proofs() { Scheme::Dpop } else { Scheme::Bearer };
                return Err(Refusal::Token(TokenError::BoundToKey, wanted));
            }
            (Scheme::Dpop, None) => return Err(Refusal::Token(TokenError::NotBoundToKey, scheme)),
            (Scheme::Dpop, Some(key)) => Some(self.prove(request, text, key).map_err(Refusal::Proof)?),
        };
        if let Some(word) = scope.filter(|word| !token.scope().contains(*word)) {
            return Err(Refusal::Scope(word, scheme));
        }
        // The last step: only what passes takes room in the memory of proofs.
        if let Some(proof) = proof {
            self.0.proofs.remember(&proof).map_err(Refusal::Proof)?;
        }
        Ok(token)
    }

    /// Checks that the request comes from whoever has `key` (RFC 9449, section 7). Whether the proof was used before is
    /// left to the caller.
    fn prove(&self, request: &HttpRequest, access_token: &str, key: Thumbprint) -> Result<Proof, ProofError> {
        let proof = dpop_proof(request.headers())?.ok_or(ProofError::Count)?;
        let public_url = self.0.public_url.as_deref().ok_or(ProofError::Target)?;
        let proven = ProvenRequest {
            method: request.method().as_str(),
            url: &format!("{public_url}{}", request.path()),
            access_token: Some(access_token),
        };
        let proof = dpop::check(proof, proven, self.0.clock.now())?;
        if proof.key != key {
            return Err(ProofError::WrongKey);
        }
        Ok(proof)
    }

    fn unrevoked(&self, verdict: Result<VerifiedToken, TokenError>) -> Result<VerifiedToken, TokenError> {
        verdict.and_then(|token| {
            let revocations = &self.0.revocations;
            let grant_is_revoked = token.grant().is_some_and(|grant| revocations.is_revoked(None, grant));
            let revoked = grant_is_revoked || revocations.is_revoked(token.session(), token.token_id());
            if revoked || self.is_forgotten(&token) {
                return Err(TokenError::Revoked);
            }
            self.can_tell().map(|()| token)
        })
    }

    /// Whether anything can be said of a session's end and of a token's times: it fails closed.
    ///
    /// # Errors
    /// [`TokenError::RevocationsUnknown`] before the feed has been read, and again after this process stood still;
    /// [`TokenError::ClockInDoubt`] where clocks are too far apart.
    pub(crate) fn can_tell(&self) -> Result<(), TokenError> {
        if !self.0.revocations.are_known() {
            return Err(TokenError::RevocationsUnknown);
        }
        if self.clocks_in_doubt().next().is_some() { Err(TokenError::ClockInDoubt) } else { Ok(()) }
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
        self.0.sessions.remembers_since().is_some_and(|since| begun.seconds() < since.seconds())
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

    /// What is still missing before this service can tell who calls: readiness. Empty when nothing is.
    pub fn missing(&self) -> Vec<&'static str> {
        let keys = (!self.0.verifier.has_keys()).then_some("the issuer's key set has not been read");
        let feed = (!self.0.revocations.are_known()).then_some("the revocations have not been read");
        keys.into_iter().chain(feed).chain(self.clocks_in_doubt()).collect()
    }
}

/// What the store answers, in time.
async fn in_time<T>(asking: impl Future<Output = Result<T, StoreUnavailable>>) -> Result<T, StoreUnavailable> {
    let answer = tokio::time::timeout(STORE_PATIENCE, asking).await;
    answer.unwrap_or_else(|_| Err(StoreUnavailable("no answer in time".to_owned())))
}

impl fmt::Debug for SingleSignOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleSignOn").field("missing", &self.missing()).finish_non_exhaustive()
    }
}
