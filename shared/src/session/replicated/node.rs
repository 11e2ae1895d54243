//! One node: its replica, whom it is linked with, and where it stands. Owns the one lock under which a change is made and
//! handed to every link, so that all nodes hear a node's changes in order.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::config::ClusterWrite;
use super::keys::ClusterKeys;
use super::link::{self, Link};
use super::measures;
use super::replica::Replica;
use super::wire::{Change, Hello, Reply, Request, VERSION, encode};
use crate::clock::{Clock, Timestamp};
use crate::pauses::Pauses;
use crate::session::{FeedPosition, Revocation, StoreUnavailable};

/// More changes than this go in several frames.
const CHANGES_A_FRAME: usize = 1_000;

/// Two nodes whose clocks are further apart do not deal with each other.
const MOST_SKEW: Duration = Duration::from_secs(300);

/// Another node that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) address: SocketAddr,
    /// It has the whole state.
    pub(super) joined: bool,
}

/// A link, and the task that keeps it up.
type KeptLink = (Arc<Link>, AbortOnDropHandle<()>);

pub(super) struct Node {
    pub(super) id: u64,
    pub(super) clock: Clock,
    pub(super) keys: ClusterKeys,
    /// Where this node dials from, if it is not to be the system's choice.
    pub(super) source: Option<std::net::IpAddr>,
    write: ClusterWrite,
    began_at: Timestamp,
    replica: Mutex<Replica>,
    announced: Notify,
    members: watch::Sender<BTreeMap<u64, Member>>,
    links: Mutex<BTreeMap<u64, KeptLink>>,
    /// No link is made any more. Changed and read under the lock of the links.
    has_left: AtomicBool,
    /// How many connections each node has to this one.
    callers: Mutex<HashMap<u64, usize>>,
    /// Since when this node remembers; nothing until it has the whole state.
    standing: watch::Sender<Option<Timestamp>>,
    /// The pause of this process, by its number, after which it has the state of the others again.
    caught_up_after: AtomicU64,
    /// Why it has not.
    obstacle: Mutex<String>,
    /// A link or a caller has come or gone.
    pub(super) stirred: Notify,
}

/// What is waited for until a change counts as made.
pub(super) struct Acknowledgements(Vec<oneshot::Receiver<Reply>>);

impl Acknowledgements {
    /// A node whose connection ends is not waited for any more: it gets the change when it is back.
    pub(super) async fn arrive(self) {
        join_all(self.0).await;
    }
}

impl Node {
    pub(super) fn new(
        id: u64,
        clock: Clock,
        keys: ClusterKeys,
        source: Option<std::net::IpAddr>,
        write: ClusterWrite,
        longest_token: Duration,
    ) -> Self {
        Self {
            id,
            began_at: clock.now(),
            replica: Mutex::new(Replica::new(clock.clone(), id, longest_token)),
            clock,
            keys,
            source,
            write,
            announced: Notify::new(),
            members: watch::Sender::default(),
            links: Mutex::default(),
            has_left: AtomicBool::new(false),
            callers: Mutex::default(),
            standing: watch::Sender::default(),
            caught_up_after: AtomicU64::new(Pauses::of_this_process().count()),
            obstacle: Mutex::new("no other node has been heard yet".to_owned()),
            stirred: Notify::new(),
        }
    }

    /// Looks at what lives now.
    pub(super) fn look<T>(&self, question: impl FnOnce(&mut Replica) -> T) -> T {
        let mut replica = self.replica.lock();
        replica.prune();
        question(&mut replica)
    }

    /// Makes a change here and sends it to every node that is connected.
    pub(super) fn change<T>(&self, verb: impl FnOnce(&mut Replica) -> T) -> (T, Acknowledgements) {
        let mut replica = self.replica.lock();
        replica.prune();
        let before = replica.table.announcements();
        let answer = verb(&mut replica);
        let acknowledgements = self.publish(replica.take_outbox());
        if replica.table.announcements() > before {
            self.announced.notify_waiters();
        }
        (answer, acknowledgements)
    }

    /// Takes in what another node told. Answers how much of it was news.
    pub(super) fn take_in(&self, changes: Vec<Change>) -> u64 {
        let merge = |replica: &mut Replica| changes.into_iter().map(|change| u64::from(replica.merge(change))).sum();
        // What follows of it, such as a limit that is exceeded now, is told too, and waited for by nobody.
        self.change(merge).0
    }

