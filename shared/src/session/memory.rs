//! Sessions in the memory of one process. Owns the lock and the waiting; the rules are the table's. Nothing outlives the
//! process.

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::table::Table;
use super::{
    Created, EndReason, FeedPosition, Granted, NewSession, OnlineCursor, OnlinePage, Revocation, Revoked, Rotation,
    Session, SessionId, SessionLimit, SessionStore, StoreUnavailable, Touched, UserId, Written,
};
use crate::arrival;
use crate::clock::{Clock, Timestamp};
use crate::pauses::Pauses;

/// Sessions in memory: for one process, and for tests.
pub struct MemorySessionStore {
    clock: Clock,
    began_at: Timestamp,
    table: Mutex<Table>,
    announced: Notify,
    others: Mutex<Others>,
    pauses: Pauses,
}

/// What is heard of the ends at other nodes.
#[derive(Default)]
struct Others {
    is_deaf: bool,
    /// All that there were after this pause of the process; none where there are no others.
    heard_after: Option<u64>,
}

impl MemorySessionStore {
    /// `feed_window` is the longest life of an access token: so long a revocation matters.
    pub fn new(clock: Clock, feed_window: Duration) -> Self {
        Self::paused_by(clock, feed_window, Pauses::of_this_process().clone())
    }

    fn paused_by(clock: Clock, feed_window: Duration, pauses: Pauses) -> Self {
        let (table, others) = (Mutex::new(Table::new(feed_window)), Mutex::default());
        Self { began_at: clock.now(), clock, table, announced: Notify::new(), others, pauses }
    }

    /// # Errors
    /// Other nodes may have ended sessions while this process stood still: it knows of none whether it lives. What others have
    /// ended is carried out by listing and ending, which are always possible.
    fn ready(&self) -> Result<(), StoreUnavailable> {
        if self.others.lock().heard_after.is_some_and(|pause| pause < self.pauses.count()) {
            return Err(StoreUnavailable(
                "this node stood still, and reads what others have ended meanwhile".to_owned(),
            ));
        }
        Ok(())
    }

    /// Runs `verb` on what lives now, alone.
    fn with<T>(&self, verb: impl FnOnce(&mut Table, Timestamp) -> T) -> T {
        let mut table = self.table.lock();
        let now = self.clock.now();
        table.prune(now);
        verb(&mut table, now)
    }

    /// The same for a verb that may announce something.
    fn announcing<T>(&self, verb: impl FnOnce(&mut Table, Timestamp) -> T) -> T {
        self.with(|table, now| {
            let before = table.announcements();
            let answer = verb(table, now);
            if table.announcements() > before {
                self.announced.notify_waiters();
            }
            answer
        })
    }
}

#[async_trait]
impl SessionStore for MemorySessionStore {
    async fn create(&self, new: NewSession, limit: SessionLimit) -> Result<Created, StoreUnavailable> {
        arrival::before_an_effect()?;
        Ok(self.announcing(|table, now| table.create(new, limit, now)))
    }

    async fn load(&self, id: SessionId) -> Result<Option<Session>, StoreUnavailable> {
        self.ready()?;
        Ok(self.with(|table, _| table.get(id).cloned()))
    }

    async fn touch(&self, id: SessionId) -> Result<Touched, StoreUnavailable> {
        self.ready()?;
        Ok(self.with(|table, now| table.touch(id, now)))
    }

    async fn write(
        &self,
        id: SessionId,
        changes: &[(String, Option<String>)],
        expected: Option<u64>,
    ) -> Result<Written, StoreUnavailable> {
        self.ready()?;
        arrival::before_an_effect()?;
        Ok(self.with(|table, _| table.write(id, changes, expected)))
    }

    async fn rotate(
        &self,
        id: SessionId,
        client: &str,
        presented: u64,
        grace: Duration,
    ) -> Result<Rotation, StoreUnavailable> {
        self.ready()?;
        arrival::before_an_effect()?;
        let waited = arrival::waited();
        Ok(self.announcing(|table, now| table.rotate(id, (client, presented), grace, waited, now)))
    }

