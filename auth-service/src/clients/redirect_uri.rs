//! Where a browser may be sent back to: which addresses may be registered, and which are the same. Rules only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};
use url::{Host, Url};

const MAX_BYTES: usize = 512;

/// An address that a client registers for itself, and gets codes at. It is compared byte for byte, so it is taken only
/// in the form in which every URL parser reads the same host and path:
///
/// - absolute, at most 512 bytes of printable ASCII, without fragment, user information, backslash or wildcard; in the
///   normal form of the URL standard (lower case host in punycode, no `..`, no default port);
/// - `https`; `http` only at this very machine (`localhost`, names under it, loopback addresses); or, for native
///   applications, a scheme of their own with a dot in it (RFC 8252, section 7.1), which `javascript` and its like lack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, max_length = 512, example = "https://shop.example/callback")]
pub struct RedirectUri(String);

/// Why an address cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedirectUri {
    #[error("expected at most {MAX_BYTES} bytes")]
    TooLong,
    #[error(
        "expected printable ASCII without backslashes, quotes, brackets and wildcards, and whole percent-encodings"
    )]
    Characters,
    #[error("expected an absolute URI")]
    NotAbsolute,
    #[error("expected no fragment")]
    Fragment,
    #[error("expected no user information")]
    UserInformation,
    #[error("expected https; http only at localhost or a loopback address, another scheme only with a dot in it")]
    Scheme,
    #[error(
        "expected the normal form: lower case host in punycode, no dot segments, no default port, a path after a host"
    )]
    NotNormal,
}

/// Where an address leads, for a person to see: its host, or the scheme where that is none of the web's. What stands after
/// such a scheme is no host, and its owner may write anything there.
pub fn place_of(address: &Url) -> String {
    match (address.scheme(), address.host_str()) {
        ("http" | "https", Some(host)) => host.to_owned(),
        (scheme, _) => scheme.to_owned(),
    }
}

impl RedirectUri {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a person is shown of it: its host, or the scheme that an application has chosen.
    pub fn place(&self) -> String {
        Url::parse(&self.0).map_or_else(|_| self.0.clone(), |url| place_of(&url))
    }

    /// Whether its scheme is one that a native application claims for itself.
    pub fn has_own_scheme(&self) -> bool {
        !self.0.starts_with("https:") && !self.0.starts_with("http:")
    }

    /// Whether both are `http` at the same loopback host and differ in nothing but the port, which a native application
    /// learns only when it listens (RFC 8252, section 7.3). `localhost` is not `127.0.0.1`.
    pub fn is_but_for_the_port(&self, other: &Self) -> bool {
        self.without_port().is_some_and(|own| other.without_port() == Some(own))
    }

    /// Whether it is `http` at an address that no name stands for (RFC 8252, section 8.3: `localhost` may be another one).
    pub fn is_at_a_loopback_address(&self) -> bool {
        self.without_port().is_some_and(|(host, _)| host != "localhost")
    }

    /// Host and the rest of an `http` address at the loopback; names under `localhost` are no such host.
    fn without_port(&self) -> Option<(&str, &str)> {
        let rest = self.0.strip_prefix("http://")?;
        let inside = if rest.starts_with('[') { rest.find(']')? } else { 0 };
        let end = rest[inside..].find([':', '/', '?']).map_or(rest.len(), |end| inside + end);
        let (host, rest) = rest.split_at(end);
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let rest = rest.strip_prefix(':').map_or(rest, |port| &port[digits(port)..]);
        (!host.ends_with(".localhost")).then_some((host, rest))
    }
}

impl FromStr for RedirectUri {
    type Err = InvalidRedirectUri;

    fn from_str(text: &str) -> Result<Self, InvalidRedirectUri> {
        if text.len() > MAX_BYTES {
            return Err(InvalidRedirectUri::TooLong);
        }
        let refused = ['\\', '*', '"', '<', '>', '^', '`', '{', '|', '}'];
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(refused) || !is_well_encoded(text) {
            return Err(InvalidRedirectUri::Characters);
        }
        if text.contains('#') {
            return Err(InvalidRedirectUri::Fragment);
        }
        let url = Url::parse(text).map_err(|_| InvalidRedirectUri::NotAbsolute)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidRedirectUri::UserInformation);
        }
        let good = match url.scheme() {
            "https" => true,
            "http" => is_this_machine(&url),
            scheme => scheme.contains('.'),
        };
        if !good {
            return Err(InvalidRedirectUri::Scheme);
        }
        let is_normal = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
        is_normal.then(|| Self(text.to_owned())).ok_or(InvalidRedirectUri::NotNormal)
    }
}

/// Whether an address stands for the machine that reads it.
pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost" || domain.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether the web has given the address to one party: `https` at a host of its own (RFC 8252, section 7.2). At the loopback,
/// and at a scheme that an application has chosen, any program may listen.
pub(super) fn is_claimed(address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| url.scheme() == "https" && !is_this_machine(&url))
}

