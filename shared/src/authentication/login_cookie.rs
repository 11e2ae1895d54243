//! Who calls, by the cookie of their login: the way from the cookie to a session, and on it the mark that this was seen. Owns
//! neither the cookie's text nor its settings.

use std::sync::Arc;

use actix_web::HttpRequest;

use super::answer::set_with_answer;
use super::challenge;
use super::sealed_cookie::SealedCookie;
use super::session_cookie::SessionCookie;
use super::several_logins;
use super::single_sign_on::SingleSignOn;
use crate::problem::Problem;
use crate::ration::Ration;
use crate::request::{cookies_named, has_more_cookies};
use crate::session::{Session, mark_as_seen};
use crate::token::{TokenError, UserToken, VerifiedToken};

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
                let settings = cookie.settings().at(request);
                // One that another host has planted, or an earlier setting has left, must not refuse the guest for ever.
                let strays = several_logins::strays(request, &settings.template());
                Err(challenge::session_ended(&[settings.forget(), strays].concat()))
            }
            _ => Ok(found),
        }
    }

    /// Whoever has a cookie of a live session, and marks that as seen. Other cookies are nobody's.
    ///
    /// # Errors
    /// 403 `cross_site` for a change that a page of none of our origins asks for, 400 `several_logins` for cookies of several
    /// users, 503 when the store does not answer.
    pub async fn by_cookie(&self, request: &HttpRequest) -> Result<Option<VerifiedToken>, Problem> {
        let Some(cookie) = &self.0.cookie else { return Ok(None) };
        let live = self.live(cookie, request).await?;
        let several = || several_logins::several_logins(request, &cookie.settings().at(request).template());
        let only = several_logins::only_user(live, |session| session.user).map_err(|_| several())?;
        let Some(mut session) = only else { return Ok(None) };
        let due = session.touch_is_due(self.0.clock.now());
        if due && !self.see(request, &mut session, cookie).await? {
            return Ok(None);
        }
        Ok(Some(VerifiedToken::User(Arc::new(UserToken::of_session(&session, self.0.cookie_scope.clone())))))
    }

    /// All live sessions that the request's cookies lead to, of any user: for a sign-out, and for a sign-in that ends them.
    ///
    /// # Errors
    /// 400 `several_logins` for more cookies than are looked at, 403 `cross_site` for a change that a page of none of our origins
    /// asks for, 503 when the store does not answer.
    pub async fn all_by_cookie(&self, request: &HttpRequest) -> Result<Vec<Session>, Problem> {
        match &self.0.cookie {
            Some(cookie) => self.live(cookie, request).await,
            None => Ok(Vec::new()),
        }
    }

    async fn live(&self, cookie: &LoginCookie, request: &HttpRequest) -> Result<Vec<Session>, Problem> {
        let settings = cookie.settings();
        if settings.is_presented(request) && !settings.may_speak_for(request) {
            static LINES: Ration = Ration::new();
            LINES.tell("a change by a cookie is refused", |left_out| {
                let cookie = &settings.name;
                tracing::info!(cookie, left_out, "a change by a cookie is refused: no page of ours asks for it");
            });
            let detail = "a page of another origin asked for this; a cookie does not speak for it";
            return Err(Problem::forbidden("cross_site", detail));
        }
        // Those beyond could be anybody's, and junk before it could hide the one that counts.
        if has_more_cookies(request.headers(), &settings.name) {
            return Err(several_logins::several_logins(request, &settings.at(request).template()));
        }
        match cookie {
            LoginCookie::Opens(cookie) => self.opened(cookie, request).await,
            LoginCookie::Holds(sealed) => self.held(sealed, request).await,
        }
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
    async fn see(&self, request: &HttpRequest, session: &mut Session, cookie: &LoginCookie) -> Result<bool, Problem> {
        let LoginCookie::Holds(sealed) = cookie else {
            return Ok(mark_as_seen(&*self.0.sessions, session.id).await);
        };
        session.last_seen_at = self.0.clock.now();
        set_with_answer(request, sealed.at(request).of(session)?)?;
        Ok(true)
    }

    /// The live sessions that cookies lead to, each once.
    async fn opened(&self, cookie: &SessionCookie, request: &HttpRequest) -> Result<Vec<Session>, Problem> {
        let mut found: Vec<Session> = Vec::new();
        let presented = cookie.presented(request);
        // Another store knows none of them, and what is refused here is deleted.
        if !presented.is_empty() {
            self.is_set_up_alike().map_err(challenge::cannot_tell)?;
        }
        for (id, secret) in presented {
            if found.iter().any(|session| session.id == id) {
                continue;
            }
            if let Some(session) = self.load(id).await?.filter(|session| session.is_opened_by(&secret))
                && !self.is_told_of(&session)
            {
                found.push(session);
            }
        }
        Ok(found)
    }

    /// The sessions that cookies hold, unless they were ended, by themselves or with their user's epoch.
    async fn held(&self, sealed: &SealedCookie, request: &HttpRequest) -> Result<Vec<Session>, Problem> {
        let now = self.0.clock.now();
        let shown: Vec<_> = cookies_named(request.headers(), &sealed.cookie.name).collect();
        // A wrong clock finds good ones too old, and what is refused here is deleted.
        if !shown.is_empty() && self.clocks_are_in_doubt() {
            return Err(challenge::cannot_tell(TokenError::ClockInDoubt));
        }
        if !shown.is_empty() {
            self.is_set_up_alike().map_err(challenge::cannot_tell)?;
        }
        let found = shown.into_iter().filter_map(|text| sealed.open(text, now));
        let mut living = Vec::new();
        for session in found {
            if self.is_living(&session).await? {
                living.push(session);
            }
        }
        Ok(living)
    }
}
