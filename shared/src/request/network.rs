//! The network that a caller's address stands for: what a budget or a rate limit counts.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// How many networks of a site may each use a limit up before the site has: a site shares four times the limit of one.
pub const NETWORKS_OF_A_SITE: u64 = 4;

/// One IPv4 address, or the /64 network that one IPv6 subscriber has to choose from. All callers whose address is not
/// known share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Network {
    text: String,
    site: Option<String>,
}

impl Network {
    pub fn of(address: Option<IpAddr>) -> Self {
        let (text, site) = match address {
            None => ("unknown".to_owned(), None),
            Some(IpAddr::V4(address)) => (address.to_string(), None),
            Some(IpAddr::V6(address)) => {
                let first = |bits: u32| Ipv6Addr::from(u128::from(address) & (u128::MAX << (128 - bits)));
                (format!("{}/64", first(64)), Some(format!("{}/48", first(48))))
            }
        };
        Self { text, site }
    }

    /// The /48 of an IPv6 network: what one site is given (RFC 6177), with 65,536 networks to choose from.
    pub fn site(&self) -> Option<&str> {
        self.site.as_deref()
    }

    /// The largest network that one subscriber may have: the site, or the network itself.
    pub fn widest(&self) -> &str {
        self.site().unwrap_or(&self.text)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_has_one_network() {
        let network = |text: &str| Network::of(text.parse().ok());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8:1:2::1").site(), Some("2001:db8:1::/48"));
        assert_eq!(network("192.0.2.1").site(), None);
    }
}
