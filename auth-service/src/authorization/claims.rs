//! The `claims` parameter (OpenID Connect Core, section 5.5): claims that are asked for one by one. Rules only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest text of the parameter.
const MAX_BYTES: usize = 4096;

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedClaims {
    #[serde(default)]
    pub id_token: BTreeMap<String, Option<Member>>,
    #[serde(default)]
    pub userinfo: BTreeMap<String, Option<Member>>,
}

/// How one claim was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
}

impl RequestedClaims {
    /// # Errors
    /// What is wrong with it, in words for a developer.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_BYTES {
            return Err("the claims parameter is too long");
        }
        // Serde would take an array for a struct, member by member.
        let object: serde_json::Map<String, Value> =
            serde_json::from_str(text).map_err(|_| "the claims parameter is no JSON object")?;
        serde_json::from_value(object.into())
            .map_err(|_| "the claims parameter is not the JSON that OpenID Connect Core, 5.5, shows")
    }

    /// The one user that the ID token must be about, where the client names one.
    pub fn subject(&self) -> Option<&str> {
        self.id_token.get("sub")?.as_ref()?.value.as_ref()?.as_str()
    }

    /// The values of `acr` that are essential, where they are.
    pub fn essential_acr(&self) -> Option<Vec<&str>> {
        let member = self.id_token.get("acr")?.as_ref().filter(|member| member.essential)?;
        Some(member.value.iter().chain(&member.values).filter_map(Value::as_str).collect())
    }

    /// Whether the time of the login is asked for.
    pub fn asks_for_auth_time(&self) -> bool {
        self.id_token.contains_key("auth_time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_as_openid_shows_them() {
        let text = r#"{"userinfo": {"email": {"essential": true}, "picture": null},
                       "id_token": {"auth_time": {"essential": true}, "sub": {"value": "248289761001"},
                                    "acr": {"essential": true, "values": ["urn:a", "urn:b"]}}, "later": {}}"#;
        let claims = RequestedClaims::parse(text).expect("claims");
        assert!(claims.userinfo["email"].as_ref().is_some_and(|member| member.essential));
        assert_eq!(claims.userinfo["picture"], None);
        assert_eq!(claims.subject(), Some("248289761001"));
        assert_eq!(claims.essential_acr(), Some(vec!["urn:a", "urn:b"]));
        assert!(claims.asks_for_auth_time());
    }

    #[test]
    fn what_is_none_is_refused() {
        for odd in ["", "x", "[]", r#"{"id_token": 1}"#, r#"{"id_token": {"sub": {"values": "x"}}}"#, &" ".repeat(5000)]
        {
            assert!(RequestedClaims::parse(odd).is_err(), "{odd:?} was taken");
        }
    }
}
