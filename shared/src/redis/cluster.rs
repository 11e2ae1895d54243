//! A Redis Cluster. Owns the map from slots to the primaries that hold them, and follows where they move; knows no key.
//!
//! Each node is a [`Machine`]: one that is away delays nobody who asks another. A question is asked again only when it was
//! refused, never when it may have been carried out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::{ConnectionAddr, ConnectionInfo, FromRedisValue, Value, cmd, from_redis_value_ref, pipe};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use parking_lot::{Mutex, RwLock};
use tokio::time::{sleep, sleep_until, timeout};

use super::address::elsewhere;
use super::machine::{Home, Machine, Source};
use super::request::{Failure, Request};
use super::slot::Slot;
use crate::session::StoreUnavailable;

/// How long a node may take to tell the layout: another one knows it as well.
const ANSWER: Duration = Duration::from_millis(300);

/// The layout is read no more often than this.
const PAUSE: Duration = Duration::from_millis(200);

/// How long to wait before a question is asked again that was passed on too often, or whose keys are on their way.
const MOMENT: Duration = Duration::from_millis(20);

/// How many nodes a question is passed on to without a moment's wait.
const HOPS: usize = 3;

type Place = (String, u16);

type Reading = Shared<BoxFuture<'static, Result<(), StoreUnavailable>>>;

/// A copy shares its connections.
#[derive(Clone)]
pub(super) struct Cluster(Arc<Inner>);

struct Inner {
    /// The first nodes; any of them is also the model for a login at another.
    seeds: Vec<ConnectionInfo>,
    home: Home,
    nodes: Mutex<BTreeMap<Place, Machine>>,
    layout: RwLock<Arc<Layout>>,
    reading: Mutex<Option<(Instant, Reading)>>,
}

/// Who holds which slots.
#[derive(Default)]
struct Layout {
    /// Ordered by slot.
    ranges: Vec<Range>,
    /// Grows when a slot changes hands.
    version: u64,
}

struct Range {
    first: u16,
    last: u16,
    place: Place,
    primary: Machine,
}

impl Layout {
    fn primary(&self, slot: Slot) -> Option<&Machine> {
        let after = self.ranges.partition_point(|range| range.first <= slot.0);
        self.ranges[..after].last().filter(|range| slot.0 <= range.last).map(|range| &range.primary)
    }

    fn primaries(&self) -> BTreeMap<&Place, &Machine> {
        self.ranges.iter().map(|range| (&range.place, &range.primary)).collect()
    }

    fn is_like(&self, other: &[Range]) -> bool {
        let same = |(one, other): (&Range, &Range)| {
            (one.first, one.last, &one.place) == (other.first, other.last, &other.place)
        };
        self.ranges.len() == other.len() && self.ranges.iter().zip(other).all(same)
    }
}

/// What one node says of the layout.
struct Told {
    is_whole: bool,
    /// Grows with each failover.
    epoch: u64,
    ranges: Vec<(u16, u16, Place)>,
}

impl Cluster {
    /// Does not connect.
    pub(super) fn new(seeds: Vec<ConnectionInfo>, home: Home) -> Self {
        let cluster = Self(Arc::new(Inner {
            seeds,
            home,
            nodes: Mutex::default(),
            layout: RwLock::default(),
            reading: Mutex::default(),
        }));
        for seed in cluster.seeds() {
            cluster.node(seed);
        }
        cluster
    }

