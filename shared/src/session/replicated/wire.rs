//! What nodes say to each other, and how it is written (postcard). Owns the version of that form; never sends anything.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::stamp::Stamp;
use crate::clock::Timestamp;
use crate::session::{ClientGrant, LimitPolicy, Session, SessionId, SessionLimit, UserId};

/// Nodes with another one refuse each other.
pub(super) const VERSION: u16 = 1;

/// A frame that is longer is refused before it is read.
pub(super) const LONGEST_FRAME: usize = 4 * 1024 * 1024;

/// Asked by the node that has dialled, and answered one by one, in order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Hello(Hello),
    /// What has changed, in order.
    Changes {
        sent: i64,
        changes: Vec<Change>,
    },
    Digest,
    /// What stands in one bucket, from the `skip`th entry on.
    Bucket {
        number: u16,
        skip: u32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Welcome(Hello),
    /// The changes are made here.
    Taken,
    /// A number for each bucket: the same where both nodes hold the same. `since` is what the node remembers from.
    Digest {
        buckets: Vec<u64>,
        since: i64,
        joined: bool,
    },
    Page {
        entries: Vec<Change>,
        more: bool,
    },
}

/// The first word of each side.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: u16,
    pub(super) node: u64,
    /// The node's own clock, in microseconds.
    pub(super) time: i64,
}

/// A session id as [`SessionId::packed`].
pub(super) type Packed = [u8; 17];

/// Something that all nodes come to know. Taking one in twice, or before an earlier one, does no harm.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Change {
    /// The whole record: it began, or a node lacks it.
    Session(Box<Record>),
    Seen {
        id: Packed,
        at: i64,
    },
    Written {
        id: Packed,
        version: u64,
        fields: Vec<(String, Option<String>, Stamp)>,
    },
    /// Where a client's refresh tokens stand (generation, rotated at); nothing where they were taken back.
    Granted {
        id: Packed,
        client: String,
        family: Stamp,
        grant: Option<(u64, i64)>,
        seen: i64,
    },
    Ended {
        id: Packed,
        at: Stamp,
        until: i64,
    },
    /// All of a user's that began before `at`, known or not, have ended.
    EndedAll {
        user: u128,
        at: Stamp,
        except: Option<Packed>,
        until: i64,
    },
    TokenRevoked {
        token: u128,
        at: Stamp,
    },
}

/// A session, with the stamps that decide between two changes of one field. A field without a stamp of its own has that
/// of the beginning; a stamp without a field is one that was removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: Packed,
    user: u128,
    roles: Vec<String>,
    amr: Vec<String>,
    device: String,
    address: String,
    created_at: i64,
    last_seen_at: i64,
    idle_micros: u64,
    expires_at: i64,
    version: u64,
    clients: BTreeMap<String, (u64, i64)>,
    attributes: BTreeMap<String, String>,
    pub(super) begun: Stamp,
    limit: (u32, bool),
    pub(super) attribute_stamps: BTreeMap<String, Stamp>,
    pub(super) families: BTreeMap<String, Stamp>,
}

impl Record {
    pub(super) fn of(
        session: &Session,
        begun: Stamp,
        limit: SessionLimit,
        attribute_stamps: &BTreeMap<String, Stamp>,
        families: &BTreeMap<String, Stamp>,
    ) -> Self {
        let clients = session.clients.iter().map(|(name, grant)| (name.clone(), written(*grant)));
        Self {
            id: session.id.packed(),
            user: session.user.0.as_u128(),
            roles: session.roles.clone(),
            amr: session.amr.clone(),
            device: session.device.clone(),
            address: session.address.clone(),
            created_at: session.created_at.micros(),
            last_seen_at: session.last_seen_at.micros(),
            idle_micros: u64::try_from(session.idle.as_micros()).unwrap_or(u64::MAX),
            expires_at: session.expires_at.micros(),
            version: session.version,
            clients: clients.collect(),
            attributes: session.attributes.clone(),
            begun,
            limit: (limit.max, limit.policy == LimitPolicy::Refuse),
            attribute_stamps: attribute_stamps.clone(),
            families: families.clone(),
        }
    }

    pub(super) fn limit(&self) -> SessionLimit {
        let policy = if self.limit.1 { LimitPolicy::Refuse } else { LimitPolicy::EndOldest };
        SessionLimit { max: self.limit.0, policy }
    }

    /// Nothing where its id is none.
    pub(super) fn session(&self) -> Option<Session> {
        Some(Session {
            id: id_of(self.id)?,
            user: UserId(Uuid::from_u128(self.user)),
            roles: self.roles.clone(),
            amr: self.amr.clone(),
            device: self.device.clone(),
            address: self.address.clone(),
            created_at: Timestamp::from_micros(self.created_at),
            last_seen_at: Timestamp::from_micros(self.last_seen_at),
            idle: Duration::from_micros(self.idle_micros),
            expires_at: Timestamp::from_micros(self.expires_at),
            version: self.version,
            clients: self.clients.iter().map(|(name, grant)| (name.clone(), read(*grant))).collect(),
            attributes: self.attributes.clone(),
        })
    }
}

pub(super) fn written(grant: ClientGrant) -> (u64, i64) {
    (grant.generation, grant.rotated_at.micros())
}

pub(super) fn read((generation, rotated_at): (u64, i64)) -> ClientGrant {
    ClientGrant { generation, rotated_at: Timestamp::from_micros(rotated_at) }
}

/// Nothing where the partition is none.
pub(super) fn id_of(packed: Packed) -> Option<SessionId> {
    (packed[0] < SessionId::PARTITIONS).then(|| SessionId::unpacked(packed))
}

pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(message).expect("a message of plain values is written")
}

/// # Errors
/// The bytes are no such message.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> anyhow::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| anyhow::anyhow!("a message that cannot be read: {error}"))
}
