//! The login of a client that shows a cookie with each request: one that leads to a session, or one that holds it. How it
//! begins, and how the cookie is forgotten; the cookies themselves are `shared`'s, for every service reads them.

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use shared::authentication::strategy::Credential;
use shared::authentication::{SealedCookie, SessionCookie};
use shared::problem::Problem;
use shared::session::{EndReason, Session};

use crate::AuthService;
use crate::browser_session;
use crate::end_session;
use crate::epoch;
use crate::sign_in::{self, Attempt};
use crate::storage::users::User;

/// A session that has begun, and the client's cookie.
pub struct SignedIn {
    pub user: User,
    pub session: Session,
    pub cookie: Cookie<'static>,
}

/// Signs in under a new id and a new cookie; the sessions that the client's cookies led to `before` end (session fixation).
///
/// # Errors
/// As [`sign_in::sign_in`]; 409 `session_too_large` for a session that no cookie holds.
pub async fn sign_in(
    service: &AuthService,
    attempt: &Attempt,
    before: &[Session],
    request: &HttpRequest,
) -> Result<SignedIn, Problem> {
    let by = attempt.by();
    let cookie = service.session_cookie.at(request);
    let signed_in = match &service.cookie_keys {
        Some(keys) => begin_sealed(service, attempt, &SealedCookie { cookie, keys: keys.clone() }).await?,
        None => begin_kept(service, attempt, &cookie).await?,
    };
    for before in before {
        end_session::end_of(service, before.id, Some(before.user), EndReason::Logout, &by).await?;
    }
    Ok(signed_in)
}

async fn begin_kept(service: &AuthService, attempt: &Attempt, cookie: &SessionCookie) -> Result<SignedIn, Problem> {
    let (opened, secret) = SessionCookie::secret();
    let (user, session) = sign_in::sign_in(service, attempt, [opened]).await?;
    let cookie = cookie.of(&session, &secret);
    Ok(SignedIn { user, session, cookie })
}

async fn begin_sealed(service: &AuthService, attempt: &Attempt, sealed: &SealedCookie) -> Result<SignedIn, Problem> {
    let user = sign_in::prove(service, attempt).await?;
    let session = sign_in::begin(service, &user, attempt, epoch::attribute(service, &user)).await?;
    let cookie = sealed.of(&session)?;
    Ok(SignedIn { user, session, cookie })
}

/// The cookie by which a new secret opens the session that the request came with: of the kind that it has.
pub(crate) fn reopening(
    service: &AuthService,
    session: &Session,
    secret: &str,
    request: &HttpRequest,
) -> Cookie<'static> {
    let is_of_this_strategy = service.strategy.credential() == Credential::SessionCookie;
    if is_of_this_strategy && !browser_session::has_opened(service, request, session) {
        service.session_cookie.at(request).of(session, secret)
    } else {
        browser_session::opening(service, session.id, secret)
    }
}

/// A new cookie that holds a session which has changed; none where no cookie holds one.
///
/// # Errors
/// 409 `session_too_large`.
pub(crate) fn renewed(
    service: &AuthService,
    session: &Session,
    request: &HttpRequest,
) -> Result<Option<Cookie<'static>>, Problem> {
    let Some(keys) = &service.cookie_keys else { return Ok(None) };
    let sealed = SealedCookie { cookie: service.session_cookie.at(request), keys: keys.clone() };
    sealed.of(session).map(Some)
}

/// The cookies that make a client forget its session; none where the strategy has no cookie.
pub fn forget(service: &AuthService, request: &HttpRequest) -> Vec<Cookie<'static>> {
    match service.strategy.credential() {
        Credential::SessionCookie | Credential::SealedCookie => service.session_cookie.at(request).forget(),
        Credential::BearerToken => Vec::new(),
    }
}
