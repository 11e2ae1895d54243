//! What one node holds: the live sessions, when each of their fields was changed, and what has ended. Owns the changes that
//! are made here and what is told of them; sends nothing. What others changed is taken in by [`super::merge`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::digest::{self, Digest, bucket_of, hash_of};
use super::expiring::Expiring;
use super::stamp::{HybridClock, Stamp};
use super::wire::{Change, Record, written};
use crate::arrival;
use crate::clock::{Clock, Timestamp};
use crate::session::table::Table;
use crate::session::{
    ClientGrant, Created, FEED_MARGIN, Granted, NewSession, Revoked, Rotation, Session, SessionId, SessionLimit,
    Touched, UserId, Written,
};

/// So long the end of a session is kept whose expiry no node here knows: a partition may hide it.
const UNKNOWN_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// How many families that were taken back are kept for each session, so that an older change does not revive them.
const MOST_ENDED_FAMILIES: usize = 64;

/// How many entries are told at once.
const PAGE: usize = 400;

/// What stands beside a live session's record.
pub(super) struct Cell {
    pub(super) begun: Stamp,
    pub(super) until: Timestamp,
    pub(super) limit: SessionLimit,
    /// When an attribute was written or removed, if that was after the beginning.
    pub(super) attributes: BTreeMap<String, Stamp>,
    /// When a client's family began or was taken back, if that was after the beginning.
    pub(super) families: BTreeMap<String, Stamp>,
    pub(super) hash: u64,
}

/// All of a user's sessions that began before it have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) at: Stamp,
    pub(super) except: Option<SessionId>,
    pub(super) until: Timestamp,
}

pub(super) struct Replica {
    pub(super) table: Table,
    pub(super) cells: BTreeMap<SessionId, Cell>,
    /// When each session ended that could be known elsewhere still.
    pub(super) graves: Expiring<SessionId, Stamp>,
    pub(super) tokens: Expiring<u128, Stamp>,
    pub(super) floors: Expiring<UserId, Floor>,
    pub(super) digest: Digest,
    pub(super) clock: HybridClock,
    pub(super) feed_window: Duration,
    /// What the other nodes are to be told.
    outbox: Vec<Change>,
}

impl Replica {
    pub(super) fn new(clock: Clock, node: u64, longest_token: Duration) -> Self {
        Self {
            table: Table::new(longest_token),
            cells: BTreeMap::new(),
            graves: Expiring::new(),
            tokens: Expiring::new(),
            floors: Expiring::new(),
            digest: Digest::new(),
            clock: HybridClock::new(clock, node),
            feed_window: longest_token + FEED_MARGIN,
            outbox: Vec::new(),
        }
    }

    /// Forgets what has expired. Runs before each look.
    pub(super) fn prune(&mut self) -> Timestamp {
        let now = self.clock.now();
        for id in self.table.prune(now) {
            self.drop_cell(id);
        }
        while let Some((id, at)) = self.graves.pop_expired(now) {
            self.digest.toggle(bucket_of(id), hash_of(&(id.packed(), at)));
        }
        while let Some((token, at)) = self.tokens.pop_expired(now) {
            self.digest.toggle(digest::TOKENS, hash_of(&(token, at)));
        }
        while let Some((user, floor)) = self.floors.pop_expired(now) {
            self.digest.toggle(digest::USERS, hash_of(&(user, floor.at)));
        }
        now
    }