/// Each `%` begins two digits that stand for no control character.
pub(super) fn is_well_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let code = rest.get(..2).filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        byte.is_some_and(|byte| !byte.is_ascii_control())
    })
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RedirectUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> RedirectUri {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn good_addresses_are_kept_byte_for_byte() {
        for text in [
            "https://shop.example/callback",
            "https://shop.example",
            "https://shop.example/",
            "https://shop.example:8443/cb?tenant=a&x=%20y",
            "https://xn--bcher-kva.example/cb",
            "https://[2001:db8::1]/cb",
            "http://localhost/cb",
            "http://localhost:8082/callback",
            "http://cart.shop.localhost:8080/callback",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:4711",
            "http://[::1]:4711/cb",
            "com.example.app:/oauth/cb",
            "com.example.app://callback/cb",
        ] {
            assert_eq!(uri(text).as_str(), text);
        }
    }

    /// B1 to B3
    #[test]
    fn what_could_be_read_in_two_ways_or_runs_is_refused() {
        let long = format!("https://shop.example/{}", "a".repeat(MAX_BYTES));
        for text in [
            "",
            "/cb",
            "cb",
            "//evil.example/cb",
            "https:evil.example",
            "https:/evil.example",
            "https:///evil.example",
            "\\\\evil.example",
            "https:\\\\evil.example",
            "https://shop.example/cb#f",
            "https://shop.example/cb#",
            "https://shop.example/cb/../evil",
            "https://shop.example/cb/%2e%2e/evil",
            "https://shop.example/cb/./x",
            "https://SHOP.example/cb",
            "HTTPS://shop.example/cb",
            "https://shop.example:443/cb",
            "https://shop.example:/cb",
            "https://b\u{fc}cher.example/cb",
            "https://shop.example/\u{fc}",
            "https://shop.example%00.evil.example/",
            "https://shop.example/%00",
            "https://shop.example/%0d%0aSet-Cookie:x",
            "https://shop.example/%zz",
            "https://shop.example/%2",
            "https://shop.example/a b",
            " https://shop.example/cb",
            "https://shop.example/cb\n",
            "https://*.shop.example/cb",
            "https://shop.example/*",
            "https://user@shop.example/cb",
            "https://user:pass@shop.example/cb",
            "https://@shop.example/cb",
            "http://localhost:80@evil.example/",
            "http://127.0.0.1\\@evil.example/",
            "http://shop.example/cb",
            "http://localhost.evil.example/cb",
            "http://evillocalhost/cb",
            "http://127.1/cb",
            "http://0x7f000001/cb",
            "http://2130706433/cb",
            "http://0.0.0.0/cb",
            "http://[::]/cb",
            "http://169.254.169.254/",
            "javascript:alert(1)",
            "javascript://shop.example/%0aalert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vbscript:x",
            "blob:https://shop.example/x",
            "about:blank",
            "ftp://shop.example/cb",
            "ws://shop.example/cb",
            "app:/cb",
            "intent://x",
            &long,
        ] {
            assert!(text.parse::<RedirectUri>().is_err(), "{text:?} was taken");
        }
    }

    /// B4
    #[test]
    fn at_the_loopback_only_the_port_may_differ() {
        let registered = uri("http://127.0.0.1/cb?x=1");
        for same in ["http://127.0.0.1/cb?x=1", "http://127.0.0.1:4711/cb?x=1", "http://127.0.0.1:1/cb?x=1"] {
            assert!(registered.is_but_for_the_port(&uri(same)), "{same}");
        }
        for other in [
            "http://127.0.0.1:4711/cb",
            "http://127.0.0.1:4711/cb?x=2",
            "http://127.0.0.1:4711/cb?x=1&y=2",
            "http://127.0.0.1:4711/cb/?x=1",
            "http://127.0.0.1:4711/CB?x=1",
            "http://127.0.0.1:4711/?x=1",
            "http://127.0.0.2:4711/cb?x=1",
            "http://localhost:4711/cb?x=1",
            "http://[::1]:4711/cb?x=1",
            "https://127.0.0.1:4711/cb?x=1",
        ] {
            assert!(!registered.is_but_for_the_port(&uri(other)), "{other}");
        }
        assert!(uri("http://[::1]:1/cb").is_but_for_the_port(&uri("http://[::1]:2/cb")));
        assert!(uri("http://localhost/cb").is_but_for_the_port(&uri("http://localhost:2/cb")));
        assert!(uri("http://127.0.0.1:9").is_but_for_the_port(&uri("http://127.0.0.1")));
        assert!(!uri("http://127.0.0.1:9").is_but_for_the_port(&uri("http://127.0.0.1/")));
        assert!(!uri("http://a.localhost:1/cb").is_but_for_the_port(&uri("http://a.localhost:2/cb")));
        assert!(!uri("https://shop.example:1/cb").is_but_for_the_port(&uri("https://shop.example:2/cb")));
    }

    #[test]
    fn a_person_is_shown_a_host_of_the_web_or_a_scheme() {
        let place = |text: &str| text.parse::<RedirectUri>().expect("a redirect URI").place();
        assert_eq!(place("https://shop.example/cb"), "shop.example");
        assert_eq!(place("http://127.0.0.1:4711/cb"), "127.0.0.1");
        assert_eq!(place("com.example.app://accounts.bank.example/cb"), "com.example.app");
        assert_eq!(place("com.example.app:/cb"), "com.example.app");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_taken_is_what_was_given(text in "(https?|a\\.b):/{0,3}[a-z0-9.:@\\[\\]%/?#*]{0,40}|\\PC{0,40}") {
            if let Ok(uri) = text.parse::<RedirectUri>() {
                prop_assert_eq!(uri.as_str(), text);
                prop_assert!(uri.is_but_for_the_port(&uri) == uri.without_port().is_some());
            }
        }
    }
}
