//! The session cookie: a session's id and a secret, of which the session keeps the hash alone. Owns the cookie's text and its
//! settings.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration as CookieAge;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{HOST, HeaderMap};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::cookie_domain::{DomainPattern, is_ones_own};
use super::page_origin;
use crate::request::cookies_named;
use crate::session::{Session, SessionId, cookie_attribute};

/// No cookie of ours is shorter.
const SHORTEST: usize = 64;

/// `SESSION_COOKIE_NAME` and the `COOKIE_…` settings. The cookie is always out of scripts' sight (`HttpOnly`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCookie {
    pub name: String,
    /// The parent domain whose hosts share it; without one it is the host's own.
    pub domain: Option<String>,
    /// In its place, where the domain depends on the host that a request is for.
    pub domain_pattern: Option<DomainPattern>,
    pub path: String,
    pub secure: bool,
    pub same_site: SameSite,
    /// The origins of the platform's pages, beside the one that a request is sent to: only those may change something by
    /// this cookie. Each as browsers write it: `https://shop.example`.
    pub origins: Vec<String>,
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self {
            name: "SESSIONID".to_owned(),
            domain: None,
            domain_pattern: None,
            path: "/".to_owned(),
            secure: false,
            same_site: SameSite::Lax,
            origins: Vec::new(),
        }
    }
}

impl SessionCookie {
    /// What browsers would not keep, or keep for hosts that are somebody else's.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let is_token = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let is_host_bound = self.domain.is_none() && self.domain_pattern.is_none() && self.path == "/";
        let checks = [
            (is_token(&self.name), "SESSION_COOKIE_NAME: expected letters, digits, -, _ and .".to_owned()),
            (
                !self.name.starts_with("__Host-") || (self.secure && is_host_bound),
                "SESSION_COOKIE_NAME: __Host-… needs COOKIE_SECURE=true, no domain and the path / (RFC 6265bis)".to_owned(),
            ),
            (
                !self.name.starts_with("__Secure-") || self.secure,
                "SESSION_COOKIE_NAME: __Secure-… needs COOKIE_SECURE=true (RFC 6265bis)".to_owned(),
            ),
            (
                self.path.starts_with('/') && self.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'),
                "COOKIE_PATH: expected a path".to_owned(),
            ),
            (
                self.same_site != SameSite::None || self.secure,
                "COOKIE_SAME_SITE: none needs COOKIE_SECURE=true, or browsers drop the cookie".to_owned(),
            ),
            (
                self.domain.as_deref().is_none_or(is_ones_own),
                "COOKIE_DOMAIN: expected a domain of your own; under a public suffix anybody has hosts (publicsuffix.org)".to_owned(),
            ),
            (
                self.domain.is_none() || self.domain_pattern.is_none(),
                "COOKIE_DOMAIN_PATTERN: COOKIE_DOMAIN says already which domain it is".to_owned(),
            ),
        ];
        checks.into_iter().filter(|(is_good, _)| !is_good).map(|(_, mistake)| mistake).collect()
    }

    /// This cookie as the host has it that the request is for.
    #[must_use]
    pub fn at(&self, request: &HttpRequest) -> Self {
        let Some(pattern) = &self.domain_pattern else { return self.clone() };
        let domain = host(request.headers()).and_then(|host| pattern.domain(host.host_str()?));
        Self { domain, domain_pattern: None, ..self.clone() }
    }

    /// What a new session keeps, and the secret's text: 256 random bits in base64url.
    pub fn secret() -> ((String, String), String) {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).expect("the system gives random bytes");
        let text = URL_SAFE_NO_PAD.encode(bytes);
        (cookie_attribute(&text), text)
    }

    /// The cookie that leads to `session` for as long as that may live.
    pub fn of(&self, session: &Session, secret: &str) -> Cookie<'static> {
        self.with_value(session, format!("{}.{secret}", session.id))
    }

    /// As this service sets it, without a value.
    pub(super) fn template(&self) -> Cookie<'static> {
        self.build(self.domain.as_deref(), String::new(), CookieAge::ZERO)
    }

    pub(super) fn with_value(&self, session: &Session, value: String) -> Cookie<'static> {
        let age = session.expires_at.since(session.created_at).as_secs();
        let age = CookieAge::seconds(i64::try_from(age).unwrap_or(i64::MAX));
        self.build(self.domain.as_deref(), value, age)
    }

    /// The cookies that make a browser forget it: the one that was set, and the host's own, which an earlier setting of the
    /// domain may have left.
    pub fn forget(&self) -> Vec<Cookie<'static>> {
        let forget = |domain| self.build(domain, String::new(), CookieAge::ZERO);
        let own = self.domain.is_some().then(|| forget(None));
        [forget(self.domain.as_deref())].into_iter().chain(own).collect()
    }

    fn build(&self, domain: Option<&str>, value: String, age: CookieAge) -> Cookie<'static> {
        let cookie = Cookie::build(self.name.clone(), value)
            .path(self.path.clone())
            .http_only(true)
            .secure(self.secure)
            .same_site(self.same_site)
            .max_age(age);
        match domain {
            Some(domain) => cookie.domain(domain.to_owned()).finish(),
            None => cookie.finish(),
        }
    }

    /// The sessions that the request's cookies of this name may lead to, with their secrets: at most eight.
    pub(super) fn presented(&self, request: &HttpRequest) -> Vec<(SessionId, String)> {
        let texts = cookies_named(request.headers(), &self.name);
        let read = |text: &str| {
            let (id, secret) = text.split_once('.')?;
            Some((id.parse().ok()?, secret.to_owned()))
        };
        texts.filter_map(read).collect()
    }

    /// Whether the request has a cookie of this name that is more than a guess.
    pub(super) fn is_presented(&self, request: &HttpRequest) -> bool {
        cookies_named(request.headers(), &self.name).any(|text| text.len() >= SHORTEST)
    }

    /// Whether this cookie may speak for the request. `SameSite` says much the same to browsers, but counts every host of a
    /// site, and every port of localhost, as the same.
    pub(super) fn may_speak_for(&self, request: &HttpRequest) -> bool {
        page_origin::may_change(request, &self.origins, self.secure)
    }
}

