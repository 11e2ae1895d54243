//! Whether a request comes from a page of this service itself, and from which, by what browsers say and pages cannot
//! change. Rules only.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN, REFERER};
use url::{Host, Position, Url};

use crate::return_to::ReturnTo;

/// What a browser says of where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// From a page of the same origin.
    FromOwnPage,
    /// From another site, or nobody says from where it really is.
    FromElsewhere,
    /// The browser says nothing, as with an address that was typed, or an old browser's own requests.
    Unsaid,
}

pub(super) fn came(headers: &HeaderMap, public_url: &Url) -> Came {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("null").to_owned());
    // Fetch metadata is told to trustworthy addresses only; there it is exact.
    if let Some(site) = text("sec-fetch-site") {
        return match site.as_str() {
            "same-origin" => Came::FromOwnPage,
            "none" => Came::Unsaid,
            _ => Came::FromElsewhere,
        };
    }
    match text(ORIGIN.as_str()) {
        Some(origin) if origin == public_url.origin().ascii_serialization() => Came::FromOwnPage,
        Some(_) => Came::FromElsewhere,
        None => Came::Unsaid,
    }
}

/// Whether a page of this service asks for a change: one of its public address, or of the host that the request was sent to,
/// which a browser names by itself. A client that says nothing is no browser of today, and brings an access token.
pub(super) fn asks_for_a_change(headers: &HeaderMap, public_url: &Url) -> bool {
    match came(headers, public_url) {
        Came::FromOwnPage => true,
        Came::Unsaid => false,
        Came::FromElsewhere => !headers.contains_key("sec-fetch-site") && is_of_the_asked_host(headers, public_url),
    }
}

fn is_of_the_asked_host(headers: &HeaderMap, public_url: &Url) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(ORIGIN).and_then(|origin| Url::parse(origin).ok()) else { return false };
    let asked = text(HOST).and_then(|host| Url::parse(&format!("{}://{host}", origin.scheme())).ok());
    let is_as_safe = origin.scheme() == public_url.scheme() || origin.scheme() == "https";
    is_as_safe && asked.is_some_and(|asked| asked.origin() == origin.origin())
}

/// The page of this service that a request comes from, where the browser names it.
pub(super) fn referring_page(headers: &HeaderMap, public_url: &Url) -> Option<ReturnTo> {
    let referer = Url::parse(headers.get(REFERER)?.to_str().ok()?).ok()?;
    let own = referer.origin() == public_url.origin();
    own.then(|| referer[Position::BeforePath..Position::AfterQuery].parse().ok()).flatten()
}

/// The address by which a browser has come, where the service is known as `localhost` and the browser has named an address
/// of this machine instead: its cookies would not come along to the name.
pub(super) fn unnamed(headers: &HeaderMap, public_url: &Url) -> Option<Url> {
    let asked = Url::parse(&format!("http://{}/", headers.get(HOST)?.to_str().ok()?)).ok()?;
    let is_this_machine = match asked.host()? {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(_) => false,
    };
    // By its port, it is not a gateway's request, which would come back for ever.
    let is_same = public_url.host_str() == Some("localhost")
        && asked.port_or_known_default() == public_url.port_or_known_default();
    (is_this_machine && is_same).then_some(asked)
}

