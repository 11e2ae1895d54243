//! The guest's cookie: a random secret that opens one guest's cart. The service keeps only the secret's hash, and never
//! takes a secret that it did not make.

use std::time::Duration;

use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::HeaderMap;
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::request::cookies_named;

use crate::storage::carts::GuestSecretHash;

/// 256 random bits. No `Debug`: it never prints.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct GuestSecret([u8; 32]);

impl GuestSecret {
    pub(super) fn random() -> Self {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).expect("the system gives random bytes");
        Self(bytes)
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == bytes.len()).then_some(Self(bytes))
    }

    pub(super) fn hash(&self) -> GuestSecretHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.0).as_ref());
        GuestSecretHash(hash)
    }
}

/// What a request brought under the cookie's name.
pub(super) struct Presented {
    /// Whether there was a cookie of the name at all.
    pub(super) any: bool,
    /// Those that could be a secret of ours.
    pub(super) secrets: Vec<GuestSecret>,
}

/// How the cookie is named and set.
pub(crate) struct GuestCookie {
    secure: bool,
    /// How long a cart lives after its last change, and the cookie with it.
    ttl: Duration,
}

impl GuestCookie {
    pub(crate) fn new(secure: bool, ttl: Duration) -> Self {
        Self { secure, ttl }
    }

    fn name(&self) -> &'static str {
        if self.secure { "__Host-guest_cart" } else { "guest_cart" }
    }

    pub(super) fn presented(&self, headers: &HeaderMap) -> Presented {
        let values: Vec<&str> = cookies_named(headers, self.name()).collect();
        let secrets = values.iter().filter_map(|value| GuestSecret::from_text(value)).collect();
        Presented { any: !values.is_empty(), secrets }
    }

    /// The cookie that keeps the secret as long as the cart.
    pub(super) fn keep(&self, secret: &GuestSecret) -> Cookie<'static> {
        let seconds = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        self.cookie(URL_SAFE_NO_PAD.encode(secret.0), CookieDuration::seconds(seconds))
    }

    /// The cookie that makes the browser forget it.
    pub(super) fn forget(&self) -> Cookie<'static> {
        self.cookie(String::new(), CookieDuration::ZERO)
    }

    fn cookie(&self, value: String, max_age: CookieDuration) -> Cookie<'static> {
        Cookie::build(self.name(), value)
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure)
            .max_age(max_age)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{COOKIE, HeaderValue};

    use super::*;

    fn cookie(secure: bool) -> GuestCookie {
        GuestCookie::new(secure, Duration::from_secs(7 * 86_400))
    }

    fn presented(lines: &[&str]) -> Presented {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).expect("a header"));
        }
        cookie(false).presented(&headers)
    }

    #[test]
    fn a_secret_comes_back_from_its_cookie_and_all_of_the_name_are_tried() {
        let (one, two) = (GuestSecret::random(), GuestSecret::random());
        let text = |secret: &GuestSecret| cookie(false).keep(secret).value().to_owned();
        let found = presented(&[
            &format!("a=b; guest_cart=rubbish;guest_cart={}", text(&one)),
            &format!("guest_cart={}", text(&two)),
        ]);
        assert!(found.any && found.secrets == [one, two]);
    }

    #[test]
    fn what_is_no_secret_of_ours_is_passed_over() {
        for line in ["guest_cart=", "guest_cart", "guest_cart==", "guest_cart=AAAA", "guest_cart=' OR 1=1", "; ;="] {
            assert!(presented(&[line]).secrets.is_empty(), "{line}");
        }
        assert!(!presented(&["__Host-guest_cart=x; other=1"]).any);
        assert!(presented(&["guest_cart=x"]).any);
        let many = vec!["guest_cart=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"; 500].join("; ");
        assert_eq!(presented(&[&many]).secrets.len(), 8);
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_and_from_other_sites() {
        let secret = GuestSecret::random();
        let plain = cookie(false).keep(&secret).to_string();
        assert!(
            plain.starts_with("guest_cart=") && plain.ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=604800"),
            "{plain}"
        );
        let secure = cookie(true).keep(&secret).to_string();
        assert!(secure.starts_with("__Host-guest_cart=") && secure.contains("; Secure"), "{secure}");
        assert!(cookie(false).forget().to_string().contains("Max-Age=0"));
    }
}
