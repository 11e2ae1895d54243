//! Whether a form came from our own page (OWASP: cross-site request forgery). Owns the cookie and its token.
//!
//! Two checks, and both must pass. The browser's own word: `Origin` and `Sec-Fetch-Site`, where it sends them. And a token:
//! a random secret in a cookie that other sites can neither read nor set, and in a hidden field, masked anew for each page
//! so that a compressed page does not leak it (BREACH).

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{HOST, HeaderMap, ORIGIN};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::Site;
use crate::request::cookies_named;

/// The cookie's name, and the hidden field's.
const COOKIE_NAME: &str = "roam_csrf";
pub(super) const FIELD: &str = "csrf";

/// 256 random bits that a browser's cookie holds. No `Debug`: it never prints.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret([u8; 32]);

impl Secret {
    pub(super) fn random() -> Self {
        Self(random())
    }

    /// The one that the request brought. Two cookies of the name are none: a sibling host may have added one.
    pub(super) fn presented(site: &Site, headers: &HeaderMap) -> Option<Self> {
        let name = site.cookie_name(COOKIE_NAME);
        let mut values = cookies(headers, &name);
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        decoded(&value).map(Self)
    }

    /// What a page's hidden field says: another text each time.
    pub(super) fn masked(&self) -> String {
        let mask: [u8; 32] = random();
        let mut text = [0; 64];
        text[..32].copy_from_slice(&mask);
        for (index, byte) in text[32..].iter_mut().enumerate() {
            *byte = self.0[index] ^ mask[index];
        }
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Whether a hidden field's text was made from this secret.
    pub(super) fn is_masked_in(&self, text: &str) -> bool {
        let Some(text) = decoded::<64>(text) else { return false };
        let (mask, masked) = text.split_at(32);
        let unmasked: Vec<u8> = mask.iter().zip(masked).map(|(one, other)| one ^ other).collect();
        verify_slices_are_equal(&unmasked, &self.0).is_ok()
    }

    pub(super) fn cookie(&self, site: &Site) -> Cookie<'static> {
        Cookie::build(site.cookie_name(COOKIE_NAME), URL_SAFE_NO_PAD.encode(self.0))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(site.secure)
            .finish()
    }
}

/// The values of a cookie's name, in the order of the request.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = String> + 'a {
    cookies_named(headers, name).map(|value| value.trim_matches('"').to_owned())
}

/// Whether the browser says that the request comes from a page of this service. A client that says nothing is no browser of
/// today; it still needs the token.
pub(super) fn is_from_own_page(site: &Site, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let fetched_from_here = text("sec-fetch-site").is_none_or(|from| matches!(from, "same-origin" | "none"));
    let mut origins = headers.get_all(ORIGIN);
    let from_here = match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => origin.to_str().is_ok_and(|origin| is_own(origin, site, headers)),
        (Some(_), Some(_)) => false,
    };
    fetched_from_here && from_here
}

/// Whether an origin is the service's public one, or that of the host which the request was sent to: a browser names both
/// by itself.
fn is_own(origin: &str, site: &Site, headers: &HeaderMap) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let sent_to = host.and_then(|host| Url::parse(&format!("{}://{host}", url.scheme())).ok());
    let good_scheme = url.scheme() == "https" || (url.scheme() == "http" && !site.secure);
    good_scheme && (url.origin() == site.public_url.origin() || sent_to.is_some_and(|own| own.origin() == url.origin()))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::pages::tests::site;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        });
        pairs.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    #[test]
    fn a_field_fits_the_secret_that_it_was_made_from_and_no_other() {
        let (one, other) = (Secret::random(), Secret::random());
        let (first, second) = (one.masked(), one.masked());
        assert_ne!(first, second, "each page has a text of its own");
        assert!(one.is_masked_in(&first) && one.is_masked_in(&second));
        assert!(!other.is_masked_in(&first));
        for text in ["", "AAAA", &first[1..], &URL_SAFE_NO_PAD.encode(one.0), &format!("{first}A")] {
            assert!(!one.is_masked_in(text), "{text}");
        }
    }

    #[test]
    fn a_secret_comes_back_from_its_cookie_unless_there_are_two() {
        let secret = Secret::random();
        let value = URL_SAFE_NO_PAD.encode(secret.0);
        let presented = |text: String| Secret::presented(&site(false), &headers(&[("cookie", &text)]));
        assert!(presented(format!("a=b; roam_csrf={value}")).is_some_and(|found| found == secret));
        assert!(presented(format!("roam_csrf={value}; roam_csrf={value}")).is_none());
        assert!(presented(format!("__Host-roam_csrf={value}")).is_none());
        assert!(presented("roam_csrf=".to_owned()).is_none());
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_other_sites_and_other_hosts() {
        let plain = Secret::random().cookie(&site(false)).to_string();
        assert!(plain.starts_with("roam_csrf=") && plain.ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{plain}");
        let secure = Secret::random().cookie(&site(true)).to_string();
        assert!(secure.starts_with("__Host-roam_csrf=") && secure.contains("; Secure"), "{secure}");
        assert!(!secure.contains("Domain"), "{secure}");
    }

    #[test]
    fn only_a_page_of_this_service_is_our_own() {
        let own = |pairs: &[(&str, &str)]| {
            let pairs = [&[("host", "127.0.0.1:4711")], pairs].concat();
            is_from_own_page(&site(false), &headers(&pairs))
        };
        assert!(own(&[]), "a client that says nothing needs the token");
        assert!(own(&[("origin", "http://127.0.0.1:4711"), ("sec-fetch-site", "same-origin")]));
        assert!(own(&[("origin", "http://auth.shop.test")]), "the public address, whatever a gateway made of Host");
        assert!(own(&[("sec-fetch-site", "none")]), "typed by the user");
        for refused in [
            &[("origin", "null")][..],
            &[("origin", "")],
            &[("origin", "http://evil.test")],
            &[("origin", "http://127.0.0.1:4712")],
            &[("origin", "http://127.0.0.1:4711.evil.test")],
            &[("origin", "http://evil@127.0.0.1.evil.test:4711")],
            &[("origin", "ftp://127.0.0.1:4711")],
            &[("origin", "http://127.0.0.1:4711"), ("origin", "http://evil.test")],
            &[("origin", "http://127.0.0.1:4711"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "unknown")],
        ] {
            assert!(!own(refused), "{refused:?}");
        }
        let by_https =
            |origin| is_from_own_page(&site(true), &headers(&[("host", "auth.shop.test"), ("origin", origin)]));
        assert!(by_https("https://auth.shop.test"));
        assert!(!by_https("http://auth.shop.test"), "whoever is on the way may write such a page");
    }
}
