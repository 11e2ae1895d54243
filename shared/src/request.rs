//! What a request may hold. Owns reading bodies, queries, cookies and the caller's address; refuses with the field's name and
//! never panics.

mod cookies;
mod network;

use std::net::{IpAddr, SocketAddr};
use std::sync::Once;
use std::time::Duration;

#[cfg(feature = "server")]
use actix_web::HttpMessage as _;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
#[cfg(feature = "server")]
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use ipnet::IpNet;
use serde::de::DeserializeOwned;

pub use self::cookies::{cookies, cookies_named, has_more_cookies};
pub use self::network::{NETWORKS_OF_A_SITE, Network};
use crate::config::Settings;
use crate::problem::Problem;

/// Refuses what a browser asks for as a part of a page, such as an image (Fetch Metadata, section 2.1), where only a person's own
/// way leads: any page could have it done in their name, as often as it likes.
///
/// # Errors
/// 403 `not_a_page`.
pub fn must_be_a_page(headers: &HeaderMap) -> Result<(), Problem> {
    let pages = ["document", "iframe", "frame", "fencedframe", "empty"];
    match headers.get("sec-fetch-dest") {
        Some(part) if !pages.iter().any(|page| part == page) => {
            let detail =
                "a part of a page, such as an image, asks for a sign-in; nothing was done. Open the address itself";
            Err(Problem::forbidden("not_a_page", detail))
        }
        _ => Ok(()),
    }
}

/// Among a request's extensions: it is carried out as the GET that it is the head of.
#[cfg(feature = "server")]
pub(crate) struct SentAsHead;

/// The method that the client has sent, where [`HttpRequest::method`] says GET for HEAD: what a proof of the request names
/// (RFC 9449, section 4.2), and what the log tells.
pub(crate) fn sent_method(request: &HttpRequest) -> &str {
    #[cfg(feature = "server")]
    if request.extensions().contains::<SentAsHead>() {
        return Method::HEAD.as_str();
    }
    request.method().as_str()
}

/// The largest body: 64 KiB.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// How long a body may take to arrive. `shared::server` ends a later one, whichever way it is read.
pub(crate) const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// A JSON body. A body that does not read as `T` is a problem that names the field by its JSON pointer; give `T`
/// `deny_unknown_fields`, and put rules into the types of its fields.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let content_type = media_type(request.headers());
        let mut payload = payload.take();
        async move {
            if content_type.as_deref() != Some("application/json") {
                let detail = "send the body as application/json";
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
            }
            read_json(&read_body_in_time(&mut payload).await?).map(Json)
        }
        .boxed_local()
    }
}

/// Reads a body of at most 64 KiB; in an `App` without `shared::server` in time too.
pub(crate) async fn read_body_in_time(payload: &mut Payload) -> Result<web::BytesMut, Problem> {
    let body = tokio::time::timeout(BODY_PATIENCE, read_body(payload)).await;
    body.map_err(|_| too_slow())?
}

async fn read_body(payload: &mut Payload) -> Result<web::BytesMut, Problem> {
    let mut body = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| body_error(&error))?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why a body cannot be read: 408 `body_too_slow`, 413 `body_too_large`, or 400 `invalid_body` where it ended early.
pub fn body_error(error: &PayloadError) -> Problem {
    match error {
        PayloadError::Overflow => too_large(),
        PayloadError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => too_slow(),
        _ => Problem::bad_request("invalid_body", "the body ended early"),
    }
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not arrive in time")
}

fn too_large() -> Problem {
    let detail = format!("a body has at most {MAX_BODY} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // Serde would take an array for a struct, field by field.
    if body.trim_ascii_start().first() == Some(&b'[') {
        let detail = "expected an object, found an array";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail).at("", detail));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        let cause = error.into_inner();
        // By serde's own words, a number in the place of a name is no JSON.
        if serde_json::from_slice::<serde_json::Value>(body).is_ok() {
            let detail = without_position(&cause);
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail.clone()).at(pointer, detail)
        } else {
            Problem::bad_request("invalid_json", format!("the body is not JSON: {cause}"))
        }
    })?;
    reader.end().map_err(|_| Problem::bad_request("invalid_json", "the body goes on after its JSON value"))?;
    Ok(value)
}

/// The JSON pointer (RFC 6901) to where reading a value failed.
pub fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect()
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}

/// A query string. One that does not read as `T` is a problem with the pointer `#query`.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let read = web::Query::<T>::from_query(request.query_string()).map_err(|error| {
            let detail = format!("the query string cannot be read: {error}");
            Problem::bad_request("invalid_query", detail.clone()).at("#query", detail)
        });
        std::future::ready(read.map(|query| Self(query.into_inner())))
    }
}

