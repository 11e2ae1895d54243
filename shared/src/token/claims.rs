//! The claims of an access token, as they are written. Rules only.

use serde::{Deserialize, Serialize};

use super::{Actor, Subject, Thumbprint, present};
use crate::session::{Attributes, SessionId};

/// The claims of an access token as they are written (RFC 9068, section 2.2). Times are whole seconds since 1970.
///
/// A user's token has `sid` and `auth_time`. A client's own has neither, no `roles`, `amr`, `acr` or `act`, and its `sub`
/// is its `client_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    pub iss: String,
    pub sub: Subject,
    /// The services that it is for. One is written as a string, several as an array (RFC 7519, section 4.1.3).
    #[serde(with = "one_or_many")]
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    /// 32 hexadecimal digits, in lower case.
    pub jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub sid: Option<SessionId>,
    pub client_id: String,
    /// Words with spaces between.
    #[serde(default)]
    pub scope: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// When the user proved who they are.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub auth_time: Option<i64>,
    /// How (RFC 8176),
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// and how well (OpenID Connect Core, section 2).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub acr: Option<String>,
    /// Who acts for the user.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub act: Option<Actor>,
    /// The key without whose proof it is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub cnf: Option<Confirmation>,
    /// The grant that it was issued by, in the form of a `jti`: revoking that revokes it too. The platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub grant: Option<String>,
    /// What the session remembers, where nothing but the token keeps it. The platform's own.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

/// The claim `cnf` (RFC 7800): a key that its holder proves to have with each request (RFC 9449, section 6.1). A way of
/// confirmation that is not known here makes the token unreadable: ignored, it would leave the token to whoever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    pub jkt: Thumbprint,
}

impl AccessClaims {
    /// The `jti` as a number, as the revocation feed names it.
    pub fn token_id(&self) -> Option<u128> {
        number(&self.jti)
    }

    /// The `grant` as a number; the outer `None` where it is there and is no number.
    pub(super) fn grant_id(&self) -> Option<Option<u128>> {
        self.grant.as_deref().map(|text| number(text).ok_or(())).transpose().ok()
    }
}

/// 32 hexadecimal digits in lower case.
fn number(text: &str) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let well_formed = text.len() == 32 && text.bytes().all(is_digit);
    well_formed.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(values: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match values {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        })
    }
}
