//! A client's public keys (RFC 7517): which may be registered, and what they prove. Rules only; a private or symmetric key
//! refuses the whole set, for whoever published it has lost it.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaParameters,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};
use utoipa::ToSchema;

const MAX_KEYS: usize = 16;
const MAX_KEY_ID: usize = 256;

/// How a client may sign its assertions (RFC 7518, section 3.1; RFC 8037). `none` and symmetric algorithms have no name
/// here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum AssertionAlg {
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "RS256")]
    Rs256,
}

impl AssertionAlg {
    pub const ALL: [Self; 4] = [Self::EdDsa, Self::Es256, Self::Ps256, Self::Rs256];

    /// As `alg` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    /// Names are case-sensitive (RFC 7515, section 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }
}

/// 1 to 16 public keys. Those that this service cannot use, for encryption or of another kind, are kept and never used.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object, example = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "1"}]}))]
pub struct PublicKeys(Value);

/// What is wrong with a set of keys. The text never quotes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    #[error("expected a JSON Web Key Set with 1 to {MAX_KEYS} keys")]
    Set,
    #[error("expected public keys only, found a private or symmetric one: it is no secret any more")]
    Private,
    #[error("expected RSA keys of 2048 to 8192 bits with the exponent 65537")]
    Weak,
    #[error("a key cannot be read: its members do not fit its kty and crv")]
    Unreadable,
    #[error("expected key ids that differ, of at most {MAX_KEY_ID} characters")]
    KeyId,
}

impl PublicKeys {
    /// # Errors
    /// What is wrong with it.
    pub fn read(set: Value) -> Result<Self, InvalidKeys> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(InvalidKeys::Set)?;
        if !(1..=MAX_KEYS).contains(&keys.len()) {
            return Err(InvalidKeys::Set);
        }
        let mut ids = Vec::new();
        for key in keys {
            let key = key.as_object().ok_or(InvalidKeys::Set)?;
            check(key)?;
            if let Some(id) = key.get("kid") {
                let id = id.as_str().filter(|id| !id.is_empty() && id.len() <= MAX_KEY_ID).ok_or(InvalidKeys::KeyId)?;
                if ids.contains(&id) {
                    return Err(InvalidKeys::KeyId);
                }
                ids.push(id);
            }
        }
        Ok(Self(set))
    }

    /// Whether one of the keys can sign, under that algorithm or any.
    pub fn can_sign(&self, alg: Option<AssertionAlg>) -> bool {
        let algs = alg.map_or(AssertionAlg::ALL.to_vec(), |alg| vec![alg]);
        algs.into_iter().any(|alg| self.candidates(alg, None).next().is_some())
    }

    /// Whether there is a key of that id, or any where the token names none.
    pub fn knows(&self, alg: AssertionAlg, key_id: Option<&str>) -> bool {
        self.candidates(alg, key_id).next().is_some()
    }

    /// Whether `signature` over `message` is by one of the keys: the one of that id, or any where the token names none.
    pub fn verify(&self, alg: AssertionAlg, key_id: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        self.candidates(alg, key_id).any(|key| match parse(key) {
            Ok(Some(key)) => key.verifies(alg, message, signature),
            _ => false,
        })
    }

    fn candidates<'a>(
        &'a self,
        alg: AssertionAlg,
        key_id: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Map<String, Value>> {
        let keys = self.0.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        keys.iter().filter_map(Value::as_object).filter(move |key| {
            let is_named = key_id.is_none_or(|id| text(key, "kid") == Some(id));
            // The key decides on the algorithm; the token may only agree.
            let fits = key.get("alg").is_none_or(|own| own == alg.as_str());
            is_named && fits && signs(key) && kind(key) == Some(kind_for(alg))
        })
    }
}

impl<'de> Deserialize<'de> for PublicKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519,
    P256,
    Rsa,
}

fn kind_for(alg: AssertionAlg) -> Kind {
    match alg {
        AssertionAlg::EdDsa => Kind::Ed25519,
        AssertionAlg::Es256 => Kind::P256,
        AssertionAlg::Ps256 | AssertionAlg::Rs256 => Kind::Rsa,
    }
}

fn kind(key: &Map<String, Value>) -> Option<Kind> {
    match (text(key, "kty")?, text(key, "crv")) {
        ("OKP", Some("Ed25519")) => Some(Kind::Ed25519),
        ("EC", Some("P-256")) => Some(Kind::P256),
        ("RSA", _) => Some(Kind::Rsa),
        _ => None,
    }
}

