//! A JSON Web Key (RFC 7517, section 4), read strictly: which key it is, and that it is sound. Rules only.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{Algorithm, KeyFault, Thumbprint};

/// The members of a JSON Web Key. Those that are not understood are ignored (RFC 7517, section 4); one given twice is
/// refused.
pub(super) struct Jwk(BTreeMap<String, Value>);

impl Jwk {
    pub(super) fn text(&self, member: &str) -> Option<&str> {
        self.0.get(member)?.as_str()
    }

    /// # Errors
    /// [`KeyFault::Private`]: it holds what nobody may be told.
    pub(super) fn is_public(&self) -> Result<(), KeyFault> {
        let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        let holds_private = private.iter().any(|member| self.0.contains_key(*member));
        if holds_private { Err(KeyFault::Private) } else { Ok(()) }
    }

    /// The key's numbers, and the key ready to verify signatures of that algorithm.
    ///
    /// # Errors
    /// It is for something else, weak, or no key.
    pub(super) fn verification_key(&self, algorithm: Algorithm) -> Result<(Vec<u8>, DecodingKey), KeyFault> {
        let for_signatures = self.0.get("use").is_none_or(|purpose| purpose == "sig");
        let to_verify = self.0.get("key_ops").is_none_or(|ops| ops.as_array().is_some_and(|ops| *ops == ["verify"]));
        if !for_signatures || !to_verify {
            return Err(KeyFault::Use);
        }
        match (algorithm, self.text("kty"), self.text("crv")) {
            (Algorithm::EdDsa, Some("OKP"), Some("Ed25519")) => self.ed25519(),
            (Algorithm::Es256, Some("EC"), Some("P-256")) => self.p256(),
            (Algorithm::Rs256, Some("RSA"), None) => self.rsa(),
            _ => Err(KeyFault::Type),
        }
    }

    /// The name of a key that [`Jwk::verification_key`] has read: SHA-256 of its required members, in the order of the
    /// alphabet, without blanks (RFC 7638, section 3). Their texts are base64url in its one spelling.
    pub(super) fn thumbprint(&self, algorithm: Algorithm) -> Thumbprint {
        let text = |member| self.text(member).unwrap_or_default();
        let members = match algorithm {
            Algorithm::EdDsa => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text("x")),
            Algorithm::Es256 => format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y")),
            Algorithm::Rs256 => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text("e"), text("n")),
        };
        Thumbprint::of(members.as_bytes())
    }

    fn bytes(&self, member: &str) -> Result<Vec<u8>, KeyFault> {
        let text = self.text(member).ok_or(KeyFault::Invalid)?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFault::Invalid)
    }

    fn ed25519(&self) -> Result<(Vec<u8>, DecodingKey), KeyFault> {
        let x = self.bytes("x")?;
        if x.len() != 32 {
            return Err(KeyFault::Invalid);
        }
        if is_small_order(&x) {
            return Err(KeyFault::Weak);
        }
        ParsedPublicKey::new(&ED25519, &x).map_err(|_| KeyFault::Invalid)?;
        let key = DecodingKey::from_ed_components(self.text("x").unwrap_or_default());
        Ok((x, key.map_err(|_| KeyFault::Invalid)?))
    }

    fn p256(&self) -> Result<(Vec<u8>, DecodingKey), KeyFault> {
        let (x, y) = (self.bytes("x")?, self.bytes("y")?);
        if (x.len(), y.len()) != (32, 32) {
            return Err(KeyFault::Invalid);
        }
        let point = [&[4], &x[..], &y[..]].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| KeyFault::Invalid)?;
        let (x, y) = (self.text("x").unwrap_or_default(), self.text("y").unwrap_or_default());
        let key = DecodingKey::from_ec_components(x, y);
        Ok((point, key.map_err(|_| KeyFault::Invalid)?))
    }

    fn rsa(&self) -> Result<(Vec<u8>, DecodingKey), KeyFault> {
        let (n, e) = (self.bytes("n")?, self.bytes("e")?);
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if n.first() == Some(&0) || n.last().is_none_or(|last| last % 2 == 0) || bits > 8192 {
            return Err(KeyFault::Invalid);
        }
        // Smaller exponents are within the standard, and forgiving of careless padding checks.
        if bits < 2048 || e != [1, 0, 1] {
            return Err(KeyFault::Weak);
        }
        let key = DecodingKey::from_rsa_raw_components(&n, &e);
        Ok((n, key))
    }
}

/// Whether a point is of order 1, 2, 4 or 8, in any of its encodings: under such a key anybody can sign.
fn is_small_order(x: &[u8]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let [first, middle @ .., last] = x else { return true };
    let last = last & 0x7f;
    // y = 0 and 1, and -1, 0 and 1 written as p - 1, p and p + 1, where p = 2^255 - 19.
    let near_zero = *first <= 1 && last == 0 && middle.iter().all(|byte| *byte == 0);
    let near_p = (0xec..=0xee).contains(first) && last == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    let of_order_8 = |point: &[u8; 32]| x[..31] == point[..31] && last == point[31];
    near_zero || near_p || ORDER_8.iter().any(of_order_8)
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Jwk;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON Web Key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Jwk, A::Error> {
                let mut read = BTreeMap::new();
                while let Some((name, value)) = members.next_entry()? {
                    if read.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member is given twice"));
                    }
                }
                Ok(Jwk(read))
            }
        }

        deserializer.deserialize_map(Members)
    }
}
