//! Who dials this node. Owns the listener and the answers; a caller without the cluster's key gets none.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{self, Reader, Writer};
use super::measures;
use super::node::Node;
use super::wire::{Reply, Request, decode, encode};

/// A caller that says nothing for so long is hung up on: it compares digests more often.
const SILENCE: Duration = Duration::from_secs(30);
/// How many may be at the handshake at once.
const STRANGERS: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn answer_all(node: Arc<Node>, listener: TcpListener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    let mut callers = JoinSet::new();
    loop {
        while callers.try_join_next().is_some() {}
        let Ok((stream, address)) = listener.accept().await else {
            // No file descriptor is left, most likely.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = strangers.clone().try_acquire_owned() else {
            measures::dropped("caller");
            continue;
        };
        let node = node.clone();
        callers.spawn(async move {
            let greeted = greet(&node, stream).await;
            drop(permit);
            match greeted {
                Ok(caller) => {
                    let reason = serve(caller).await.err();
                    tracing::debug!(%address, ?reason, "a caller has gone");
                }
                Err(reason) => {
                    measures::dropped("caller");
                    tracing::debug!(%address, reason = %format!("{reason:#}"), "a caller was refused");
                }
            }
        });
    }
}

/// Another node, whose changes arrive here.
struct Caller {
    node: Arc<Node>,
    id: u64,
    reader: Reader,
    writer: Writer,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.node.caller_went(self.id);
    }
}

async fn greet(node: &Arc<Node>, stream: TcpStream) -> anyhow::Result<Caller> {
    let (mut reader, mut writer) = connection::answer(stream, &node.keys).await?;
    let hello = timeout(SILENCE, reader.read()).await.context("it says nothing")??;
    let Request::Hello(hello) = decode(&hello)? else { bail!("it does not say who it is") };
    // It is told first: it sees for itself what is wrong.
    writer.write(&encode(&Reply::Welcome(node.hello()))).await?;
    node.check(hello)?;
    node.caller_came(hello.node);
    Ok(Caller { node: node.clone(), id: hello.node, reader, writer })
}

async fn serve(mut caller: Caller) -> anyhow::Result<()> {
    loop {
        let request = timeout(SILENCE, caller.reader.read()).await.context("it says nothing")??;
        let reply = answer(&caller.node, decode(&request)?)?;
        caller.writer.write(&encode(&reply)).await?;
    }
}

fn answer(node: &Node, request: Request) -> anyhow::Result<Reply> {
    Ok(match request {
        Request::Hello(_) => bail!("it says twice who it is"),
        Request::Changes { sent, changes } => {
            let lag = node.clock.now().since(crate::clock::Timestamp::from_micros(sent));
            metrics::histogram!("roam_cluster_lag_seconds").record(lag.as_secs_f64());
            node.take_in(changes);
            Reply::Taken
        }
        Request::Digest => {
            let buckets = node.look(|replica| replica.digest.buckets().to_vec());
            Reply::Digest { buckets, since: node.remembers_since().micros(), joined: node.is_joined() }
        }
        Request::Bucket { number, skip } => {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            let (entries, more) = node.look(|replica| replica.page(number, skip));
            Reply::Page { entries, more }
        }
    })
}
