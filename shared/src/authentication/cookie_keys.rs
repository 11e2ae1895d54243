//! What a browser keeps for the service without being able to read or change it (AES-256-GCM). Owns the keys and the
//! sealed form; never decides what a cookie means.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use crate::config::Setting;

const KEY_LEN: usize = 32;
const SALT_LEN: usize = 16;
/// The first byte of everything sealed: another form would have another one.
const VERSION: u8 = 1;
/// More keys than a rotation needs would only cost time on every forged cookie.
const MAX_KEYS: usize = 4;

/// The keys of the sealed cookies: the first seals, all open. So a new one is put in front, and the old one is taken out
/// once no browser has a cookie of it any more.
#[derive(Clone)]
pub struct CookieKeys(Arc<[SecretSlice<u8>]>);

/// The text is no list of cookie keys. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected 32 random bytes in base64 (`openssl rand -base64 32`), or up to {MAX_KEYS} such keys with commas between"
)]
pub struct InvalidCookieKey;

struct KeyAndNonce;

impl KeyType for KeyAndNonce {
    fn len(&self) -> usize {
        KEY_LEN + NONCE_LEN
    }
}

impl CookieKeys {
    /// # Errors
    /// The text is no list of keys.
    pub fn parse(text: &SecretString) -> Result<Self, InvalidCookieKey> {
        let keys: Vec<SecretSlice<u8>> = text.expose_secret().split(',').map(parse_key).collect::<Result<_, _>>()?;
        if keys.len() > MAX_KEYS { Err(InvalidCookieKey) } else { Ok(Self(keys.into())) }
    }

    /// A key that ends with the process: for one that embeds a service, and for tests.
    pub fn random() -> Self {
        let mut key = vec![0; KEY_LEN];
        aws_lc_rs::rand::fill(&mut key).expect("the system gives random bytes");
        Self([key.into()].into())
    }

    /// Keys that were derived from others; at least one.
    pub fn of(keys: impl Iterator<Item = [u8; KEY_LEN]>) -> Self {
        Self(keys.map(|key| key.to_vec().into()).collect())
    }

    /// Seals with the first key, as base64url. `context` names what it is; it is not kept, and [`CookieKeys::open`] needs
    /// the same.
    ///
    /// Each text has a key and a nonce of its own, derived from a random salt: under one key, random nonces of 96 bits
    /// would be exhausted after 2^32 cookies, which is some weeks of a large shop.
    pub fn seal(&self, context: &str, text: &[u8]) -> String {
        let mut salt = [0; SALT_LEN];
        aws_lc_rs::rand::fill(&mut salt).expect("the system gives random bytes");
        let (key, nonce) = derive(&self.0[0], &salt);
        let mut sealed = text.to_vec();
        let done = key.seal_in_place_append_tag(nonce, Aad::from(context.as_bytes()), &mut sealed);
        done.expect("AES-256-GCM seals a short text");
        URL_SAFE_NO_PAD.encode([&[VERSION][..], &salt, &sealed].concat())
    }

    /// What was sealed, or nothing where no key opens it: it was sealed with another key, for another context, or changed.
    pub fn open(&self, context: &str, sealed: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (salt, text) = rest.split_at_checked(SALT_LEN).filter(|_| *version == VERSION)?;
        self.0.iter().find_map(|key| {
            let (key, nonce) = derive(key, salt);
            let mut text = text.to_vec();
            let length = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut text).ok()?.len();
            text.truncate(length);
            Some(text)
        })
    }
}

fn derive(key: &SecretSlice<u8>, salt: &[u8]) -> (LessSafeKey, Nonce) {
    let extracted = Salt::new(HKDF_SHA256, salt).extract(key.expose_secret());
    let mut derived = [0; KEY_LEN + NONCE_LEN];
    let expanded = extracted.expand(&[b"roam sealed cookie v1"], KeyAndNonce).and_then(|okm| okm.fill(&mut derived));
    expanded.expect("44 bytes are fewer than HKDF's limit of 255 blocks");
    let (key, nonce) = derived.split_at(KEY_LEN);
    let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
    (LessSafeKey::new(key), Nonce::try_assume_unique_for_key(nonce).expect("the nonce has 12 bytes"))
}

