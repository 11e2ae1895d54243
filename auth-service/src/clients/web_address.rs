//! Addresses that a client names beside its redirect URIs: pages that are shown as links, and what this service calls.
//! Rules only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use super::redirect_uri::{is_this_machine, is_well_encoded};

const MAX_BYTES: usize = 1024;

/// An `http` or `https` address of at most 1,024 bytes of printable ASCII, without user information. `http` elsewhere
/// than at this machine is for whoever configures the platform: see [`WebAddress::is_in_clear`].
#[derive(Debug, Clone, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = String, max_length = 1024, example = "https://shop.example/about")]
pub struct WebAddress(Address);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    /// As it was given.
    text: String,
    url: Url,
}

/// The text is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an https address of at most {MAX_BYTES} printable bytes, without user information")]
pub struct InvalidWebAddress;

impl WebAddress {
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// Whether what is sent there can be read on the way.
    pub fn is_in_clear(&self) -> bool {
        self.0.url.scheme() == "http" && !self.is_this_machine()
    }

    pub fn is_this_machine(&self) -> bool {
        is_this_machine(&self.0.url)
    }
}

impl FromStr for WebAddress {
    type Err = InvalidWebAddress;

    fn from_str(text: &str) -> Result<Self, InvalidWebAddress> {
        let printable = text.len() <= MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
        let begins = text.starts_with("https://") || text.starts_with("http://");
        if !printable || !begins || text.contains('\\') || !is_well_encoded(text) {
            return Err(InvalidWebAddress);
        }
        let url = Url::parse(text).map_err(|_| InvalidWebAddress)?;
        let plain = url.username().is_empty() && url.password().is_none() && !text.contains('@');
        plain.then(|| Self(Address { text: text.to_owned(), url })).ok_or(InvalidWebAddress)
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Serialize for WebAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.text)
    }
}

impl<'de> Deserialize<'de> for WebAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_on_the_web_are_taken() {
        for text in [
            "",
            "/logo.png",
            "//shop.example/logo.png",
            "javascript:alert(1)",
            "javascript://shop.example/%0aalert(1)",
            "data:image/png;base64,AA",
            "file:///etc/passwd",
            "gopher://127.0.0.1:6379/_FLUSHALL",
            "redis://127.0.0.1:6379",
            "https:shop.example",
            "https://",
            "https://user@shop.example/",
            "https://user:pass@shop.example/",
            "https://shop.example\\@evil.example/",
            "https://shop.example/%00",
            "https://shop.example/\r\nX: y",
        ] {
            assert!(text.parse::<WebAddress>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn what_is_sent_in_clear_is_known() {
        for (text, clear) in [
            ("https://shop.example/jwks", false),
            ("http://localhost:9000/jwks", false),
            ("http://app.localhost/jwks", false),
            ("http://127.0.0.1:9000/jwks", false),
            ("http://127.1:9000/jwks", false),
            ("http://[::1]/jwks", false),
            ("http://cart-service:8082/backchannel-logout", true),
            ("http://169.254.169.254/latest", true),
            ("http://0.0.0.0/", true),
        ] {
            assert_eq!(text.parse::<WebAddress>().expect(text).is_in_clear(), clear, "{text}");
        }
    }
}
