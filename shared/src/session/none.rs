//! Sessions that nobody keeps: what there is of one stands in the client's own token. Owns how their ends are told, where
//! they are; remembers none of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{try_join, try_join_all};

use super::{
    ClientGrant, Created, EndReason, FEED_MARGIN, FeedMark, FeedPosition, Granted, NewSession, OnlineCursor,
    OnlinePage, Revocation, Revoked, Rotation, Session, SessionId, SessionLimit, SessionStore, StoreUnavailable,
    Touched, UserId, Written,
};
use crate::clock::{Clock, Timestamp};
use crate::key_value::{Key, KeyValueStore};

/// How long a follower waits where nothing is ever announced.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the mark of a list stays without being renewed: longer than any auth service is away.
const MARK_TTL: Duration = Duration::from_secs(400 * 86_400);

/// What was taken back before it expires, one entry each: asked for with each request.
#[derive(Clone)]
pub struct DenyList {
    entries: Arc<dyn KeyValueStore>,
    /// How long an entry matters.
    ttl: Duration,
}

impl DenyList {
    /// `longest_token` is the longest life of an access token: so long an entry matters.
    pub fn new(entries: Arc<dyn KeyValueStore>, longest_token: Duration) -> Self {
        Self { entries, ttl: longest_token + FEED_MARGIN }
    }

    /// Denies it for as long as something of it may be shown.
    ///
    /// # Errors
    /// The list does not answer.
    pub async fn add(&self, what: Revoked) -> Result<(), StoreUnavailable> {
        self.entries.put(&entry(what), b"1", self.ttl).await
    }

    /// Whether one of these is denied.
    ///
    /// # Errors
    /// The list does not answer, or was never marked: it has lost its memory.
    pub async fn has_any(&self, named: impl Iterator<Item = Revoked>) -> Result<bool, StoreUnavailable> {
        let keys: Vec<Key> = named.map(entry).collect();
        let looks = try_join_all(keys.iter().map(|key| self.entries.get(key)));
        let (mark, found) = try_join(self.mark(), looks).await?;
        match mark.through() {
            Some(_) => Ok(found.iter().any(Option::is_some)),
            None => Err(StoreUnavailable("the list of ended sessions was lost and is not restored yet".to_owned())),
        }
    }

    async fn mark(&self) -> Result<FeedMark, StoreUnavailable> {
        let mark = self.entries.get(&mark()).await?;
        let number = mark.and_then(|text| str::from_utf8(&text).ok()?.parse().ok());
        Ok(FeedMark(vec![number]))
    }

    async fn set_mark(&self, seen: &FeedMark, through: i64) -> Result<(), StoreUnavailable> {
        let value = through.to_string();
        let may_be_set = through >= 0 || seen.0 == [None];
        if may_be_set && self.mark().await? == *seen {
            self.entries.put(&mark(), value.as_bytes(), MARK_TTL).await?;
        }
        Ok(())
    }
}

fn entry(what: Revoked) -> Key {
    match what {
        Revoked::Session(id) => Key::new("denied", id.to_string().as_bytes()),
        Revoked::Token(id) => Key::new("denied", format!("{id:032x}").as_bytes()),
    }
}

fn mark() -> Key {
    Key::new("denied_mark", b"")
}

/// How services learn that a session was ended.
#[derive(Clone)]
pub enum Endings {
    /// They do not: a token is good until it expires.
    Untold,
    /// By the feed of this store, which keeps no session.
    Announced(Arc<dyn SessionStore>),
    /// By asking a list with each request.
    Listed(DenyList),
}

/// A store that keeps no session. It begins one, and forgets it; what is asked of it later is gone.
pub struct NoSessionStore {
    clock: Clock,
    endings: Endings,
}

impl NoSessionStore {
    pub fn new(clock: Clock, endings: Endings) -> Self {
        Self { clock, endings }
    }

    fn feed(&self) -> Option<&Arc<dyn SessionStore>> {
        match &self.endings {
            Endings::Announced(feed) => Some(feed),
            Endings::Untold | Endings::Listed(_) => None,
        }
    }
}

#[async_trait]
impl SessionStore for NoSessionStore {
    async fn create(&self, new: NewSession, _limit: SessionLimit) -> Result<Created, StoreUnavailable> {
        let (new, now) = (new.bounded(), self.clock.now());
        let session = Session {
            id: SessionId::random_for(new.user),
            user: new.user,
            roles: new.roles,
            amr: new.amr,
            device: new.device,
            address: new.address,
            created_at: now,
            last_seen_at: now,
            idle: new.idle,
            expires_at: now + new.absolute,
            version: 0,
            clients: BTreeMap::from([(new.client, ClientGrant { generation: 1, rotated_at: now })]),
            attributes: new.attributes,
        };
        Ok(Created::Begun { session, ended: Vec::new() })
    }

