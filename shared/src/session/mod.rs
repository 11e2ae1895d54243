//! What the server remembers of a login. Owns the record, the store's contract and the revocations that a service
//! follows; never looks into a token, and never enumerates keys.

mod memory;
mod none;
mod record;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "replicated")]
mod replicated;
mod revocations;
mod table;

use std::time::Duration;

use async_trait::async_trait;

pub use self::memory::MemorySessionStore;
pub use self::none::{DenyList, Endings, NoSessionStore};
pub(crate) use self::record::epoch_of;
pub use self::record::{
    Attributes, ClientGrant, InvalidSessionId, NewSession, Session, SessionId, UserId, authenticated_again,
    cookie_attribute, epoch_attribute,
};
#[cfg(feature = "redis")]
pub use self::redis::{AttributeKeys, RedisSessionStore};
#[cfg(feature = "replicated")]
pub use self::replicated::{ClusterKeys, ClusterWrite, ReplicatedConfig, ReplicatedSessionStore};
pub use self::revocations::{Revocations, follow};
use crate::arrival::TooLate;
use crate::clock::Timestamp;
use crate::ration::Ration;
use crate::token::PLATFORM_CLIENT;

/// The store does not answer, or answers what it should not. Nothing is known of what it kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the session store does not answer: {0}")]
pub struct StoreUnavailable(pub String);

impl From<TooLate> for StoreUnavailable {
    fn from(late: TooLate) -> Self {
        Self(format!("it was not asked: {late}"))
    }
}

impl From<StoreUnavailable> for crate::problem::Problem {
    fn from(error: StoreUnavailable) -> Self {
        Self::unavailable("the session store", error)
    }
}

/// How many sessions a user may have at once, and what happens to one too many.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimit {
    /// At least one: nought counts as one.
    pub max: u32,
    pub policy: LimitPolicy,
}

/// `SESSION_LIMIT_POLICY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitPolicy {
    /// The oldest sessions end, and the new one begins.
    EndOldest,
    /// The new one does not begin.
    Refuse,
}

/// What [`SessionStore::create`] did.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one is made for each login, and it is nearly always the large one")]
pub enum Created {
    /// `ended` made room for it: the oldest first.
    Begun { session: Session, ended: Vec<SessionId> },
    /// The limit is reached, and its policy is to refuse.
    LimitReached,
}

/// What [`SessionStore::touch`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// The session has ended or never was. It was not revived.
    Gone,
    /// Seen less than 1/30 of the idle time ago: nothing was written.
    NotDue,
    Seen,
}

/// What [`SessionStore::write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The session has ended or never was. It was not revived.
    Gone,
    /// Another write came between: load, and decide again.
    VersionConflict,
    /// The session's new version.
    Version(u64),
}

/// What [`SessionStore::rotate`] did with a refresh token's generation.
#[derive(Debug)]
pub enum Rotation {
    /// The current one (or one ahead of the store, which lost a write in a failover): `generation` is the new one.
    Rotated { session: Session, generation: u64 },
    /// The one before, within the grace: `generation` is the same successor that the first asker got.
    Repeated { session: Session, generation: u64 },
    /// Older than that: a copy is in a stranger's hands. It is the platform's own: the session has ended, everywhere.
    Stolen { session: Session },
    /// The same of a client's: its family has ended, and the session goes on (RFC 9700, section 4.14.2, revokes the grant).
    StolenFromClient { session: Session },
    /// Older than that, in a request that arrived before the last rotation and is carried out after it: its client has
    /// gone on without it. Nothing was changed.
    Late,
    /// The session or the client's grant in it has ended or never was.
    Gone,
}

/// What [`SessionStore::grant`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made for each grant, and it is nearly always the large one")]
pub enum Granted {
    Begun(Session),
    /// The session has [`MOST_GRANTS`] families already. None of them made room: what is too much is the caller's to end.
    Full,
    /// The session has ended or never was.
    Gone,
}

/// Why a session ended. Kept in the feed and in the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    Logout,
    /// Ended from another of the user's sessions.
    EndedByUser,
    EndedByAdministrator,
    PasswordChanged,
    RolesChanged,
    AccountLocked,
    /// Password, roles or lock have changed since the login, and ending it then had failed.
    AccountChanged,
    RefreshTokenReused,
    LimitReached,
    /// It was not seen for too long, or reached its greatest age; or the store lost it.
    Expired,
    /// It had ended, and a failover of the store had lost that.
    LostInFailover,
}

