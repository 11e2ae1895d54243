//! The parent domain that a session cookie is set for, taken from the host of each request: one set of services then serves
//! `shop.example` and `shop.test`. Rules only.

use regex_lite::{Regex, RegexBuilder};

/// `COOKIE_DOMAIN_PATTERN`: a regular expression that the whole host of a request must match, and whose first group is the
/// domain. Case is of no account.
#[derive(Debug, Clone)]
pub struct DomainPattern(Regex);

impl DomainPattern {
    /// # Errors
    /// Why this is no such expression.
    pub fn new(text: &str) -> Result<Self, String> {
        let unreadable = |error| format!("expected a regular expression: {error}");
        // By itself first: one that closes a group of another's is none.
        Regex::new(text).map_err(unreadable)?;
        let whole = RegexBuilder::new(&format!("^(?:{text})$")).case_insensitive(true).build().map_err(unreadable)?;
        // The whole match is the first of them.
        if whole.captures_len() < 2 {
            return Err(
                "expected a regular expression with a group, which is the domain: ^.+?\\.(\\w+\\.[a-z]+)$".to_owned()
            );
        }
        Ok(Self(whole))
    }

    /// The domain for a host without its port. None, so that the cookie is the host's own, for one that does not match, and
    /// where the group is no parent of the host or would share the cookie with strangers.
    pub(super) fn domain(&self, host: &str) -> Option<String> {
        let host = host.to_ascii_lowercase();
        let group = self.0.captures(&host)?.get(1)?.as_str();
        let is_parent = host == group || host.strip_suffix(group).is_some_and(|sub| sub.ends_with('.'));
        (is_parent && is_ones_own(group)).then(|| group.to_owned())
    }
}

impl PartialEq for DomainPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for DomainPattern {}

/// Whether a domain is one under which only its owner has hosts: no public suffix (publicsuffix.org), and no address.
pub(super) fn is_ones_own(domain: &str) -> bool {
    let is_name = domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let is_address = domain.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    is_name && !is_address && psl::domain(domain.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_the_whole_match_is_the_domain() {
        let pattern = DomainPattern::new(r"^.+?\.(\w+\.[a-z]+)$").expect("the founding document's own");
        assert_eq!(pattern.domain("cart.shop.test").as_deref(), Some("shop.test"));
        assert_eq!(pattern.domain("A.Cart.SHOP.example").as_deref(), Some("shop.example"));
        for own in ["localhost", "shop.test", "127.0.0.1", "cart.co.uk", "me.github.io", "[::1]", ""] {
            assert_eq!(pattern.domain(own), None, "{own}");
        }
    }

    #[test]
    fn a_group_that_is_no_parent_of_the_host_is_not_taken() {
        let pattern = |text| DomainPattern::new(text).expect("an expression");
        assert_eq!(pattern(r"(cart\.shop)\.test").domain("cart.shop.test"), None);
        assert_eq!(pattern(r"my(shop\.test)").domain("myshop.test"), None, "the end of a name is no parent domain");
        assert_eq!(pattern(r"(shop\.test)|(other\.test)").domain("other.test"), None);
        assert_eq!(pattern(r"(?:cart|orders)\.(shop\.test)").domain("cart.shop.test.evil.test"), None);
    }

    #[test]
    fn what_is_no_expression_with_a_group_is_refused() {
        for bad in ["(", "shop", "a)(b", "(?:shop)"] {
            assert!(DomainPattern::new(bad).is_err(), "{bad}");
        }
    }
}