    /// Asks the primary that holds `slot`, wherever it moves meanwhile. Takes as long as the caller waits.
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        slot: Slot,
        request: &Request<'_>,
    ) -> Result<T, StoreUnavailable> {
        let mut node = self.primary(slot).await?;
        let (mut asking, mut hops) = (false, 0);
        loop {
            match node.send(request, asking).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Elsewhere { host, port, asking: for_once, .. }) => {
                    if !for_once {
                        drop(self.read_again());
                    }
                    let host = if host.is_empty() { host_of(&node) } else { host };
                    (node, asking) = (self.node((host, port)), for_once);
                    hops += 1;
                    if hops > HOPS {
                        sleep(MOMENT).await;
                    }
                }
                Err(Failure::InBetween(_)) => {
                    sleep(MOMENT).await;
                    (node, asking) = (self.primary(slot).await?, false);
                }
                Err(Failure::Unavailable(error)) => {
                    drop(self.read_again());
                    return Err(error);
                }
            }
        }
    }

    /// The primaries. Not empty.
    pub(super) async fn primaries(&self) -> Result<Vec<Machine>, StoreUnavailable> {
        Ok(self.known_layout().await?.primaries().into_values().cloned().collect())
    }

    /// Grows when a slot changes hands.
    pub(super) async fn version(&self) -> Result<u64, StoreUnavailable> {
        Ok(self.known_layout().await?.version)
    }

    async fn known_layout(&self) -> Result<Arc<Layout>, StoreUnavailable> {
        if self.layout().ranges.is_empty() {
            self.read_again().await?;
        }
        Ok(self.layout())
    }

    pub(super) fn name(&self) -> String {
        self.seeds().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",")
    }

    fn layout(&self) -> Arc<Layout> {
        self.0.layout.read().clone()
    }

    async fn primary(&self, slot: Slot) -> Result<Machine, StoreUnavailable> {
        if let Some(primary) = self.0.layout.read().primary(slot) {
            return Ok(primary.clone());
        }
        self.read_again().await?;
        let layout = self.layout();
        layout.primary(slot).cloned().ok_or_else(|| StoreUnavailable(format!("no node holds slot {}", slot.0)))
    }

    fn seeds(&self) -> impl Iterator<Item = Place> {
        self.0.seeds.iter().filter_map(|seed| match seed.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Some((host.clone(), *port)),
            _ => None,
        })
    }

    fn node(&self, place: Place) -> Machine {
        let make = |(host, port): &Place| {
            let info = elsewhere(&self.0.seeds[0], host.clone(), *port);
            Machine::new(Source::Server(info), format!("{host}:{port}"), self.0.home.clone())
        };
        self.0.nodes.lock().entry(place).or_insert_with_key(make).clone()
    }

    /// Has the layout read, once for all who ask at the same time. It is done even if nobody waits for it.
    fn read_again(&self) -> Reading {
        let mut reading = self.0.reading.lock();
        // Looked at by polling it: a reading that nobody waited for would seem to be under way for ever.
        let is_under_way = |reading: &Reading| reading.clone().now_or_never().is_none();
        if let Some((_, under_way)) = reading.as_ref().filter(|(_, reading)| is_under_way(reading)) {
            return under_way.clone();
        }
        let now = Instant::now();
        let begin = reading.as_ref().map_or(now, |(began, _)| now.max(*began + PAUSE));
        let cluster = self.clone();
        let task = self.0.home.runtime().spawn(async move {
            sleep_until(begin.into()).await;
            cluster.read_layout().await
        });
        let task = async { task.await.unwrap_or_else(|error| Err(StoreUnavailable(error.to_string()))) };
        let task = task.boxed().shared();
        *reading = Some((begin, task.clone()));
        task
    }

    /// Asks all nodes that are known, and believes the one that has seen most.
    async fn read_layout(&self) -> Result<(), StoreUnavailable> {
        let nodes: Vec<(Place, Machine)> =
            self.0.nodes.lock().iter().map(|(place, node)| (place.clone(), node.clone())).collect();
        let answers = join_all(nodes.iter().map(|(place, node)| timeout(ANSWER, ask_for_layout(&place.0, node)))).await;
        let mut reason = StoreUnavailable("no node of the cluster answers in time".to_owned());
        let mut best: Option<Told> = None;
        for answer in answers.into_iter().flatten() {
            match answer {
                Ok(told) => {
                    let worth = |told: &Told| (told.is_whole, told.epoch, told.ranges.len());
                    if best.as_ref().is_none_or(|best| worth(best) < worth(&told)) {
                        best = Some(told);
                    }
                }
                Err(error) => reason = error,
            }
        }
        let told = best.filter(|told| !told.ranges.is_empty()).ok_or(reason)?;
        self.take_over(told);
        Ok(())
    }

    fn take_over(&self, told: Told) {
        let ranges = told.ranges.into_iter().map(|(first, last, place)| {
            let primary = self.node(place.clone());
            Range { first, last, place, primary }
        });
        let ranges: Vec<Range> = ranges.collect();
        let mut layout = self.0.layout.write();
        if layout.is_like(&ranges) {
            return;
        }
        let version = layout.version + 1;
        *layout = Arc::new(Layout { ranges, version });
        let kept = layout.primaries();
        tracing::info!(cluster = self.name(), primaries = kept.len(), version, "the cluster's slots are read");
        let seeds: Vec<Place> = self.seeds().collect();
        self.0.nodes.lock().retain(|place, _| kept.contains_key(place) || seeds.contains(place));
    }
}

