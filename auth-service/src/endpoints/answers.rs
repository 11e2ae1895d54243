//! The refusals that many endpoints share, for the API documents.

use shared::problem::Problem;
use utoipa::IntoResponses;

/// A body that cannot be read.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) enum UnreadableBody {
    /// `invalid_json`, `invalid_body`: the body is no JSON, or ended early.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// `body_too_large`: the body has more than 64 KiB.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// `unsupported_media_type`: the body is not `application/json`.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// `invalid_body`: a field is missing, unknown, of another type or against a rule; `errors` names it.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(Problem),
}

/// No access token, or one that is refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) enum Unauthorized {
    /// `authentication_required`, `invalid_token`, `insufficient_user_authentication` (RFC 9470): see `WWW-Authenticate`.
    #[response(status = 401, content_type = "application/problem+json", headers(("WWW-Authenticate" = String, description = "The challenge (RFC 6750)")))]
    Unauthorized(Problem),
    /// `insufficient_scope` (RFC 6750), `user_required`: the token is good, and for something else.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
}

/// Several `Authorization` headers, or a query that cannot be read.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) enum BadRequest {
    /// `invalid_request`: several `Authorization` headers; `invalid_query`: the query string cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
}

/// Something outside the service does not answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) enum Unavailable {
    /// `unavailable`, `too_busy`, of a refresh `account_changing`: try again after `Retry-After` seconds.
    #[response(status = 503, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds")))]
    Unavailable(Problem),
}

/// Too many attempts.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) enum Throttled {
    /// `too_many_attempts`: from this address or for this account; try again after `Retry-After` seconds.
    #[response(status = 429, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds")))]
    Throttled(Problem),
}

/// Too much was left behind.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) enum OverBudget {
    /// `too_many_requests`: try again after `Retry-After` seconds.
    #[response(status = 429, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds")))]
    OverBudget(Problem),
}

/// Not an administrator, or not from an allowed network.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) enum NotAllowed {
    /// `insufficient_role`, `network_not_allowed`.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
}

/// There is no such thing, or it is somebody else's.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) enum NotFound {
    /// `not_found`: there is no such thing, or it is somebody else's.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
}

/// What `SESSION_STRATEGY` has no way to do.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(super) enum StrategyCannot {
    /// `strategy_cannot`: sessions are shared in a way that cannot do this; `detail` says why.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
}
