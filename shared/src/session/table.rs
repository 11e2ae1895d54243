//! The live sessions in memory, with the feed of those that ended: the rules of the store's contract, for every store
//! that is asked in memory. Rules only: the time is given, nothing is waited for, and nothing leaves the process.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::{
    ClientGrant, Created, FEED_MARGIN, FeedPosition, Granted, LimitPolicy, MOST_GRANTS, NewSession, OnlineCursor,
    OnlinePage, PLATFORM_CLIENT, Revocation, Revoked, Rotation, Session, SessionId, SessionLimit, Touched, UserId,
    Written,
};
use crate::clock::Timestamp;

/// Only live sessions stand here: [`Table::prune`] runs before each look.
pub(super) struct Table {
    sessions: HashMap<SessionId, Session>,
    /// Each user's, the oldest first.
    by_user: HashMap<UserId, BTreeSet<(Timestamp, SessionId)>>,
    /// By last seen, then by the id's text.
    online: BTreeSet<(Timestamp, String)>,
    by_end: BTreeSet<(Timestamp, SessionId)>,
    feed: VecDeque<(u64, Revocation)>,
    announcements: u64,
    /// How long a revocation matters.
    feed_window: Duration,
}

impl Table {
    /// `longest_token` is the longest life of an access token: so long a revocation matters.
    pub(super) fn new(longest_token: Duration) -> Self {
        Self {
            sessions: HashMap::new(),
            by_user: HashMap::new(),
            online: BTreeSet::new(),
            by_end: BTreeSet::new(),
            feed: VecDeque::new(),
            announcements: 0,
            feed_window: longest_token + FEED_MARGIN,
        }
    }

    /// Takes out what has expired, and answers it.
    pub(super) fn prune(&mut self, now: Timestamp) -> Vec<SessionId> {
        let mut expired = Vec::new();
        while let Some(&(_, id)) = self.by_end.first().filter(|(end, _)| *end <= now) {
            self.remove(id);
            expired.push(id);
        }
        expired
    }

    pub(super) fn insert(&mut self, session: Session) {
        self.by_user.entry(session.user).or_default().insert((session.created_at, session.id));
        self.online.insert((session.last_seen_at, session.id.to_string()));
        self.by_end.insert((session.ends_at(), session.id));
        self.sessions.insert(session.id, session);
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.online.remove(&(session.last_seen_at, id.to_string()));
        self.by_end.remove(&(session.ends_at(), id));
        if let Some(ids) = self.by_user.get_mut(&session.user) {
            ids.remove(&(session.created_at, id));
            if ids.is_empty() {
                self.by_user.remove(&session.user);
            }
        }
        Some(session)
    }

