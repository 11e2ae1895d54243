//! The revocation feed on Redis: one stream for each partition. Owns how they are read, and from where; never writes.
//!
//! One server is asked by a read that waits for all streams at once. On a cluster no read takes streams of two slots: there
//! each is asked in turn, ten times a second.

use std::time::{Duration, Instant};

use deadpool_redis::Connection;
use deadpool_redis::redis::streams::{StreamId, StreamReadReply};
use deadpool_redis::redis::{cmd, from_redis_value_ref, pipe};
use futures_util::future::{join_all, try_join_all};
use tokio::time::{sleep, timeout};

use super::{RedisSessionStore, feed_key, mark_key, number, slot};
use crate::clock::{Clock, Timestamp};
use crate::clock_skew::Reading;
use crate::session::{FeedMark, FeedPosition, Revocation, Revoked, SessionId, StoreUnavailable, StoresClock};

/// How many entries of each stream one read takes.
const CHUNK: usize = 1_000;

/// How long one read waits for a first entry.
const WAIT: Duration = Duration::from_secs(1);

/// How long a cluster is left alone between two looks: the mean lag of a revocation is half of it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

impl RedisSessionStore {
    /// Reads on. A feed that must be marked and is not has lost its memory: it is not at its end before it is marked again.
    pub(super) async fn read_feed(
        &self,
        position: &FeedPosition,
    ) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable> {
        // Before the entries: what was announced before the mark is read after it.
        let is_marked = self.is_marked(position).await?;
        let (entries, mut next) = self.read_entries(position).await?;
        next.marked = self.demands_mark && is_marked && next.is_of_the_same_server(position);
        if next.at_end && self.demands_mark && !next.marked {
            next.at_end = false;
            if entries.is_empty() {
                sleep(BETWEEN_LOOKS).await;
            }
        }
        Ok((entries, next))
    }

    /// Whether the feed was marked when this position was read, or is now.
    async fn is_marked(&self, position: &FeedPosition) -> Result<bool, StoreUnavailable> {
        let is_known = position.marked || !self.demands_mark;
        Ok(is_known || self.read_mark().await?.through().is_some())
    }

    /// The marks of all partitions.
    pub(super) async fn read_mark(&self) -> Result<FeedMark, StoreUnavailable> {
        let marks = (0..SessionId::PARTITIONS).map(async |partition| {
            let mut get = cmd("GET");
            get.arg(mark_key(partition));
            self.redis.poll::<Option<i64>>(slot(partition), &get).await
        });
        try_join_all(marks).await.map(FeedMark)
    }

    async fn read_entries(&self, position: &FeedPosition) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable> {
        let Some((mut connection, server)) = self.redis.blocking().await? else {
            let layout = self.redis.layout().await?;
            return self.poll(position, layout).await;
        };
        let answer = async {
            let position = match known(position, server) {
                Some(position) => position,
                None => self.start(server, Some(time(&mut connection).await?)),
            };
            let (answer, clock) = read(&mut connection, &position).await?;
            Ok((position, answer, clock))
        };
        match answer.await {
            Ok((position, answer, clock)) => {
                let position = FeedPosition { clock: Some(self.moved(clock)), ..position };
                Ok(advanced(position, vec![Some(answer)], ""))
            }
            Err(error) => {
                // It may be broken, and the next read gets a new one.
                drop(Connection::take(connection));
                Err(error)
            }
        }
    }

    /// The server's clock, moved as a test has moved the store's.
    fn moved(&self, clock: StoresClock) -> StoresClock {
        StoresClock { now: clock.now + self.clock.offset(), ..clock }
    }

    /// Where the entries begin that matter still, by the server's own time; without that, where the streams do.
    fn start(&self, server: u64, now: Option<ServerTime>) -> FeedPosition {
        let oldest = now.map_or(0, |now| (now.at() + self.clock.offset() - self.feed_window).millis().max(0));
        let seen = vec![format!("{oldest}-0"); usize::from(SessionId::PARTITIONS)];
        FeedPosition { seen, server, ..FeedPosition::default() }
    }

