//! The cookie by which a gateway leads a browser to the same node each time, where each node has sessions of its own. Owns
//! its text, and counts who was led elsewhere; leads nobody itself.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, SET_COOKIE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest};
use aws_lc_rs::hmac;

use crate::authentication::SessionCookie;
use crate::request::cookies_named;
use crate::telemetry::Metric;

/// The cookie's name; `deploy/gateway` reads it.
pub const ROUTE_COOKIE: &str = "ROUTEID";
/// With the answer of `/readyz`: how a gateway learns which node is which.
const ROUTE: HeaderName = HeaderName::from_static("x-roam-route");
const LABEL: &[u8] = b"roam route cookie v1\0";

pub(super) const METRICS: &[Metric] = &[Metric::counter(
    "roam_route_failovers_total",
    "Requests of browsers that had been led to another node before, whose session stayed there.",
)];

/// What a node is called in the cookie: an HMAC of its name (SHA-256, 64 hexadecimal digits), which tells nobody what or
/// where the node is, and which nobody makes up.
#[derive(Debug, Clone)]
pub struct Route {
    name: HeaderValue,
    session: SessionCookie,
}

impl Route {
    /// `key` is the same at all nodes; the cookie goes where the session's does.
    pub fn of(key: &[u8], node: &str, session: &SessionCookie) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let tag = hmac::sign(&key, &[LABEL, node.as_bytes()].concat());
        let name: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: HeaderValue::from_str(&name).expect("digits"), session: session.clone() }
    }

    /// The cookie, for the hosts that share the session's.
    fn cookie(&self, request: &HttpRequest) -> HeaderValue {
        let name = self.name.to_str().unwrap_or_default();
        let mut cookie = Cookie::build(ROUTE_COOKIE, name).path("/").http_only(true).same_site(SameSite::Lax);
        cookie = cookie.secure(self.session.secure);
        if let Some(domain) = self.session.at(request).domain {
            cookie = cookie.domain(domain);
        }
        HeaderValue::from_str(&cookie.finish().to_string()).expect("digits, and settings that were checked")
    }
}

pub(super) async fn lead(
    route: Option<Arc<Route>>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(route) = route else { return next.call(request).await };
    // No browser asks for these.
    let (is_readiness, is_operators) =
        (request.path() == "/readyz", ["/readyz", "/healthz", "/metrics"].contains(&request.path()));
    let (is_new, is_here) = {
        let mut presented = cookies_named(request.headers(), ROUTE_COOKIE).map(str::as_bytes).peekable();
        (presented.peek().is_none(), presented.any(|name| name == route.name.as_bytes()))
    };
    if !is_operators && !is_new && !is_here {
        metrics::counter!("roam_route_failovers_total").increment(1);
    }
    let cookie = route.cookie(request.request());
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    if is_readiness {
        headers.insert(ROUTE, route.name.clone());
    } else if !is_operators && !is_here && !is_public(headers.get(CACHE_CONTROL)) {
        headers.append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Whether others may be given the same answer.
fn is_public(cache: Option<&HeaderValue>) -> bool {
    cache.and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("public"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_node_is_called_the_same_each_time_and_no_two_alike() {
        let cookie = SessionCookie { domain: Some("shop.localhost".to_owned()), ..SessionCookie::default() };
        let name = |key: &[u8], node| Route::of(key, node, &cookie).name.to_str().expect("text").to_owned();
        assert_eq!(name(b"key", "one"), name(b"key", "one"));
        assert_eq!(name(b"key", "one").len(), 64);
        assert_ne!(name(b"key", "one"), name(b"key", "two"));
        assert_ne!(name(b"key", "one"), name(b"another", "one"));
        let text = Route::of(b"key", "10.0.0.7:8081", &cookie);
        let text = text.cookie(&TestRequest::default().to_http_request());
        let text = text.to_str().expect("text");
        assert!(text.contains("Domain=shop.localhost") && text.contains("HttpOnly"), "{text}");
        assert!(!text.contains("10.0.0.7"), "{text}");
    }
}