    async fn load(&self, _id: SessionId) -> Result<Option<Session>, StoreUnavailable> {
        Ok(None)
    }

    async fn touch(&self, _id: SessionId) -> Result<Touched, StoreUnavailable> {
        Ok(Touched::Gone)
    }

    async fn write(
        &self,
        _id: SessionId,
        _changes: &[(String, Option<String>)],
        _expected: Option<u64>,
    ) -> Result<Written, StoreUnavailable> {
        Ok(Written::Gone)
    }

    async fn rotate(
        &self,
        _id: SessionId,
        _client: &str,
        _presented: u64,
        _grace: Duration,
    ) -> Result<Rotation, StoreUnavailable> {
        Ok(Rotation::Gone)
    }

    async fn grant(&self, _id: SessionId, _client: &str) -> Result<Granted, StoreUnavailable> {
        Ok(Granted::Gone)
    }

    async fn end_grant(&self, _id: SessionId, _client: &str) -> Result<(), StoreUnavailable> {
        Ok(())
    }

    async fn end(&self, id: SessionId, reason: EndReason) -> Result<Option<Session>, StoreUnavailable> {
        match &self.endings {
            Endings::Announced(feed) => feed.end(id, reason).await,
            Endings::Listed(list) => list.add(Revoked::Session(id)).await.map(|()| None),
            Endings::Untold => Ok(None),
        }
    }

    async fn end_all(
        &self,
        _user: UserId,
        _except: Option<SessionId>,
        _reason: EndReason,
    ) -> Result<Vec<SessionId>, StoreUnavailable> {
        Ok(Vec::new())
    }

    async fn list(&self, _user: UserId) -> Result<Vec<Session>, StoreUnavailable> {
        Ok(Vec::new())
    }

    async fn online(&self, _after: Option<OnlineCursor>, _limit: usize) -> Result<OnlinePage, StoreUnavailable> {
        Ok(OnlinePage::of(Vec::new(), false))
    }

    async fn revoke_token(&self, user: UserId, token_id: u128) -> Result<(), StoreUnavailable> {
        match &self.endings {
            Endings::Announced(feed) => feed.revoke_token(user, token_id).await,
            Endings::Listed(list) => list.add(Revoked::Token(token_id)).await,
            Endings::Untold => Ok(()),
        }
    }

    fn feed_start(&self) -> FeedPosition {
        self.feed().map_or_else(FeedPosition::default, |feed| feed.feed_start())
    }

    async fn follow(&self, position: &FeedPosition) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable> {
        if let Some(feed) = self.feed() {
            return feed.follow(position).await;
        }
        if position.is_at_end() {
            tokio::time::sleep(PAUSE).await;
        }
        Ok((Vec::new(), FeedPosition { at_end: true, ..position.clone() }))
    }

    async fn feed_mark(&self) -> Result<FeedMark, StoreUnavailable> {
        match &self.endings {
            Endings::Announced(feed) => feed.feed_mark().await,
            Endings::Listed(list) => list.mark().await,
            Endings::Untold => Ok(FeedMark::default()),
        }
    }

    async fn mark_feed(&self, seen: &FeedMark, through: i64) -> Result<(), StoreUnavailable> {
        match &self.endings {
            Endings::Announced(feed) => feed.mark_feed(seen, through).await,
            Endings::Listed(list) => list.set_mark(seen, through).await,
            Endings::Untold => Ok(()),
        }
    }

    fn hears_of_others(&self, after: Option<u64>) {
        if let Some(feed) = self.feed() {
            feed.hears_of_others(after);
        }
    }

    /// As long as its feed remembers endings: where that is in memory, what began before the process may have ended.
    fn remembers_since(&self) -> Option<Timestamp> {
        self.feed().and_then(|feed| feed.remembers_since())
    }

    fn keeps_sessions(&self) -> bool {
        false
    }

    fn deny_list(&self) -> Option<&DenyList> {
        match &self.endings {
            Endings::Listed(list) => Some(list),
            Endings::Untold | Endings::Announced(_) => None,
        }
    }

    fn tells_of_endings(&self) -> bool {
        !matches!(self.endings, Endings::Untold)
    }

    async fn ping(&self) -> Result<(), StoreUnavailable> {
        match self.feed() {
            Some(feed) => feed.ping().await,
            None => Ok(()),
        }
    }
}
