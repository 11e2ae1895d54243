//! Keys that sign, as an issuer has them, and the tokens that they sign, down to each byte.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) enum Pair {
    Ed(Ed25519KeyPair),
    Es(EcdsaKeyPair),
    Rs(RsaKeyPair),
}

/// A key of an issuer, private half and all.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) pair: Pair,
}

impl Key {
    pub(crate) fn ed(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(crate) fn es(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Es(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()) }
    }

    pub(crate) fn rs(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Rs(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub(crate) fn alg(&self) -> &'static str {
        match &self.pair {
            Pair::Ed(_) => "EdDSA",
            Pair::Es(_) => "ES256",
            Pair::Rs(_) => "RS256",
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let (id, alg) = (&self.id, self.alg());
        match &self.pair {
            Pair::Ed(pair) => {
                let x = b64(pair.public_key());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "alg": alg, "use": "sig"})
            }
            Pair::Es(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id, "alg": alg, "use": "sig"})
            }
            Pair::Rs(pair) => {
                let n = b64(pair.public_key().modulus().big_endian_without_leading_zero());
                json!({"kty": "RSA", "n": n, "e": "AQAB", "kid": id, "alg": alg, "use": "sig"})
            }
        }
    }

    /// The public key as DER (SubjectPublicKeyInfo).
    pub(crate) fn der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Ed(pair) => pair.public_key().as_der().unwrap(),
            Pair::Es(pair) => pair.public_key().as_der().unwrap(),
            Pair::Rs(pair) => pair.public_key().as_der().unwrap(),
        };
        der.as_ref().to_vec()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Es(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Rs(_) => self.sign_rsa(&RSA_PKCS1_SHA256, message),
        }
    }

    pub(crate) fn sign_rsa(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let Pair::Rs(pair) = &self.pair else { panic!("{} is no RSA key", self.id) };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.alg(), "typ": "at+jwt", "kid": self.id})
    }

    /// An access token as it should be.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.signed(&self.header().to_string(), &claims.to_string())
    }

    /// A good signature over any header and payload, byte for byte.
    pub(crate) fn signed(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(payload));
        let signature = b64(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

pub(crate) fn key_set(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}
