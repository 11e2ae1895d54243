//! The cluster's keys, and what each use derives of them. Whoever has one is a node; nobody else is understood.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::config::Setting;

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const MAX_KEYS: usize = 4;
/// The first byte of a sealed packet: another form would have another one.
const VERSION: u8 = 1;

/// `CLUSTER_KEY`: the first seals, all open.
#[derive(Clone)]
pub struct ClusterKeys(Arc<[Derived]>);

struct Derived {
    /// For packets of the membership.
    packets: RandomizedNonceKey,
    /// The pre-shared key of connections.
    connections: [u8; KEY_LEN],
}

/// The text is no list of cluster keys. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected 32 random bytes in base64 (`openssl rand -base64 32`), the same at all nodes, or up to {MAX_KEYS} such \
     keys with commas between"
)]
pub struct InvalidClusterKey;

impl ClusterKeys {
    /// # Errors
    /// The text is no list of keys.
    pub fn parse(text: &str) -> Result<Self, InvalidClusterKey> {
        let keys: Vec<_> =
            text.split(',').map(|key| parse_key(key).map(|key| derive(&key))).collect::<Result<_, _>>()?;
        if keys.len() > MAX_KEYS { Err(InvalidClusterKey) } else { Ok(Self(keys.into())) }
    }

    /// Seals a packet with the first key.
    pub(super) fn seal(&self, mut packet: Vec<u8>) -> Vec<u8> {
        let sealed = self.0[0].packets.seal_in_place_append_tag(Aad::from([VERSION]), &mut packet);
        let nonce = sealed.expect("AES-256-GCM seals a packet");
        [&[VERSION][..], nonce.as_ref(), &packet].concat()
    }

    /// What was sealed, or nothing where no key opens it.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).filter(|_| *version == VERSION)?;
        self.0.iter().find_map(|key| {
            let mut text = text.to_vec();
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let length = key.packets.open_in_place(nonce, Aad::from([VERSION]), &mut text).ok()?.len();
            text.truncate(length);
            Some(text)
        })
    }

    /// The pre-shared keys of connections, the one to dial with first.
    pub(super) fn of_connections(&self) -> impl Iterator<Item = &[u8; KEY_LEN]> {
        self.0.iter().map(|key| &key.connections)
    }
}

impl fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKeys({})", self.0.len())
    }
}

impl Setting for ClusterKeys {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.to_string())
    }

    fn stand_in(_: &str) -> Result<Self, String> {
        let mut key = [0; KEY_LEN];
        aws_lc_rs::rand::fill(&mut key).map_err(|error| error.to_string())?;
        <Self as Setting>::parse(&STANDARD.encode(key))
    }
}

struct Key;

impl KeyType for Key {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

fn derive(key: &[u8]) -> Derived {
    let extracted = Salt::new(HKDF_SHA256, b"roam cluster").extract(key);
    let expand = |purpose: &[u8]| {
        let mut derived = [0; KEY_LEN];
        let filled = extracted.expand(&[purpose], Key).and_then(|okm| okm.fill(&mut derived));
        filled.expect("32 bytes are fewer than HKDF's limit of 255 blocks");
        derived
    };
    let packets = RandomizedNonceKey::new(&AES_256_GCM, &expand(b"packets v1")).expect("the key has 32 bytes");
    Derived { packets, connections: expand(b"connections v1") }
}

fn parse_key(text: &str) -> Result<Vec<u8>, InvalidClusterKey> {
    let text = text.trim();
    let decoded =
        STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).or_else(|_| URL_SAFE_NO_PAD.decode(text));
    let bytes = decoded.ok().filter(|bytes| bytes.len() == KEY_LEN).ok_or(InvalidClusterKey)?;
    // A key of one repeated byte is a placeholder that somebody forgot.
    bytes.iter().any(|byte| *byte != bytes[0]).then_some(bytes).ok_or(InvalidClusterKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seeds: &[u8]) -> ClusterKeys {
        let key = |seed: &u8| STANDARD.encode((0..32).map(|step| seed.wrapping_add(step)).collect::<Vec<_>>());
        ClusterKeys::parse(&seeds.iter().map(key).collect::<Vec<_>>().join(",")).expect("keys")
    }

    #[test]
    fn a_packet_opens_with_any_key_of_the_ring_and_with_no_other() {
        let sealed = keys(&[1]).seal(b"syn".to_vec());
        assert_eq!(keys(&[2, 1]).open(&sealed).as_deref(), Some(&b"syn"[..]));
        assert_eq!(keys(&[2]).open(&sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(keys(&[1]).open(&changed), None, "byte {at} was changed");
        }
        assert_eq!(keys(&[1]).open(&sealed[..5]), None);
    }

    #[test]
    fn a_short_or_forgotten_key_is_refused() {
        for refused in ["", "AAAA", &STANDARD.encode([7; 32]), "not base64"] {
            assert!(ClusterKeys::parse(refused).is_err(), "{refused:?} was taken");
        }
    }
}
