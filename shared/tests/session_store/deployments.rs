//! Sessions on a Cluster and under Sentinel, on real servers: slots that move, primaries that die, writes that a failover
//! loses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::servers::{
    PrivateRedisCluster, PrivateSentinels, redis_cluster_for_test, sentinels_for_test, steady_redis_cluster_for_test,
};
use shared::session::{EndReason, Revocations, Rotation, Session, SessionId, UserId};
use tokio::task::JoinHandle;

use crate::{CLIENT, NO_LIMIT, Subject, WINDOW, login};

const GRACE: Duration = Duration::from_secs(10);
/// Within this time a dead primary is replaced, and noticed. The servers are told a second; the rest is for a busy machine.
const REPLACED: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// What is measured is for the reader, who does not see the output of a test that passes.
fn report(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Several servers that are one store.
enum Deployment {
    Cluster(PrivateRedisCluster),
    Sentinels(PrivateSentinels),
}

impl Deployment {
    fn subject(&self) -> Subject {
        match self {
            // Of these two, one seals attributes.
            Self::Cluster(cluster) => Subject::sealed_at(&cluster.url(), crate::sealed::keys(&[1])),
            Self::Sentinels(sentinels) => Subject::at(&sentinels.url()),
        }
    }

    /// The server that has the sessions of this partition.
    fn primary(&self, tag: &str) -> usize {
        match self {
            Self::Cluster(cluster) => cluster.primary_of(tag).unwrap(),
            Self::Sentinels(sentinels) => sentinels.master().unwrap(),
        }
    }

    /// Waits until this primary's replica has all that the primary was told.
    async fn replicated(&self, primary: usize) {
        let node = match self {
            Self::Cluster(cluster) => &cluster.nodes()[primary],
            Self::Sentinels(sentinels) => &sentinels.servers()[primary],
        };
        until("the replica has everything", async || has_everything(&node.ask_for_text("INFO replication").unwrap()))
            .await;
    }

    /// From now on, what this primary is told nobody else knows. Answers its replica, which is frozen.
    fn cut_off(&mut self, primary: usize) -> usize {
        match self {
            Self::Cluster(cluster) => cluster.cut_off(primary).unwrap(),
            Self::Sentinels(sentinels) => sentinels.cut_off(primary).unwrap(),
        }
    }

    fn kill(&mut self, server: usize) {
        match self {
            Self::Cluster(cluster) => cluster.kill(server).unwrap(),
            Self::Sentinels(sentinels) => sentinels.kill(server).unwrap(),
        }
    }

    fn thaw(&mut self, server: usize) {
        match self {
            Self::Cluster(cluster) => cluster.freeze(server, false).unwrap(),
            Self::Sentinels(sentinels) => sentinels.freeze(server, false).unwrap(),
        }
    }

    fn start_again(&mut self, server: usize) {
        match self {
            Self::Cluster(cluster) => cluster.start(server).and_then(|()| cluster.wait_until_whole()).unwrap(),
            Self::Sentinels(sentinels) => sentinels.start(server).and_then(|()| sentinels.wait_until_whole()).unwrap(),
        }
    }
}

fn has_everything(said: &str) -> bool {
    let told = said.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
    let replica = said.lines().find_map(|line| line.strip_prefix("slave0:"));
    told.is_some() && told == replica.and_then(|it| it.split(',').find_map(|part| part.strip_prefix("offset=")))
}

/// Users of one partition.
fn user(number: u128) -> UserId {
    UserId(uuid::Uuid::from_u128(number * 16))
}

/// `{TAG}` of the partition in which this session is.
fn tag(cluster: &PrivateRedisCluster, session: SessionId) -> String {
    let key = cluster.keys(&format!("*{session}")).unwrap().pop().unwrap();
    key[key.find('{').unwrap()..=key.find('}').unwrap()].to_owned()
}

fn tag_in(deployment: &Deployment, session: SessionId) -> String {
    match deployment {
        Deployment::Cluster(cluster) => tag(cluster, session),
        Deployment::Sentinels(_) => String::new(),
    }
}

/// People who begin sessions, use them and end them, again and again, until they are asked to stop.
struct Load {
    stop: Arc<AtomicBool>,
    people: Vec<JoinHandle<Seen>>,
}

/// What one of them was told, or all.
#[derive(Default)]
struct Seen {
    answers: usize,
    failures: Vec<String>,
    /// The longest time without an answer.
    silence: Duration,
    /// Sessions whose end was confirmed.
    ended: Vec<SessionId>,
    /// Sessions that go on, with the generation that was given last.
    live: Vec<(SessionId, u64)>,
}

impl Load {
    fn begin(subject: &Subject, people: u128) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let people = (0..people).map(|number| {
            let person = Person { store: subject.store.clone(), stop: stop.clone(), seen: Seen::default() };
            tokio::spawn(person.run(user(number + 1)))
        });
        Self { people: people.collect(), stop }
    }

    async fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for person in self.people {
            let seen = person.await.unwrap();
            all.answers += seen.answers;
            all.silence = all.silence.max(seen.silence);
            all.failures.extend(seen.failures);
            all.ended.extend(seen.ended);
            all.live.extend(seen.live);
        }
        all
    }
}

