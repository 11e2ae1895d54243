//! Refusals at the OAuth endpoints (RFC 6749, section 5.2): a stable `error` for programs, a `error_description` for people.
//! Owns their form; never shows a cause.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use shared::problem::Problem;
use utoipa::ToSchema;

/// An OAuth error. The description has no quote, backslash or control character (RFC 6749, section 5.2).
#[derive(Debug, Clone)]
pub struct OAuthError {
    pub error: &'static str,
    pub description: String,
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// How an [`OAuthError`] is written.
#[derive(Serialize, ToSchema)]
pub struct OAuthErrorBody {
    /// Stable, for programs (RFC 6749, section 5.2, and those that extend it).
    #[schema(example = "invalid_grant")]
    error: &'static str,
    /// For people.
    error_description: String,
}

impl OAuthError {
    /// 400, as most are.
    pub fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self::with_status(StatusCode::BAD_REQUEST, error, description)
    }

    pub fn with_status(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        let allowed = |c: char| (' '..='~').contains(&c) && !matches!(c, '"' | '\\');
        let description = description.into().chars().map(|c| if allowed(c) { c } else { '?' }).collect();
        Self { error, description, status, headers: Vec::new() }
    }

    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    /// The code, refresh token or device code is not good, or not this client's. One text for all reasons.
    pub fn invalid_grant() -> Self {
        Self::new("invalid_grant", "the grant is not valid, has expired, was used or was issued to another client")
    }

    /// The code was used up, and the service failed before anything was given: to try again would be a second use.
    pub fn code_lost() -> Self {
        let description = "the service failed after it had used up the code, and gave nothing for it; begin again";
        Self::new("invalid_grant", description)
    }

    /// 401: the client is not known, or did not prove who it is. One text for all reasons.
    pub fn invalid_client() -> Self {
        Self::with_status(StatusCode::UNAUTHORIZED, "invalid_client", "the client could not be authenticated")
    }

    /// Adds a header; a value that is no header value is left out.
    pub fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// 503 `temporarily_unavailable` where something needed does not answer, 429 `slow_down`, 500 `server_error`; the headers
/// (`Retry-After`) stay.
impl From<Problem> for OAuthError {
    fn from(problem: Problem) -> Self {
        let (error, description) = match problem.status() {
            StatusCode::SERVICE_UNAVAILABLE => {
                ("temporarily_unavailable", "something needed does not answer; nothing was changed, try again")
            }
            StatusCode::TOO_MANY_REQUESTS => ("slow_down", "too many attempts; try again later"),
            StatusCode::INTERNAL_SERVER_ERROR => {
                ("server_error", "the service failed; the fault is logged under the X-Request-Id of this answer")
            }
            _ => ("invalid_request", problem.detail()),
        };
        let mut oauth = Self::with_status(problem.status(), error, description);
        oauth.headers = problem.headers().to_vec();
        oauth
    }
}

impl From<sqlx::Error> for OAuthError {
    fn from(error: sqlx::Error) -> Self {
        Problem::from(error).into()
    }
}

impl From<shared::session::StoreUnavailable> for OAuthError {
    fn from(error: shared::session::StoreUnavailable) -> Self {
        Problem::from(error).into()
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.error, self.description)
    }
}

impl std::error::Error for OAuthError {}

impl ResponseError for OAuthError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.append_header((name.clone(), value.clone()));
        }
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        response.json(OAuthErrorBody { error: self.error, error_description: self.description.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_breaks_out_of_nothing() {
        let odd = OAuthError::invalid_request("a \"quoted\" \\ line\r\nSet-Cookie: x é");
        assert_eq!(odd.description, "a ?quoted? ? line??Set-Cookie: x ?");
    }

    #[test]
    fn what_does_not_answer_stays_a_503_with_its_retry_after() {
        let error = OAuthError::from(Problem::unavailable("the session store", "gone"));
        let answer = error.error_response();
        assert_eq!((answer.status().as_u16(), error.error), (503, "temporarily_unavailable"));
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
    }
}