/// The host that a request is for, as an address.
fn host(headers: &HeaderMap) -> Option<Url> {
    Url::parse(&format!("http://{}", headers.get(HOST)?.to_str().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::session::UserId;

    fn pattern() -> DomainPattern {
        DomainPattern::new(r".+?\.(\w+\.[a-z]+)").expect("an expression")
    }

    #[test]
    fn the_domain_follows_the_host_that_a_request_is_for() {
        let cookie = SessionCookie { domain_pattern: Some(pattern()), ..SessionCookie::default() };
        let at = |host: &str| cookie.at(&TestRequest::get().insert_header(("host", host.to_owned())).to_http_request());
        assert_eq!(at("cart.shop.test:8080"), shared_by("shop.test"));
        assert_eq!(at("cart.shop.example"), shared_by("shop.example"));
        for own in ["localhost:8080", "127.0.0.1:8080", "cart.github.io", "[::1]:80", "a b", "shop.test@evil.example"] {
            assert_eq!(at(own), SessionCookie::default(), "{own}");
        }
    }

    fn shared_by(domain: &str) -> SessionCookie {
        SessionCookie { domain: Some(domain.to_owned()), ..SessionCookie::default() }
    }

    #[test]
    fn every_cookie_of_the_name_is_tried_and_no_other() {
        let id = SessionId::random_for(UserId::random());
        let text = format!("SESSIONID=planted; other=x; SESSIONID={id}.one; XSESSIONID={id}.two; SESSIONID={id}.three");
        let request = TestRequest::default().insert_header(("cookie", text)).to_http_request();
        let presented = SessionCookie::default().presented(&request);
        assert_eq!(presented, [(id, "one".to_owned()), (id, "three".to_owned())]);
    }

    #[test]
    fn what_browsers_would_not_keep_or_share_with_strangers_is_refused() {
        let good = SessionCookie::default;
        let named = |name: &str| SessionCookie { name: name.to_owned(), ..good() };
        for fine in [
            good(),
            shared_by("example.com"),
            shared_by("shop.localhost"),
            SessionCookie { secure: true, ..named("__Host-sid") },
        ] {
            assert_eq!(fine.mistakes(), [""; 0]);
        }
        for (cookie, setting) in [
            (named("a b"), "SESSION_COOKIE_NAME"),
            (named("__Host-sid"), "SESSION_COOKIE_NAME"),
            (named("__Secure-sid"), "SESSION_COOKIE_NAME"),
            (SessionCookie { path: "shop".to_owned(), ..good() }, "COOKIE_PATH"),
            (SessionCookie { same_site: SameSite::None, ..good() }, "COOKIE_SAME_SITE"),
            (shared_by("com"), "COOKIE_DOMAIN"),
            (shared_by("co.uk"), "COOKIE_DOMAIN"),
            (shared_by("github.io"), "COOKIE_DOMAIN"),
            (shared_by("exa mple.com"), "COOKIE_DOMAIN"),
            (shared_by("127.0.0.1"), "COOKIE_DOMAIN"),
            (SessionCookie { domain_pattern: Some(pattern()), ..shared_by("shop.test") }, "COOKIE_DOMAIN_PATTERN"),
            (
                SessionCookie { domain_pattern: Some(pattern()), secure: true, ..named("__Host-sid") },
                "SESSION_COOKIE_NAME",
            ),
        ] {
            let mistakes = cookie.mistakes();
            assert!(mistakes.len() == 1 && mistakes[0].starts_with(setting), "{cookie:?}: {mistakes:?}");
        }
    }

    #[test]
    fn deletion_takes_back_each_variant() {
        let forgotten: Vec<String> = shared_by("shop.test").forget().iter().map(ToString::to_string).collect();
        assert_eq!(forgotten.len(), 2, "{forgotten:?}");
        assert!(forgotten.iter().all(|text| text.starts_with("SESSIONID=;") && text.contains("Max-Age=0")));
        assert!(forgotten[0].contains("Domain=shop.test") && !forgotten[1].contains("Domain"), "{forgotten:?}");
    }
}
