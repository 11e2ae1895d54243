//! The one verdict on a token, whichever way it came: signature and claims, what was taken back, the list of that, what the
//! store has forgotten, the key that it is bound to, scope, in this order. No path decides on its own.

use std::sync::Arc;
use std::task::Poll;

use super::challenge::{self, Refusal};
use super::credential::{Scheme, single_proof};
use super::single_sign_on::{SingleSignOn, in_time};
use crate::clock::Timestamp;
use crate::problem::Problem;
use crate::session::Session;
use crate::token::dpop::{self, Proof, ProofError, ProvenRequest};
use crate::token::{Thumbprint, TokenError, UserToken, VerifiedToken};

/// A request as far as a verdict looks at it: for callers that have no `HttpRequest`, such as the handshake of a WebSocket
/// or of gRPC.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// In capitals: `GET`.
    pub method: &'a str,
    /// The path below `PUBLIC_URL`, with the slash at its beginning and without a query.
    pub path: &'a str,
    /// All values of the header `Authorization`, in their order.
    pub authorization: &'a [&'a str],
    /// All values of the header `DPoP`, in their order.
    pub dpop: &'a [&'a str],
}

/// How the caller of a token is known to have the key that the token is bound to (RFC 9449, section 7).
#[derive(Debug, Clone, Copy)]
pub enum Binding<'a> {
    /// By this request, which the token came with.
    Request(&'a RequestView<'a>),
    /// By another check than this one: of the service to which the holder shows the token (introspection), or because the
    /// caller keeps the token itself.
    CheckedElsewhere,
}

/// Which services a token must be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// This one.
    Own,
    /// Any: introspection.
    Any,
}

/// What a token must be good for.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    pub audience: Audience,
    /// A word of scope that it must have.
    pub scope: Option<&'a str>,
    pub binding: Binding<'a>,
}

/// A token that came with a request, and how.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) token: &'a str,
    pub(super) scheme: Scheme,
}

/// A token that was not taken back, as far as the process knows and the list, where there is one. Only this module makes one.
struct Unrevoked(VerifiedToken);

impl SingleSignOn {
    /// What a token says that is good for `demand`. Asks the network for an unknown key id, and where there is a list of what
    /// was taken back.
    ///
    /// # Errors
    /// Why the token is refused; [`Refusal::is_unavailable`] where that could not be found out.
    pub async fn verify(&self, token: &str, demand: &Demand<'_>) -> Result<VerifiedToken, Refusal> {
        let scheme = match demand.binding {
            Binding::Request(request) if !request.dpop.is_empty() => Scheme::Dpop,
            Binding::Request(_) | Binding::CheckedElsewhere => Scheme::Bearer,
        };
        self.decide(Shown { token, scheme }, demand).await
    }

    /// Decides on a token that came with a request, and counts it.
    ///
    /// # Errors
    /// 401 for a refused token or proof, 403 for a missing scope, 503 where nothing can be said.
    pub(super) async fn admit(&self, shown: Shown<'_>, demand: &Demand<'_>) -> Result<VerifiedToken, Problem> {
        self.answered(shown, self.decide(shown, demand).await)
    }

    /// As [`SingleSignOn::admit`], but without waiting: pending where something must be asked.
    pub(super) fn admit_now(&self, shown: Shown<'_>, demand: &Demand<'_>) -> Poll<Result<VerifiedToken, Problem>> {
        if self.0.sessions.deny_list().is_some() {
            return Poll::Pending;
        }
        let verified = match self.0.verifier.verify_now(shown.token) {
            Err(TokenError::UnknownKey) => return Poll::Pending,
            verified => verified,
        };
        let unrevoked = self.unrevoked(verified).map(Unrevoked).map_err(Refusal::Token);
        let decided = unrevoked.and_then(|token| self.admitted(token, shown, demand));
        Poll::Ready(self.answered(shown, decided))
    }

    async fn decide(&self, shown: Shown<'_>, demand: &Demand<'_>) -> Result<VerifiedToken, Refusal> {
        let verified = match demand.audience {
            Audience::Own => self.0.verifier.verify(shown.token).await,
            Audience::Any => self.0.verifier.verify_any_audience(shown.token),
        };
        let unrevoked = self.listed(self.unrevoked(verified).map_err(Refusal::Token)?).await?;
        self.admitted(unrevoked, shown, demand)
    }

