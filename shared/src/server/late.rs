//! Refuses requests that come too late to be carried out. Owns the refusal; when one is too late, [`crate::arrival`] tells.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};

use crate::arrival;
use crate::calls;
use crate::problem::Problem;

fn ends_something(ending: &[&str], path: &str) -> bool {
    ending.iter().any(|known| if known.ends_with('/') { path.starts_with(known) } else { path == *known })
}

/// Whether a request with this method may change something (RFC 9110, section 9.2.1).
fn may_change_something(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

/// Refuses what comes too late, but for the ends of a client that has hung up. A method that only reads is let through: what
/// such a request changes after all (the code of a callback, a renewed login) asks for itself.
pub(super) async fn refuse<B: MessageBody>(
    ending: &'static [&'static str],
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let arrival = calls::arrival();
    if let Some(arrival) = &arrival
        && ends_something(ending, request.path())
    {
        arrival.goes_on_when_hung_up();
    }
    let asked = arrival.filter(|_| may_change_something(request.method()));
    match asked.map_or(Ok(()), |arrival| arrival.is_in_time()) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(late) => {
            arrival::count(late);
            tracing::info!(why = late.as_str(), "a request is not carried out: it comes too late");
            let refusal = HttpResponse::from_error(Problem::from(late));
            Ok(request.into_response(refusal).map_into_right_body())
        }
    }
}
