//! What other nodes changed becomes so here: the later stamp wins each field, an end wins over everything, and generations
//! only grow. The order in which changes come, and how often, makes no difference in the end. Rules only.

use std::time::Duration;

use uuid::Uuid;

use super::replica::{Cell, Floor, Replica, forget_families};
use super::stamp::Stamp;
use super::wire::{Change, Packed, Record, id_of, read};
use crate::clock::Timestamp;
use crate::session::{ClientGrant, LimitPolicy, Revoked, Session, UserId};

/// An end that comes later than this, to a session that lived here meanwhile, is made again: whoever heard of the first
/// one may have forgotten it while tokens were issued here.
const LATE: Duration = Duration::from_secs(10);

impl Replica {
    /// Takes in what another node tells. Answers whether it was news.
    pub(super) fn merge(&mut self, change: Change) -> bool {
        let now = self.prune();
        match change {
            Change::Session(record) => self.merge_record(&record, now),
            Change::Seen { id, at } => self.merge_fields(id, |session, _| session.see(Timestamp::from_micros(at))),
            Change::Written { id, version, fields } => {
                self.saw(fields.iter().map(|(_, _, at)| *at));
                self.merge_fields(id, |session, cell| {
                    let written = fields.into_iter().map(|(name, value, at)| session.write(cell, name, value, at));
                    let news = written.fold(false, |news, field| news | field);
                    session.reach(version) | news
                })
            }
            Change::Granted { id, client, family, grant, seen } => {
                self.saw([family]);
                self.merge_fields(id, |session, cell| {
                    let news = session.grant(cell, client, family, grant.map(read));
                    session.see(Timestamp::from_micros(seen)) | news
                })
            }
            Change::Ended { id, at, until } => self.merge_end(id, at, Timestamp::from_micros(until), now),
            Change::EndedAll { user, at, except, until } => {
                let except = except.and_then(id_of);
                let floor = Floor { at, except, until: Timestamp::from_micros(until) };
                self.merge_floor(UserId(Uuid::from_u128(user)), floor, now)
            }
            Change::TokenRevoked { token, at } => self.merge_token(token, at, now),
        }
    }

    fn saw(&mut self, stamps: impl IntoIterator<Item = Stamp>) {
        stamps.into_iter().for_each(|stamp| self.clock.saw(stamp));
    }

    fn merge_record(&mut self, record: &Record, now: Timestamp) -> bool {
        self.saw([record.begun]);
        self.saw(record.attribute_stamps.values().chain(record.families.values()).copied());
        let Some(session) = record.session() else { return false };
        if self.graves.get(session.id).is_some() || session.ends_at() <= now {
            return false;
        }
        let is_below = |floor: &Floor| floor.at > record.begun && floor.except != Some(session.id);
        if self.floors.get(session.user).as_ref().is_some_and(is_below) {
            // It is told to whoever holds it still.
            let at = self.clock.next();
            self.hold(&session, record.begun, record.limit());
            self.table.announce(Revoked::Session(session.id), at.at(), now);
            self.bury(session.id, at);
            return true;
        }
        if self.cells.contains_key(&session.id) {
            return self.merge_fields(record.id, |held, cell| held.merge(cell, session, record));
        }
        let (id, user) = (session.id, session.user);
        self.table.insert(session.clone());
        self.hold(&session, record.begun, record.limit());
        if let Some(cell) = self.cells.get_mut(&id) {
            cell.attributes.clone_from(&record.attribute_stamps);
            cell.families.clone_from(&record.families);
        }
        self.rehash(id);
        self.keep_limit(user);
        true
    }

    /// Changes a session that is held. One that is not is told whole by the next exchange of digests.
    fn merge_fields(&mut self, id: Packed, change: impl FnOnce(&mut Session, &mut Cell) -> bool) -> bool {
        let Some(id) = id_of(id) else { return false };
        let Some(mut session) = self.table.remove(id) else { return false };
        let news = self.cells.get_mut(&id).is_some_and(|cell| {
            let news = change(&mut session, cell);
            forget_families(cell, &session);
            news
        });
        self.table.insert(session);
        if news {
            self.rehash(id);
        }
        news
    }

    fn merge_end(&mut self, id: Packed, at: Stamp, until: Timestamp, now: Timestamp) -> bool {
        self.saw([at]);
        let Some(id) = id_of(id) else { return false };
        let lives = self.table.get(id).is_some();
        let is_known = self.graves.get(id).is_some_and(|known| known >= at);
        if is_known || (until <= now && !lives) {
            return false;
        }
        if lives && now.since(at.at()) > LATE {
            self.end(id);
            return true;
        }
        self.table.remove(id);
        self.table.announce(Revoked::Session(id), at.at(), now);
        self.set_grave(id, at, until);
        true
    }