/// Whether the key is for signatures, as far as it says (RFC 7517, sections 4.2 and 4.3).
fn signs(key: &Map<String, Value>) -> bool {
    let purpose = key.get("use").is_none_or(|purpose| purpose == "sig");
    purpose && key.get("key_ops").and_then(Value::as_array).is_none_or(|ops| ops.iter().any(|op| op == "verify"))
}

fn text<'a>(key: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    key.get(member)?.as_str()
}

fn bytes(key: &Map<String, Value>, member: &str) -> Result<Vec<u8>, InvalidKeys> {
    let text = text(key, member).ok_or(InvalidKeys::Unreadable)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidKeys::Unreadable)
}

fn check(key: &Map<String, Value>) -> Result<(), InvalidKeys> {
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|member| key.contains_key(*member));
    match text(key, "kty") {
        _ if private => Err(InvalidKeys::Private),
        None => Err(InvalidKeys::Unreadable),
        Some("oct") => Err(InvalidKeys::Private),
        Some(_) => parse(key).map(|_| ()),
    }
}

enum ReadyKey {
    Point(ParsedPublicKey),
    Rsa(PublicKeyComponents<Vec<u8>>),
}

impl ReadyKey {
    fn verifies(&self, alg: AssertionAlg, message: &[u8], signature: &[u8]) -> bool {
        let with = |key: &PublicKeyComponents<Vec<u8>>, parameters: &RsaParameters| {
            key.verify(parameters, message, signature).is_ok()
        };
        match (self, alg) {
            (Self::Point(key), AssertionAlg::EdDsa | AssertionAlg::Es256) => key.verify_sig(message, signature).is_ok(),
            (Self::Rsa(key), AssertionAlg::Rs256) => with(key, &RSA_PKCS1_2048_8192_SHA256),
            (Self::Rsa(key), AssertionAlg::Ps256) => with(key, &RSA_PSS_2048_8192_SHA256),
            _ => false,
        }
    }
}

