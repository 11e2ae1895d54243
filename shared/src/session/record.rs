//! The record of one login session, and its ids. Rules only.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::clock::Timestamp;

/// A user, as every service names them: the access token's `sub`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "database", derive(sqlx::Type), sqlx(transparent))]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(value_type = Uuid))]
#[serde(transparent)]
pub struct UserId(pub Uuid);

impl UserId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The partition, of [`SessionId::PARTITIONS`], that holds everything of this user's.
    pub fn partition(self) -> u8 {
        self.0.as_bytes()[15] % SessionId::PARTITIONS
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UserId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// A session's public name: in lists, in logs, in the access token's `sid`. It opens nothing by itself.
///
/// Text: the user's partition as a hexadecimal digit, then 128 random bits as 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    partition: u8,
    random: u128,
}

impl SessionId {
    /// How many partitions the sessions are spread over. Fixed: it is part of every id.
    pub const PARTITIONS: u8 = 16;

    /// A new id for a session of `user`.
    pub fn random_for(user: UserId) -> Self {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
        Self { partition: user.partition(), random: u128::from_be_bytes(bytes) }
    }

    pub fn partition(self) -> u8 {
        self.partition
    }

    /// Without the space that alignment would cost: so it is remembered when it is revoked.
    pub(super) fn packed(self) -> [u8; 17] {
        let mut packed = [self.partition; 17];
        packed[1..].copy_from_slice(&self.random.to_be_bytes());
        packed
    }

    pub(super) fn unpacked([partition, random @ ..]: [u8; 17]) -> Self {
        Self { partition, random: u128::from_be_bytes(random) }
    }
}

/// The text is no session id: another length, alphabet or partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session id")]
pub struct InvalidSessionId;

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        let (partition, random) = text.split_at_checked(1).ok_or(InvalidSessionId)?;
        let mut bytes = [0; 16];
        let length = URL_SAFE_NO_PAD.decode_slice(random, &mut bytes).map_err(|_| InvalidSessionId)?;
        let partition = u8::from_str_radix(partition, 16).map_err(|_| InvalidSessionId)?;
        let id = Self { partition, random: u128::from_be_bytes(bytes) };
        // One session has one text: capitals in the partition are refused.
        (length == 16 && id.to_string() == text).then_some(id).ok_or(InvalidSessionId)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}{}", self.partition, URL_SAFE_NO_PAD.encode(self.random.to_be_bytes()))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "server")]
impl utoipa::PartialSchema for SessionId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .pattern(Some("^[0-9a-f][A-Za-z0-9_-]{22}$"))
            .examples(["7Zk1rV0b3T2aJmWqXh5nLxA"])
            .into()
    }
}

#[cfg(feature = "server")]
impl utoipa::ToSchema for SessionId {}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What a service keeps in a session beside the login itself: short texts by name.
pub type Attributes = BTreeMap<String, String>;

/// The attribute with the hash of the secret in the session's cookie.
const COOKIE_HASH: &str = "cookie";
/// The attribute with the time of the last proof, where that was not the first: in microseconds.
const AUTHENTICATED_AT: &str = "authenticated_at";

/// The attribute with the epoch: 32 hexadecimal digits.
const EPOCH: &str = "epoch";

/// The attribute by which a cookie with this secret opens a session: the SHA-256 alone, so that whoever reads the store
/// has no cookie.
pub fn cookie_attribute(secret: &str) -> (String, String) {
    (COOKIE_HASH.to_owned(), hash_of(secret))
}

/// The attribute with the epoch of the session's user: revoking that ends all sessions that have it, where nobody keeps
/// them.
pub fn epoch_attribute(epoch: u128) -> (String, String) {
    (EPOCH.to_owned(), format!("{epoch:032x}"))
}

/// The epoch of the user in what a session remembers, where there is one.
pub(crate) fn epoch_of(attributes: &Attributes) -> Option<u128> {
    u128::from_str_radix(attributes.get(EPOCH)?, 16).ok()
}

/// The attribute that says when the user proved again who they are.
pub fn authenticated_again(at: Timestamp) -> (String, String) {
    (AUTHENTICATED_AT.to_owned(), at.micros().to_string())
}

fn hash_of(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()))
}

/// Where one client's refresh tokens stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientGrant {
    /// The newest refresh token's generation; the first is 1.
    pub generation: u64,
    pub rotated_at: Timestamp,
}