fn parse_key(text: &str) -> Result<SecretSlice<u8>, InvalidCookieKey> {
    let text = text.trim();
    let decoded =
        STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).or_else(|_| URL_SAFE_NO_PAD.decode(text));
    let bytes = decoded.ok().filter(|bytes| bytes.len() == KEY_LEN).ok_or(InvalidCookieKey)?;
    // A key of one repeated byte is a placeholder that was never replaced.
    bytes.iter().any(|byte| *byte != bytes[0]).then(|| bytes.into()).ok_or(InvalidCookieKey)
}

impl Setting for CookieKeys {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(&text.into()).map_err(|error| error.to_string())
    }

    fn stand_in(_: &str) -> Result<Self, String> {
        Ok(Self::random())
    }
}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seeds: &[u8]) -> CookieKeys {
        let key = |seed: &u8| STANDARD.encode((0..32).map(|step| seed.wrapping_add(step)).collect::<Vec<_>>());
        let text = seeds.iter().map(key).collect::<Vec<_>>().join(",");
        CookieKeys::parse(&text.into()).expect("keys")
    }

    #[test]
    fn a_cookie_opens_with_the_same_key_and_under_the_same_name_only() {
        let sealed = keys(&[1]).seal("cart_session", b"secret");
        assert_eq!(keys(&[1]).open("cart_session", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(keys(&[2]).open("cart_session", &sealed), None);
        assert_eq!(keys(&[1]).open("order_session", &sealed), None);
        assert_ne!(sealed, keys(&[1]).seal("cart_session", b"secret"), "the same text twice is not the same cookie");
    }

    #[test]
    fn a_new_key_in_front_still_opens_the_cookies_of_the_old_one() {
        let old = keys(&[1]).seal("c", b"secret");
        assert!(keys(&[2, 1]).open("c", &old).is_some());
        assert!(keys(&[1]).open("c", &keys(&[2, 1]).seal("c", b"secret")).is_none(), "the first key seals");
    }

    #[test]
    fn in_the_documented_order_each_replica_opens_what_the_others_seal_while_a_step_is_rolled_out() {
        let opens_at_both = |steps: &[&[u8]]| {
            let pair_of_steps = |pair: &[&[u8]]| {
                let [before, after] = [keys(pair[0]), keys(pair[1])];
                let cookies = [before.seal("c", b"secret"), after.seal("c", b"secret")];
                cookies.iter().all(|cookie| before.open("c", cookie).is_some() && after.open("c", cookie).is_some())
            };
            steps.windows(2).all(pair_of_steps)
        };
        assert!(opens_at_both(&[&[1], &[1, 2], &[2, 1]]), "behind first, then in front");
        assert!(!opens_at_both(&[&[1], &[2, 1]]), "in front at once signs people out where it is not known yet");
        assert!(opens_at_both(&[&[2, 1], &[2]]), "then nobody seals with the old one any more");
        let of_before = keys(&[1, 2]).seal("c", b"secret");
        assert!(keys(&[2]).open("c", &of_before).is_none(), "so the old one stays as long as its cookies live");
    }

    #[test]
    fn a_changed_or_cut_cookie_does_not_open() {
        let keys = keys(&[1]);
        let sealed = keys.seal("c", b"secret");
        for place in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("text");
            assert!(keys.open("c", &changed).is_none(), "character {place}");
            assert!(keys.open("c", &sealed[..place]).is_none(), "cut at {place}");
        }
    }

    #[test]
    fn a_key_has_thirty_two_bytes_and_there_are_few() {
        let (short, zeros) = (STANDARD.encode([7; 31]), STANDARD.encode([0; 32]));
        for refused in ["", "secret", ",", &short, &zeros] {
            assert_eq!(CookieKeys::parse(&refused.into()).err(), Some(InvalidCookieKey), "{refused:?} was taken");
        }
        let key = STANDARD.encode((0..32).collect::<Vec<u8>>());
        assert!(CookieKeys::parse(&[key.as_str(); 4].join(",").into()).is_ok());
        assert!(CookieKeys::parse(&[key.as_str(); 5].join(",").into()).is_err());
    }
}
