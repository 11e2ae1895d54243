//! A JWT of the provider under a good signature: the part that ID tokens and logout tokens share. Owns the header and the
//! key; never looks at a claim.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::token::{Algorithm, KeySet};

/// The largest that is looked at.
const MAX_TOKEN: usize = 8 * 1024;

/// Why a token of the provider is refused. The text is safe to log: it never quotes the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("it is malformed")]
    Malformed,
    #[error("it is of another type")]
    Type,
    #[error("it is signed with a key that is not published")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("its iss is not the provider")]
    Issuer,
    #[error("its aud or azp is not this client")]
    Audience,
    #[error("it has expired, or is not of now")]
    Time,
    #[error("its nonce is not that of this sign-in")]
    Nonce,
    #[error("its at_hash is not that of the access token")]
    AccessTokenHash,
    #[error("the login is not as recent as was asked for")]
    LoginTooOld,
    #[error("its events, sid, sub or jti are not those of a logout token")]
    NoLogout,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    typ: Option<String>,
    crit: Option<serde_json::Value>,
}

/// The payload of `token`, and how it is signed. `of_type` tells whether its `typ` will do.
pub(super) async fn payload(
    token: &str,
    keys: &KeySet,
    of_type: fn(Option<&str>) -> bool,
) -> Result<(Vec<u8>, Algorithm), Refused> {
    if token.len() > MAX_TOKEN {
        return Err(Refused::Malformed);
    }
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed);
    let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(Refused::Malformed)?;
    let header: Header = read_object(&decode(header)?).ok_or(Refused::Malformed)?;
    if header.crit.is_some() {
        return Err(Refused::Malformed);
    }
    if !of_type(header.typ.as_deref()) {
        return Err(Refused::Type);
    }
    let payload = decode(payload)?;
    let key = match keys.find(&header.kid) {
        Some(key) => Some(key),
        None if keys.refresh_for_unknown_kid().await => keys.find(&header.kid),
        None => None,
    };
    let key = key.ok_or(Refused::UnknownKey)?;
    // The key decides on the algorithm; the token may only agree.
    let agrees = Algorithm::from_name(&header.alg) == Some(key.algorithm());
    if !agrees || !key.verifies(message.as_bytes(), signature) {
        return Err(Refused::Signature);
    }
    Ok((payload, key.algorithm()))
}

/// Reads a JSON object. An array is refused: serde would take it for a struct, member by member.
pub(super) fn read_object<T: serde::de::DeserializeOwned>(json: &[u8]) -> Option<T> {
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(json).ok()).flatten()
}

/// One audience as a string, or several as an array (RFC 7519, section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    /// Whether it is for `client`, and in a token for several, by `azp`, issued to it (OpenID Connect Core 3.1.3.7).
    pub(super) fn is_for(&self, client: &str, azp: Option<&str>) -> bool {
        let (named, several) = match self {
            Self::One(one) => (one == client, false),
            Self::Several(all) => (all.iter().any(|one| one == client), all.len() > 1),
        };
        named && azp.map_or(!several, |azp| azp == client)
    }
}
