//! The body of a request: how long it may take to arrive, and how large it may be, whichever way an endpoint reads it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _};
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::request::MAX_BODY;

/// Ends each body that has not arrived after `patience`, counted from the request's head, or that is larger than 64 KiB.
/// The reader gets an error, which [`body_error`](crate::request::body_error) words.
pub(super) async fn bound(
    patience: Duration,
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match request.take_payload() {
        Payload::None => {}
        payload => {
            let deadline = Instant::now() + patience;
            let bounded = Bounded { payload, deadline, timer: None, left: MAX_BODY };
            request.set_payload(Payload::Stream { payload: Box::pin(bounded) });
        }
    }
    next.call(request).await
}

struct Bounded {
    payload: Payload,
    deadline: Instant,
    /// Made when the reader has to wait for the first time.
    timer: Option<Pin<Box<Sleep>>>,
    left: usize,
}

impl Bounded {
    fn end(&mut self, error: PayloadError) -> Poll<Option<Result<Bytes, PayloadError>>> {
        self.payload = Payload::None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Bounded {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match Pin::new(&mut this.payload).poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => match this.left.checked_sub(chunk.len()) {
                Some(left) => {
                    this.left = left;
                    Poll::Ready(Some(Ok(chunk)))
                }
                None => this.end(PayloadError::Overflow),
            },
            Poll::Ready(other) => Poll::Ready(other),
            Poll::Pending => {
                let deadline = this.deadline;
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                if timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                this.end(PayloadError::Io(io::Error::new(io::ErrorKind::TimedOut, "the body did not arrive in time")))
            }
        }
    }
}
