//! The types of settings: how a text is read as each, and what is shown of it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::{placeholder, shown};

/// What a setting's text may be read as.
pub trait Setting: Sized {
    /// A secret's value is never printed.
    const SECRET: bool = false;

    /// Reads the text.
    ///
    /// # Errors
    /// What is wrong, in words that an operator can act on; never the value of a secret.
    fn parse(text: &str) -> Result<Self, String>;

    /// Stands in where a setting that is required is missing, until [`Settings::finish`] fails. `example` is what the message
    /// shows: of a secret, the command that makes one.
    ///
    /// # Errors
    /// The example is none.
    fn stand_in(example: &str) -> Result<Self, String> {
        Self::parse(example)
    }

    /// What is printed of the text, where it is no [`SECRET`](Self::SECRET).
    fn shown(text: &str) -> String {
        shown::text(text)
    }
}

/// A part of a setting's text as a message quotes it: without what may be a secret in it.
pub fn quoted(text: &str) -> String {
    format!("{:?}", shown::text(text))
}

macro_rules! parsed_by_from_str {
    ($($type:ty => $expected:literal),* $(,)?) => {$(
        impl Setting for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!(concat!("expected ", $expected, ", found {:?}"), text))
            }
        }
    )*};
}

parsed_by_from_str! {
    String => "text",
    SocketAddr => "an address and port such as 127.0.0.1:8081",
    PathBuf => "a path",
    u16 => "a whole number",
    u32 => "a whole number",
    u64 => "a whole number",
    usize => "a whole number",
    bool => "true or false",
}

impl Setting for Url {
    /// An http(s) URL without a login: programs that fetch it would repeat that in errors.
    fn parse(text: &str) -> Result<Self, String> {
        let url = text.parse::<Self>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or("expected an absolute URL such as http://localhost:8081")?;
        let has_login = !url.username().is_empty() || url.password().is_some();
        if has_login { Err("expected an address without a login (USER:PASSWORD@)".to_owned()) } else { Ok(url) }
    }

    fn shown(text: &str) -> String {
        shown::web_url(text)
    }
}

/// The URL of a database or a Redis, which holds a login. It is opened where it is read; here it is only kept from being seen.
#[derive(Clone, Default)]
pub struct ConnectionUrl(pub String);

impl Setting for ConnectionUrl {
    fn parse(text: &str) -> Result<Self, String> {
        placeholder::mistake_in_url(text).map_or_else(|| Ok(Self(text.to_owned())), |mistake| Err(mistake.to_owned()))
    }

    fn stand_in(example: &str) -> Result<Self, String> {
        Ok(Self(example.to_owned()))
    }

    fn shown(text: &str) -> String {
        shown::connection_url(text)
    }
}

/// An http(s) address that may itself open what is there, such as a collector's: of it, the host alone is shown.
#[derive(Debug, Clone)]
pub struct PrivateUrl(pub Url);

impl Setting for PrivateUrl {
    fn parse(text: &str) -> Result<Self, String> {
        <Url as Setting>::parse(text).map(Self)
    }

    fn shown(text: &str) -> String {
        shown::host_of_web_url(text)
    }
}

impl Setting for SecretString {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
}

impl Setting for Duration {
    /// `250ms`, `30s`, `5m`, `12h`, `7d`.
    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let expected = || format!("expected a duration such as 30s, 5m, 12h or 7d, found {text:?}");
        let count: u64 = text[..digits].parse().map_err(|_| expected())?;
        let unit_millis = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(expected()),
        };
        count
            .checked_mul(unit_millis)
            .filter(|millis| *millis <= 100 * 365 * 86_400_000)
            .map(Self::from_millis)
            .ok_or_else(|| format!("{text:?} is longer than a hundred years"))
    }
}

impl Setting for Vec<String> {
    /// Words, with commas between.
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }
}

impl Setting for Vec<IpNet> {
    /// Networks or single addresses, with commas between.
    fn parse(text: &str) -> Result<Self, String> {
        let network = |part: &str| part.parse().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                network(part).map_err(|_| format!("expected networks such as 10.0.0.0/8, found {}", quoted(part)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_an_end() {
        assert_eq!(Duration::parse("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(Duration::parse("250ms"), Ok(Duration::from_millis(250)));
        for refused in ["", "7", "d", "-1s", "1.5h", "99999999999999999999d", "5 m"] {
            assert!(Duration::parse(refused).is_err(), "{refused} was taken");
        }
    }
}