    async fn grant(&self, id: SessionId, client: &str) -> Result<Granted, StoreUnavailable> {
        self.ready()?;
        arrival::before_an_effect()?;
        Ok(self.with(|table, now| table.grant(id, client, now)))
    }

    async fn end_grant(&self, id: SessionId, client: &str) -> Result<(), StoreUnavailable> {
        arrival::before_an_effect()?;
        self.with(|table, _| table.end_grant(id, client));
        Ok(())
    }

    async fn end(&self, id: SessionId, _reason: EndReason) -> Result<Option<Session>, StoreUnavailable> {
        arrival::before_an_effect()?;
        Ok(self.announcing(|table, now| table.end(id, now)))
    }

    async fn end_all(
        &self,
        user: UserId,
        except: Option<SessionId>,
        _reason: EndReason,
    ) -> Result<Vec<SessionId>, StoreUnavailable> {
        arrival::before_an_effect()?;
        Ok(self.announcing(|table, now| table.end_all(user, except, now)))
    }

    async fn list(&self, user: UserId) -> Result<Vec<Session>, StoreUnavailable> {
        Ok(self.with(|table, _| table.list(user)))
    }

    async fn online(&self, after: Option<OnlineCursor>, limit: usize) -> Result<OnlinePage, StoreUnavailable> {
        Ok(self.with(|table, _| table.online(after, limit)))
    }

    async fn revoke_token(&self, _user: UserId, token_id: u128) -> Result<(), StoreUnavailable> {
        arrival::before_an_effect()?;
        self.announcing(|table, now| table.announce(Revoked::Token(token_id), now, now));
        Ok(())
    }

    fn feed_start(&self) -> FeedPosition {
        FeedPosition::default()
    }

    async fn follow(&self, position: &FeedPosition) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable> {
        self.ready()?;
        if self.others.lock().is_deaf {
            return Err(StoreUnavailable("what other nodes have ended is not heard".to_owned()));
        }
        let mut announced = std::pin::pin!(self.announced.notified());
        announced.as_mut().enable();
        let mut read = self.with(|table, now| table.announced_after(position, now));
        if read.0.is_empty() && position.at_end && timeout(Duration::from_secs(1), announced).await.is_ok() {
            read = self.with(|table, now| table.announced_after(position, now));
        }
        Ok(read)
    }

    fn hears_of_others(&self, after: Option<u64>) {
        let mut others = self.others.lock();
        others.is_deaf = after.is_none();
        others.heard_after = after.or(others.heard_after).or(Some(0));
    }

    fn remembers_since(&self) -> Option<Timestamp> {
        Some(self.began_at)
    }

    async fn ping(&self) -> Result<(), StoreUnavailable> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_among_others_trusts_nothing_until_it_has_heard_of_them_since_the_last_pause() {
        let pauses = Pauses::made_up();
        let store = MemorySessionStore::paused_by(Clock::default(), Duration::from_secs(300), pauses.clone());
        let id = SessionId::random_for(UserId::random());
        let is_trusted = async || {
            let loaded = store.load(id).await.is_ok();
            assert_eq!(store.touch(id).await.is_ok(), loaded);
            loaded
        };
        let is_read = async || store.follow(&store.feed_start()).await.is_ok();
        pauses.pause();
        assert!(is_read().await, "one that is alone misses nothing");
        store.hears_of_others(None);
        assert!(!is_read().await && !is_trusted().await, "they were not heard since that pause");
        store.hears_of_others(Some(pauses.count()));
        assert!(is_read().await);
        store.hears_of_others(None);
        assert!(!is_read().await && is_trusted().await, "reads go on while the others cannot be heard");
        store.hears_of_others(Some(pauses.count()));
        let before = pauses.count();
        pauses.pause();
        assert!(!is_read().await && !is_trusted().await);
        store.hears_of_others(None);
        assert!(!is_trusted().await);
        store.hears_of_others(Some(before));
        assert!(!is_read().await && !is_trusted().await, "what was heard may be as old as the pause");
        store.hears_of_others(Some(pauses.count()));
        assert!(is_read().await && is_trusted().await);
    }
}
