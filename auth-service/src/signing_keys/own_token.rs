//! Reading back a token that this platform signed: an ID token that a client returns as a hint. Rules only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::token::PublishedKey;

/// The largest token that is looked at: 16 KiB.
const MAX_TOKEN: usize = 16 * 1024;

/// What the header of a token of ours says, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// The claims of a JWT of type `typ`, if one of our keys signed it.
pub(super) fn read<'a>(
    text: &str,
    typ: &str,
    find: impl FnOnce(&str) -> Option<&'a PublishedKey>,
) -> Option<Map<String, Value>> {
    if text.len() > MAX_TOKEN {
        return None;
    }
    let (message, signature) = text.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let header: Header = read_object(header)?;
    let key = find(&header.kid)?;
    if header.typ != typ || header.alg != key.algorithm().as_str() || !key.verifies(message.as_bytes(), signature) {
        return None;
    }
    read_object(payload)
}

/// A part of a JWT: an object. Serde would take an array for a struct, member by member.
fn read_object<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(&json).ok()).flatten()
}
