//! From which page a request comes, by what browsers say and pages cannot change (OWASP: cross-site request forgery). Rules
//! only.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER};
use url::Url;

/// A header that no form can send, and no page of another origin without leave.
const ASKED_BY_SCRIPT: &str = "x-requested-with";
/// The kinds of body that a form can send to another site (Fetch: CORS-safelisted `Content-Type`).
const OF_FORMS: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// Whether a cookie may speak for this request: one that changes something must come from a page of an origin in `ours`, or
/// of the very origin that it is sent to. A host that merely shares the cookie, or the site, is not asked for: any port of
/// localhost and any host of the domain does.
///
/// `Sec-Fetch-Site` says it exactly where a browser sends it; `Origin` goes with every request that a page of another
/// origin makes a browser of today send. Without both, the client is a program, or a browser so old that it is asked for
/// what its forms cannot send: no body, another kind of body, or `X-Requested-With`.
pub(super) fn may_change(request: &HttpRequest, ours: &[String], must_be_https: bool) -> bool {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return true;
    }
    let headers = request.headers();
    let is_ours = |value: &HeaderValue| {
        let url = value.to_str().ok().and_then(|text| Url::parse(text).ok());
        url.is_some_and(|url| is_of(&url, headers, ours, must_be_https))
    };
    let site = match single(headers, &HeaderName::from_static("sec-fetch-site")) {
        Single::None => None,
        Single::One(value) => Some(value.as_bytes()),
        Single::Several => return false,
    };
    match (site, single(headers, &ORIGIN)) {
        (None | Some(b"same-origin" | b"same-site" | b"none"), Single::One(origin)) => is_ours(origin),
        (Some(b"same-origin" | b"none"), Single::None) => true,
        (None, Single::None) => {
            let from_ours = headers.get(REFERER).is_none_or(is_ours);
            from_ours && (!could_be_a_form(headers) || headers.contains_key(ASKED_BY_SCRIPT))
        }
        _ => false,
    }
}

enum Single<'a> {
    None,
    One(&'a HeaderValue),
    Several,
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Single<'a> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Single::None,
        (Some(value), None) => Single::One(value),
        (Some(_), Some(_)) => Single::Several,
    }
}

/// Whether a page's address is of one of `ours`, or of the host that the request was sent to: browsers name both by
/// themselves. Where browsers come by https, a page that came in clear may be anybody's on the way.
fn is_of(page: &Url, headers: &HeaderMap, ours: &[String], must_be_https: bool) -> bool {
    if !(page.scheme() == "https" || (page.scheme() == "http" && !must_be_https)) {
        return false;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let sent_to = host.and_then(|host| Url::parse(&format!("{}://{host}", page.scheme())).ok());
    sent_to.is_some_and(|own| own.origin() == page.origin()) || ours.contains(&page.origin().ascii_serialization())
}

fn could_be_a_form(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).any(|value| {
        let essence = value.to_str().ok().map(|text| text.split(';').next().unwrap_or_default().trim().to_lowercase());
        essence.is_none_or(|essence| OF_FORMS.contains(&essence.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const OWN: &str = "http://cart.shop.test:8080";
    const SIBLING: &str = "http://orders.shop.test:8080";

    fn may(pairs: &[(&'static str, &'static str)]) -> bool {
        let request = TestRequest::post().insert_header(("host", "cart.shop.test:8080"));
        let request = pairs.iter().fold(request, |request, pair| request.append_header(*pair));
        may_change(&request.to_http_request(), &[SIBLING.to_owned()], false)
    }

    #[test]
    fn only_a_page_of_an_origin_of_ours_may_change_something() {
        for origin in [OWN, SIBLING] {
            assert!(may(&[("origin", origin)]), "{origin}");
            for site in ["same-origin", "same-site", "none"] {
                assert!(may(&[("origin", origin), ("sec-fetch-site", site)]), "{origin} {site}");
            }
            for site in ["cross-site", "", "SAME-ORIGIN", "whatever"] {
                assert!(!may(&[("origin", origin), ("sec-fetch-site", site)]), "{origin} {site}");
            }
        }
        for stranger in [
            "null",
            "",
            "http://evil.test",
            "http://blog.shop.test:8080",
            "http://shop.test:8080",
            "http://cart.shop.test:8081",
            "http://cart.shop.test",
            "http://evilcart.shop.test:8080",
            "http://cart.shop.test:8080.evil.test",
            "http://cart.shop.test:8080@evil.test",
            "ftp://cart.shop.test:8080",
        ] {
            for site in ["same-origin", "same-site", "none", "cross-site"] {
                assert!(!may(&[("origin", stranger), ("sec-fetch-site", site)]), "{stranger} {site}");
            }
            assert!(!may(&[("origin", stranger)]), "{stranger}");
        }
        assert!(!may(&[("origin", OWN), ("origin", OWN)]), "which of the two?");
        assert!(!may(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")]));
    }

    #[test]
    fn without_an_origin_only_the_same_origin_or_the_person_may() {
        for site in ["same-origin", "none"] {
            assert!(may(&[("sec-fetch-site", site)]), "{site}");
        }
        for site in ["same-site", "cross-site", "", "whatever"] {
            assert!(!may(&[("sec-fetch-site", site)]), "{site}");
        }
    }

    #[test]
    fn a_program_may_and_the_form_of_an_old_browser_may_not() {
        assert!(may(&[]));
        assert!(may(&[("content-type", "application/json")]));
        assert!(may(&[("referer", "http://cart.shop.test:8080/a/page"), ("content-type", "application/json")]));
        assert!(!may(&[("referer", "http://evil.test/a/page")]));
        for of_form in
            ["application/x-www-form-urlencoded", "text/plain; charset=UTF-8", "Multipart/Form-Data; boundary=x"]
        {
            assert!(!may(&[("content-type", of_form)]), "{of_form}");
            assert!(!may(&[("content-type", "application/json"), ("content-type", of_form)]), "{of_form}");
            assert!(may(&[("content-type", of_form), ("x-requested-with", "a script of ours")]), "{of_form}");
        }
    }

    #[test]
    fn where_browsers_come_by_https_no_page_in_clear_may() {
        let from = |origin: &'static str| {
            let request = TestRequest::post().insert_header(("host", "cart.shop.test")).insert_header((ORIGIN, origin));
            may_change(&request.to_http_request(), &["https://orders.shop.test".to_owned()], true)
        };
        assert!(from("https://cart.shop.test") && from("https://orders.shop.test"));
        assert!(!from("http://cart.shop.test") && !from("http://orders.shop.test"));
    }

    #[test]
    fn what_changes_nothing_may_come_from_anywhere() {
        for request in [TestRequest::get(), TestRequest::default().method(Method::HEAD)] {
            let request = request.insert_header(("sec-fetch-site", "cross-site")).to_http_request();
            assert!(may_change(&request, &[], false));
        }
    }
}
