//! One key pair, parsed once and kept: parsing it for each signature would cost almost as much again.

use std::str::FromStr;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretSlice};
use serde::Deserialize;
use serde_json::json;
use shared::config::Setting;
use utoipa::ToSchema;

/// How tokens are signed: the algorithms of the rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub enum SigningAlg {
    /// Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256 (RFC 7518, section 3.4).
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3), with 2048 bits: every OpenID client can verify it.
    #[serde(rename = "RS256")]
    Rs256,
}

impl SigningAlg {
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// Whether a start can wait for a key of it.
    pub(super) const fn is_made_quickly(self) -> bool {
        !matches!(self, Self::Rs256)
    }
}

/// The text names no algorithm that tokens are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected EdDSA, ES256 or RS256")]
pub struct UnknownAlg;

impl FromStr for SigningAlg {
    type Err = UnknownAlg;

    fn from_str(text: &str) -> Result<Self, UnknownAlg> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == text).ok_or(UnknownAlg)
    }
}

/// `SIGNING_ALG`: of access tokens.
impl Setting for SigningAlg {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(alg) => Ok(alg),
            Err(UnknownAlg) => Err(format!("expected EdDSA, ES256 or RS256, found {text:?}")),
        }
    }
}

pub(super) enum KeyPair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// The members of a public key.
enum PublicParts {
    Ed25519 { x: String },
    P256 { x: String, y: String },
    Rsa { n: String, e: String },
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends the next part of a token.
pub(super) fn append(token: &mut String, part: &[u8]) {
    token.reserve(1 + part.len().div_ceil(3) * 4);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(part, token);
}

impl KeyPair {
    /// Takes some tenths of a second for RSA.
    pub(super) fn generate(alg: SigningAlg) -> anyhow::Result<Self> {
        let pair = match alg {
            SigningAlg::EdDsa => Ed25519KeyPair::generate().map(Self::Ed25519),
            SigningAlg::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::P256),
            SigningAlg::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048).map(|pair| Self::Rsa(Box::new(pair))),
        };
        pair.ok().context("no key pair could be made")
    }

    pub(super) fn from_pkcs8(alg: &str, pkcs8: &SecretSlice<u8>) -> anyhow::Result<Self> {
        let pkcs8 = pkcs8.expose_secret();
        let pair = match alg.parse()? {
            SigningAlg::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).map(Self::Ed25519),
            SigningAlg::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Self::P256),
            SigningAlg::Rs256 => RsaKeyPair::from_pkcs8(pkcs8).map(|pair| Self::Rsa(Box::new(pair))),
        };
        pair.map_err(anyhow::Error::msg)
    }

    pub(super) fn to_pkcs8(&self) -> anyhow::Result<SecretSlice<u8>> {
        let bytes = match self {
            Self::Ed25519(pair) => pair.to_pkcs8().map(|document| document.as_ref().to_vec()),
            Self::P256(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Self::Rsa(pair) => pair.as_der().map(|document| document.as_ref().to_vec()),
        };
        Ok(bytes.ok().context("the private key could not be written")?.into())
    }

    pub(super) fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let signature = match self {
            Self::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
                signed.map(|()| signature)
            }
        };
        signature.ok().context("the token could not be signed")
    }

    /// A token's header, encoded.
    pub(super) fn header(&self, typ: &str, kid: &str) -> String {
        encode(json!({"alg": self.alg().as_str(), "kid": kid, "typ": typ}).to_string().as_bytes())
    }

    /// The public key as a JWK (RFC 7517; RFC 8037 for Ed25519).
    pub(super) fn public_jwk(&self, kid: &str) -> String {
        let (alg, usage) = (self.alg().as_str(), "sig");
        let jwk = match self.public_parts() {
            PublicParts::Ed25519 { x } => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": alg, "use": usage, "kid": kid})
            }
            PublicParts::P256 { x, y } => {
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": alg, "use": usage, "kid": kid})
            }
            PublicParts::Rsa { n, e } => json!({"kty": "RSA", "n": n, "e": e, "alg": alg, "use": usage, "kid": kid}),
        };
        jwk.to_string()
    }

    /// The public key's name (RFC 7638): SHA-256 of its required members, in the order of the alphabet, without blanks.
    pub(super) fn thumbprint(&self) -> String {
        let members = match self.public_parts() {
            PublicParts::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            PublicParts::P256 { x, y } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
            PublicParts::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        encode(digest(&SHA256, members.as_bytes()).as_ref())
    }

    fn alg(&self) -> SigningAlg {
        match self {
            Self::Ed25519(_) => SigningAlg::EdDsa,
            Self::P256(_) => SigningAlg::Es256,
            Self::Rsa(_) => SigningAlg::Rs256,
        }
    }

    fn public_parts(&self) -> PublicParts {
        match self {
            Self::Ed25519(pair) => PublicParts::Ed25519 { x: encode(pair.public_key().as_ref()) },
            Self::P256(pair) => {
                // An uncompressed point (SEC 1, section 2.3.3): 4, then 32 bytes each of x and y.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                PublicParts::P256 { x: encode(x), y: encode(y) }
            }
            Self::Rsa(pair) => {
                let key = pair.public_key();
                PublicParts::Rsa {
                    n: encode(key.modulus().big_endian_without_leading_zero()),
                    e: encode(key.exponent().big_endian_without_leading_zero()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::token::PublishedKey;

    use super::*;

    #[test]
    fn a_key_pair_comes_back_from_its_private_key() {
        for alg in SigningAlg::ALL {
            let pair = KeyPair::generate(alg).expect("a pair");
            let back = KeyPair::from_pkcs8(alg.as_str(), &pair.to_pkcs8().expect("PKCS#8")).expect("a pair");
            assert_eq!(back.thumbprint(), pair.thumbprint());
            let signature = encode(&back.sign(b"message").expect("a signature"));
            let published = PublishedKey::from_jwk(&pair.public_jwk("k")).expect("a key that services take");
            assert_eq!(published.algorithm().as_str(), alg.as_str());
            assert!(published.verifies(b"message", &signature), "{alg:?}");
            assert!(!published.verifies(b"massage", &signature), "{alg:?}");
        }
    }

    #[test]
    fn the_public_key_says_nothing_private() {
        for (alg, members) in [
            (SigningAlg::EdDsa, vec!["alg", "crv", "kid", "kty", "use", "x"]),
            (SigningAlg::Es256, vec!["alg", "crv", "kid", "kty", "use", "x", "y"]),
            (SigningAlg::Rs256, vec!["alg", "e", "kid", "kty", "n", "use"]),
        ] {
            let jwk = KeyPair::generate(alg).expect("a pair").public_jwk("k");
            let jwk: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&jwk).expect("JSON");
            let mut named: Vec<_> = jwk.keys().map(String::as_str).collect();
            named.sort_unstable();
            assert_eq!(named, members);
        }
    }

    #[test]
    fn access_tokens_are_signed_with_a_key_that_is_published() {
        for alg in SigningAlg::ALL {
            assert_eq!(SigningAlg::parse(alg.as_str()), Ok(alg));
        }
        for text in ["HS256", "none", "eddsa", ""] {
            assert!(SigningAlg::parse(text).is_err(), "{text}");
        }
        assert_eq!("none".parse::<SigningAlg>(), Err(UnknownAlg));
    }
}