    fn merge_floor(&mut self, user: UserId, floor: Floor, now: Timestamp) -> bool {
        self.saw([floor.at]);
        if floor.until <= now || self.floors.get(user).is_some_and(|known| known.at >= floor.at) {
            return false;
        }
        self.set_floor(user, floor);
        let mut below = self.table.ids_of(user);
        below.retain(|id| Some(*id) != floor.except);
        below.retain(|id| self.cells.get(id).is_some_and(|cell| cell.begun < floor.at));
        for id in below {
            self.end(id);
        }
        true
    }

    fn merge_token(&mut self, token: u128, at: Stamp, now: Timestamp) -> bool {
        self.saw([at]);
        let is_known = self.tokens.get(token).is_some_and(|known| known >= at);
        if is_known || now.since(at.at()) > self.feed_window {
            return false;
        }
        self.table.announce(Revoked::Token(token), at.at(), now);
        self.set_token(token, at);
        true
    }

    /// Logins at two nodes at once may be more than the user's limit: the limit of the newest holds. The oldest end, or,
    /// where one too many is refused, the newest. Whichever nodes do it, and whatever each knows, no more end than that.
    fn keep_limit(&mut self, user: UserId) {
        loop {
            let live = self.table.ids_of(user);
            let newest = live.last().and_then(|id| self.cells.get(id));
            let Some(limit) = newest.map(|cell| cell.limit) else { return };
            if live.len() <= limit.max.max(1) as usize {
                return;
            }
            let excess = if limit.policy == LimitPolicy::Refuse { live.last() } else { live.first() };
            if let Some(id) = excess.copied() {
                self.end(id);
            }
        }
    }
}

/// How one field of a session follows a change. Each answers whether it was news.
trait Merge {
    fn see(&mut self, at: Timestamp) -> bool;
    fn reach(&mut self, version: u64) -> bool;
    fn write(&mut self, cell: &mut Cell, name: String, value: Option<String>, at: Stamp) -> bool;
    fn grant(&mut self, cell: &mut Cell, client: String, family: Stamp, grant: Option<ClientGrant>) -> bool;
    fn merge(&mut self, cell: &mut Cell, other: Session, record: &Record) -> bool;
}

impl Merge for Session {
    fn see(&mut self, at: Timestamp) -> bool {
        let is_later = at > self.last_seen_at;
        self.last_seen_at = self.last_seen_at.max(at);
        is_later
    }

    fn reach(&mut self, version: u64) -> bool {
        let is_greater = version > self.version;
        self.version = self.version.max(version);
        is_greater
    }

    fn write(&mut self, cell: &mut Cell, name: String, value: Option<String>, at: Stamp) -> bool {
        if at <= cell.attributes.get(&name).copied().unwrap_or(cell.begun) {
            return false;
        }
        cell.attributes.insert(name.clone(), at);
        match value {
            Some(value) => self.attributes.insert(name, value),
            None => self.attributes.remove(&name),
        };
        true
    }

    fn grant(&mut self, cell: &mut Cell, client: String, family: Stamp, grant: Option<ClientGrant>) -> bool {
        let held = cell.families.get(&client).copied().unwrap_or(cell.begun);
        if family > held {
            cell.families.insert(client.clone(), family);
            match grant {
                Some(grant) => self.clients.insert(client, grant),
                None => self.clients.remove(&client),
            };
            return true;
        }
        // The same family: the one that was rotated more often is the later.
        let ours = self.clients.get_mut(&client).filter(|_| family == held);
        match ours.zip(grant) {
            Some((ours, theirs)) if order_of(theirs) > order_of(*ours) => {
                *ours = theirs;
                true
            }
            _ => false,
        }
    }

    fn merge(&mut self, cell: &mut Cell, other: Session, record: &Record) -> bool {
        let mut news = self.see(other.last_seen_at) | self.reach(other.version);
        for (name, at) in &record.attribute_stamps {
            news |= self.write(cell, name.clone(), other.attributes.get(name).cloned(), *at);
        }
        let families = record.families.iter().map(|(name, at)| (name, *at));
        let first = other.clients.keys().filter(|name| !record.families.contains_key(*name));
        for (name, at) in families.chain(first.map(|name| (name, record.begun))) {
            news |= self.grant(cell, name.clone(), at, other.clients.get(name).copied());
        }
        news
    }
}

fn order_of(grant: ClientGrant) -> (u64, Timestamp) {
    (grant.generation, grant.rotated_at)
}
