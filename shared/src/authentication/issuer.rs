//! `ISSUER`, as each service reads it. Owns what an issuer may look like.

use url::Url;

use crate::config::{Settings, quoted};

/// Reads `ISSUER` and keeps it as it is written: tokens name it byte for byte.
pub(crate) fn read(settings: &mut Settings) -> String {
    let meaning = "the auth service's public address, as its tokens name it";
    let issuer: String = settings.or("ISSUER", "http://localhost:8081", meaning);
    if let Some(mistake) = mistake_in(&issuer) {
        settings.mistake(mistake);
    }
    issuer
}

/// What is wrong with an issuer, in one line (RFC 8414, section 2). A host alone reads as a URL of another scheme.
pub fn mistake_in(issuer: &str) -> Option<String> {
    let is_good = |url: Url| {
        let is_plain = url.query().is_none() && url.fragment().is_none();
        let has_login = !url.username().is_empty() || url.password().is_some();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain && !has_login
    };
    (!Url::parse(issuer).is_ok_and(is_good)).then(|| {
        let found = quoted(issuer);
        format!("ISSUER: expected http:// or https:// with a host, and no query, such as http://localhost:8081, found {found}")
    })
}
