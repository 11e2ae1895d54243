//! The session of a person's browser at this service: a cookie with the session's id and a secret, of which the session
//! keeps the hash. Owns the cookie and who it stands for; the login itself is `sign_in`'s.

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use actix_web::cookie::time::Duration;
use shared::authentication::several_logins::{only_user, several_logins};
use shared::problem::Problem;
use shared::request::{cookies_named, has_more_cookies};
use shared::session::{EndReason, Session, SessionId, Written, authenticated_again, cookie_attribute, mark_as_seen};

use crate::AuthService;
use crate::codes::random_text;
use crate::end_session;
use crate::self_contained;
use crate::sign_in::{self, Attempt};
use crate::storage::audit::{Act, By, Entry};
use crate::storage::users::User;

/// Who is signed in in a browser.
#[derive(Debug, Clone)]
pub struct BrowserSession {
    pub session: Session,
    pub user: User,
}

fn cookie_name(service: &AuthService) -> &'static str {
    if service.cookie_secure { "__Host-roam_session" } else { "roam_session" }
}

/// A cookie of this service's: for this host alone, out of scripts' sight, and sent from other sites' frames where
/// `PROVIDER_COOKIE_SAME_SITE` says so. Every form has a token besides, whose cookie is never sent from there. Without a `value`, the browser forgets it.
fn cookie(service: &AuthService, value: Option<String>) -> Cookie<'static> {
    let age = match &value {
        Some(_) => i64::try_from(service.rules.absolute_ttl.as_secs()).unwrap_or(i64::MAX),
        None => 0,
    };
    Cookie::build(cookie_name(service), value.unwrap_or_default())
        .path("/")
        .http_only(true)
        .same_site(service.browser_same_site)
        .secure(service.cookie_secure)
        .max_age(Duration::seconds(age))
        .finish()
}

/// The cookie by which this secret opens the session.
pub(crate) fn opening(service: &AuthService, session: SessionId, secret: &str) -> Cookie<'static> {
    cookie(service, Some(format!("{session}.{secret}")))
}

/// Whether the request brought a cookie that opened the session as it was then.
pub(crate) fn has_opened(service: &AuthService, request: &HttpRequest, session: &Session) -> bool {
    let id = session.id.to_string();
    cookies_named(request.headers(), cookie_name(service))
        .filter_map(|text| text.split_once('.'))
        .any(|(of, secret)| of == id && session.is_opened_by(secret))
}

/// The cookie that makes the browser forget its session.
pub fn forget(service: &AuthService) -> Cookie<'static> {
    cookie(service, None)
}

/// Whoever is signed in in the browser that sent the request, and marks the session as seen. A session that has ended, an
/// account that is locked or has changed, and a cookie of another login are all nobody.
///
/// # Errors
/// 400 `several_logins` where cookies lead to sessions of several users; 503 when the session store or the database does not
/// answer.
pub async fn find(service: &AuthService, request: &HttpRequest) -> Result<Option<BrowserSession>, Problem> {
    let found = find_all(service, request).await?;
    only_user(found, |found| found.user.id).map_err(|_| several_logins(request, &forget(service)))
}

/// All who are signed in in the browser that sent the request, by cookies of which some may be planted: for the sign-out, which
/// ends them all.
///
/// # Errors
/// 400 `several_logins` for more cookies than are looked at; 503 when the session store or the database does not answer.
pub async fn find_all(service: &AuthService, request: &HttpRequest) -> Result<Vec<BrowserSession>, Problem> {
    self_contained::needs_kept_sessions(service)?;
    // Those beyond could be anybody's, and junk before it could hide the one that counts.
    if has_more_cookies(request.headers(), cookie_name(service)) {
        return Err(several_logins(request, &forget(service)));
    }
    let mut all: Vec<BrowserSession> = Vec::new();
    for text in cookies_named(request.headers(), cookie_name(service)) {
        let Some((id, secret)) = text.split_once('.') else { continue };
        let Ok(id) = id.parse::<SessionId>() else { continue };
        let Some(session) = service.sessions.load(id).await? else { continue };
        if !session.is_opened_by(secret) {
            continue;
        }
        let user = service.users.by_id(session.user).await?;
        let Some(user) = user.filter(|user| end_session::is_current(user, &session)) else { continue };
        let is_known = all.iter().any(|known| known.session.id == id);
        if !is_known && mark_as_seen(&*service.sessions, id).await {
            all.push(BrowserSession { session, user });
        }
    }
    Ok(all)
}

/// Signs in in a browser. The one who is signed in already proves again who they are: the same session goes on under a new
/// cookie. Somebody else's session in this browser ends, and a new one begins.
///
/// # Errors
/// As [`sign_in::sign_in`].
pub async fn sign_in(
    service: &AuthService,
    attempt: &Attempt,
    current: Option<BrowserSession>,
) -> Result<(User, Cookie<'static>), Problem> {
    self_contained::needs_kept_sessions(service)?;
    let secret = random_text();
    let opened = cookie_attribute(&secret);
    let by = attempt.by();
    let proven = sign_in::prove(service, attempt).await?;
    let session = match current {
        Some(current) if current.user.id == proven.id => again(service, current.session, opened, &by).await?,
        Some(current) => {
            end_session::end(service, current.session.id, EndReason::Logout, &by).await?;
            sign_in::begin(service, &proven, attempt, [opened]).await?
        }
        None => sign_in::begin(service, &proven, attempt, [opened]).await?,
    };
    Ok((proven, opening(service, session.id, &secret)))
}

async fn again(service: &AuthService, session: Session, opened: (String, String), by: &By) -> Result<Session, Problem> {
    let now = service.clock.now().max(session.created_at);
    let changes = [opened, authenticated_again(now)].map(|(name, value)| (name, Some(value)));
    if service.sessions.write(session.id, &changes, None).await? == Written::Gone {
        return Err(sign_in::ended_meanwhile());
    }
    let entry = Entry::done(Act::LogIn, by).subject(session.user).session(session.id).detail("again");
    service.record(&entry).await?;
    Ok(session)
}
