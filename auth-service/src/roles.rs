//! The roles of a user: words that services check. Rules only.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// May administer accounts, sessions and keys.
pub const ADMIN: &str = "admin";
/// What everybody is who registers.
pub const USER: &str = "user";

const MAX_ROLES: usize = 16;
const MAX_BYTES: usize = 32;

/// At most 16 words of 1 to 32 characters `a-z 0-9 - _`, in order, each once. Text: with spaces between.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = Vec<Role>, max_items = 16, example = json!(["user"]))]
pub struct Roles(BTreeSet<String>);

/// One of them, for the API documents.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, pattern = "^[a-z0-9_-]{1,32}$", example = "user")]
#[expect(dead_code, reason = "only its documentation is used")]
pub struct Role(String);

/// The words are no roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected at most {MAX_ROLES} roles of 1 to {MAX_BYTES} characters a-z, 0-9, - or _")]
pub struct InvalidRoles;

impl Roles {
    /// # Errors
    /// A word is no role, or there are too many.
    pub fn new<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Result<Self, InvalidRoles> {
        let words: BTreeSet<String> = words.into_iter().map(Into::into).collect();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let good = |word: &String| (1..=MAX_BYTES).contains(&word.len()) && word.chars().all(allowed);
        (words.len() <= MAX_ROLES && words.iter().all(good)).then_some(Self(words)).ok_or(InvalidRoles)
    }

    pub fn user() -> Self {
        Self([USER.to_owned()].into())
    }

    pub fn administrator() -> Self {
        Self([ADMIN.to_owned(), USER.to_owned()].into())
    }

    pub fn contains(&self, role: &str) -> bool {
        self.0.contains(role)
    }

    pub fn to_vec(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_vec().join(" "))
    }
}

impl FromStr for Roles {
    type Err = InvalidRoles;

    fn from_str(text: &str) -> Result<Self, InvalidRoles> {
        Self::new(text.split([' ', ',']).filter(|word| !word.is_empty()))
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::<String>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_come_back_from_their_text() {
        let roles = Roles::administrator();
        assert_eq!(roles.to_string(), "admin user");
        assert_eq!(roles.to_string().parse(), Ok(roles));
        assert_eq!("".parse(), Ok(Roles::default()));
    }

    #[test]
    fn what_is_no_role_is_refused() {
        let many: Vec<String> = (0..17).map(|number| format!("role{number}")).collect();
        for refused in
            [vec!["Admin".to_owned()], vec![String::new()], vec!["a b".to_owned()], vec!["x".repeat(33)], many]
        {
            assert_eq!(Roles::new(refused.clone()), Err(InvalidRoles), "{refused:?} was taken");
        }
    }
}
