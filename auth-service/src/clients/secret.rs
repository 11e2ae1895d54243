//! Secrets that this service makes up for clients: 256 random bits, of which only the SHA-256 is kept. They need no slow
//! hash, for nobody can guess them.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use shared::clock::Timestamp;

/// The shortest secret that an operator may choose: by hand, none is as good as one that is made up.
pub const SHORTEST_CHOSEN: usize = 32;

/// How long a replaced secret is good beside the new one, where nothing else is said: a day for the client's own rollout.
pub const FORMER_SECRET_LIFE: Duration = Duration::from_secs(24 * 3600);
/// The longest that may be said.
pub const LONGEST_FORMER_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is kept of a secret.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct SecretHash(Vec<u8>);

impl SecretHash {
    pub fn of(secret: &str) -> Self {
        Self(digest(&SHA256, secret.as_bytes()).as_ref().to_vec())
    }

    /// Whether it is this secret's, in a time that does not tell.
    pub fn is_of(&self, secret: &str) -> bool {
        verify_slices_are_equal(&self.0, digest(&SHA256, secret.as_bytes()).as_ref()).is_ok()
    }
}

/// Whether a secret has one of these hashes, in a time that tells neither which nor whether there are any.
pub fn is_one_of(hashes: [Option<&SecretHash>; 2], secret: &str) -> bool {
    let nobody = SecretHash::of("");
    let found = hashes.map(|hash| hash.unwrap_or(&nobody).is_of(secret));
    !secret.is_empty() & (found[0] | found[1])
}

/// The secret that a client had before its last rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct FormerSecret {
    #[sqlx(rename = "former_secret_hash")]
    pub hash: Option<SecretHash>,
    /// It is good before this moment.
    #[sqlx(rename = "former_secret_until")]
    pub until: Option<Timestamp>,
}

impl FormerSecret {
    /// `hash` is good for another `keep`. It is kept after that: see [`FormerSecret::is_of`].
    pub fn kept(hash: Option<SecretHash>, keep: Duration, now: Timestamp) -> Self {
        let until = hash.as_ref().map(|_| now + keep);
        Self { hash, until }
    }

    /// Whether this is the secret that was replaced: a setting that still has it does not bring it back.
    pub fn is_of(&self, hash: Option<&SecretHash>) -> bool {
        hash.is_some() && self.hash.as_ref() == hash
    }

    /// The hash, while it is good.
    pub fn at(&self, now: Timestamp) -> Option<&SecretHash> {
        self.hash.as_ref().filter(|_| self.until.is_some_and(|until| now < until))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

/// Makes a secret up: to be shown once, and its hash to be kept.
pub fn make_up() -> (SecretString, SecretHash) {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    let secret = SecretString::from(URL_SAFE_NO_PAD.encode(bytes));
    let hash = SecretHash::of(secret.expose_secret());
    (secret, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_of_two_and_an_empty_one_is_none() {
        let [one, other] = ["one", "other"].map(SecretHash::of);
        for (hashes, secret, expected) in [
            ([Some(&one), Some(&other)], "one", true),
            ([Some(&one), Some(&other)], "other", true),
            ([Some(&one), None], "other", false),
            ([None, Some(&other)], "other", true),
            ([None, None], "", false),
            ([Some(&one), None], "", false),
        ] {
            assert_eq!(is_one_of(hashes, secret), expected, "{hashes:?} {secret}");
        }
    }

    #[test]
    fn a_former_secret_is_good_until_its_time_and_not_at_it() {
        let (hash, now) = (SecretHash::of("before"), Timestamp::from_seconds(100));
        let former = FormerSecret::kept(Some(hash.clone()), Duration::from_secs(10), now);
        assert_eq!(former.at(Timestamp::from_seconds(109)), Some(&hash));
        assert_eq!(former.at(Timestamp::from_seconds(110)), None);
        let at_once = FormerSecret::kept(Some(hash.clone()), Duration::ZERO, now);
        assert!(at_once.at(now).is_none() && at_once.is_of(Some(&hash)));
        let none = FormerSecret::kept(None, Duration::from_secs(10), now);
        assert!(none == FormerSecret::default() && !none.is_of(None));
    }

    #[test]
    fn a_secret_is_known_by_its_hash_and_no_other() {
        let ((one, one_hash), (other, _)) = (make_up(), make_up());
        assert_eq!(one.expose_secret().len(), 43);
        assert!(one_hash.is_of(one.expose_secret()));
        for wrong in [other.expose_secret(), "", &one.expose_secret()[..42]] {
            assert!(!one_hash.is_of(wrong));
        }
        assert!(!format!("{one_hash:?}{one:?}").contains(one.expose_secret()));
    }
}