impl EndReason {
    pub const ALL: [Self; 11] = [
        Self::Logout,
        Self::EndedByUser,
        Self::EndedByAdministrator,
        Self::PasswordChanged,
        Self::RolesChanged,
        Self::AccountLocked,
        Self::AccountChanged,
        Self::RefreshTokenReused,
        Self::LimitReached,
        Self::Expired,
        Self::LostInFailover,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::EndedByUser => "ended_by_user",
            Self::EndedByAdministrator => "ended_by_administrator",
            Self::PasswordChanged => "password_changed",
            Self::RolesChanged => "roles_changed",
            Self::AccountLocked => "account_locked",
            Self::AccountChanged => "account_changed",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::LimitReached => "limit_reached",
            Self::Expired => "expired",
            Self::LostInFailover => "lost_in_failover",
        }
    }
}

/// What a revocation takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revoked {
    Session(SessionId),
    /// One access token, by its `jti`; or all tokens of one grant, by its id. Both are random: they never meet.
    Token(u128),
}

/// One entry of the feed.
#[derive(Debug, Clone, Copy)]
pub struct Revocation {
    pub revoked: Revoked,
    /// When the store wrote it.
    pub at: Timestamp,
}

/// How far the feed holds what else remembers endings: see [`SessionStore::feed_mark`]. It is kept with each part of the feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedMark(Vec<Option<i64>>);

impl FeedMark {
    /// Whether there is none: the feed ends with this process, or tells of nothing.
    pub fn is_unneeded(&self) -> bool {
        self.0.is_empty()
    }

    /// The number up to which all endings stand in the feed; none where a part was never marked, has lost its memory, or is
    /// being restored.
    pub fn through(&self) -> Option<i64> {
        let marks: Option<Vec<i64>> = self.0.iter().copied().collect();
        marks?.into_iter().min().filter(|mark| *mark >= 0)
    }
}

/// How much longer than an access token's life a revocation is kept: clocks differ, and verifiers allow for it.
const FEED_MARGIN: Duration = Duration::from_secs(60);

/// How many families of refresh tokens a session has at most.
pub const MOST_GRANTS: usize = 256;

/// Where in the feed a follower stands. Opaque; each store reads its own.
#[derive(Debug, Clone, Default)]
pub struct FeedPosition {
    /// The last entry seen, for each part of the feed.
    seen: Vec<String>,
    at_end: bool,
    /// Whether the feed was found to be marked, where it must be.
    marked: bool,
    /// Which server it was read from, where that may change: elsewhere it means nothing.
    server: u64,
    /// The store's clock when it was read, where it has one of its own.
    clock: Option<StoresClock>,
}

/// The same place, whenever it was read.
impl PartialEq for FeedPosition {
    fn eq(&self, other: &Self) -> bool {
        (&self.seen, self.at_end, self.server) == (&other.seen, other.at_end, other.server)
    }
}

impl Eq for FeedPosition {}

/// What a store's clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StoresClock {
    /// Moved as the store's [`Clock`](crate::clock::Clock) was.
    now: Timestamp,
    /// How far this machine's clock is ahead of it, in microseconds.
    ahead: i64,
}

impl FeedPosition {
    /// Whether nothing came after it when it was read: a follower has caught up.
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// The same place, from which the next read waits for nothing: what it answers is so now.
    fn without_waiting(self) -> Self {
        Self { at_end: false, ..self }
    }

    /// Whether the server that was read is still the same.
    fn is_of_the_same_server(&self, before: &Self) -> bool {
        self.server == before.server
    }
}

/// Marks a session that was just found alive as seen, and answers whether it is still there. One that the store cannot mark (it
/// takes no writes) is: it only ends the sooner.
pub async fn mark_as_seen(store: &dyn SessionStore, id: SessionId) -> bool {
    static LINES: Ration = Ration::new();
    match store.touch(id).await {
        Ok(touched) => touched != Touched::Gone,
        Err(error) => {
            LINES.tell("a session is not marked as seen", |left_out| {
                tracing::warn!(%error, left_out, "a session cannot be marked as seen: it ends the sooner");
            });
            true
        }
    }
}

/// A page of [`SessionStore::online`].
#[derive(Debug)]
pub struct OnlinePage {
    /// The last seen first.
    pub sessions: Vec<Session>,
    /// Pass it to get the page after this one.
    pub next: Option<OnlineCursor>,
}

impl OnlinePage {
    fn of(sessions: Vec<Session>, more: bool) -> Self {
        let last = sessions.last().filter(|_| more);
        let next = last.map(|last| OnlineCursor { last_seen_at: last.last_seen_at, session: last.id });
        Self { sessions, next }
    }
}

/// Where a page of who is online ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnlineCursor {
    pub last_seen_at: Timestamp,
    pub session: SessionId,
}