    fn publish(&self, changes: Vec<Change>) -> Acknowledgements {
        let mut awaited = Vec::new();
        let links = self.links.lock();
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let some = changes.by_ref().take(CHANGES_A_FRAME).collect();
            let frame: Arc<[u8]> = encode(&Request::Changes { sent: self.clock.now().micros(), changes: some }).into();
            for (link, _) in links.values() {
                let reply = link.send(frame.clone(), self.write == ClusterWrite::Sync);
                awaited.extend(reply);
            }
        }
        Acknowledgements(awaited)
    }

    /// What was announced after `position`; at the feed's end, after the next announcement or a second.
    pub(super) async fn follow(&self, position: &FeedPosition) -> (Vec<Revocation>, FeedPosition) {
        let mut announced = std::pin::pin!(self.announced.notified());
        announced.as_mut().enable();
        let read = || self.look(|replica| replica.table.announced_after(position, replica.clock.now()));
        let mut found = read();
        if found.0.is_empty() && position.is_at_end() && timeout(Duration::from_secs(1), announced).await.is_ok() {
            found = read();
        }
        found
    }

    pub(super) fn hello(&self) -> Hello {
        Hello { version: VERSION, node: self.id, time: self.clock.now().micros() }
    }

    /// # Errors
    /// Why this node does not deal with that one.
    pub(super) fn check(&self, other: Hello) -> anyhow::Result<()> {
        let (ours, theirs) = (self.clock.now(), Timestamp::from_micros(other.time));
        let skew = ours.since(theirs).max(theirs.since(ours));
        anyhow::ensure!(other.version == VERSION, "it speaks version {} and not {VERSION}: update it", other.version);
        anyhow::ensure!(other.node != self.id, "this node has reached itself");
        anyhow::ensure!(skew <= MOST_SKEW, "its clock is {skew:?} apart, more than {MOST_SKEW:?}: set the clocks");
        Ok(())
    }

    /// Follows who is alive: dials who is new, and hangs up on who is dead. One that gossip takes for dead and that still
    /// answers is alive: packets are lost or late before a connection ends, and changes would be lost with it.
    pub(super) fn set_members(self: &Arc<Self>, members: BTreeMap<u64, Member>) {
        measures::set("roam_cluster_members", members.len() + 1);
        let mut links = self.links.lock();
        if self.has_left.load(Ordering::Acquire) {
            return;
        }
        // Under the lock: whoever looks for links to nobody's address finds both as they are now.
        self.members.send_replace(members.clone());
        links.retain(|id, (link, _)| match members.get(id) {
            Some(member) => member.address == link.address,
            None => link.is_connected(),
        });
        for (id, member) in &members {
            links.entry(*id).or_insert_with(|| link::spawn(self.clone(), *id, member.address));
        }
        drop(links);
        self.links_changed();
    }

    /// Hangs up on everybody, for good.
    pub(super) fn leave(&self) {
        let mut links = self.links.lock();
        self.has_left.store(true, Ordering::Release);
        links.clear();
    }

    pub(super) fn members(&self) -> BTreeMap<u64, Member> {
        self.members.borrow().clone()
    }

    pub(super) fn link(&self, id: u64) -> Option<Arc<Link>> {
        self.links.lock().get(&id).map(|(link, _)| link.clone())
    }

    pub(super) fn links_changed(&self) {
        let mut links = self.links.lock();
        let members = self.members.borrow();
        links.retain(|id, (link, _)| members.contains_key(id) || link.is_connected());
        drop(members);
        let connected = links.values().filter(|(link, _)| link.is_connected()).count();
        drop(links);
        measures::set("roam_cluster_connections", connected);
        self.stirred.notify_one();
    }

    /// A node is connected to this one: its changes arrive from now on. What came before is asked for.
    pub(super) fn caller_came(&self, id: u64) {
        *self.callers.lock().entry(id).or_default() += 1;
        if let Some(link) = self.link(id) {
            link.compare_now();
        }
        self.stirred.notify_one();
    }

    pub(super) fn caller_went(&self, id: u64) {
        let mut callers = self.callers.lock();
        if let Some(count) = callers.get_mut(&id) {
            *count -= 1;
        }
        callers.retain(|_, count| *count > 0);
    }

    pub(super) fn is_called_by(&self, id: u64) -> bool {
        self.callers.lock().contains_key(&id)
    }

    /// This node has the whole state, which goes back to `since`.
    pub(super) fn joined(&self, since: Timestamp) {
        self.standing.send_replace(Some(since));
    }

    /// What this node holds is all that the cluster holds, and goes back to `since`.
    pub(super) fn remembers_as_far_as(&self, since: Timestamp) {
        self.standing.send_if_modified(|standing| match standing {
            Some(ours) if since < *ours => {
                *ours = since;
                true
            }
            _ => false,
        });
    }

    pub(super) fn is_joined(&self) -> bool {
        self.standing.borrow().is_some()
    }

    pub(super) fn remembers_since(&self) -> Timestamp {
        self.standing.borrow().unwrap_or(self.began_at)
    }

    pub(super) fn standing(&self) -> watch::Receiver<Option<Timestamp>> {
        self.standing.subscribe()
    }

    pub(super) fn set_obstacle(&self, why: &str) {
        let mut obstacle = self.obstacle.lock();
        if *obstacle != why {
            tracing::info!(why, "this node does not have the cluster's sessions yet");
            why.clone_into(&mut obstacle);
        }
    }

    /// This node has what the others had after that pause of the process.
    pub(super) fn caught_up(&self, pause: u64) {
        self.caught_up_after.fetch_max(pause, Ordering::AcqRel);
    }

    /// Whether the others may have made changes, while this process stood still, that are not known here.
    pub(super) fn may_lag(&self) -> bool {
        self.caught_up_after.load(Ordering::Acquire) < Pauses::of_this_process().count()
    }

    /// # Errors
    /// This node does not have the whole state yet: it knows nothing for certain.
    pub(super) fn ready(&self) -> Result<(), StoreUnavailable> {
        if self.may_lag() {
            return Err(StoreUnavailable("this node stood still, and asks the others what came meanwhile".to_owned()));
        }
        if self.is_joined() {
            return Ok(());
        }
        Err(StoreUnavailable(format!("this node does not have the cluster's sessions yet: {}", self.obstacle.lock())))
    }
}