/// Where to come back to after a sign-in that `request` needs: to the same page; after a form that was sent, to the page
/// that held it.
pub(super) fn place_of(request: &HttpRequest, public_url: &Url) -> ReturnTo {
    let place = if matches!(*request.method(), Method::GET | Method::HEAD) {
        request.uri().path_and_query().and_then(|path| path.as_str().parse().ok())
    } else {
        referring_page(request.headers(), public_url)
    };
    place.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_form_comes_back_to_the_page_that_held_it() {
        let own = Url::parse("http://cart.test/").expect("a URL");
        let of = |referer: &str| {
            let request = TestRequest::post().uri("/basket/items").insert_header((REFERER, referer)).to_http_request();
            place_of(&request, &own).as_str().to_owned()
        };
        assert_eq!(of("http://cart.test/p/7?from=list#top"), "/p/7?from=list");
        assert_eq!(of("http://evil.test/p/7"), "/");
        assert_eq!(of("nonsense"), "/");
        let shown = TestRequest::get().uri("/o/7?x=1").insert_header((REFERER, "http://cart.test/")).to_http_request();
        assert_eq!(place_of(&shown, &own).as_str(), "/o/7?x=1");
    }

    #[test]
    fn an_address_of_this_machine_is_told_from_its_name() {
        let unnamed = |host: &'static str, own: &str| {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            unnamed(&headers, &Url::parse(own).expect("a URL")).map(|url| url.origin().ascii_serialization())
        };
        let own = "http://localhost:8082/";
        assert_eq!(unnamed("127.0.0.1:8082", own).as_deref(), Some("http://127.0.0.1:8082"));
        assert_eq!(unnamed("[::1]:8082", own).as_deref(), Some("http://[::1]:8082"));
        for host in ["localhost:8082", "127.0.0.1:8081", "127.0.0.1", "10.0.0.1:8082", "evil.test:8082", "", "a b"] {
            assert_eq!(unnamed(host, own), None, "{host}");
        }
        assert_eq!(unnamed("127.0.0.1:8082", "http://127.0.0.1:8082/"), None);
        assert_eq!(unnamed("127.0.0.1:8082", "http://cart.shop.localhost:8082/"), None);
    }

    #[test]
    fn only_a_page_of_the_same_origin_is_an_own_page() {
        let own = Url::parse("http://localhost:8082/").expect("a URL");
        let came = |pairs: &[(&'static str, &'static str)]| {
            let pairs =
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            came(&pairs.collect(), &own)
        };
        assert_eq!(came(&[("sec-fetch-site", "same-origin"), ("origin", "null")]), Came::FromOwnPage);
        assert_eq!(came(&[("origin", "http://localhost:8082")]), Came::FromOwnPage);
        for site in ["cross-site", "same-site", "", "SAME-ORIGIN"] {
            assert_eq!(came(&[("sec-fetch-site", site), ("origin", "http://localhost:8082")]), Came::FromElsewhere);
        }
        for origin in ["null", "http://localhost:8083", "https://localhost:8082", "http://localhost:8082.evil.test", ""]
        {
            assert_eq!(came(&[("origin", origin)]), Came::FromElsewhere, "{origin}");
        }
        assert_eq!(came(&[]), Came::Unsaid);
        assert_eq!(came(&[("sec-fetch-site", "none")]), Came::Unsaid);
    }

    #[test]
    fn only_a_page_of_the_public_address_or_of_the_asked_host_asks_for_a_change() {
        let asks = |own: &str, pairs: &[(&'static str, &'static str)]| {
            let pairs =
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            asks_for_a_change(&pairs.collect(), &Url::parse(own).expect("a URL"))
        };
        let (http, https) = ("http://localhost:8082/", "https://wishes.example/");
        assert!(asks(http, &[("sec-fetch-site", "same-origin")]));
        assert!(asks(http, &[("origin", "http://localhost:8082"), ("host", "elsewhere")]));
        assert!(asks(http, &[("origin", "http://10.0.0.7:8082"), ("host", "10.0.0.7:8082")]));
        assert!(asks(https, &[("origin", "https://inside:8082"), ("host", "inside:8082")]));
        for refused in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-site"), ("origin", "http://10.0.0.7"), ("host", "10.0.0.7")],
            &[("origin", "http://localhost:8083"), ("host", "localhost:8082")],
            &[("origin", "null"), ("host", "localhost:8082")],
            &[("origin", "http://evil.test"), ("host", "localhost:8082")],
        ] {
            assert!(!asks(http, refused), "{refused:?}");
        }
        assert!(
            !asks(https, &[("origin", "http://inside:8082"), ("host", "inside:8082")]),
            "anybody on the way wrote it"
        );
    }
}