/// Where sessions live. Each verb is atomic, and one round trip where there is a network.
///
/// No verb revives an ended session; one that ended, expired or never was is the same: gone, and no error. Times come
/// from the store's own clock, so that two replicas with different clocks agree. A record that cannot be read counts as
/// gone: a login ends, a request does not fail.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Begins a session under a new, random id; the user's limit holds however many begin at once. Sessions that end
    /// for it are announced in the feed.
    async fn create(&self, new: NewSession, limit: SessionLimit) -> Result<Created, StoreUnavailable>;

    async fn load(&self, id: SessionId) -> Result<Option<Session>, StoreUnavailable>;

    /// Marks the session as seen now, which moves its idle expiry, never beyond its absolute one.
    async fn touch(&self, id: SessionId) -> Result<Touched, StoreUnavailable>;

    /// Writes the attributes that changed (`None` removes one) and leaves the others alone. With `expected`, only if
    /// the session still has that version.
    async fn write(
        &self,
        id: SessionId,
        changes: &[(String, Option<String>)],
        expected: Option<u64>,
    ) -> Result<Written, StoreUnavailable>;

    /// Presents generation `presented` of `client`'s refresh token. A rotation also marks the session as seen. A used one ends
    /// the session where `client` is [`PLATFORM_CLIENT`], else the family alone.
    async fn rotate(
        &self,
        id: SessionId,
        client: &str,
        presented: u64,
        grace: Duration,
    ) -> Result<Rotation, StoreUnavailable>;

    /// Begins a refresh token family of `client` in a live session, at generation 1; one that is there begins again. No
    /// family makes room for another: beyond [`MOST_GRANTS`] the new one does not begin.
    async fn grant(&self, id: SessionId, client: &str) -> Result<Granted, StoreUnavailable>;

    /// Takes a client's family back: its refresh tokens have nothing to rotate. An absent one is no error.
    async fn end_grant(&self, id: SessionId, client: &str) -> Result<(), StoreUnavailable>;

    /// Ends one session and announces it, even when it is gone already: its access tokens may live on. Answers what it
    /// was.
    async fn end(&self, id: SessionId, reason: EndReason) -> Result<Option<Session>, StoreUnavailable>;

    /// Ends all of a user's sessions except one, and announces each. A session that begins at the same time is either
    /// ended or begins after.
    async fn end_all(
        &self,
        user: UserId,
        except: Option<SessionId>,
        reason: EndReason,
    ) -> Result<Vec<SessionId>, StoreUnavailable>;

    /// A user's live sessions, the newest first.
    async fn list(&self, user: UserId) -> Result<Vec<Session>, StoreUnavailable>;

    /// The live sessions of all users by page, the last seen first; of those seen at the same moment, the one whose id's
    /// text is greater. `limit` is from 1 to 100.
    async fn online(&self, after: Option<OnlineCursor>, limit: usize) -> Result<OnlinePage, StoreUnavailable>;

    /// Announces that one access token, or all of one grant, is taken back before it expires.
    async fn revoke_token(&self, user: UserId, token_id: u128) -> Result<(), StoreUnavailable>;

    /// The position from which a follower sees everything that is still relevant: all that was announced within the
    /// longest access token's life.
    fn feed_start(&self) -> FeedPosition;

    /// What was announced after `position`, in order per user, and the position after it. From a position at the feed's
    /// end it waits for a first entry, at most about a second; then it answers without one.
    async fn follow(&self, position: &FeedPosition) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable>;

    /// How far the feed holds what the auth service's database remembers of endings. A store that loses its memory loses the
    /// mark with it: then the auth service announces again what still matters, and marks the feed.
    ///
    /// # Errors
    /// The store does not answer.
    async fn feed_mark(&self) -> Result<FeedMark, StoreUnavailable> {
        Ok(FeedMark::default())
    }

    /// Notes that the feed holds all endings up to a number, or, by a negative one, that parts without a mark are
    /// being restored. Parts whose mark is not `seen` any more are left alone: they were marked by others, or have lost their
    /// memory since.
    ///
    /// # Errors
    /// The store does not answer.
    async fn mark_feed(&self, _seen: &FeedMark, _through: i64) -> Result<(), StoreUnavailable> {
        Ok(())
    }

    /// Says that the ends at other nodes are heard, where each keeps sessions of its own: all that there were after this pause
    /// of the process, by its number. `None` says that they are not heard. Until they are, and were since the last pause, the
    /// feed cannot be read.
    fn hears_of_others(&self, _after: Option<u64>) {}

    /// Since when it remembers, where what it keeps ends with this process: no session is older, and what was revoked
    /// before is forgotten. `None` where it outlives the process.
    fn remembers_since(&self) -> Option<Timestamp>;

    /// Whether it keeps sessions at all. Where it keeps none, each is gone as soon as it has begun, and stands in what the
    /// client holds.
    fn keeps_sessions(&self) -> bool {
        true
    }

    /// The list of ended sessions that is to be asked with each request, where the feed does not tell of them.
    fn deny_list(&self) -> Option<&DenyList> {
        None
    }

    /// Whether services learn that a session was ended, in whichever way.
    fn tells_of_endings(&self) -> bool {
        true
    }

    /// Whether the store answers and takes writes: readiness.
    async fn ping(&self) -> Result<(), StoreUnavailable>;
}
