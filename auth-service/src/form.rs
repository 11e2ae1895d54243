//! The parameters of an OAuth request: a form, or a query. A parameter that is sent twice or cannot be read refuses the
//! request; one without a value counts as not sent (RFC 6749, section 3.1).

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::oauth_error::OAuthError;

/// The largest form, and the longest query: 64 KiB.
const MAX_BYTES: usize = 64 * 1024;
/// How much is kept of a request that waits, in bytes of JSON: names and values of all parameters together. The longest `state`
/// leaves 1 KiB for the others.
pub const MOST_KEPT: usize = 5 * 1024;
/// How many parameters a request may have.
const MAX_PARAMETERS: usize = 100;
/// How long a form may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// The one parameter that may be sent several times (RFC 8707, section 2; RFC 8693, section 2.1).
const REPEATABLE: [&str; 2] = ["resource", "audience"];

/// What was sent, decoded. Has no `Debug`: passwords and codes are in it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Form(BTreeMap<String, Vec<String>>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// `invalid_request`: not UTF-8, a NUL, too much, or a parameter twice; the description names it.
    pub fn parse(text: &[u8]) -> Result<Self, OAuthError> {
        if text.len() > MAX_BYTES {
            return Err(OAuthError::with_status(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "too many bytes"));
        }
        let mut parameters = BTreeMap::<String, Vec<String>>::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            parameters.entry(name).or_default().push(value);
        }
        if parameters.len() > MAX_PARAMETERS {
            return Err(OAuthError::invalid_request("too many parameters"));
        }
        for (name, values) in &parameters {
            if values.len() > if REPEATABLE.contains(&name.as_str()) { 10 } else { 1 } {
                return Err(OAuthError::invalid_request(format!("the parameter {name} is sent more than once")));
            }
        }
        Ok(Self(parameters))
    }

    /// A parameter's value; nothing when it was not sent or is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter that may be sent several times.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What is kept of a request that waits: the parameters of these names, others are dropped.
    ///
    /// # Errors
    /// They are more than [`MOST_KEPT`] together.
    pub fn kept(mut self, names: &[&str]) -> Result<Self, TooLarge> {
        self.0.retain(|name, _| names.contains(&name.as_str()));
        let size =
            |name: &String, values: &Vec<String>| serde_json::to_vec(&(name, values)).map_or(0, |text| text.len());
        let sizes = || self.0.iter().map(|(name, values)| (size(name, values), name));
        if sizes().map(|(size, _)| size).sum::<usize>() <= MOST_KEPT {
            return Ok(self);
        }
        let largest = sizes().max().map(|(_, name)| name.clone()).unwrap_or_default();
        Err(TooLarge { largest })
    }

    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.get(name).map(SecretString::from)
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// `invalid_request` that names it.
    pub fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| OAuthError::invalid_request(format!("the parameter {name} is missing")))
    }
}

/// The parameters of a request that has to wait are too large together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parameter {largest} is too large: all that is kept of a request has at most {MOST_KEPT} bytes")]
pub struct TooLarge {
    /// The parameter that takes most.
    pub largest: String,
}

impl From<TooLarge> for OAuthError {
    fn from(error: TooLarge) -> Self {
        Self::with_status(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", error.to_string())
    }
}

/// Decodes one name or value.
///
/// # Errors
/// `invalid_request`: not UTF-8, a NUL, or a broken percent-encoding.
pub(crate) fn decode(text: &[u8]) -> Result<String, OAuthError> {
    let odd =
        || OAuthError::invalid_request("a parameter cannot be read: it is not UTF-8, percent-encoded, without NUL");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                let value = high.zip(low).map(|(high, low)| high * 16 + low).ok_or_else(odd)?;
                u8::try_from(value).map_err(|_| odd())?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or_else(odd)
}

/// The form in a request's body.
impl FromRequest for Form {
    type Error = OAuthError;
    type Future = LocalBoxFuture<'static, Result<Self, OAuthError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.and_then(|text| text.split(';').next()).map(|text| text.trim().to_owned());
        let mut payload = payload.take();
        async move {
            if !media_type.is_some_and(|it| it.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
                let description = "send the parameters as application/x-www-form-urlencoded";
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                return Err(OAuthError::with_status(status, "invalid_request", description));
            }
            let late = || OAuthError::with_status(StatusCode::REQUEST_TIMEOUT, "invalid_request", "the body is late");
            let body = tokio::time::timeout(PATIENCE, read(&mut payload)).await.map_err(|_| late())??;
            Self::parse(&body)
        }
        .boxed_local()
    }
}

async fn read(payload: &mut Payload) -> Result<web::BytesMut, OAuthError> {
    let mut body = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            let problem = shared::request::body_error(&error);
            OAuthError::with_status(problem.status(), "invalid_request", problem.detail().to_owned())
        })?;
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(OAuthError::with_status(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "too many bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> &'static str {
        Form::parse(text.as_bytes()).err().map_or("taken", |error| error.error)
    }

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_not_there() {
        let form = Form::parse(b"scope=openid+email&state=a%2Fb%26c&nonce=&x").expect("a form");
        assert_eq!(form.get("scope"), Some("openid email"));
        assert_eq!(form.get("state"), Some("a/b&c"));
        assert_eq!((form.get("nonce"), form.get("x"), form.get("y")), (None, None, None));
    }

    #[test]
    fn a_parameter_twice_is_refused_but_for_those_that_may_be() {
        assert_eq!(error("client_id=a&client_id=b"), "invalid_request");
        assert_eq!(error("client_id=a&client_id="), "invalid_request");
        assert_eq!(error("client%5Fid=a&client_id=a"), "invalid_request");
        let form = Form::parse(b"resource=urn:a&resource=urn:b").expect("a form");
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["urn:a", "urn:b"]);
    }

    #[test]
    fn what_is_kept_is_known_and_bounded_and_what_is_too_large_is_named() {
        let form = |text: &str| Form::parse(text.as_bytes()).expect("a form");
        let names = ["state", "scope"];
        let large = "x".repeat(MOST_KEPT);
        let kept = form(&format!("state=a&other={large}&client_secret=s")).kept(&names).expect("little that is known");
        assert_eq!((kept.get("state"), kept.get("other"), kept.get("client_secret")), (Some("a"), None, None));
        let refused = |text: &str| form(text).kept(&names).err().map(|error| error.largest);
        assert_eq!(refused(&format!("state={large}&scope=a")).as_deref(), Some("state"));
        let half = "x".repeat(MOST_KEPT / 2);
        assert_eq!(refused(&format!("state={half}&scope={half}y")).as_deref(), Some("scope"), "together");
        assert_eq!(refused(&format!("state={half}")), None);
        // What JSON writes with more bytes counts with more.
        assert_eq!(refused(&format!("state={}", "%01".repeat(MOST_KEPT / 4))).as_deref(), Some("state"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for odd in ["a=%", "a=%4", "a=%zz", "a=%ff", "a=%00"] {
            assert_eq!(error(odd), "invalid_request", "{odd}");
        }
        let many: String = (0..101).map(|number| format!("p{number}=1&")).collect();
        assert_eq!(error(&many), "invalid_request");
        assert_eq!(error(&"a".repeat(MAX_BYTES + 1)), "invalid_request");
    }
}
