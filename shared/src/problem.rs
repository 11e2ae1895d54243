//! Problem details (RFC 9457): the one shape of every error answer. Owns the stable `code`s' form; never shows a cause.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::ration::Ration;

/// How the `code` of a fault begins that the operator mends, and no repetition.
pub const MISCONFIGURED: &str = "misconfigured";

/// A refusal or failure, as the client reads it.
///
/// `code` is stable and made for programs; `detail` is for people and may change.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The status code's own phrase.
    title: &'static str,
    #[serde(serialize_with = "status_number")]
    #[cfg_attr(feature = "server", schema(value_type = u16, example = 422))]
    status: StatusCode,
    /// Stable, for programs.
    #[cfg_attr(feature = "server", schema(example = "invalid_body"))]
    code: &'static str,
    detail: String,
    /// The fields at fault, where the fault lies in fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One field at fault.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
struct FieldProblem {
    /// JSON pointer (RFC 6901) into the body, or `#query/NAME`.
    #[cfg_attr(feature = "server", schema(example = "/quantity"))]
    pointer: String,
    detail: String,
}

fn status_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { title, status, code, detail: detail.into(), errors: Vec::new(), headers: Vec::new() }
    }

    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// `what` is a noun: "order". The same answer stands for another user's thing, so that ids cannot be probed.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// A value that reads well and is refused by a rule: 422 with the field's pointer.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", detail.clone()).at(pointer, detail)
    }

    pub fn too_many_requests(code: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).retry_after(retry_after)
    }

    /// Something outside this process does not answer: 503 with `Retry-After`. The cause goes to the log, once.
    pub fn unavailable(what: &'static str, cause: impl fmt::Display) -> Self {
        tracing::warn!(what, %cause, "a dependency does not answer");
        let detail = format!("{what} does not answer at the moment; nothing was changed, try again");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(Duration::from_secs(1))
    }

    /// This service is set up wrongly: 503 that only its operator mends. `code` begins with [`MISCONFIGURED`]; it is what a
    /// person tells the operator. The cause, which names the settings, goes to the log, within a ration.
    pub fn misconfigured(code: &'static str, cause: impl fmt::Display) -> Self {
        static LINES: Ration = Ration::new();
        LINES.tell("a request meets a service that is set up wrongly", |left_out| {
            tracing::error!(code, %cause, left_out, "this service is set up wrongly");
        });
        let detail =
            format!("this service is set up wrongly, which only its operator can mend: tell them the code {code}");
        // For programs: the operator does not mend it sooner.
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(Duration::from_secs(60))
    }

    /// A fault of our own: 500 that says nothing about it. The cause goes to the log, once.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        let detail = "the service failed; the fault is logged under the X-Request-Id of this answer";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Names a field at fault by its JSON pointer.
    pub fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldProblem { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// Adds a header to the answer; a value that is no header value is left out.
    pub fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    pub fn retry_after(self, after: Duration) -> Self {
        let seconds = after.as_secs_f64().ceil().max(1.0);
        self.header(header::RETRY_AFTER, format!("{seconds:.0}"))
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// When to try again, where the answer says so.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let (_, value) = self.headers.iter().find(|(name, _)| name == header::RETRY_AFTER)?;
        value.to_str().ok()?.parse().ok()
    }

    pub fn code(&self) -> &'static str {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The headers that the answer has beside its type.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)?;
        self.errors.iter().try_for_each(|error| write!(f, " ({})", error.pointer))
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.append_header((name.clone(), value.clone()));
        }
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        response.content_type("application/problem+json");
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(feature = "database")]
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        (&error).into()
    }
}

#[cfg(feature = "database")]
impl From<&sqlx::Error> for Problem {
    fn from(error: &sqlx::Error) -> Self {
        if crate::database::is_unavailable(error) {
            Self::unavailable("the database", error)
        } else {
            Self::internal(error)
        }
    }
}
