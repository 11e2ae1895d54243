//! Secrets that this service makes up for clients: 256 random bits, of which only the SHA-256 is kept. They need no slow
//! hash, for nobody can guess them.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

/// The shortest secret that an operator may choose: by hand, none is as good as one that is made up.
pub const SHORTEST_CHOSEN: usize = 32;

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
