//! The words of scope: what each opens, and at which service. Rules only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use shared::config::{Setting, quoted};

/// The scope that makes a request an OpenID one (OpenID Connect Core, section 3.1.2.1).
pub const OPENID: &str = "openid";
/// A refresh token for as long as the session lives (OpenID Connect Core, section 11).
pub const OFFLINE_ACCESS: &str = "offline_access";
/// Claims about the user (OpenID Connect Core, section 5.4).
const IDENTITY: [&str; 6] = [OPENID, "profile", "email", "address", "phone", OFFLINE_ACCESS];

/// Words, each once, in order: a scope, or the names of services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Words(BTreeSet<String>);

impl Words {
    /// Splits at spaces.
    pub fn split(text: &str) -> Self {
        text.split(' ').filter(|word| !word.is_empty()).collect()
    }

    pub fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether each word is also in `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Those that are in both.
    pub fn within(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// Those that are not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    /// Those that are in either.
    pub fn with(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    pub fn to_vec(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

impl<'a> FromIterator<&'a str> for Words {
    fn from_iter<I: IntoIterator<Item = &'a str>>(words: I) -> Self {
        Self(words.into_iter().map(str::to_owned).collect())
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.0.iter().enumerate() {
            write!(f, "{}{word}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self::split(&text)
    }
}

/// The platform's own words, and the services that they open.
const OWN: [(&str, &str); 4] =
    [("account", "auth-service"), ("admin", "auth-service"), ("cart", "cart-service"), ("orders", "order-service")];

/// Which word of scope opens which service: the platform's own, and those of `API_SCOPES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiScopes(BTreeMap<String, String>);

impl Default for ApiScopes {
    fn default() -> Self {
        Self(OWN.into_iter().map(|(word, service)| (word.to_owned(), service.to_owned())).collect())
    }
}

impl Setting for ApiScopes {
    fn parse(text: &str) -> Result<Self, String> {
        let Self(mut scopes) = Self::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let good = |text: &&str| {
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
            };
            let (word, service) =
                pair.split_once('=').ok_or_else(|| format!("expected SCOPE=SERVICE, found {}", quoted(pair)))?;
            let [word, service] = [word, service].map(str::trim);
            if ![word, service].iter().all(good) || IDENTITY.contains(&word) {
                return Err(format!("expected SCOPE=SERVICE with a scope of your own, found {}", quoted(pair)));
            }
            if let Some((_, owner)) = OWN.iter().find(|(own, owner)| *own == word && *owner != service) {
                return Err(format!(
                    "expected another word than {word}, which is the platform's own and opens {owner}"
                ));
            }
            scopes.insert(word.to_owned(), service.to_owned());
        }
        Ok(Self(scopes))
    }
}

impl ApiScopes {
    /// All words that somebody may ask for.
    pub fn known(&self) -> Words {
        IDENTITY.into_iter().chain(self.0.keys().map(String::as_str)).collect()
    }

    /// The words that open services.
    pub fn words(&self) -> Words {
        self.0.keys().map(String::as_str).collect()
    }

    /// The same as the text of a scope.
    pub fn scope(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// All services that a word opens, each once, in order.
    pub fn services(&self) -> Vec<String> {
        self.0.values().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The services that a scope opens, `issuer` among them where the scope is an OpenID one: it answers userinfo.
    pub fn audiences(&self, scope: &Words, issuer: &str) -> Words {
        let services = scope.iter().filter_map(|word| self.0.get(word).map(String::as_str));
        services.chain(scope.has(OPENID).then_some(issuer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes() -> ApiScopes {
        ApiScopes::parse("wishes=wish-service, cart=cart-service").expect("scopes")
    }

    #[test]
    fn a_scope_opens_its_services_and_no_others() {
        let audiences = |scope| scopes().audiences(&Words::split(scope), "auth-service").to_string();
        assert_eq!(audiences("openid email"), "auth-service");
        assert_eq!(audiences("cart  orders"), "cart-service order-service");
        assert_eq!(audiences("openid cart unknown"), "auth-service cart-service");
        assert_eq!(audiences("wishes"), "wish-service");
        assert_eq!(audiences(""), "");
    }

    #[test]
    fn words_are_compared_whole() {
        let (one, two) = (Words::split("cart orders"), Words::split("orders cart account"));
        assert!(one.is_within(&two) && !two.is_within(&one) && !Words::split("order").is_within(&two));
        assert_eq!(two.within(&one).to_string(), "cart orders");
        assert_eq!(two.without(&one).to_string(), "account");
        assert_eq!(Words::split("b a b").with(&Words::split("c")).to_string(), "a b c");
    }

    #[test]
    fn the_platforms_own_words_are_there_in_any_case_and_keep_their_services() {
        assert_eq!(scopes().scope(), "account admin cart orders wishes");
        assert_eq!(scopes().services(), ["auth-service", "cart-service", "order-service", "wish-service"]);
        let refused = ApiScopes::parse("wishes=wish-service,cart=wish-service").expect_err("it is the cart's");
        assert!(refused.contains("opens cart-service"), "{refused}");
    }

    #[test]
    fn a_scope_of_openid_cannot_be_given_to_a_service() {
        for odd in ["cart", "=x", "cart=", "openid=auth-service", "a b=c"] {
            assert!(ApiScopes::parse(odd).is_err(), "{odd:?} was taken");
        }
    }
}