/// A login that is about to become a session.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub user: UserId,
    /// The client that gets the first refresh token.
    pub client: String,
    pub roles: Vec<String>,
    /// Authentication methods (RFC 8176): `pwd`.
    pub amr: Vec<String>,
    /// What the user calls the device, or what its browser is: at most 64 bytes (a longer value would triple the
    /// memory that Redis takes for the session).
    pub device: String,
    pub address: String,
    pub attributes: Attributes,
    /// How long it may stay unseen.
    pub idle: Duration,
    /// How long it lives at the most.
    pub absolute: Duration,
}

impl NewSession {
    /// No value is longer than this: Redis takes three times the memory for a record with a longer one.
    const LONGEST: usize = 64;
    /// Longer than any login, and still a number that a script counts with.
    const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 86_400);

    /// The same with every value in its bounds: both stores begin with it.
    pub(super) fn bounded(mut self) -> Self {
        for text in [&mut self.device, &mut self.address] {
            text.truncate(text.floor_char_boundary(Self::LONGEST));
        }
        self.idle = self.idle.min(Self::LONGEST_LIFE);
        self.absolute = self.absolute.min(Self::LONGEST_LIFE);
        self
    }
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    pub roles: Vec<String>,
    pub amr: Vec<String>,
    pub device: String,
    pub address: String,
    /// When the user signed in.
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub idle: Duration,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// Counts the writes of attributes, from 0.
    pub version: u64,
    pub clients: BTreeMap<String, ClientGrant>,
    pub attributes: Attributes,
}

impl Session {
    /// When it ends if it is not seen again.
    pub fn ends_at(&self) -> Timestamp {
        self.expires_at.min(self.last_seen_at + self.idle)
    }

    /// When the user last proved who they are.
    pub fn auth_time(&self) -> Timestamp {
        let again = self.attributes.get(AUTHENTICATED_AT).and_then(|text| text.parse().ok());
        again.map_or(self.created_at, Timestamp::from_micros)
    }

    /// Whether its cookie has this secret. One that has no cookie is opened by none.
    pub fn is_opened_by(&self, secret: &str) -> bool {
        let Some(hash) = self.attributes.get(COOKIE_HASH) else { return false };
        verify_slices_are_equal(hash.as_bytes(), hash_of(secret).as_bytes()).is_ok()
    }

    /// Whether a cookie opens it.
    pub fn has_cookie(&self) -> bool {
        self.attributes.contains_key(COOKIE_HASH)
    }

    /// Whether it is time to write down that it was seen: a write for each request would cost more than it tells.
    pub fn touch_is_due(&self, now: Timestamp) -> bool {
        now.since(self.last_seen_at) >= self.idle / 30
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_comes_back_from_its_text() {
        let id = SessionId::random_for(UserId::random());
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 23);
    }

    #[test]
    fn a_session_is_opened_by_its_cookies_secret_alone() {
        let now = Timestamp::from_seconds(1_000);
        let session = |attributes: Attributes| Session {
            id: SessionId::random_for(UserId::random()),
            user: UserId::random(),
            roles: Vec::new(),
            amr: Vec::new(),
            device: String::new(),
            address: String::new(),
            created_at: now,
            last_seen_at: now,
            idle: Duration::from_secs(60),
            expires_at: now + Duration::from_secs(600),
            version: 0,
            clients: BTreeMap::new(),
            attributes,
        };
        let opened = session([cookie_attribute("secret")].into());
        assert!(opened.is_opened_by("secret") && !opened.is_opened_by("Secret") && !opened.is_opened_by(""));
        let without = session(Attributes::new());
        assert!(!without.is_opened_by("") && !without.has_cookie() && opened.has_cookie());
        let again = now + Duration::from_secs(5);
        assert_eq!(opened.auth_time(), now);
        assert_eq!(session([authenticated_again(again)].into()).auth_time(), again);
    }

    #[test]
    fn no_other_text_is_a_session_id() {
        let good = SessionId::random_for(UserId(Uuid::from_u128(0xb))).to_string();
        let capital = format!("B{}", &good[1..]);
        let long = format!("{good}A");
        for refused in ["", "b", "*", &good[1..], &good[..22], &capital, &long, "gAAAAAAAAAAAAAAAAAAAAAA", "é", "\u{0}"]
        {
            assert_eq!(refused.parse::<SessionId>(), Err(InvalidSessionId), "{refused:?} was taken");
        }
    }
}
