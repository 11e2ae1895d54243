//! Secrets that must be read back, sealed with a key from outside the database (AES-256-GCM). Owns the master keys and
//! what is derived from them; never stores or prints one.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

const KEY_LEN: usize = 32;

/// The master keys: the first seals, all open. So a new one is put in front, and the old one is taken out once nothing
/// is sealed with it any more.
pub struct MasterKeys(Vec<SecretSlice<u8>>);

/// The text is no list of master keys. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 random bytes in base64 (`openssl rand -base64 32`), or several such keys with commas between")]
pub struct InvalidMasterKey;

/// What was sealed, and whether the first key opened it; if not, it is time to seal it anew.
pub struct Opened {
    pub secret: SecretSlice<u8>,
    pub by_first_key: bool,
}

/// None of the master keys opens it: it was sealed with another, for another purpose, or changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no master key opens it")]
pub struct CannotOpen;

struct DerivedKey;

impl KeyType for DerivedKey {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

impl MasterKeys {
    /// # Errors
    /// The text is no list of keys.
    pub fn parse(text: &SecretString) -> Result<Self, InvalidMasterKey> {
        let keys: Vec<SecretSlice<u8>> = text.expose_secret().split(',').map(parse_key).collect::<Result<_, _>>()?;
        Ok(Self(keys))
    }

    /// A key for one purpose from each master key, the first one's first. One purpose's key tells nothing of another's.
    pub fn derive(&self, purpose: &'static str) -> impl Iterator<Item = [u8; KEY_LEN]> {
        self.0.iter().map(move |key| {
            let extracted = Salt::new(HKDF_SHA256, b"roam master key v1").extract(key.expose_secret());
            let mut derived = [0; KEY_LEN];
            let info = [purpose.as_bytes()];
            let expanded = extracted.expand(&info, DerivedKey).and_then(|okm| okm.fill(&mut derived));
            expanded.expect("32 bytes are fewer than HKDF's limit of 255 blocks");
            derived
        })
    }

    /// Seals with the first key: nonce, ciphertext, tag. `context` names what it is; it is not kept, and
    /// [`MasterKeys::open`] needs the same.
    pub fn seal(&self, context: &str, secret: &[u8]) -> Vec<u8> {
        let key = self.sealing_keys().next().expect("there is at least one master key");
        let mut text = secret.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut text);
        let mut sealed = nonce.expect("AES-256-GCM seals a short text").as_ref().to_vec();
        sealed.extend_from_slice(&text);
        sealed
    }

    /// # Errors
    /// No key opens it.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Opened, CannotOpen> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(CannotOpen)?;
        self.sealing_keys()
            .enumerate()
            .find_map(|(place, key)| {
                let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
                let mut text = text.to_vec();
                let length = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut text).ok()?.len();
                text.truncate(length);
                Some(Opened { secret: text.into(), by_first_key: place == 0 })
            })
            .ok_or(CannotOpen)
    }

    fn sealing_keys(&self) -> impl Iterator<Item = RandomizedNonceKey> {
        self.derive("seal").map(|key| RandomizedNonceKey::new(&AES_256_GCM, &key).expect("the key has 32 bytes"))
    }
}

fn parse_key(text: &str) -> Result<SecretSlice<u8>, InvalidMasterKey> {
    let text = text.trim();
    let decoded =
        STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).or_else(|_| URL_SAFE_NO_PAD.decode(text));
    let bytes = decoded.ok().filter(|bytes| bytes.len() == KEY_LEN).ok_or(InvalidMasterKey)?;
    // A key of one repeated byte is a placeholder that was never replaced.
    bytes.iter().any(|byte| *byte != bytes[0]).then(|| bytes.into()).ok_or(InvalidMasterKey)
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seeds: &[u8]) -> MasterKeys {
        let key = |seed: &u8| STANDARD.encode((0..32).map(|step| seed.wrapping_add(step)).collect::<Vec<_>>());
        let text = seeds.iter().map(key).collect::<Vec<_>>().join(",");
        MasterKeys::parse(&text.into()).expect("keys")
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_context() {
        let sealed = keys(&[1]).seal("signing key a", b"secret");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let opened =
            |keys: MasterKeys, context| keys.open(context, &sealed).map(|it| it.secret.expose_secret().to_vec());
        assert_eq!(opened(keys(&[1]), "signing key a"), Ok(b"secret".to_vec()));
        assert_eq!(opened(keys(&[2]), "signing key a"), Err(CannotOpen));
        assert_eq!(opened(keys(&[1]), "signing key b"), Err(CannotOpen));
    }

    #[test]
    fn a_new_master_key_in_front_still_opens_the_old_ones() {
        let sealed = keys(&[1]).seal("a", b"secret");
        assert!(keys(&[2, 1]).open("a", &sealed).is_ok_and(|opened| !opened.by_first_key));
        let sealed = keys(&[2, 1]).seal("a", b"secret");
        assert!(keys(&[1]).open("a", &sealed).is_err(), "the first key seals");
    }

    #[test]
    fn a_changed_byte_does_not_open() {
        let keys = keys(&[1]);
        let sealed = keys.seal("a", b"secret");
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(keys.open("a", &changed).is_err(), "byte {place}");
        }
        assert!(keys.open("a", &[]).is_err());
    }

    #[test]
    fn a_key_has_thirty_two_bytes() {
        let zeros = STANDARD.encode([0; 32]);
        for refused in ["", "secret", ",", &STANDARD.encode([7; 31]), &zeros] {
            assert_eq!(MasterKeys::parse(&refused.into()).err(), Some(InvalidMasterKey), "{refused:?} was taken");
        }
    }
}
