//! What this service reads where clients registered it to: their keys, and the lists of their redirect URIs. Owns the
//! limits of such a read, and to where it may go; never follows a redirect, and never tells what it found.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::ACCEPT;
use reqwest::{Client, ClientBuilder, redirect};
use serde_json::Value;
use url::{Host, Url};

use super::WebAddress;

/// From the look-up of the name to the last byte.
const TIME_LIMIT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 64 * 1024;

/// How far a read may reach, by who registered the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// An operator or administrator did: also networks of our own.
    Anywhere,
    /// A client did itself: public addresses only, whatever its name resolves to.
    Public,
}

/// The document could not be read. One text for all reasons: it must not tell strangers what there is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the document there cannot be read: expected JSON of at most {MAX_BYTES} bytes, with status 200, without redirects"
)]
pub struct FetchFailed;

/// Reads documents at registered addresses.
pub struct Fetch {
    anywhere: Client,
    public: Client,
    public_is_this_machine_too: bool,
}

impl Fetch {
    /// A development platform at `localhost` has its clients there too.
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub fn new(public_is_this_machine_too: bool) -> anyhow::Result<Self> {
        let resolver = PublicOnly { this_machine_too: public_is_this_machine_too };
        Ok(Self {
            anywhere: limited().build()?,
            public: limited().dns_resolver(Arc::new(resolver)).build()?,
            public_is_this_machine_too,
        })
    }

    /// Whether clients that register themselves may name addresses at this very machine.
    pub fn public_is_this_machine_too(&self) -> bool {
        self.public_is_this_machine_too
    }

    /// The JSON document at `address`.
    ///
    /// # Errors
    /// [`FetchFailed`]; the cause is logged.
    pub async fn json(&self, address: &WebAddress, reach: Reach) -> Result<Value, FetchFailed> {
        self.try_json(address, reach).await.map_err(|cause| {
            tracing::warn!(%address, cause = format!("{cause:#}"), "a client's document cannot be read");
            FetchFailed
        })
    }

    async fn try_json(&self, address: &WebAddress, reach: Reach) -> anyhow::Result<Value> {
        let client = self.caller(address.url(), reach)?;
        let request = client.get(address.url().clone()).header(ACCEPT, "application/json");
        let mut answer = request.send().await.map_err(reqwest::Error::without_url)?;
        anyhow::ensure!(answer.status() == reqwest::StatusCode::OK, "the status is {}", answer.status().as_u16());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            anyhow::ensure!(body.len() + chunk.len() <= MAX_BYTES, "it has more than {MAX_BYTES} bytes");
            body.extend_from_slice(&chunk);
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// What calls `url` within these limits; its answer is the caller's to bound.
    ///
    /// # Errors
    /// It is out of reach. A name is looked up when it is called.
    pub fn caller(&self, url: &Url, reach: Reach) -> anyhow::Result<&Client> {
        if reach == Reach::Anywhere {
            return Ok(&self.anywhere);
        }
        // A name is looked up by the resolver below; a number is not looked up at all.
        let number = match url.host() {
            Some(Host::Ipv4(number)) => Some(IpAddr::V4(number)),
            Some(Host::Ipv6(number)) => Some(IpAddr::V6(number)),
            Some(Host::Domain(_)) | None => None,
        };
        let good = number.is_none_or(|number| is_allowed(number, self.public_is_this_machine_too));
        anyhow::ensure!(good, "it is no public address");
        Ok(&self.public)
    }
}

fn limited() -> ClientBuilder {
    Client::builder()
        .connect_timeout(TIME_LIMIT)
        .timeout(TIME_LIMIT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
}

/// Looks names up, and forgets what is not public: what was public at the registration may be another thing now.
struct PublicOnly {
    this_machine_too: bool,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let this_machine_too = self.this_machine_too;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_allowed(address.ip(), this_machine_too)).collect();
            if public.is_empty() {
                return Err(io::Error::other("the name has no public address").into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn is_allowed(address: IpAddr, this_machine_too: bool) -> bool {
    match address.to_canonical() {
        address if address.is_loopback() => this_machine_too,
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By the registry of special-purpose addresses (RFC 6890), with multicast and reserved ones.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = (a, b, c) == (192, 0, 0) || (a, b, c) == (192, 88, 99);
    let benchmarks = a == 198 && (b == 18 || b == 19);
    !(a == 0
        || a >= 224
        || shared
        || protocols
        || benchmarks
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation())
}

/// Global unicast (2000::/3) without what carries or stands for other addresses.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let global = a & 0xe000 == 0x2000;
    let tunnels = a == 0x2002 || (a == 0x2001 && b < 0x0200);
    let documentation = (a == 0x2001 && b == 0x0db8) || (a & 0xfff0 == 0x3ff0);
    global && !tunnels && !documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        let allowed = |text: &str| is_allowed(text.parse().expect(text), false);
        for public in ["1.1.1.1", "93.184.216.34", "172.15.0.1", "100.63.0.1", "2606:4700::1111", "2001:4860::8888"] {
            assert!(allowed(public), "{public}");
        }
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!allowed(inside), "{inside}");
        }
        assert!(is_allowed("127.0.0.1".parse().expect("an address"), true), "where the platform itself is");
        assert!(!is_allowed("10.0.0.1".parse().expect("an address"), true));
    }

    #[test]
    fn a_number_that_a_client_registered_itself_is_looked_at_however_it_is_written() {
        let fetch = Fetch::new(false).expect("a client");
        for inside in
            ["http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://169.254.169.254/", "http://[::1]/"]
        {
            let url = Url::parse(inside).expect("a URL");
            assert!(fetch.caller(&url, Reach::Public).is_err(), "{inside}");
            assert!(fetch.caller(&url, Reach::Anywhere).is_ok(), "{inside}");
        }
        assert!(fetch.caller(&Url::parse("https://1.1.1.1/").expect("a URL"), Reach::Public).is_ok());
    }

    #[tokio::test]
    async fn a_name_that_stands_for_this_machine_is_not_public() {
        let name = || "localhost".parse::<Name>().expect("a name");
        assert!(PublicOnly { this_machine_too: false }.resolve(name()).await.is_err());
        assert!(PublicOnly { this_machine_too: true }.resolve(name()).await.is_ok());
    }
}