    /// Marks it as seen at that moment, or leaves it where it was seen later.
    pub(super) fn seen(&mut self, id: SessionId, at: Timestamp) -> Option<Session> {
        let mut session = self.remove(id)?;
        session.last_seen_at = session.last_seen_at.max(at);
        self.insert(session.clone());
        Some(session)
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    #[cfg(feature = "replicated")]
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// A user's, the oldest first.
    pub(super) fn ids_of(&self, user: UserId) -> Vec<SessionId> {
        self.by_user.get(&user).into_iter().flatten().map(|(_, id)| *id).collect()
    }

    /// Puts it into the feed, where it matters still. Whoever waits for the feed is woken by the caller.
    pub(super) fn announce(&mut self, revoked: Revoked, at: Timestamp, now: Timestamp) {
        self.trim(now);
        if now.since(at) <= self.feed_window {
            self.announcements += 1;
            self.feed.push_back((self.announcements, Revocation { revoked, at }));
        }
    }

    /// How many there were so far.
    pub(super) fn announcements(&self) -> u64 {
        self.announcements
    }

    fn trim(&mut self, now: Timestamp) {
        while self.feed.front().is_some_and(|(_, entry)| now.since(entry.at) > self.feed_window) {
            self.feed.pop_front();
        }
    }

    pub(super) fn end(&mut self, id: SessionId, now: Timestamp) -> Option<Session> {
        self.announce(Revoked::Session(id), now, now);
        self.remove(id)
    }

    pub(super) fn announced_after(
        &mut self,
        position: &FeedPosition,
        now: Timestamp,
    ) -> (Vec<Revocation>, FeedPosition) {
        self.trim(now);
        let seen = position.seen.first().and_then(|seen| seen.parse().ok()).unwrap_or(0);
        let new = self.feed.iter().skip_while(|(number, _)| *number <= seen).map(|(_, entry)| *entry);
        let next = FeedPosition { seen: vec![self.announcements.to_string()], at_end: true, ..FeedPosition::default() };
        (new.collect(), next)
    }

    pub(super) fn create(&mut self, new: NewSession, limit: SessionLimit, now: Timestamp) -> Created {
        let new = new.bounded();
        let live = self.ids_of(new.user);
        let excess = (live.len() + 1).saturating_sub(limit.max.max(1) as usize);
        if excess > 0 && limit.policy == LimitPolicy::Refuse {
            return Created::LimitReached;
        }
        let newest = self.by_user.get(&new.user).and_then(|ids| ids.last()).map(|(created, _)| *created);
        let ended: Vec<_> = live.into_iter().take(excess).collect();
        for id in &ended {
            self.end(*id, now);
        }
        // Two of a user never begin at the same moment: their order is the order in which they began.
        let after_newest = newest.map_or(now, |newest| newest + Duration::from_micros(1));
        let session = Session {
            id: SessionId::random_for(new.user),
            user: new.user,
            roles: new.roles,
            amr: new.amr,
            device: new.device,
            address: new.address,
            created_at: now.max(after_newest),
            last_seen_at: now,
            idle: new.idle,
            expires_at: now + new.absolute,
            version: 0,
            clients: BTreeMap::from([(new.client, ClientGrant { generation: 1, rotated_at: now })]),
            attributes: new.attributes,
        };
        self.insert(session.clone());
        Created::Begun { session, ended }
    }

    pub(super) fn touch(&mut self, id: SessionId, now: Timestamp) -> Touched {
        match self.sessions.get(&id) {
            None => Touched::Gone,
            Some(session) if !session.touch_is_due(now) => Touched::NotDue,
            Some(_) => {
                self.seen(id, now);
                Touched::Seen
            }
        }
    }

    pub(super) fn write(
        &mut self,
        id: SessionId,
        changes: &[(String, Option<String>)],
        expected: Option<u64>,
    ) -> Written {
        let Some(session) = self.sessions.get_mut(&id) else { return Written::Gone };
        if expected.is_some_and(|expected| expected != session.version) {
            return Written::VersionConflict;
        }
        for (name, value) in changes {
            match value {
                Some(value) => session.attributes.insert(name.clone(), value.clone()),
                None => session.attributes.remove(name),
            };
        }
        session.version += 1;
        Written::Version(session.version)
    }

    /// `waited` is how long the request that asks for it has waited.
    pub(super) fn rotate(
        &mut self,
        id: SessionId,
        (client, presented): (&str, u64),
        grace: Duration,
        waited: Duration,
        now: Timestamp,
    ) -> Rotation {
        let Some(session) = self.sessions.get_mut(&id) else { return Rotation::Gone };
        let Some(grant) = session.clients.get_mut(client) else { return Rotation::Gone };
        if presented >= grant.generation {
            // One that is ahead proves that a write was lost in a failover: its holder was given it.
            let generation = presented.saturating_add(1);
            *grant = ClientGrant { generation, rotated_at: now };
            let session = self.seen(id, now);
            return session.map_or(Rotation::Gone, |session| Rotation::Rotated { session, generation });
        }
        let grant = *grant;
        if presented + 1 == grant.generation && now.since(grant.rotated_at) <= grace {
            return Rotation::Repeated { session: session.clone(), generation: grant.generation };
        }
        if now - waited < grant.rotated_at {
            return Rotation::Late;
        }
        if client == PLATFORM_CLIENT {
            return self.end(id, now).map_or(Rotation::Gone, |session| Rotation::Stolen { session });
        }
        session.clients.remove(client);
        Rotation::StolenFromClient { session: session.clone() }
    }

    pub(super) fn grant(&mut self, id: SessionId, client: &str, now: Timestamp) -> Granted {
        let Some(session) = self.sessions.get_mut(&id) else { return Granted::Gone };
        if !session.clients.contains_key(client) && session.clients.len() >= MOST_GRANTS {
            return Granted::Full;
        }
        session.clients.insert(client.to_owned(), ClientGrant { generation: 1, rotated_at: now });
        self.seen(id, now).map_or(Granted::Gone, Granted::Begun)
    }

    pub(super) fn end_grant(&mut self, id: SessionId, client: &str) {
        self.sessions.get_mut(&id).and_then(|session| session.clients.remove(client));
    }

    pub(super) fn end_all(&mut self, user: UserId, except: Option<SessionId>, now: Timestamp) -> Vec<SessionId> {
        let mut ids = self.ids_of(user);
        ids.retain(|id| Some(*id) != except);
        for id in &ids {
            self.end(*id, now);
        }
        ids
    }

    pub(super) fn list(&self, user: UserId) -> Vec<Session> {
        self.ids_of(user).iter().rev().filter_map(|id| self.sessions.get(id)).cloned().collect()
    }

    pub(super) fn online(&self, after: Option<OnlineCursor>, limit: usize) -> OnlinePage {
        let before = after.map(|cursor| (cursor.last_seen_at, cursor.session.to_string()));
        let mut ids: Box<dyn Iterator<Item = &(Timestamp, String)>> = match before {
            Some(before) => Box::new(self.online.range(..before).rev()),
            None => Box::new(self.online.iter().rev()),
        };
        let page = ids.by_ref().take(limit.clamp(1, 100));
        let page = page.filter_map(|(_, id)| self.sessions.get(&id.parse().ok()?).cloned()).collect();
        let more = ids.next().is_some();
        OnlinePage::of(page, more)
    }
}
