//! One client's connection below HTTP. Owns how long it may be silent, and knows what HTTP's dispatcher does not tell: that
//! the client has hung up, and that a request may have lain in the socket while this process stood still.
//!
//! actix's own timers close a connection before they look whether a request has come: after a pause, complete requests
//! got 408. Here a limit counts only where the socket is empty.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::dev::Extensions;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::arrival::Arrival;
use crate::pauses::Pauses;

/// How long a client may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For the head of a request, from the connection's beginning or from its first byte on.
    head: Duration,
    /// Between two requests.
    keep_alive: Duration,
    /// While an answer waits for it to read on.
    unread: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: Duration::from_secs(10), keep_alive: Duration::from_secs(75), unread: Duration::from_secs(30) }
    }
}

/// How long after a pause of the process requests may come from the sockets that have lain there.
const BACKLOG: Duration = Duration::from_secs(2);

/// What is in the socket but not told yet is waited for so long, and so often.
const ONCE_MORE: Duration = Duration::from_millis(100);
const TIMES: u32 = 20;

/// Said to a client that did not send a head in time: it never was a request.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\n\
cache-control: no-store\r\nconnection: close\r\ncontent-length: 109\r\n\r\n\
{\"title\":\"Request Timeout\",\"status\":408,\"code\":\"head_too_slow\",\"detail\":\"the request did not arrive in time\"}";

/// What is known of the client. A copy is the same.
#[derive(Clone)]
pub(super) struct Peer(Rc<Known>);

struct Known {
    limits: Limits,
    hung_up: Arc<AtomicBool>,
    /// The last pause of the process that its requests are known to have come after.
    pause: Cell<u64>,
    is_answered: Cell<bool>,
    waits_since: Cell<Instant>,
    /// When the first byte of a head came.
    head_since: Cell<Option<Instant>>,
    is_first: Cell<bool>,
}

/// While it lives, a request is being answered.
pub(super) struct Answering(Peer);

impl Peer {
    fn new(limits: Limits) -> Self {
        // One that is accepted right after a pause may have waited for that through the pause.
        let pause = Pauses::of_this_process().count();
        Self(Rc::new(Known {
            limits,
            hung_up: Arc::default(),
            pause: Cell::new(pause.saturating_sub(u64::from(is_just_over()))),
            is_answered: Cell::new(false),
            waits_since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            is_first: Cell::new(true),
        }))
    }

    /// The client of a request, where it came by a connection of this listener.
    pub(super) fn of(data: Option<&Self>) -> Self {
        data.cloned().unwrap_or_else(|| Self::new(Limits::default()))
    }

    /// Makes it known to the connection's requests.
    pub(super) fn note(connection: &Connection, data: &mut Extensions) {
        data.insert(connection.peer.clone());
    }

    /// A request that is read now.
    pub(super) fn arrives(&self) -> (Arrival, Answering) {
        let pause = Pauses::of_this_process().count();
        let may_have_lain = self.0.pause.replace(pause) < pause && is_just_over();
        self.0.is_answered.set(true);
        self.0.is_first.set(false);
        self.0.head_since.set(None);
        (Arrival::now(may_have_lain, self.0.hung_up.clone()), Answering(self.clone()))
    }

    fn heard(&self) {
        if !self.0.is_answered.get() && self.0.head_since.get().is_none() {
            self.0.head_since.set(Some(Instant::now()));
        }
    }

    fn hangs_up(&self) {
        self.0.hung_up.store(true, Ordering::Release);
    }

    /// Until when the connection may be silent; none while a request is answered.
    fn deadline(&self) -> Option<Instant> {
        let known = &*self.0;
        if known.is_answered.get() {
            return None;
        }
        let Limits { head, keep_alive, .. } = known.limits;
        let silent = known.waits_since.get() + if known.is_first.get() { head } else { keep_alive };
        Some(known.head_since.get().map_or(silent, |since| silent.min(since + head)))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let known = &*self.0.0;
        known.is_answered.set(false);
        known.waits_since.set(Instant::now());
    }
}

/// Whether the last pause of this process is over for so short a time that requests may still come which lay through it.
fn is_just_over() -> bool {
    Pauses::of_this_process().since_the_last().is_some_and(|awake| awake < BACKLOG)
}

/// A client's stream, as HTTP reads and writes it.
pub(super) struct Connection {
    stream: TcpStream,
    peer: Peer,
    timer: Pin<Box<Sleep>>,
    /// How often it was waited for what is in the socket.
    waited: u32,
    is_writing: bool,
    /// Since a write has waited for the client to read.
    unread: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, limits: Limits) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + limits.head));
        Self { stream, peer: Peer::new(limits), timer, waited: 0, is_writing: false, unread: None }
    }

    /// Ready when the connection was silent for too long.
    fn poll_limit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.peer.deadline() else {
            // Looked at again when the answer may be over: nothing else wakes a connection that is silent from then on.
            if self.timer.deadline() <= Instant::now() {
                self.timer.as_mut().reset(Instant::now() + self.peer.0.limits.head);
            }
            if self.timer.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        };
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            let next = if Instant::now() < deadline {
                deadline
            } else if self.waited < TIMES && self.has_more() {
                self.waited += 1;
                Instant::now() + ONCE_MORE
            } else {
                return Poll::Ready(());
            };
            self.timer.as_mut().reset(next);
        }
    }

    /// Whether something is in the socket that the runtime has not told of yet.
    fn has_more(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        SockRef::from(&self.stream).peek(&mut byte).is_ok_and(|count| count > 0)
    }

    /// Says why, where part of a head came and nothing else is on its way.
    fn say_goodbye(&self) {
        if self.peer.0.head_since.get().is_some() && !self.is_writing {
            // A client that does not read it misses nothing else.
            let _ = self.stream.try_write(TOO_SLOW);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                this.peer.heard();
                this.waited = 0;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => {
                this.peer.hangs_up();
                // A reset is an end, too. As an error it would have HTTP's dispatcher drop the handler half-way.
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                ready!(this.poll_limit(context));
                this.say_goodbye();
                // As if the client had ended it: all that is under way is written.
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.is_writing = written.is_pending();
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let patience = self.peer.0.limits.unread;
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        ready!(unread.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