    /// Whether the session in a cookie lives, of which only this verdict tells: it was not ended, and its end cannot have been
    /// forgotten.
    ///
    /// # Errors
    /// 503 where that cannot be known.
    pub(super) async fn is_living(&self, session: &Session) -> Result<bool, Problem> {
        if self.is_older_than_memory(session.created_at) {
            return Ok(false);
        }
        let token = VerifiedToken::User(Arc::new(UserToken::of_session(session, Default::default())));
        let verdict = match self.unrevoked(Ok(token)) {
            Ok(token) => self.listed(token).await.map(drop),
            Err(error) => Err(Refusal::Token(error)),
        };
        match verdict {
            Err(refusal) if refusal.is_unavailable() => Err(refusal.into()),
            verdict => Ok(verdict.is_ok()),
        }
    }

    /// Whether this process has heard of the end of a session that the store says lives: the store may have lost it.
    pub(super) fn is_told_of(&self, session: &Session) -> bool {
        let token = VerifiedToken::User(Arc::new(UserToken::of_session(session, Default::default())));
        self.0.revocations.holds_any(token.named())
    }

    /// Whether what began then may have ended before the store's memory begins: with the process before this one.
    pub(super) fn is_older_than_memory(&self, begun: Timestamp) -> bool {
        self.0.sessions.remembers_since().is_some_and(|since| begun < since)
    }

    async fn listed(&self, token: VerifiedToken) -> Result<Unrevoked, Refusal> {
        let Some(list) = self.0.sessions.deny_list() else { return Ok(Unrevoked(token)) };
        match in_time(list.has_any(token.named())).await {
            Ok(false) => Ok(Unrevoked(token)),
            Ok(true) => Err(Refusal::Token(TokenError::Revoked)),
            Err(error) => Err(Refusal::Unavailable(error)),
        }
    }

    /// The last two questions: key and scope.
    fn admitted(
        &self,
        Unrevoked(token): Unrevoked,
        shown: Shown<'_>,
        demand: &Demand<'_>,
    ) -> Result<VerifiedToken, Refusal> {
        let proof = match demand.binding {
            Binding::CheckedElsewhere => None,
            Binding::Request(request) => match (shown.scheme, token.bound_to()) {
                (Scheme::Bearer, None) => None,
                (Scheme::Bearer, Some(_)) => return Err(Refusal::Token(TokenError::BoundToKey)),
                (Scheme::Dpop, None) => return Err(Refusal::Token(TokenError::NotBoundToKey)),
                (Scheme::Dpop, Some(key)) => Some(self.prove(request, shown.token, key).map_err(Refusal::Proof)?),
            },
        };
        if let Some(word) = demand.scope.filter(|word| !token.scope().contains(*word)) {
            return Err(Refusal::Scope(word.to_owned()));
        }
        // The last step: a proof takes room in the memory only where its request passes everything else.
        if let Some(proof) = proof {
            self.0.proofs.remember(&proof).map_err(Refusal::Proof)?;
        }
        Ok(token)
    }

    /// Checks that the request comes from the holder of `key` (RFC 9449, section 7). Whether the proof was used before is left
    /// to the caller.
    fn prove(&self, request: &RequestView<'_>, access_token: &str, key: Thumbprint) -> Result<Proof, ProofError> {
        let proof = single_proof(request.dpop)?.ok_or(ProofError::Count)?;
        let public_url = self.0.public_url.as_deref().ok_or(ProofError::Target)?;
        let url = format!("{public_url}{}", request.path);
        let proven = ProvenRequest { method: request.method, url: &url, access_token: Some(access_token) };
        let now = self.0.clock.now();
        let proof = dpop::check(proof, proven, now, |nonce| self.0.nonces.is_recent(nonce, now))?;
        if proof.key != key {
            return Err(ProofError::WrongKey);
        }
        Ok(proof)
    }

    fn answered(&self, shown: Shown<'_>, decided: Result<VerifiedToken, Refusal>) -> Result<VerifiedToken, Problem> {
        let outcome = decided.as_ref().map_or_else(Refusal::as_str, |_| "accepted");
        metrics::counter!("roam_token_checks_total", "outcome" => outcome).increment(1);
        decided.map_err(|refusal| {
            if let Refusal::Proof(ProofError::Time) = refusal {
                return challenge::nonce_needed(&self.0.nonces.make(self.0.clock.now()));
            }
            let is_bound = matches!(refusal, Refusal::Token(TokenError::BoundToKey)) && self.takes_proofs();
            refusal.problem(if is_bound { Scheme::Dpop } else { shown.scheme })
        })
    }
}
