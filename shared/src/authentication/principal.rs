//! Extractors: what a handler asks for to know who calls.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::Arc;
use std::task::Poll;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::FutureExt;
use futures_util::future::{Either, LocalBoxFuture};

use super::credential::Scheme;
use super::{SingleSignOn, challenge};
use crate::problem::Problem;
use crate::session::Session;
use crate::token::{ClientToken, UserToken, VerifiedToken};

/// The user that the access token speaks for. Checked in memory: signature, expiry, audience, revocation, scope.
///
/// Its fields are those of the [`UserToken`]: `principal.user`, `principal.session`, `principal.roles`, … Where `actor` is
/// there, a client acts for the user.
///
/// As an extractor it answers 401 with `WWW-Authenticate: Bearer` (RFC 6750, section 3) when there is none, 403
/// `user_required` for a client's own token, 403 `insufficient_scope` for a token without this service's scope, 400 for
/// several `Authorization` headers, and 503 while the issuer's keys are not known.
#[derive(Debug, Clone)]
pub struct Principal(Arc<UserToken>);

impl Deref for Principal {
    type Target = UserToken;

    fn deref(&self) -> &UserToken {
        &self.0
    }
}

impl From<Arc<UserToken>> for Principal {
    fn from(token: Arc<UserToken>) -> Self {
        Self(token)
    }
}

impl TryFrom<VerifiedToken> for Principal {
    type Error = Problem;

    /// # Errors
    /// 403 `user_required`: a client speaks for itself.
    fn try_from(token: VerifiedToken) -> Result<Self, Problem> {
        match token {
            VerifiedToken::User(token) => Ok(Self(token)),
            VerifiedToken::Client(_) => {
                let detail = "this needs a token of a user who has signed in, not a client's own";
                Err(Problem::forbidden("user_required", detail))
            }
        }
    }
}

impl Principal {
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    /// # Errors
    /// 403 `insufficient_role` without that role.
    pub fn require_role(&self, role: &str) -> Result<(), Problem> {
        let refused = || Problem::forbidden("insufficient_role", format!("this needs the role {role:?}"));
        self.has_role(role).then_some(()).ok_or_else(refused)
    }

    /// Whether the token was issued for that word of scope. Words are compared whole.
    pub fn has_scope(&self, word: &str) -> bool {
        self.scope.contains(word)
    }

    /// # Errors
    /// 403 `insufficient_scope` (RFC 6750, section 3.1) without that word of scope.
    pub fn require_scope(&self, word: &str) -> Result<(), Problem> {
        self.has_scope(word).then_some(()).ok_or_else(|| challenge::scope_needed(word, Scheme::of(self.bound_to)))
    }
}

/// A client that speaks for itself, by a token of its own (RFC 6749, section 4.4): no user has signed in. Checked as a
/// [`Principal`] is.
///
/// Its fields are those of the [`ClientToken`]. As an extractor it answers as [`Principal`] does, and 403
/// `client_required` for a user's token.
#[derive(Debug, Clone)]
pub struct ClientPrincipal(Arc<ClientToken>);

impl Deref for ClientPrincipal {
    type Target = ClientToken;

    fn deref(&self) -> &ClientToken {
        &self.0
    }
}

impl TryFrom<VerifiedToken> for ClientPrincipal {
    type Error = Problem;

    /// # Errors
    /// 403 `client_required`: the token speaks for a user.
    fn try_from(token: VerifiedToken) -> Result<Self, Problem> {
        match token {
            VerifiedToken::Client(token) => Ok(Self(token)),
            VerifiedToken::User(_) => {
                Err(Problem::forbidden("client_required", "this needs a client's own token, not a user's"))
            }
        }
    }
}

impl ClientPrincipal {
    /// # Errors
    /// 403 `insufficient_scope` (RFC 6750, section 3.1) without that word of scope.
    pub fn require_scope(&self, word: &str) -> Result<(), Problem> {
        let sent = Scheme::of(self.bound_to);
        self.scope.contains(word).then_some(()).ok_or_else(|| challenge::scope_needed(word, sent))
    }
}

/// A principal whose session lives now, by the session store, and whose login is recent enough: for payment, a new
/// password, administration.
///
/// As an extractor it answers as [`Principal`] does, 401 with the step-up challenge (RFC 9470) when the login is too
/// old, and 503 when the store does not answer or revocations do not arrive: it fails closed.
#[derive(Debug, Clone)]
pub struct ConfirmedPrincipal {
    pub principal: Principal,
    pub session: Session,
}

/// The user who calls, where guests may too. A token that is present and refused is a 401, never a guest.
#[derive(Debug, Clone)]
pub enum Caller {
    Guest,
    User(Principal),
}

fn single_sign_on(request: &HttpRequest) -> Result<&SingleSignOn, Problem> {
    let found = request.app_data::<web::Data<SingleSignOn>>();
    found
        .map(|data| data.get_ref())
        .ok_or_else(|| Problem::internal("web::Data<SingleSignOn> is not in this App's data"))
}

/// Nearly always there at once: only a key id that is not known takes a task, and the heap, to wait.
type Extraction<T> = Either<Ready<Result<T, Problem>>, LocalBoxFuture<'static, Result<T, Problem>>>;

fn extract<T: 'static>(
    request: &HttpRequest,
    from: fn(&SingleSignOn, Option<VerifiedToken>) -> Result<T, Problem>,
) -> Extraction<T> {
    let single_sign_on = match single_sign_on(request) {
        Ok(found) => found,
        Err(problem) => return Either::Left(ready(Err(problem))),
    };
    match single_sign_on.authenticate_now(request) {
        Poll::Ready(token) => Either::Left(ready(token.and_then(|token| from(single_sign_on, token)))),
        Poll::Pending => {
            let (single_sign_on, request) = (single_sign_on.clone(), request.clone());
            Either::Right(
                async move { from(&single_sign_on, single_sign_on.authenticate(&request).await?) }.boxed_local(),
            )
        }
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        extract(request, |_, token| match token {
            Some(token) => token.try_into().map(Self::User),
            None => Ok(Self::Guest),
        })
    }
}

impl FromRequest for Principal {
    type Error = Problem;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        extract(request, |single_sign_on, token| single_sign_on.present(token)?.try_into())
    }
}

impl FromRequest for ClientPrincipal {
    type Error = Problem;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        extract(request, |single_sign_on, token| single_sign_on.present(token)?.try_into())
    }
}

impl FromRequest for ConfirmedPrincipal {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            let single_sign_on = single_sign_on(&request)?;
            let principal = single_sign_on.principal(&request).await?;
            let session = single_sign_on.confirm(&principal).await?;
            Ok(Self { principal, session })
        }
        .boxed_local()
    }
}