struct Person {
    store: Arc<dyn shared::session::SessionStore>,
    stop: Arc<AtomicBool>,
    seen: Seen,
}

impl Person {
    async fn run(mut self, user: UserId) -> Seen {
        let mut answered = Instant::now();
        let mut rounds = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            rounds += 1;
            match self.round(user, rounds.is_multiple_of(3)).await {
                Ok(()) => {
                    self.seen.silence = self.seen.silence.max(answered.elapsed());
                    answered = Instant::now();
                }
                Err(error) => self.seen.failures.push(error.to_string()),
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.seen
    }

    /// A session that is begun, seen and refreshed, and goes on or ends.
    async fn round(&mut self, user: UserId, goes_on: bool) -> Result<(), shared::session::StoreUnavailable> {
        let created = self.store.create(login(user), NO_LIMIT).await?;
        let shared::session::Created::Begun { session: Session { id, .. }, .. } = created else { return Ok(()) };
        self.store.touch(id).await?;
        let Rotation::Rotated { generation, .. } = self.store.rotate(id, CLIENT, 1, GRACE).await? else {
            return Ok(());
        };
        if goes_on {
            self.seen.live.push((id, generation));
        } else {
            self.store.end(id, EndReason::Logout).await?;
            self.seen.ended.push(id);
        }
        self.seen.answers += 4;
        Ok(())
    }
}

/// A service that follows the feed.
struct Follower {
    revocations: Revocations,
    task: JoinHandle<()>,
}

impl Follower {
    async fn of(subject: &Subject) -> Self {
        let revocations = Revocations::new(WINDOW, subject.clock.clone());
        let task = tokio::spawn(shared::session::follow(subject.store.clone(), revocations.clone()));
        let follower = Self { revocations, task };
        until("the feed is read", async || follower.revocations.has_caught_up()).await;
        follower
    }

