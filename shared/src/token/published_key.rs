//! One published verification key (RFC 7517, section 4), read strictly and parsed once. Rules only.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use jsonwebtoken::DecodingKey;

use super::jwk::Jwk;
use super::{is_key_id, read_object};

/// How a key signs. Symmetric algorithms and `none` have no name here, so nothing can ask for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037, section 3.1).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4).
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3).
    Rs256,
}

impl Algorithm {
    pub(super) const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// As `alg` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    const fn of_jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }

    /// Whether `signature` (base64url) is that of `key` for `message`.
    pub(super) fn verifies(self, key: &DecodingKey, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, key, self.of_jsonwebtoken()).unwrap_or(false)
    }

    /// Names are case-sensitive (RFC 7515, section 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// What is wrong with a key. The text never quotes the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("its kid is missing, odd or not unique")]
    KeyId,
    #[error("its alg is missing or none of EdDSA, ES256, RS256")]
    Algorithm,
    #[error("its kty or crv does not fit its alg")]
    Type,
    #[error("its use or key_ops is not to verify signatures")]
    Use,
    #[error("it holds a private or symmetric key")]
    Private,
    #[error("it is too weak")]
    Weak,
    #[error("it is no key of its kind")]
    Invalid,
}

/// A public key of the issuer, ready to verify.
pub struct PublishedKey {
    id: String,
    algorithm: Algorithm,
    /// The key's numbers: what tells it from another under the same id.
    material: Vec<u8>,
    key: DecodingKey,
    withdrawn: AtomicBool,
}

impl PublishedKey {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it has left the key set. It never comes back: published again, it is another.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    pub(super) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        (&self.id, self.algorithm, &self.material) == (&other.id, other.algorithm, &other.material)
    }

    /// Whether `signature` (base64url) is this key's for `message`.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        self.algorithm.verifies(&self.key, message, signature)
    }

    /// Reads one JSON Web Key that stands alone.
    ///
    /// # Errors
    /// What is wrong with it; [`KeyFault::Invalid`] where it is no JSON object.
    pub fn from_jwk(json: &str) -> Result<Self, KeyFault> {
        Self::read(&read_object(json.as_bytes()).ok_or(KeyFault::Invalid)?)
    }

    pub(super) fn read(jwk: &Jwk) -> Result<Self, KeyFault> {
        jwk.is_public()?;
        let id = jwk.text("kid").filter(|id| is_key_id(id)).ok_or(KeyFault::KeyId)?;
        let algorithm = jwk.text("alg").and_then(Algorithm::from_name).ok_or(KeyFault::Algorithm)?;
        let (material, key) = jwk.verification_key(algorithm)?;
        Ok(Self { id: id.to_owned(), algorithm, material, key, withdrawn: AtomicBool::new(false) })
    }
}

impl fmt::Debug for PublishedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.algorithm.as_str(), self.id)
    }
}
