//! How a node comes to hold all that the cluster holds, and holds it still: it compares digests with another node, and takes
//! over what it lacks. Owns the decision that a node is ready; a node that could know less than the others never is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::link::Link;
use super::membership::Seeds;
use super::node::Node;
use super::wire::{Reply, Request};
use crate::clock::Timestamp;
use crate::pauses::Pauses;

/// A node that has heard of no other for so long, while nothing listens at any seed, begins a new cluster. So does the one
/// with the least id among those that have heard of nobody but beginners.
const FOUND_AFTER: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many buckets are asked for at once.
const AT_ONCE: usize = 16;

/// Makes the node ready, however long it takes, and again after each pause of its process.
pub(super) async fn keep_up(node: Arc<Node>, seeds: Seeds) {
    let pause = Pauses::of_this_process().count();
    join(&node, &seeds).await;
    node.caught_up(pause);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if node.may_lag() {
            catch_up(&node, &seeds).await;
        }
    }
}

/// Takes over what the others have changed while this process stood still.
///
/// Gossip, which has heard of no node meanwhile, may take the others for dead: one that hears of none waits as long as one that
/// begins a cluster.
async fn catch_up(node: &Node, seeds: &Seeds) {
    let woke = Instant::now();
    let is_alone = !seeds.name_others().await;
    loop {
        let pause = Pauses::of_this_process().count();
        let joined: Vec<_> = node.members().iter().filter(|(_, member)| member.joined).map(|(id, _)| *id).collect();
        let is_up_to_date = if joined.is_empty() {
            woke.elapsed() >= FOUND_AFTER && (is_alone || seeds.listening().await.is_none())
        } else {
            take_over(node, &joined).await.is_ok()
        };
        if is_up_to_date {
            tracing::info!(nodes = joined.len(), took = ?woke.elapsed(), "this node has what came while it stood still");
            return node.caught_up(pause);
        }
        let _ = timeout(LOOK_EVERY, node.stirred.notified()).await;
    }
}

async fn join(node: &Node, seeds: &Seeds) {
    let began = Instant::now();
    let is_alone = !seeds.name_others().await;
    loop {
        let members = node.members();
        let joined: Vec<_> = members.iter().filter(|(_, member)| member.joined).map(|(id, _)| *id).collect();
        let has_waited = began.elapsed() >= FOUND_AFTER;
        let is_least = members.keys().all(|id| node.id < *id);
        let may_begin = joined.is_empty() && is_least && (has_waited || (members.is_empty() && is_alone));
        // Something that listens there and was not heard is a node that this one cannot understand, or not yet.
        let unheard = if may_begin && members.is_empty() && !is_alone { seeds.listening().await } else { None };
        if may_begin && unheard.is_none() {
            tracing::info!(beginners = members.len(), "no node of a cluster is there: this one begins a new one");
            return node.joined(node.remembers_since());
        }
        match take_over(node, &joined).await {
            Ok(Some(since)) => {
                tracing::info!(nodes = joined.len(), took = ?began.elapsed(), "this node has the cluster's sessions");
                return node.joined(since);
            }
            Ok(None) => node.set_obstacle(&match unheard {
                Some(seed) => {
                    format!("{seed} listens, and is not heard: has it the same CLUSTER_KEY, and is UDP let through?")
                }
                None => "no node that has them has been heard yet".to_owned(),
            }),
            Err(reason) => node.set_obstacle(&format!("{reason:#}")),
        }
        // Either is a reason to look again.
        let _ = timeout(LOOK_EVERY, node.stirred.notified()).await;
    }
}

/// Takes the state over from all nodes that have it. Each must be connected both ways first: then no change is made there
/// that does not come here too. Answers since when they remember.
async fn take_over(node: &Node, joined: &[u64]) -> anyhow::Result<Option<Timestamp>> {
    let mut links = Vec::new();
    for id in joined {
        match node.link(*id).filter(|link| link.is_connected() && node.is_called_by(*id)) {
            Some(link) => links.push(link),
            None => bail!("a node that has them is not connected both ways"),
        }
    }
    // The first gives nearly all; from the others comes what it did not have yet.
    let mut since = None;
    for link in &links {
        let theirs = pull(node, link).await?.since;
        since = Some(since.map_or(theirs, |since: Timestamp| since.min(theirs)));
    }
    // All of them are alive still.
    try_join_all(links.iter().map(|link| link.ask(&Request::Digest))).await?;
    Ok(since)
}

/// Compares digests with a node and takes over what differs.
///
/// # Errors
/// The connection ended in the middle.
pub(super) async fn compare(node: &Node, link: &Link) -> anyhow::Result<()> {
    let was_joined = node.is_joined();
    let pulled = pull(node, link).await?;
    if was_joined && pulled.news > 0 {
        tracing::info!(node = %link.address, changes = pulled.news, "changes had been lost on their way, and were found");
        metrics::counter!("roam_cluster_repairs_total").increment(pulled.news);
    }
    if was_joined && pulled.is_joined && pulled.were_equal {
        node.remembers_as_far_as(pulled.since);
    }
    Ok(())
}

struct Pulled {
    news: u64,
    were_equal: bool,
    is_joined: bool,
    since: Timestamp,
}

async fn pull(node: &Node, link: &Link) -> anyhow::Result<Pulled> {
    let Reply::Digest { buckets, since, joined } = link.ask(&Request::Digest).await? else { bail!("no digest came") };
    let differing = node.look(|replica| replica.digest.differing(&buckets));
    let mut news = 0;
    for some in differing.chunks(AT_ONCE) {
        let found = try_join_all(some.iter().map(|number| pull_bucket(node, link, *number))).await?;
        news += found.iter().sum::<u64>();
    }
    let were_equal = differing.is_empty();
    Ok(Pulled { news, were_equal, is_joined: joined, since: Timestamp::from_micros(since) })
}

/// Takes over what stands in one bucket. Answers how much of it was news.
async fn pull_bucket(node: &Node, link: &Link, number: u16) -> anyhow::Result<u64> {
    let (mut news, mut skip) = (0, 0);
    loop {
        let Reply::Page { entries, more } = link.ask(&Request::Bucket { number, skip }).await? else {
            bail!("no page came")
        };
        skip += u32::try_from(entries.len())?;
        let is_last = !more || entries.is_empty();
        news += node.take_in(entries);
        if is_last {
            return Ok(news);
        }
    }
}
