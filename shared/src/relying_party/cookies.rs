//! The cookies of the relying party: their names, and how they are set. Owns no content.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::HeaderMap;

use super::{CookieKeys, RelyingPartyConfig};
use crate::problem::Problem;
use crate::request::{cookies, cookies_named};

/// Name and value together: browsers drop what is larger (RFC 6265, section 6.1).
const MAX_COOKIE: usize = 4096;
/// How many cookies of one name are looked at: a parent domain may have added some.
const TRIED: usize = 4;
/// How long a browser may stay away and find itself signed in: as long as a refresh token may lie unused by default. The
/// provider has the last word.
const SESSION_AGE: Duration = Duration::days(7);
/// How long a sign-in may take.
pub(super) const LOGIN_AGE: std::time::Duration = std::time::Duration::from_secs(600);
/// How much the cookies of all sign-ins that are under way take of a request's head, in bytes: those of ten tabs, and the session's
/// beside them, fit into the 8 KiB that gateways take for a header.
const MAX_LOGINS: usize = 3 * 1024;

/// How the cookies are named and set.
pub(super) struct Cookies {
    /// Every service on one host sees the cookies of all: a port does not tell them apart.
    session: String,
    login: String,
    secure: bool,
    keys: CookieKeys,
}

impl Cookies {
    pub(super) fn new(config: &RelyingPartyConfig) -> Self {
        let prefix = if config.cookie_secure { "__Host-" } else { "" };
        let client = &config.client_id;
        Self {
            session: format!("{prefix}{client}_session"),
            login: format!("{prefix}{client}_login_"),
            secure: config.cookie_secure,
            keys: config.cookie_keys.clone(),
        }
    }

    /// What the session cookie holds. `present` tells whether there was one at all.
    pub(super) fn session(&self, headers: &HeaderMap) -> Presented {
        let values: Vec<_> = cookies_named(headers, &self.session).take(TRIED + 1).collect();
        let tried = values.iter().take(TRIED);
        let mut contents: Vec<_> = tried.filter_map(|value| self.keys.open(&self.session, value)).collect();
        contents.dedup();
        Presented { present: !values.is_empty(), has_more: values.len() > TRIED, contents }
    }

    /// # Errors
    /// 500 where it does not fit into a cookie: a browser would drop it, and the user would never be signed in.
    pub(super) fn keep_session(&self, content: &[u8]) -> Result<Cookie<'static>, Problem> {
        let sealed = self.keys.seal(&self.session, content);
        let size = self.session.len() + sealed.len();
        if size > MAX_COOKIE {
            let cause = format!("the tokens take {size} bytes in a cookie, and browsers keep {MAX_COOKIE}");
            return Err(Problem::internal(cause));
        }
        Ok(self.cookie(self.session.clone(), sealed, SESSION_AGE))
    }

    pub(super) fn forget_session(&self) -> Cookie<'static> {
        self.cookie(self.session.clone(), String::new(), Duration::ZERO)
    }

    /// What is kept of the sign-in under way with that id.
    pub(super) fn login(&self, headers: &HeaderMap, id: &str) -> Option<Vec<u8>> {
        let name = format!("{}{id}", self.login);
        cookies_named(headers, &name).take(TRIED).find_map(|value| self.keys.open(&name, value))
    }

    /// A cookie of its own for each sign-in: tabs do not disturb each other.
    pub(super) fn keep_login(&self, id: &str, content: &[u8]) -> Cookie<'static> {
        let name = format!("{}{id}", self.login);
        let sealed = self.keys.seal(&name, content);
        self.cookie(name, sealed, Duration::try_from(LOGIN_AGE).unwrap_or(Duration::MINUTE))
    }

    pub(super) fn forget_login(&self, id: &str) -> Cookie<'static> {
        self.cookie(format!("{}{id}", self.login), String::new(), Duration::ZERO)
    }

    /// Forgets sign-ins that were begun and not finished, where they leave no room for `begun`. Browsers send older cookies first.
    pub(super) fn forget_old_logins(&self, headers: &HeaderMap, begun: &Cookie<'_>) -> Vec<Cookie<'static>> {
        let kept: Vec<_> = cookies(headers).filter(|(name, _)| name.starts_with(&self.login)).collect();
        let size = |name: &str, value: &str| name.len() + value.len() + "=; ".len();
        let all = kept.iter().map(|(name, value)| size(name, value)).sum::<usize>() + size(begun.name(), begun.value());
        let mut surplus = all.saturating_sub(MAX_LOGINS);
        let is_surplus = |&&(name, value): &&(&str, &str)| {
            let forgets = surplus > 0;
            surplus = surplus.saturating_sub(size(name, value));
            forgets
        };
        let forgotten = kept.iter().take_while(is_surplus);
        forgotten.map(|(name, _)| self.cookie((*name).to_owned(), String::new(), Duration::ZERO)).collect()
    }

    /// Something that travels in an address and must come back as it was.
    pub(super) fn seal_text(&self, purpose: &str, text: &str) -> String {
        self.keys.seal(purpose, text.as_bytes())
    }

    pub(super) fn open_text(&self, purpose: &str, sealed: &str) -> Option<String> {
        String::from_utf8(self.keys.open(purpose, sealed)?).ok()
    }

    fn cookie(&self, name: String, value: String, max_age: Duration) -> Cookie<'static> {
        // Lax: the provider's redirect back is a request from another site, and needs the cookie of the sign-in.
        Cookie::build(name, value)
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure)
            .max_age(max_age)
            .finish()
    }
}

/// What a request brought under the session cookie's name.
pub(super) struct Presented {
    pub(super) present: bool,
    /// There are more cookies of the name than are looked at.
    pub(super) has_more: bool,
    /// What the cookies hold that are ours, in the order of the request.
    pub(super) contents: Vec<Vec<u8>>,
}