    /// What was changed here since it was last asked.
    pub(super) fn take_outbox(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.outbox)
    }

    pub(super) fn create(&mut self, new: NewSession, limit: SessionLimit) -> Created {
        let stamp = self.clock.next();
        let created = self.table.create(new, limit, stamp.at());
        if let Created::Begun { session, ended } = &created {
            for id in ended {
                self.bury(*id, stamp);
            }
            self.hold(session, stamp, limit);
            self.tell_record(session.id);
        }
        created
    }

    pub(super) fn touch(&mut self, id: SessionId) -> Touched {
        let at = self.clock.next().at();
        let touched = self.table.touch(id, at);
        if touched == Touched::Seen {
            self.outbox.push(Change::Seen { id: id.packed(), at: at.micros() });
            self.rehash(id);
        }
        touched
    }

    pub(super) fn write(
        &mut self,
        id: SessionId,
        changes: &[(String, Option<String>)],
        expected: Option<u64>,
    ) -> Written {
        let stamp = self.clock.next();
        let outcome = self.table.write(id, changes, expected);
        if let (Written::Version(version), Some(cell)) = (outcome, self.cells.get_mut(&id)) {
            cell.attributes.extend(changes.iter().map(|(name, _)| (name.clone(), stamp)));
            let fields = changes.iter().map(|(name, value)| (name.clone(), value.clone(), stamp));
            self.outbox.push(Change::Written { id: id.packed(), version, fields: fields.collect() });
            self.rehash(id);
        }
        outcome
    }

    pub(super) fn rotate(&mut self, id: SessionId, client: &str, presented: u64, grace: Duration) -> Rotation {
        let stamp = self.clock.next();
        let before = self.clients_of(id);
        let rotation = self.table.rotate(id, (client, presented), grace, arrival::waited(), stamp.at());
        match &rotation {
            Rotation::Rotated { .. } | Rotation::StolenFromClient { .. } => self.tell_clients(id, &before, stamp),
            Rotation::Stolen { .. } => self.bury(id, stamp),
            Rotation::Repeated { .. } | Rotation::Late | Rotation::Gone => {}
        }
        rotation
    }

    pub(super) fn grant(&mut self, id: SessionId, client: &str) -> Granted {
        let stamp = self.clock.next();
        let before = self.clients_of(id);
        let granted = self.table.grant(id, client, stamp.at());
        self.tell_clients(id, &before, stamp);
        granted
    }

    pub(super) fn end_grant(&mut self, id: SessionId, client: &str) {
        let stamp = self.clock.next();
        let before = self.clients_of(id);
        self.table.end_grant(id, client);
        self.tell_clients(id, &before, stamp);
    }

    pub(super) fn end(&mut self, id: SessionId) -> Option<Session> {
        let stamp = self.clock.next();
        let session = self.table.end(id, stamp.at());
        self.bury(id, stamp);
        session
    }

    pub(super) fn end_all(&mut self, user: UserId, except: Option<SessionId>) -> Vec<SessionId> {
        let stamp = self.clock.next();
        let ended = self.table.end_all(user, except, stamp.at());
        for id in &ended {
            self.bury(*id, stamp);
        }
        let until = stamp.at() + UNKNOWN_LIFE;
        self.set_floor(user, Floor { at: stamp, except, until });
        let except = except.map(SessionId::packed);
        self.outbox.push(Change::EndedAll { user: user.0.as_u128(), at: stamp, except, until: until.micros() });
        ended
    }

    pub(super) fn revoke_token(&mut self, token: u128) {
        let at = self.clock.next();
        self.table.announce(Revoked::Token(token), at.at(), at.at());
        self.set_token(token, at);
        self.outbox.push(Change::TokenRevoked { token, at });
    }

    /// The entries of one bucket from the `skip`th on, and whether there are more.
    pub(super) fn page(&mut self, bucket: u16, skip: usize) -> (Vec<Change>, bool) {
        self.prune();
        let entries: Box<dyn Iterator<Item = Change>> = match (bucket, digest::ids_in(bucket)) {
            (_, Some(ids)) => {
                let graves = self.graves.range_with_end(ids.clone()).map(|(id, at, until)| ended(id, at, until));
                let records = self.cells.range(ids).filter_map(|(id, _)| self.record(*id));
                Box::new(graves.chain(records.map(|record| Change::Session(Box::new(record)))))
            }
            (digest::TOKENS, None) => {
                Box::new(self.tokens.iter().map(|(token, at)| Change::TokenRevoked { token, at }))
            }
            (digest::USERS, None) => Box::new(self.floors.iter().map(|(user, floor)| ended_all(user, floor))),
            _ => Box::new(std::iter::empty()),
        };
        let mut page: Vec<_> = entries.skip(skip).take(PAGE + 1).collect();
        let more = page.len() > PAGE;
        page.truncate(PAGE);
        (page, more)
    }

    pub(super) fn record(&self, id: SessionId) -> Option<Record> {
        let (session, cell) = (self.table.get(id)?, self.cells.get(&id)?);
        Some(Record::of(session, cell.begun, cell.limit, &cell.attributes, &cell.families))
    }

    /// Stands a cell beside a session that the table holds.
    pub(super) fn hold(&mut self, session: &Session, begun: Stamp, limit: SessionLimit) {
        let (attributes, families) = (BTreeMap::new(), BTreeMap::new());
        let cell = Cell { begun, until: session.expires_at, limit, attributes, families, hash: 0 };
        self.cells.insert(session.id, cell);
        self.rehash(session.id);
    }

    /// Follows a change of the record in the digest.
    pub(super) fn rehash(&mut self, id: SessionId) {
        let Some(record) = self.record(id) else { return };
        let hash = hash_of(&record);
        if let Some(cell) = self.cells.get_mut(&id) {
            self.digest.toggle(bucket_of(id), cell.hash ^ hash);
            cell.hash = hash;
        }
    }

    fn drop_cell(&mut self, id: SessionId) -> Option<Cell> {
        let cell = self.cells.remove(&id)?;
        self.digest.toggle(bucket_of(id), cell.hash);
        Some(cell)
    }

    /// Keeps the end of a session that the table has ended, and tells it.
    pub(super) fn bury(&mut self, id: SessionId, at: Stamp) {
        let until = self.set_grave(id, at, at.at() + UNKNOWN_LIFE);
        self.outbox.push(ended(id, at, until));
    }

    /// Keeps the end of a session until it would have expired, or where that is not known until `unknown`. Answers until
    /// when.
    pub(super) fn set_grave(&mut self, id: SessionId, at: Stamp, unknown: Timestamp) -> Timestamp {
        let until = self.drop_cell(id).map_or(unknown, |cell| cell.until).max(at.at() + self.feed_window);
        if let Some(before) = self.graves.get(id) {
            self.digest.toggle(bucket_of(id), hash_of(&(id.packed(), before)));
        }
        self.digest.toggle(bucket_of(id), hash_of(&(id.packed(), at)));
        self.graves.insert(id, at, until);
        until
    }

    pub(super) fn set_token(&mut self, token: u128, at: Stamp) {
        if let Some(before) = self.tokens.get(token) {
            self.digest.toggle(digest::TOKENS, hash_of(&(token, before)));
        }
        self.digest.toggle(digest::TOKENS, hash_of(&(token, at)));
        self.tokens.insert(token, at, at.at() + self.feed_window);
    }

    pub(super) fn set_floor(&mut self, user: UserId, floor: Floor) {
        if let Some(before) = self.floors.get(user) {
            self.digest.toggle(digest::USERS, hash_of(&(user, before.at)));
        }
        self.digest.toggle(digest::USERS, hash_of(&(user, floor.at)));
        self.floors.insert(user, floor, floor.until);
    }

    fn tell_record(&mut self, id: SessionId) {
        let record = self.record(id).map(|record| Change::Session(Box::new(record)));
        self.outbox.extend(record);
    }

    fn clients_of(&self, id: SessionId) -> BTreeMap<String, ClientGrant> {
        self.table.get(id).map(|session| session.clients.clone()).unwrap_or_default()
    }

    /// Tells which families began, were rotated or were taken back.
    fn tell_clients(&mut self, id: SessionId, before: &BTreeMap<String, ClientGrant>, stamp: Stamp) {
        let (Some(session), Some(cell)) = (self.table.get(id), self.cells.get_mut(&id)) else { return };
        let seen = session.last_seen_at.micros();
        let names = before.keys().chain(session.clients.keys().filter(|name| !before.contains_key(*name)));
        for name in names {
            let (was, is) = (before.get(name), session.clients.get(name));
            if was == is {
                continue;
            }
            let rotated = was.zip(is).is_some_and(|(was, is)| is.generation > was.generation);
            if !rotated {
                cell.families.insert(name.clone(), stamp);
            }
            let family = cell.families.get(name).copied().unwrap_or(cell.begun);
            let (client, grant) = (name.clone(), is.copied().map(written));
            self.outbox.push(Change::Granted { id: id.packed(), client, family, grant, seen });
        }
        forget_families(cell, session);
        self.rehash(id);
    }
}

/// Forgets the families that were taken back longest ago, where there are too many. It depends on nothing but the
/// families: all nodes forget the same.
pub(super) fn forget_families(cell: &mut Cell, session: &Session) {
    let ended = cell.families.iter().filter(|(name, _)| !session.clients.contains_key(*name));
    let mut ended: Vec<_> = ended.map(|(name, at)| (*at, name.clone())).collect();
    ended.sort_unstable();
    let excess = ended.len().saturating_sub(MOST_ENDED_FAMILIES);
    for (_, name) in &ended[..excess] {
        cell.families.remove(name);
    }
}

pub(super) fn ended(id: SessionId, at: Stamp, until: Timestamp) -> Change {
    Change::Ended { id: id.packed(), at, until: until.micros() }
}

fn ended_all(user: UserId, floor: Floor) -> Change {
    let except = floor.except.map(SessionId::packed);
    Change::EndedAll { user: user.0.as_u128(), at: floor.at, except, until: floor.until.micros() }
}
