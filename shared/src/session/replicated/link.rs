//! The way to one other node: a connection that is dialled again when it ends, and the queue before it. Owns what is sent
//! and in which order the answers come; what is asked is decided elsewhere.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use parking_lot::Mutex;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::connection::{self, Reader, Writer};
use super::node::Node;
use super::wire::{Reply, Request, decode, encode};
use super::{joining, measures};

/// A node that does not answer for so long is hung up on: nobody waits for it longer.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const SILENT_LOOKS: u32 = 10;
/// How often digests are compared, beside each time that a connection begins.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// More changes than these are not kept for a node that is slow: it is hung up on, and compares digests afterwards.
const QUEUE: usize = 10_000;

struct Item {
    frame: Arc<[u8]>,
    reply: Option<oneshot::Sender<Reply>>,
}

/// What was sent and not answered yet, in order.
type Pending = Mutex<VecDeque<Option<oneshot::Sender<Reply>>>>;

pub(super) struct Link {
    pub(super) peer: u64,
    pub(super) address: SocketAddr,
    queue: mpsc::Sender<Item>,
    connected: AtomicBool,
    overflowed: Notify,
    compare: Notify,
}

pub(super) fn spawn(node: Arc<Node>, peer: u64, address: SocketAddr) -> (Arc<Link>, AbortOnDropHandle<()>) {
    let (queue, items) = mpsc::channel(QUEUE);
    let (overflowed, compare) = (Notify::new(), Notify::new());
    let link = Arc::new(Link { peer, address, queue, connected: AtomicBool::new(false), overflowed, compare });
    let work = {
        let link = link.clone();
        async move {
            tokio::join!(keep_connected(&node, &link, items), keep_comparing(&node, &link));
        }
    };
    (link, AbortOnDropHandle::new(tokio::spawn(work)))
}

impl Link {
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Sends a frame to a node that is connected, and answers where its reply will come, if it is wanted. One that is not
    /// connected gets it when it compares digests.
    pub(super) fn send(&self, frame: Arc<[u8]>, wants_reply: bool) -> Option<oneshot::Receiver<Reply>> {
        if !self.is_connected() {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let item = Item { frame, reply: wants_reply.then_some(sender) };
        if self.queue.try_send(item).is_err() {
            measures::dropped("frame");
            self.overflowed.notify_one();
            return None;
        }
        wants_reply.then_some(receiver)
    }

    /// # Errors
    /// The node is not connected, or hangs up before it answers.
    pub(super) async fn ask(&self, request: &Request) -> anyhow::Result<Reply> {
        let reply = self.send(encode(request).into(), true).context("there is no connection")?;
        reply.await.context("the connection has ended")
    }

    /// Compares digests without waiting for the next time.
    pub(super) fn compare_now(&self) {
        self.compare.notify_one();
    }
}

async fn keep_connected(node: &Node, link: &Link, mut items: mpsc::Receiver<Item>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match forgetting(&mut items, connect(node, link)).await {
            Ok((reader, writer)) => {
                pause = FIRST_PAUSE;
                link.connected.store(true, Ordering::Release);
                node.links_changed();
                link.compare_now();
                let Err(reason) = converse(link, &mut items, reader, writer).await else { return };
                link.connected.store(false, Ordering::Release);
                node.links_changed();
                tracing::info!(node = %link.address, reason = %format!("{reason:#}"), "a node is not connected any more");
            }
            Err(reason) if pause == FIRST_PAUSE => {
                tracing::warn!(node = %link.address, reason = %format!("{reason:#}"), "a node cannot be reached");
            }
            Err(_) => {}
        }
        forgetting(&mut items, sleep(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits, and drops what is sent meanwhile: nobody is to wait for the answer of a node that is not connected.
async fn forgetting<T>(items: &mut mpsc::Receiver<Item>, what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            done = &mut what => return done,
            Some(_) = items.recv() => {}
        }
    }
}

async fn keep_comparing(node: &Node, link: &Link) {
    loop {
        // Either is a reason.
        let _ = timeout(COMPARE_EVERY, link.compare.notified()).await;
        // A node that is joining compares by itself.
        if link.is_connected()
            && node.is_joined()
            && let Err(reason) = joining::compare(node, link).await
        {
            tracing::debug!(node = %link.address, %reason, "digests were not compared");
        }
    }
}

async fn connect(node: &Node, link: &Link) -> anyhow::Result<(Reader, Writer)> {
    let stream = timeout(PATIENCE, dial(node, link.address)).await.context("it does not answer")??;
    let (mut reader, mut writer) = connection::dial(stream, &node.keys).await?;
    let greeting = async {
        writer.write(&encode(&Request::Hello(node.hello()))).await?;
        decode(&reader.read().await?)
    };
    let reply = timeout(PATIENCE, greeting).await.context("it does not answer")??;
    let Reply::Welcome(hello) = reply else { bail!("it answers what was not asked") };
    node.check(hello)?;
    ensure!(hello.node == link.peer, "another node answers there");
    Ok((reader, writer))
}

async fn dial(node: &Node, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = node.source.filter(|source| source.is_ipv4() == to.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(to).await
}

/// Sends what is queued and hands out the answers, until the connection ends. Whoever waits for an answer then is told so.
async fn converse(
    link: &Link,
    items: &mut mpsc::Receiver<Item>,
    mut reader: Reader,
    mut writer: Writer,
) -> anyhow::Result<()> {
    let pending = Pending::default();
    let heard = AtomicU64::new(0);
    let sending = async {
        while let Some(item) = items.recv().await {
            pending.lock().push_back(item.reply);
            writer.write(&item.frame).await?;
        }
        anyhow::Ok(())
    };
    let receiving = async {
        loop {
            let reply = decode(&reader.read().await?)?;
            heard.fetch_add(1, Ordering::Relaxed);
            let waiting = pending.lock().pop_front().context("it answers what was not asked")?;
            // Whoever asked may have left.
            let _ = waiting.map(|waiting| waiting.send(reply));
        }
    };
    // Counted in looks, not by the clock: while this process itself stood still, nobody could be heard.
    let watching = async {
        let (mut last, mut silent) = (0, 0);
        while silent < SILENT_LOOKS {
            sleep(LOOK_EVERY).await;
            let now = heard.load(Ordering::Relaxed);
            silent = if pending.lock().is_empty() || now != last { 0 } else { silent + 1 };
            last = now;
        }
    };
    tokio::select! {
        sent = sending => sent,
        received = receiving => received,
        () = watching => bail!("it has not answered for {PATIENCE:?}"),
        () = link.overflowed.notified() => bail!("it is too slow: {QUEUE} changes are waiting for it"),
    }
}
