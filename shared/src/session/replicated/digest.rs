//! A number for each bucket of what a node holds, kept with every change: two nodes that hold the same have the same
//! numbers. Rules only.

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use super::wire::{Packed, encode};
use crate::session::SessionId;

/// Sessions and their ends are in 1024 buckets; then come revoked tokens, and users whose sessions have all ended.
pub(super) const TOKENS: u16 = 1024;
pub(super) const USERS: u16 = 1025;
const BUCKETS: usize = 1026;
/// So many per partition.
const PER_PARTITION: u16 = 64;

pub(super) struct Digest(Vec<u64>);

impl Digest {
    pub(super) fn new() -> Self {
        Self(vec![0; BUCKETS])
    }

    /// Puts an entry in, or takes it out: both are the same.
    pub(super) fn toggle(&mut self, bucket: u16, hash: u64) {
        self.0[usize::from(bucket)] ^= hash;
    }

    pub(super) fn buckets(&self) -> &[u64] {
        &self.0
    }

    /// The numbers of the buckets that differ from another node's.
    pub(super) fn differing(&self, theirs: &[u64]) -> Vec<u16> {
        let pairs = self.0.iter().zip(theirs).zip(0..);
        pairs.filter(|((ours, theirs), _)| ours != theirs).map(|(_, number)| number).collect()
    }
}

pub(super) fn bucket_of(id: SessionId) -> u16 {
    let packed = id.packed();
    u16::from(packed[0]) * PER_PARTITION + u16::from(packed[1] >> 2)
}

/// The ids that fall into a bucket, or nothing where it is none of sessions.
pub(super) fn ids_in(bucket: u16) -> Option<std::ops::RangeInclusive<SessionId>> {
    let partition = u8::try_from(bucket / PER_PARTITION).ok().filter(|partition| *partition < SessionId::PARTITIONS)?;
    let top = u8::try_from(bucket % PER_PARTITION).ok()? << 2;
    let (mut first, mut last): (Packed, Packed) = ([0; 17], [u8::MAX; 17]);
    (first[0], first[1]) = (partition, top);
    (last[0], last[1]) = (partition, top | 3);
    Some(SessionId::unpacked(first)..=SessionId::unpacked(last))
}

/// The same on every node for the same entry.
pub(super) fn hash_of(entry: &impl Serialize) -> u64 {
    let hash = digest(&SHA256, &encode(entry));
    u64::from_be_bytes(hash.as_ref()[..8].try_into().expect("SHA-256 has 32 bytes"))
}
