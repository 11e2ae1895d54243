//! Where a browser goes when something is done: a path of this service, never another site. Rules only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use url::Url;

/// The longest path that is remembered, in bytes.
const MAX_BYTES: usize = 2_048;

/// A path of this service with its query: it begins with one slash, and no browser can read it as another site's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

impl Default for ReturnTo {
    /// The front page.
    fn default() -> Self {
        Self("/".to_owned())
    }
}

/// The text is no path of this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a path of this service, such as /account")]
pub struct InvalidReturnTo;

impl ReturnTo {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReturnTo {
    type Err = InvalidReturnTo;

    fn from_str(text: &str) -> Result<Self, InvalidReturnTo> {
        // Browsers take `\` for `/`, and leave out tabs and line ends before they read an address.
        let plain = text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'\\');
        let local = text.starts_with('/') && !text.starts_with("//");
        if !plain || !local || text.len() > MAX_BYTES {
            return Err(InvalidReturnTo);
        }
        // As a browser would read it: `/.//evil` has two slashes in front once its dots are resolved.
        let base = Url::parse("http://this.invalid").map_err(|_| InvalidReturnTo)?;
        let read = base.join(text).map_err(|_| InvalidReturnTo)?;
        let good = read.origin() == base.origin() && !read.path().starts_with("//");
        good.then(|| Self(read[url::Position::BeforePath..].to_owned())).ok_or(InvalidReturnTo)
    }
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ReturnTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_service_is_taken_with_its_query() {
        for text in ["/", "/account", "/o/17?paid=1", "/search?q=%2F%2Fevil", "/a?b=//evil", "/shop#top"] {
            assert_eq!(text.parse::<ReturnTo>().map(|path| path.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("/a/../account".parse::<ReturnTo>().map(|path| path.to_string()).as_deref(), Ok("/account"));
    }

    #[test]
    fn no_other_site_is_taken_however_it_is_written() {
        let long = format!("/{}", "a".repeat(MAX_BYTES));
        for text in [
            "",
            "account",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "https:evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/.//evil.example",
            "/a/..//evil.example",
            "/%0d%0a\r\nSet-Cookie: a=b",
            "/caf\u{e9}",
            &long,
        ] {
            assert_eq!(text.parse::<ReturnTo>(), Err(InvalidReturnTo), "{text:?} was taken");
        }
    }
}