/// The key, or nothing where it is of a kind that is not used here.
fn parse(key: &Map<String, Value>) -> Result<Option<ReadyKey>, InvalidKeys> {
    let Some(kind) = kind(key) else { return Ok(None) };
    let unreadable = |_| InvalidKeys::Unreadable;
    Ok(Some(match kind {
        Kind::Ed25519 => {
            let x = bytes(key, "x")?;
            ReadyKey::Point(ParsedPublicKey::new(&ED25519, &x).map_err(unreadable)?)
        }
        Kind::P256 => {
            let (x, y) = (bytes(key, "x")?, bytes(key, "y")?);
            if (x.len(), y.len()) != (32, 32) {
                return Err(InvalidKeys::Unreadable);
            }
            let point = [&[4], &x[..], &y[..]].concat();
            ReadyKey::Point(ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(unreadable)?)
        }
        Kind::Rsa => {
            let (n, e) = (bytes(key, "n")?, bytes(key, "e")?);
            let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
            if n.first() == Some(&0) || n.last().is_none_or(|last| last.is_multiple_of(2)) {
                return Err(InvalidKeys::Unreadable);
            }
            if !(2048..=8192).contains(&bits) || e != [1, 0, 1] {
                return Err(InvalidKeys::Weak);
            }
            ReadyKey::Rsa(PublicKeyComponents { n, e })
        }
    }))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaKeyPair,
    };
    use serde_json::json;

    use super::*;

    fn encode(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn set(key: Value) -> Value {
        json!({ "keys": [key] })
    }

    fn rsa(pair: &RsaKeyPair) -> Value {
        let key = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        json!({"kty": "RSA", "n": encode(&key.n), "e": encode(&key.e), "kid": "r"})
    }

    fn rsa_pair(size: aws_lc_rs::rsa::KeySize) -> RsaKeyPair {
        RsaKeyPair::generate(size).expect("a key pair")
    }

    #[test]
    fn each_kind_of_key_proves_its_own_algorithm_only() {
        let ed = Ed25519KeyPair::generate().expect("a key pair");
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair");
        let rs = rsa_pair(aws_lc_rs::rsa::KeySize::Rsa2048);
        let point = ec.public_key().as_ref().to_vec();
        let keys = PublicKeys::read(json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "x": encode(ed.public_key().as_ref()), "kid": "e"},
            {"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]), "kid": "p"},
            rsa(&rs),
        ]}))
        .expect("good keys");
        let (message, random) = (b"message", SystemRandom::new());
        let mut rs256 = vec![0; rs.public_modulus_len()];
        let mut ps256 = rs256.clone();
        rs.sign(&RSA_PKCS1_SHA256, &random, message, &mut rs256).expect("a signature");
        rs.sign(&RSA_PSS_SHA256, &random, message, &mut ps256).expect("a signature");
        let es256 = ec.sign(&random, message).expect("a signature").as_ref().to_vec();
        let signed = [
            (AssertionAlg::EdDsa, "e", ed.sign(message).as_ref().to_vec()),
            (AssertionAlg::Es256, "p", es256),
            (AssertionAlg::Rs256, "r", rs256),
            (AssertionAlg::Ps256, "r", ps256),
        ];
        for (alg, id, signature) in &signed {
            assert!(keys.verify(*alg, Some(id), message, signature), "{alg:?}");
            assert!(keys.verify(*alg, None, message, signature), "{alg:?} without an id");
            assert!(!keys.verify(*alg, Some("other"), message, signature), "{alg:?} under another id");
            assert!(!keys.verify(*alg, Some(id), b"messagf", signature), "{alg:?} of another message");
            for (other, ..) in signed.iter().filter(|(other, ..)| other != alg) {
                assert!(!keys.verify(*other, None, message, signature), "{alg:?} as {other:?}");
            }
        }
    }

    #[test]
    fn a_key_that_names_its_use_or_algorithm_proves_no_other() {
        let pair = rsa_pair(aws_lc_rs::rsa::KeySize::Rsa2048);
        let with = |member: &str, value: Value| {
            let mut key = rsa(&pair);
            key[member] = value;
            PublicKeys::read(set(key)).expect("a good key")
        };
        assert!(with("alg", json!("RS256")).can_sign(Some(AssertionAlg::Rs256)));
        assert!(!with("alg", json!("RS256")).can_sign(Some(AssertionAlg::Ps256)));
        assert!(!with("alg", json!("RSA-OAEP")).can_sign(None));
        assert!(!with("use", json!("enc")).can_sign(None));
        assert!(!with("key_ops", json!(["encrypt"])).can_sign(None));
        assert!(with("use", json!("sig")).can_sign(None));
    }

    #[test]
    fn private_symmetric_weak_and_broken_keys_refuse_the_set() {
        let good = rsa(&rsa_pair(aws_lc_rs::rsa::KeySize::Rsa2048));
        let with = |member: &str, value: Value| {
            let mut key = good.clone();
            key[member] = value;
            key
        };
        let short = json!({"kty": "RSA", "n": encode(&[0xff; 128]), "e": "AQAB"});
        for (key, error) in [
            (with("d", json!("AA")), InvalidKeys::Private),
            (with("p", json!("")), InvalidKeys::Private),
            (json!({"kty": "oct", "k": "AA"}), InvalidKeys::Private),
            (json!({"kty": "oct"}), InvalidKeys::Private),
            (json!({"kty": "OKP", "crv": "X448", "d": "AA"}), InvalidKeys::Private),
            (short, InvalidKeys::Weak),
            (with("e", json!("Aw")), InvalidKeys::Weak),
            (with("n", json!("AA")), InvalidKeys::Unreadable),
            (with("n", json!("=")), InvalidKeys::Unreadable),
            (with("n", json!(7)), InvalidKeys::Unreadable),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}), InvalidKeys::Unreadable),
            (json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), InvalidKeys::Unreadable),
            (
                json!({"kty": "EC", "crv": "P-256", "x": encode(&[1; 32]), "y": encode(&[1; 32])}),
                InvalidKeys::Unreadable,
            ),
            (json!({}), InvalidKeys::Unreadable),
            (with("kid", json!("")), InvalidKeys::KeyId),
            (with("kid", json!("x".repeat(257))), InvalidKeys::KeyId),
            (with("kid", json!(7)), InvalidKeys::KeyId),
            (json!("key"), InvalidKeys::Set),
        ] {
            assert_eq!(PublicKeys::read(set(key.clone())), Err(error), "{key}");
        }
        let many = json!({"keys": vec![json!({"kty": "new"}); 17]});
        for odd in [json!({}), json!({"keys": []}), json!({"keys": {}}), json!([]), json!("x"), many] {
            assert_eq!(PublicKeys::read(odd.clone()), Err(InvalidKeys::Set), "{odd}");
        }
        assert_eq!(PublicKeys::read(json!({"keys": [good, good]})), Err(InvalidKeys::KeyId));
        assert!(PublicKeys::read(set(json!({"kty": "new"}))).is_ok_and(|keys| !keys.can_sign(None)));
    }
}
