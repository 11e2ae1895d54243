//! HEAD: all that GET answers, but for the content (RFC 9110, section 9.3.2). Owns the method on the way in and the body on the
//! way out, so that each endpoint of GET is HEAD's too.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_LENGTH, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _};

use crate::request::SentAsHead;

/// Has a HEAD carried out as GET, and sends the head of the answer alone.
pub(super) async fn as_get<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, Unsent>>, Error> {
    if *request.method() != Method::HEAD {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    request.extensions_mut().insert(SentAsHead);
    request.head_mut().method = Method::GET;
    let mut response = next.call(request).await?;
    let has_no_length = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status());
    match response.response().body().size() {
        BodySize::Sized(length) if !has_no_length => {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        BodySize::Sized(_) | BodySize::None | BodySize::Stream => {}
    }
    // The connection knows the method of the request that it has read last, which need not be this one.
    response.response_mut().head_mut().no_chunking(true);
    Ok(response.map_body(|_, _| EitherBody::right(Unsent)))
}

/// A body of which nothing is sent: its length is in the head already.
pub(super) struct Unsent;

impl MessageBody for Unsent {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}
