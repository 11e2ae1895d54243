//! Cookies of several people in one request: a planted cookie would make its victim act in another
//! account. Owns the refusal, and the cookies that it takes back.

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use actix_web::cookie::time::Duration as CookieAge;
use actix_web::http::header::{HOST, SET_COOKIE};
use url::{Host, Url};

use super::cookie_domain::is_ones_own;
use crate::problem::Problem;
use crate::ration::Ration;

/// The code of the refusal, by which pages know it.
pub const SEVERAL_LOGINS: &str = "several_logins";
/// How many `Set-Cookie` headers a refusal may have: a proxy keeps few KiB of an answer's head.
const MOST_STRAYS: usize = 16;
/// How deep the paths are for which cookies are taken back.
const DEEPEST: usize = 3;

/// Whose cookie counts: the first of several of one person's, none where there are several people's.
///
/// # Errors
/// The logins are of more than one user.
pub fn only_user<T>(
    logins: impl IntoIterator<Item = T>,
    user: impl Fn(&T) -> crate::session::UserId,
) -> Result<Option<T>, SeveralUsers> {
    let mut logins = logins.into_iter();
    let Some(first) = logins.next() else { return Ok(None) };
    let whose = user(&first);
    if logins.all(|other| user(&other) == whose) { Ok(Some(first)) } else { Err(SeveralUsers) }
}

/// There are logins of more than one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeveralUsers;

/// 400 `several_logins`: nothing was done in anybody's name. `own` is the cookie as this service sets it; those of its name
/// that others may have set, for another path or domain, are taken back with the answer.
pub fn several_logins(request: &HttpRequest, own: &Cookie<'_>) -> Problem {
    static LINES: Ration = Ration::new();
    LINES.tell(SEVERAL_LOGINS, |left_out| {
        tracing::warn!(cookie = own.name(), left_out, "a request with the logins of several people is refused");
    });
    let detail = "the request has the cookies of several people's logins, of which one may be planted: nothing was done. \
                  Sign out, which ends them all, and sign in again";
    let problem = Problem::bad_request(SEVERAL_LOGINS, detail);
    strays(request, own).iter().fold(problem, |problem, stray| problem.header(SET_COOKIE, stray.to_string()))
}

/// The deletions of every cookie of the name that reaches this request, but for the service's own.
pub(super) fn strays(request: &HttpRequest, own: &Cookie<'_>) -> Vec<Cookie<'static>> {
    // Browsers take such a name only from the host itself, and only for the path /.
    if own.name().starts_with("__Host-") {
        return Vec::new();
    }
    let own_place = (own.domain(), own.path().unwrap_or("/"));
    let (mut domains, paths) = (domains(request), paths(request.path()));
    // The widest first: those are what another host can plant.
    domains.reverse();
    let places = domains.iter().flat_map(|domain| paths.iter().map(move |path| (domain.as_deref(), path.as_str())));
    let strays = places.filter(|place| *place != own_place).map(|(domain, path)| {
        let stray = Cookie::build(own.name().to_owned(), "").path(path.to_owned()).max_age(CookieAge::ZERO);
        let stray = stray.http_only(true).secure(own.secure().unwrap_or_default());
        match domain {
            Some(domain) => stray.domain(domain.to_owned()).finish(),
            None => stray.finish(),
        }
    });
    strays.take(MOST_STRAYS).collect()
}

/// The host's own cookies, and those of the domains that it is in and that have one owner.
fn domains(request: &HttpRequest) -> Vec<Option<String>> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| Url::parse(&format!("http://{host}")).ok());
    let Some(Host::Domain(host)) = host.as_ref().and_then(Url::host) else { return vec![None] };
    let ends = host.char_indices().filter(|(_, c)| *c == '.').map(|(at, _)| &host[at + 1..]);
    let parents = std::iter::once(host).chain(ends).filter(|domain| is_ones_own(domain));
    [None].into_iter().chain(parents.map(|domain| Some(domain.to_owned()))).collect()
}

/// `/`, `/a`, `/a/`, `/a/b`, … for `/a/b`: what a cookie's path may be to come along (RFC 6265, section 5.1.4).
fn paths(path: &str) -> Vec<String> {
    let mut found = vec!["/".to_owned()];
    let mut prefix = String::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()).take(DEEPEST) {
        if !segment.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
            break;
        }
        prefix = format!("{prefix}/{segment}");
        found.push(prefix.clone());
        if path.len() > prefix.len() {
            found.push(format!("{prefix}/"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::session::UserId;

    fn taken_back(host: &str, path: &str, own: Cookie<'_>) -> Vec<(Option<String>, String)> {
        let request = TestRequest::with_uri(path).insert_header((HOST, host.to_owned())).to_http_request();
        let strays = strays(&request, &own);
        assert!(strays.iter().all(|stray| stray.value().is_empty() && stray.max_age() == Some(CookieAge::ZERO)));
        strays.iter().map(|it| (it.domain().map(str::to_owned), it.path().unwrap_or_default().to_owned())).collect()
    }

    #[test]
    fn every_cookie_of_the_name_is_taken_back_but_the_services_own() {
        let own = Cookie::build("SESSIONID", "x").path("/").domain("shop.example").finish();
        let strays = taken_back("cart.shop.example:8080", "/cart/items", own);
        for (domain, path) in [
            (None, "/"),
            (None, "/cart"),
            (None, "/cart/"),
            (None, "/cart/items"),
            (Some("cart.shop.example"), "/"),
            (Some("shop.example"), "/cart/items"),
        ] {
            assert!(strays.contains(&(domain.map(str::to_owned), path.to_owned())), "{domain:?} {path}: {strays:?}");
        }
        assert!(!strays.contains(&(Some("shop.example".to_owned()), "/".to_owned())), "the service's own");
        assert!(!strays.iter().any(|(domain, _)| domain.as_deref() == Some("example")), "a public suffix");
        let own = || Cookie::build("roam_session", "x").path("/").finish();
        assert_eq!(taken_back("localhost:8081", "/", own()), []);
        assert_eq!(taken_back("127.0.0.1:8081", "/account", own()), [(None, "/account".to_owned())]);
        let bound = Cookie::build("__Host-roam_session", "x").path("/").secure(true).finish();
        assert_eq!(taken_back("auth.shop.example", "/account", bound), []);
        let deep = taken_back("a.b.c.shop.example", "/1/2/3/4/5/6", own());
        assert_eq!(deep.len(), MOST_STRAYS);
    }

    #[test]
    fn several_logins_count_as_one_where_they_are_one_persons() {
        let (one, other) = (UserId::random(), UserId::random());
        let of = |logins: &[(UserId, u8)]| only_user(logins.to_vec(), |(user, _)| *user);
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[(one, 1), (one, 2)]), Ok(Some((one, 1))));
        assert_eq!(of(&[(one, 1), (one, 2), (other, 3)]), Err(SeveralUsers));
    }
}
