//! What a client may ask for: words, of which services know their own. Rules only.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::InvalidMetadata;
use crate::scopes::ApiScopes;

/// What OpenID defines (Core, sections 5.4 and 11).
pub const IDENTITY: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];
/// Lets a client administer, on behalf of an administrator.
pub const ADMINISTRATION: &str = "admin";

const MAX_WORDS: usize = 32;
const MAX_BYTES: usize = 64;

/// At most 32 words of 1 to 64 characters, each once and in order (RFC 6749, section 3.3). Text: with spaces between.
#[derive(Debug, Clone, PartialEq, Eq, Default, utoipa::ToSchema)]
#[schema(value_type = String, example = "openid profile email")]
pub struct Scope(BTreeSet<String>);

/// The text is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected at most {MAX_WORDS} words of 1 to {MAX_BYTES} printable characters without quotes and backslashes")]
pub struct InvalidScope;

impl Scope {
    /// Everything about who the user is, and no service.
    pub fn identity() -> Self {
        Self(IDENTITY.map(str::to_owned).into())
    }

    pub fn words(&self) -> &BTreeSet<String> {
        &self.0
    }

    pub fn contains(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the platform knows each word that is not in `before`: a client with another one would never be granted it.
    ///
    /// # Errors
    /// `/scope`, with the first such word.
    pub fn check_words(&self, known: &ApiScopes, before: &Self) -> Result<(), InvalidMetadata> {
        let known = known.known();
        match self.0.iter().find(|word| !known.has(word) && !before.contains(word)) {
            None => Ok(()),
            Some(word) => {
                let detail = format!("{word} is unknown; API_SCOPES adds words of services, and known are: {known}");
                Err(InvalidMetadata::at("scope", detail))
            }
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let words: BTreeSet<String> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        let good = |word: &String| word.len() <= MAX_BYTES && word.bytes().all(allowed);
        (words.len() <= MAX_WORDS && words.iter().all(good)).then_some(Self(words)).ok_or(InvalidScope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl shared::config::Setting for Scope {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: InvalidScope| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_nobody_knows_is_named_unless_the_client_has_it_already() {
        let known: ApiScopes = shared::config::Setting::parse("wishes=wish-service").expect("scopes");
        let asks = |text: &str, before: &str| {
            let (scope, before): (Scope, Scope) = (text.parse().expect("a scope"), before.parse().expect("a scope"));
            scope.check_words(&known, &before)
        };
        assert_eq!(asks("openid cart wishes", ""), Ok(()));
        assert_eq!(asks("openid gone", "gone"), Ok(()));
        let refused = asks("openid wishez", "gone").expect_err("it is unknown");
        assert!(refused.pointer == "/scope" && refused.detail.starts_with("wishez is unknown"), "{refused}");
    }

    #[test]
    fn a_scope_is_a_set_of_words() {
        let scope: Scope = "  profile openid  openid ".parse().expect("a scope");
        assert_eq!(scope.to_string(), "openid profile");
        assert!("".parse::<Scope>().expect("none").is_empty());
        let many = (0..33).map(|number| format!("w{number}")).collect::<Vec<_>>().join(" ");
        for odd in ["a\"b", "a\\b", "a\tb", "a\u{0}", "\u{fc}", &"x".repeat(65), &many] {
            assert!(odd.parse::<Scope>().is_err(), "{odd:?} was taken");
        }
    }
}