fn host_of(node: &Machine) -> String {
    node.name().rsplit_once(':').map_or_else(String::new, |(host, _)| host.to_owned())
}

async fn ask_for_layout(host: &str, node: &Machine) -> Result<Told, StoreUnavailable> {
    let mut both = pipe();
    both.add_command(cmd("CLUSTER").arg("INFO").take()).add_command(cmd("CLUSTER").arg("SLOTS").take());
    let (info, slots): (String, Vec<Vec<Value>>) = node.send(&Request::Pipeline(&both), false).await?;
    let said = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let mut ranges: Vec<_> = slots.iter().filter_map(|row| range(host, row)).collect();
    ranges.sort_unstable();
    Ok(Told {
        is_whole: said("cluster_state") == Some("ok"),
        epoch: said("cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default(),
        ranges,
    })
}

/// First slot, last slot, the primary's host, port and more, then the replicas. A host that the node does not know is its
/// own.
fn range(asked: &str, row: &[Value]) -> Option<(u16, u16, Place)> {
    let [first, last, Value::Array(primary), ..] = row else { return None };
    let [host, port, ..] = primary.as_slice() else { return None };
    let host = match from_redis_value_ref::<Option<String>>(host).ok()? {
        Some(host) if !host.is_empty() && host != "?" => host,
        _ => asked.to_owned(),
    };
    let number = |value| from_redis_value_ref::<u16>(value).ok();
    Some((number(first)?, number(last)?, (host, number(port)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(ranges: &[(u16, u16, u16)]) -> Layout {
        let range = |(first, last, port): &(u16, u16, u16)| {
            let info = ConnectionInfo::clone(&redis_at(*port));
            let primary = Machine::new(Source::Server(info), format!("h:{port}"), Home::default());
            Range { first: *first, last: *last, place: ("h".to_owned(), *port), primary }
        };
        Layout { ranges: ranges.iter().map(range).collect(), version: 1 }
    }

    fn redis_at(port: u16) -> ConnectionInfo {
        use deadpool_redis::redis::IntoConnectionInfo as _;
        ("h", port).into_connection_info().expect("an address")
    }

    #[test]
    fn a_slot_is_found_in_its_range_and_a_gap_is_nobodys() {
        let layout = layout(&[(0, 99, 1), (100, 100, 2), (200, 16_383, 1)]);
        let owner = |slot| layout.primary(Slot(slot)).map(|machine| machine.name().to_owned());
        for (slot, port) in [(0, 1), (99, 1), (100, 2), (200, 1), (16_383, 1)] {
            assert_eq!(owner(slot), Some(format!("h:{port}")), "slot {slot}");
        }
        assert_eq!((owner(101), owner(199)), (None, None));
        assert_eq!(layout.primaries().len(), 2);
    }

    #[test]
    fn a_row_of_the_layout_is_read_and_an_unknown_host_is_the_one_that_was_asked() {
        let row = |host: Value| {
            let primary = Value::Array(vec![host, Value::Int(7000), Value::BulkString(b"id".to_vec())]);
            vec![Value::Int(0), Value::Int(5460), primary, Value::Array(vec![])]
        };
        let named = |host: &[u8]| range("asked", &row(Value::BulkString(host.to_vec())));
        assert_eq!(named(b"one"), Some((0, 5460, ("one".to_owned(), 7000))));
        for unknown in [named(b""), named(b"?"), range("asked", &row(Value::Nil))] {
            assert_eq!(unknown, Some((0, 5460, ("asked".to_owned(), 7000))));
        }
        assert_eq!(range("asked", &[Value::Int(0)]), None);
    }
}