    /// Looks at each stream of a cluster until one has an entry. What cannot be read is read from the start when it is
    /// back; until then the feed is not at its end, and the others are followed on.
    async fn poll(
        &self,
        position: &FeedPosition,
        layout: u64,
    ) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable> {
        let (started, before) = (Instant::now(), Clock::default().now());
        // A node that is away must not hold up the streams of the others.
        let time = self.redis.poll::<ServerTime>(slot(0), &cmd("TIME")).await.ok();
        let start = self.start(layout, time);
        let position = FeedPosition {
            clock: time.map(|time| self.moved(time.since(before))),
            ..known(position, layout).unwrap_or_else(|| start.clone())
        };
        loop {
            let looks = (0..SessionId::PARTITIONS).zip(&position.seen).map(async |(partition, seen)| {
                let mut look = cmd("XREAD");
                look.arg("COUNT").arg(CHUNK).arg("STREAMS").arg(feed_key(partition)).arg(seen);
                self.redis.poll::<Option<StreamReadReply>>(slot(partition), &look).await
            });
            let (mut answers, mut failed) = (Vec::new(), None);
            for look in join_all(looks).await {
                answers.push(look.map(Option::unwrap_or_default).map_err(|error| failed = Some(error)).ok());
            }
            let found = answers.iter().flatten().any(|answer| !answer.keys.is_empty());
            let caught_up = failed.is_none() && !position.at_end;
            if found || caught_up || started.elapsed() >= WAIT {
                return match failed {
                    Some(error) if answers.iter().all(Option::is_none) => Err(error),
                    _ => Ok(advanced(position, answers, &start.seen[0])),
                };
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }
}

/// The position, if it is of this server: another one's clock may have gone behind, and a failover may have lost what was
/// read, so that new entries stand before the position.
fn known(position: &FeedPosition, server: u64) -> Option<FeedPosition> {
    let is_known = position.server == server && position.seen.len() == usize::from(SessionId::PARTITIONS);
    is_known.then(|| position.clone())
}

/// What the answers tell, and the position after them. One answer is for all streams; of several, each is for one. A stream
/// that was not read is read from `start`.
fn advanced(
    mut position: FeedPosition,
    answers: Vec<Option<StreamReadReply>>,
    start: &str,
) -> (Vec<Revocation>, FeedPosition) {
    let streams = || answers.iter().flatten().flat_map(|answer| &answer.keys);
    position.at_end = answers.iter().all(Option::is_some) && streams().all(|stream| stream.ids.len() < CHUNK);
    for (partition, seen) in (0..SessionId::PARTITIONS).zip(&mut position.seen) {
        let last = streams().find(|stream| stream.key == feed_key(partition)).and_then(|stream| stream.ids.last());
        if let Some(last) = last {
            seen.clone_from(&last.id);
        }
    }
    for (answer, seen) in answers.iter().zip(&mut position.seen) {
        if answer.is_none() {
            start.clone_into(seen);
        }
    }
    (streams().flat_map(|stream| &stream.ids).filter_map(revocation).collect(), position)
}

/// What `TIME` answers: seconds, and microseconds.
type ServerTime = (i64, i64);

trait ServersClock {
    fn at(self) -> Timestamp;

    /// `before` is what this machine's clock said before the server was asked.
    fn since(self, before: Timestamp) -> StoresClock;
}

impl ServersClock for ServerTime {
    fn at(self) -> Timestamp {
        Timestamp::from_seconds(self.0) + Duration::from_micros(self.1.unsigned_abs())
    }

    fn since(self, before: Timestamp) -> StoresClock {
        let reading = Reading { before, after: Clock::default().now(), other: self.at(), unit: Duration::ZERO };
        StoresClock { now: self.at(), ahead: reading.ahead() }
    }
}

async fn time(connection: &mut Connection) -> Result<ServerTime, StoreUnavailable> {
    let answer = timeout(WAIT * 3, cmd("TIME").query_async(connection)).await;
    let answer = answer.map_err(|_| StoreUnavailable("Redis does not tell the time".to_owned()))?;
    answer.map_err(|error| StoreUnavailable(error.to_string()))
}

/// Reads all streams of one server, and its clock; at the feed's end it waits for a first entry.
async fn read(
    connection: &mut Connection,
    position: &FeedPosition,
) -> Result<(StreamReadReply, StoresClock), StoreUnavailable> {
    let mut read = cmd("XREAD");
    read.arg("COUNT").arg(CHUNK);
    if position.at_end {
        read.arg("BLOCK").arg(number(WAIT.as_millis()));
    }
    read.arg("STREAMS").arg((0..SessionId::PARTITIONS).map(feed_key).collect::<Vec<_>>()).arg(&position.seen);
    let mut both = pipe();
    both.add_command(read).cmd("TIME");
    let before = Clock::default().now();
    let answer = timeout(WAIT * 3, both.query_async::<(Option<StreamReadReply>, ServerTime)>(connection)).await;
    let answer = answer.map_err(|_| StoreUnavailable("the revocation feed does not answer".to_owned()))?;
    let (entries, time) = answer.map_err(|error| StoreUnavailable(error.to_string()))?;
    Ok((entries.unwrap_or_default(), time.since(before)))
}

/// An entry of the feed, or none where it is of a kind of a later release.
fn revocation(entry: &StreamId) -> Option<Revocation> {
    let at = Timestamp::from_millis(entry.id.split('-').next()?.parse().ok()?);
    let (kind, id) = entry.map.iter().next()?;
    let id: String = from_redis_value_ref(id).ok()?;
    let revoked = match kind.as_str() {
        "s" => Revoked::Session(id.parse().ok()?),
        "j" => Revoked::Token(u128::from_str_radix(&id, 16).ok()?),
        _ => return None,
    };
    Some(Revocation { revoked, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_later_release_is_passed_over() {
        let mut entry = StreamId { id: "1795230000123-0".to_owned(), ..StreamId::default() };
        entry.map.insert("z".to_owned(), deadpool_redis::redis::Value::Okay);
        assert!(revocation(&entry).is_none());
    }
}
