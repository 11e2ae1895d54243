//! The `claims` parameter (OpenID Connect Core, section 5.5): claims that are asked for one by one. Each counts as the word of
//! scope that covers it: what the client may not have, or the person has not allowed, is left out. Rules only.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::scopes::Words;

/// The longest text of the parameter.
const MAX_BYTES: usize = 4096;

/// Which word of scope covers which claims (OpenID Connect Core, section 5.4).
const COVERED: [(&str, &[&str]); 4] = [
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];
/// About the login, and in every ID token anyway.
const OF_THE_LOGIN: [&str; 3] = ["sub", "acr", "auth_time"];

/// The word of scope that covers a claim; none for a claim that is not told.
fn word_of(claim: &str) -> Option<&'static str> {
    COVERED.iter().find(|(_, claims)| claims.contains(&claim)).map(|(word, _)| *word)
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedClaims {
    #[serde(default, deserialize_with = "null_as_nothing")]
    pub id_token: BTreeMap<String, Option<Member>>,
    #[serde(default, deserialize_with = "null_as_nothing")]
    pub userinfo: BTreeMap<String, Option<Member>>,
}

/// How one claim was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    #[serde(default, deserialize_with = "null_as_nothing", skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(default, deserialize_with = "null_as_nothing", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
}

/// A member that is null asks for nothing, as one that is absent does.
fn null_as_nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
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

    /// The words of scope that cover what is asked for.
    pub fn words(&self) -> Words {
        self.id_token.keys().chain(self.userinfo.keys()).filter_map(|claim| word_of(claim)).collect()
    }

    /// Those that `scope` covers, and those that are about the login. Claims that this provider never gives are left out.
    pub fn within(mut self, scope: &Words) -> Self {
        let is_covered = |claim: &String| word_of(claim).is_some_and(|word| scope.has(word));
        self.id_token.retain(|claim, _| is_covered(claim) || OF_THE_LOGIN.contains(&claim.as_str()));
        self.userinfo.retain(|claim, _| is_covered(claim));
        self
    }

    /// What is left of claims that were granted beside a scope: the client may have no more than `has` by now, and a token
    /// that was asked for without a word of the `granted` scope is without its claims too.
    pub fn left(self, has: &Words, granted: &Words, of_token: &Words) -> Self {
        self.within(&has.without(&granted.without(of_token)))
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
    fn what_is_null_asks_for_nothing_more() {
        for text in [r#"{"userinfo": null}"#, r#"{"id_token": null, "userinfo": null}"#, "{}"] {
            assert_eq!(RequestedClaims::parse(text), Ok(RequestedClaims::default()), "{text}");
        }
        let text = r#"{"userinfo": null, "id_token": {"sub": {"essential": null, "value": null, "values": null}}}"#;
        let claims = RequestedClaims::parse(text).expect("claims");
        assert_eq!(claims.id_token["sub"], Some(Member::default()));
        assert_eq!((claims.subject(), claims.essential_acr()), (None, None));
    }

    fn names(claims: &RequestedClaims) -> (Vec<&str>, Vec<&str>) {
        (claims.id_token.keys().map(String::as_str).collect(), claims.userinfo.keys().map(String::as_str).collect())
    }

    #[test]
    fn a_claim_counts_as_the_scope_that_covers_it() {
        let text = r#"{"userinfo": {"email": null, "phone_number": null, "sub": null, "roles": null},
                       "id_token": {"name": null, "acr": null, "auth_time": null, "sub": null, "sid": null}}"#;
        let claims = RequestedClaims::parse(text).expect("claims");
        assert_eq!(claims.words(), Words::split("profile email phone"));
        let login = vec!["acr", "auth_time", "sub"];
        assert_eq!(names(&claims.clone().within(&Words::split("openid"))), (login.clone(), vec![]));
        let with_email = claims.clone().within(&Words::split("openid email"));
        assert_eq!(names(&with_email), (login.clone(), vec!["email"]));
        assert_eq!(with_email.words(), Words::split("email"));
        let all = claims.within(&Words::split("openid profile email phone"));
        assert_eq!(names(&all), (vec!["acr", "auth_time", "name", "sub"], vec!["email", "phone_number"]));
    }

    #[test]
    fn a_claim_goes_with_the_word_that_a_client_lost_or_a_token_was_asked_for_without() {
        let text = r#"{"userinfo": {"email": null}, "id_token": {"name": null}}"#;
        let claims = || RequestedClaims::parse(text).expect("claims");
        let left = |has: &str, granted: &str, of_token: &str| {
            claims().left(&Words::split(has), &Words::split(granted), &Words::split(of_token)).words().to_string()
        };
        assert_eq!(left("openid email profile", "openid", "openid"), "email profile", "the claims alone were granted");
        assert_eq!(left("openid email", "openid", "openid"), "email", "the client has lost a word");
        assert_eq!(left("openid email profile", "openid email", "openid email"), "email profile");
        assert_eq!(left("openid email profile", "openid email", "openid"), "profile", "the token is without a word");
        assert_eq!(left("openid", "openid", "openid"), "");
    }

    #[test]
    fn what_is_none_is_refused() {
        for odd in ["", "x", "[]", r#"{"id_token": 1}"#, r#"{"id_token": {"sub": {"values": "x"}}}"#, &" ".repeat(5000)]
        {
            assert!(RequestedClaims::parse(odd).is_err(), "{odd:?} was taken");
        }
    }
}
