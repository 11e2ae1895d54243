//! What a device is called in a user's list of sessions. Rules only.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// The most bytes that a label has: a longer value triples what the session store takes for the session.
const MAX_BYTES: usize = 64;

/// A name that the user gave the device: 1 to 64 bytes, no control or invisible characters.
#[derive(Debug, Clone, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 64, example = "Ada's phone")]
pub struct DeviceLabel(String);

/// The text is no name for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {MAX_BYTES} bytes without control characters")]
pub struct InvalidDeviceLabel;

impl DeviceLabel {
    /// "Firefox on Linux", from what a browser says of itself. The text itself is never kept: it is long, made up at
    /// will, and identifies people.
    pub fn from_user_agent(user_agent: Option<&str>) -> Self {
        let text = user_agent.unwrap_or_default();
        let label = match (browser(text), system(text)) {
            (Some(browser), Some(system)) => format!("{browser} on {system}"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => "Unknown device".to_owned(),
        };
        Self(label)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first word that is found decides: most browsers also claim to be the ones below them.
fn browser(text: &str) -> Option<&'static str> {
    const BROWSERS: [(&str, &str); 13] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Vivaldi/", "Vivaldi"),
        ("FxiOS/", "Firefox"),
        ("Firefox/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chromium/", "Chromium"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("okhttp/", "Android app"),
        ("Dart/", "App"),
    ];
    BROWSERS.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
}

fn system(text: &str) -> Option<&'static str> {
    const SYSTEMS: [(&str, &str); 8] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("CrOS", "ChromeOS"),
        ("Macintosh", "macOS"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    SYSTEMS.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
}

/// Whether a character may stand in a text that others will read: no control, no direction override, no zero width.
pub(crate) fn is_readable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        && !matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

impl FromStr for DeviceLabel {
    type Err = InvalidDeviceLabel;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceLabel> {
        let text = text.trim();
        let good = (1..=MAX_BYTES).contains(&text.len()) && text.chars().all(is_readable);
        good.then(|| Self(text.to_owned())).ok_or(InvalidDeviceLabel)
    }
}

impl<'de> Deserialize<'de> for DeviceLabel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_named_with_its_system() {
        for (user_agent, label) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML) Chrome/140.0 Safari/537.36",
                "Chrome on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
                "Edge on Windows",
            ),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
            ("curl/8.5.0", "curl"),
            ("\u{1b}[31m{\"fake\":\"log line\"}", "Unknown device"),
        ] {
            assert_eq!(DeviceLabel::from_user_agent(Some(user_agent)).as_str(), label);
        }
        assert_eq!(DeviceLabel::from_user_agent(None).as_str(), "Unknown device");
    }

    #[test]
    fn every_label_fits_the_session() {
        let everything = "Edg OPR/ SamsungBrowser/ iPhone Macintosh";
        assert!(DeviceLabel::from_user_agent(Some(everything)).as_str().len() <= MAX_BYTES);
        for refused in ["", "  ", "a\u{0}", "a\nb", "\u{202e}evil", &"x".repeat(65)] {
            assert_eq!(refused.parse::<DeviceLabel>(), Err(InvalidDeviceLabel), "{refused:?} was taken");
        }
    }
}