/// One part of the path, named in the route. One that does not read as `T` names nothing: 404.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Path<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let read = web::Path::<T>::from_request(request, payload).into_inner();
        std::future::ready(read.map(|path| Self(path.into_inner())).map_err(|_| Problem::not_found("resource")))
    }
}

/// Who may say, in `X-Forwarded-For`, whom a request is from.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Reads `TRUSTED_PROXIES`. A network of all addresses is refused: anybody could name any address as their own.
    pub fn read(settings: &mut Settings) -> Self {
        let meaning = "networks whose X-Forwarded-For is believed, such as 10.0.0.0/8";
        let networks: Vec<IpNet> = settings.or("TRUSTED_PROXIES", "", meaning);
        if let Some(everybody) = networks.iter().find(|network| network.prefix_len() == 0) {
            settings.mistake(format!(
                "TRUSTED_PROXIES: expected the gateway's addresses alone, for whoever is among them names any address as theirs; \
                 found {everybody}, which is everybody"
            ));
        }
        Self(networks)
    }

    /// The caller's address: the last hop that is no trusted proxy of ours. What lies before it could be made up. `None`
    /// where a trusted proxy names a hop that cannot be read: it must not be taken for the proxy itself.
    pub fn address_of(&self, request: &HttpRequest) -> Option<IpAddr> {
        let trusted = |address: &IpAddr| self.0.iter().any(|network| network.contains(address));
        let mut address = canonical(request.peer_addr()?.ip());
        if !trusted(&address) && request.headers().contains_key("x-forwarded-for") {
            tell_of_a_proxy_without_trust(address);
        }
        let headers = request.headers().get_all("x-forwarded-for");
        let hops: Vec<&[u8]> = headers.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).collect();
        for hop in hops.into_iter().rev() {
            if !trusted(&address) {
                break;
            }
            address = canonical(hop_address(hop)?);
        }
        Some(address)
    }
}

/// Once for each process: behind a proxy that is not trusted, all callers look like one, and share one limit. A caller may
/// send the header to bring the line about, which costs one line.
fn tell_of_a_proxy_without_trust(sender: IpAddr) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!(
            %sender,
            "a request names another address in X-Forwarded-For, and TRUSTED_PROXIES does not name its sender: \
             if that is a gateway of yours, all callers behind it count as one"
        );
    });
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip())).or_else(bare)
}

fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[expect(dead_code, reason = "only the refusal is looked at")]
        quantity: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only the refusal is looked at")]
        lines: Vec<Line>,
    }

    fn refusal(body: &str) -> serde_json::Value {
        let problem = read_json::<Body>(body.as_bytes()).expect_err(body);
        serde_json::to_value(problem).expect("a problem is JSON")
    }

    #[test]
    fn a_wrong_field_is_named_by_its_pointer() {
        for (body, pointer) in [
            (r#"{"lines":[{"quantity":1},{"quantity":-1}]}"#, "/lines/1/quantity"),
            (r#"{"lines":[{"quantity":"1"}]}"#, "/lines/0/quantity"),
            (r#"{"lines":[{"quantity":1,"price":3}]}"#, "/lines/0/price"),
            (r#"{"lines":{}}"#, "/lines"),
        ] {
            let refusal = refusal(body);
            assert_eq!(refusal["errors"][0]["pointer"], pointer, "{refusal}");
            assert_eq!(refusal["status"], 422);
        }
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        for body in ["", "{", "{\"lines\":[]} {}", "\u{0}", "[[[["] {
            assert!(matches!(refusal(body)["status"].as_u64(), Some(400 | 422)), "{body}");
        }
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
        let request = |peer: &str, forwarded: &str| {
            TestRequest::default()
                .peer_addr(format!("{peer}:1234").parse().expect("an address"))
                .insert_header(("X-Forwarded-For", forwarded))
                .to_http_request()
        };
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().expect("a network")]);
        let seen = |peer, forwarded| proxies.address_of(&request(peer, forwarded)).map(|address| address.to_string());
        assert_eq!(seen("192.0.2.1", "198.51.100.7").as_deref(), Some("192.0.2.1"));
        assert_eq!(seen("10.0.0.1", "6.6.6.6, 198.51.100.7").as_deref(), Some("198.51.100.7"));
        assert_eq!(seen("10.0.0.1", "198.51.100.7, 10.0.0.2").as_deref(), Some("198.51.100.7"));
        assert_eq!(seen("10.0.0.1", "198.51.100.7:4711").as_deref(), Some("198.51.100.7"));
        assert_eq!(seen("10.0.0.1", "[2001:db8::1]:80").as_deref(), Some("2001:db8::1"));
        for odd in ["not an address", "", "198.51.100.7,", "198.51.100.7, ?"] {
            assert_eq!(seen("10.0.0.1", odd), None, "{odd:?} was taken for the proxy");
        }
    }
}