    async fn hears_of(&self, session: SessionId) {
        until("an end is heard of", async || self.revocations.is_revoked(session, 0)).await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < REPLACED, "{REPLACED:?} were not enough until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_a_slot_moves_to_another_node_and_back() {
    let Some(cluster) = steady_redis_cluster_for_test() else { return };
    let subject = Subject::at(&cluster.url());
    let follower = Follower::of(&subject).await;
    let kept = subject.begin(user(1)).await;
    let tag = tag(&cluster, kept.id);
    let (slot, owner) = (cluster.slot_of(&tag).unwrap(), cluster.primary_of(&tag).unwrap());
    let load = Load::begin(&subject, 4);
    for (from, to) in [(owner, (owner + 1) % 3), ((owner + 1) % 3, owner)] {
        cluster.begin_to_move(slot, from, to).unwrap();
        while cluster.move_keys(slot, from, to, 3).unwrap() > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        cluster.end_move(slot, from, to).unwrap();
        until("the other node owns the slot", async || cluster.primary_of(&tag).is_ok_and(|owner| owner == to)).await;
        let ended = subject.begin(user(2)).await;
        subject.store.end(ended.id, EndReason::Logout).await.unwrap();
        follower.hears_of(ended.id).await;
    }
    let seen = load.end().await;
    report(&format!("{} calls while a slot moved twice; the longest round took {:?}", seen.answers, seen.silence));
    assert!(seen.failures.is_empty(), "{} of {}: {:?}", seen.failures.len(), seen.answers, seen.failures);
    assert!(seen.answers > 20, "{} calls are no load", seen.answers);
    assert!(subject.store.load(kept.id).await.unwrap().is_some());
    all_is_as_it_was_told(&subject, &seen, 0).await;
}

/// What ended has ended, what goes on goes on, and no used refresh token works. `lost` sessions of those that go on may
/// be gone.
async fn all_is_as_it_was_told(subject: &Subject, seen: &Seen, lost: usize) {
    for id in &seen.ended {
        assert!(subject.store.load(*id).await.unwrap().is_none(), "an ended session came back");
    }
    let mut gone = 0;
    for (id, _) in &seen.live {
        gone += usize::from(subject.store.load(*id).await.unwrap().is_none());
    }
    report(&format!("{} sessions ended, {} go on, {gone} of them were lost", seen.ended.len(), seen.live.len()));
    assert!(gone <= lost, "{gone} sessions were lost");
    subject.clock.advance(GRACE + Duration::from_secs(1));
    for (id, generation) in &seen.live {
        match subject.store.rotate(*id, CLIENT, *generation, GRACE).await.unwrap() {
            Rotation::Rotated { generation: next, .. } => assert_eq!(next, generation + 1),
            Rotation::Gone => continue,
            other => panic!("the current token is refused: {other:?}"),
        }
        let used = subject.store.rotate(*id, CLIENT, generation - 1, GRACE).await.unwrap();
        assert!(matches!(used, Rotation::Stolen { .. }), "a used token: {used:?}");
    }
}

async fn a_primary_that_is_killed_is_replaced(mut deployment: Deployment) {
    let subject = deployment.subject();
    let follower = Follower::of(&subject).await;
    let tag = tag_in(&deployment, subject.begin(user(1)).await.id);
    let primary = deployment.primary(&tag);
    let mut kept = Vec::new();
    for _ in 0..20 {
        let id = subject.begin(user(1)).await.id;
        subject.store.write(id, &[("cart".to_owned(), Some("full".to_owned()))], Some(0)).await.unwrap();
        kept.push(id);
    }
    deployment.replicated(primary).await;
    let load = Load::begin(&subject, 4);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let killed = Instant::now();
    deployment.kill(primary);
    until("sessions begin again", async || {
        killed.elapsed() > Duration::from_millis(200) && subject.store.create(login(user(9)), NO_LIMIT).await.is_ok()
    })
    .await;
    report(&format!("logins succeed again {:?} after the primary was killed", killed.elapsed()));
    deployment.start_again(primary);
    let ended = subject.begin(user(2)).await;
    subject.store.end(ended.id, EndReason::Logout).await.unwrap();
    follower.hears_of(ended.id).await;
    until("the feed is current", async || follower.revocations.is_current()).await;
    let seen = load.end().await;
    report(&format!(
        "{} calls, {} rounds failed, the longest silence was {:?}",
        seen.answers,
        seen.failures.len(),
        seen.silence
    ));
    assert!(!seen.failures.is_empty(), "nobody noticed that a primary was killed");
    assert!(seen.silence < REPLACED, "{:?}", seen.silence);
    for id in kept {
        let session = subject.store.load(id).await.unwrap().expect("the replica knew it");
        assert_eq!(session.attributes["cart"], "full");
    }
    // What the replica had not heard of yet may be lost: replication is asynchronous. How much, the report tells.
    all_is_as_it_was_told(&subject, &seen, seen.live.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_a_cluster_that_is_killed_is_replaced_and_all_goes_on() {
    if let Some(cluster) = redis_cluster_for_test() {
        a_primary_that_is_killed_is_replaced(Deployment::Cluster(cluster)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_sentinels_that_is_killed_is_replaced_and_all_goes_on() {
    if let Some(sentinels) = sentinels_for_test() {
        a_primary_that_is_killed_is_replaced(Deployment::Sentinels(sentinels)).await;
    }
}

/// The worst case: for a while nothing reached the replica that then takes over.
async fn what_a_failover_lost_does_no_harm(mut deployment: Deployment) {
    let subject = deployment.subject();
    let follower = Follower::of(&subject).await;
    let (refreshed, ended) = (subject.begin(user(1)).await, subject.begin(user(2)).await);
    let tag = tag_in(&deployment, ended.id);
    let primary = deployment.primary(&tag);
    // What was written so far is with the replica.
    tokio::time::sleep(Duration::from_millis(300)).await;

    let replica = deployment.cut_off(primary);
    let store = &subject.store;
    for generation in [1, 2] {
        let rotation = store.rotate(refreshed.id, CLIENT, generation, GRACE).await.unwrap();
        assert!(matches!(rotation, Rotation::Rotated { .. }), "{rotation:?}");
    }
    store.end(ended.id, EndReason::Logout).await.unwrap();
    let begun = subject.begin(user(3)).await;
    follower.hears_of(ended.id).await;
    deployment.kill(primary);
    deployment.thaw(replica);
    let killed = Instant::now();
    until("the replica has taken over", async || store.load(refreshed.id).await.is_ok()).await;
    report(&format!("the replica has taken over after {:?}", killed.elapsed()));

    assert!(store.load(begun.id).await.unwrap().is_none(), "nothing was lost, so this test shows nothing");
    // What had ended ends again, for a service remembers it, and all are told.
    until("the ended session has ended again", async || store.load(ended.id).await.is_ok_and(|found| found.is_none()))
        .await;
    let later = Follower::of(&subject).await;
    assert!(later.revocations.is_revoked(ended.id, 0), "a service that starts now knows of it");
    // The token that its holder has moves the store forward; the used ones are worth nothing.
    subject.clock.advance(GRACE + Duration::from_secs(1));
    let rotation = store.rotate(refreshed.id, CLIENT, 3, GRACE).await.unwrap();
    assert!(matches!(rotation, Rotation::Rotated { generation: 4, .. }), "{rotation:?}");
    let rotation = store.rotate(refreshed.id, CLIENT, 2, GRACE).await.unwrap();
    assert!(matches!(rotation, Rotation::Stolen { .. }), "{rotation:?}");
    assert!(store.load(refreshed.id).await.unwrap().is_none());

    deployment.start_again(primary);
    assert!(store.load(ended.id).await.unwrap().is_none() && store.load(refreshed.id).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_of_a_cluster_lost_does_no_harm() {
    if let Some(cluster) = redis_cluster_for_test() {
        what_a_failover_lost_does_no_harm(Deployment::Cluster(cluster)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_of_sentinels_lost_does_no_harm() {
    if let Some(sentinels) = sentinels_for_test() {
        what_a_failover_lost_does_no_harm(Deployment::Sentinels(sentinels)).await;
    }
}
