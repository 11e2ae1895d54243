//! Who calls, by the cookie of their login: the way from the cookie to a session, and on it the mark that this was seen. Owns
//! neither the cookie's text nor its settings.

use std::sync::Arc;

use actix_web::HttpRequest;

use super::answer::set_with_answer;
use super::challenge;
use super::sealed_cookie::SealedCookie;
use super::session_cookie::SessionCookie;
use super::single_sign_on::SingleSignOn;
use crate::problem::Problem;
use crate::request::cookies_named;
use crate::session::{Session, Touched};
use crate::token::{UserToken, VerifiedToken};

/// The cookie that a login gives.
pub(super) enum LoginCookie {
    /// It leads to a session in the store.
    Opens(SessionCookie),
    Holds(SealedCookie),
}

impl LoginCookie {
    pub(super) fn settings(&self) -> &SessionCookie {
        match self {
            Self::Opens(cookie) => cookie,
            Self::Holds(sealed) => &sealed.cookie,
        }
    }
}

impl SingleSignOn {
    /// As [`SingleSignOn::by_cookie`]; one whose session has ended is refused, as an ended token is, and forgotten.
    pub(super) async fn by_live_cookie(&self, request: &HttpRequest) -> Result<Option<VerifiedToken>, Problem> {
        let found = self.by_cookie(request).await?;
        match &self.0.cookie {
            Some(cookie) if found.is_none() && cookie.settings().is_presented(request) => {
                Err(challenge::session_ended(&cookie.settings().at(request).forget()))
            }
            _ => Ok(found),
        }
    }

    /// Whoever has a cookie of a live session, and marks that as seen. Other cookies are nobody's.
    ///
    /// # Errors
    /// 403 `cross_site` for a change that another site's page asks for, 503 when the store does not answer.
    pub async fn by_cookie(&self, request: &HttpRequest) -> Result<Option<VerifiedToken>, Problem> {
        let (session, sealed) = match &self.0.cookie {
            None => return Ok(None),
            Some(LoginCookie::Opens(cookie)) => (self.opened(cookie, request).await?, None),
            Some(LoginCookie::Holds(sealed)) => (self.held(sealed, request).await?, Some(sealed)),
        };
        let Some(mut session) = session else { return Ok(None) };
        if !self.0.cookie.as_ref().is_some_and(|cookie| cookie.settings().at(request).may_speak_for(request)) {
            let detail = "another site's page asked for this; a cookie does not speak for it";
            return Err(Problem::forbidden("cross_site", detail));
        }
        let due = session.touch_is_due(self.0.clock.now());
        if due && !self.see(request, &mut session, sealed).await? {
            return Ok(None);
        }
        Ok(Some(VerifiedToken::User(Arc::new(UserToken::of_session(&session, self.0.cookie_scope.clone())))))
    }

    /// The request's cookies of the login, as another service takes them that is called in the same name; none where the
    /// strategy has no cookie.
    pub fn login_cookies(&self, request: &HttpRequest) -> Option<String> {
        let name = &self.0.cookie.as_ref()?.settings().name;
        let pairs: Vec<String> =
            cookies_named(request.headers(), name).map(|value| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Marks a session as seen, in the store or in a new cookie. Answers whether it is still there.
    async fn see(
        &self,
        request: &HttpRequest,
        session: &mut Session,
        sealed: Option<&SealedCookie>,
    ) -> Result<bool, Problem> {
        let Some(sealed) = sealed else { return Ok(self.0.sessions.touch(session.id).await? != Touched::Gone) };
        session.last_seen_at = self.0.clock.now();
        set_with_answer(request, sealed.at(request).of(session)?)?;
        Ok(true)
    }

    /// The live session that a cookie leads to.
    async fn opened(&self, cookie: &SessionCookie, request: &HttpRequest) -> Result<Option<Session>, Problem> {
        for (id, secret) in cookie.presented(request) {
            if let Some(session) = self.load(id).await?.filter(|session| session.is_opened_by(&secret))
                && !self.is_told_of(&session)
            {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// The session that a cookie holds, unless it was ended, by itself or with its user's epoch.
    async fn held(&self, sealed: &SealedCookie, request: &HttpRequest) -> Result<Option<Session>, Problem> {
        let now = self.0.clock.now();
        let found = cookies_named(request.headers(), &sealed.cookie.name).filter_map(|text| sealed.open(text, now));
        for session in found {
            if self.is_living(&session).await? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }
}
