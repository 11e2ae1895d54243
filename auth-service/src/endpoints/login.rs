//! Register, log in, refresh, log out.

use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, post, web};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use shared::authentication::strategy::Credential;
use shared::authentication::{Principal, SingleSignOn};
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::request::Json;
use shared::session::{EndReason, Session, SessionId};
use utoipa::ToSchema;

use super::answers::{BadRequest, StrategyCannot, Throttled, Unauthorized, Unavailable, UnreadableBody};
use super::origin::Origin;
use crate::AuthService;
use crate::accounts::{self, DisplayName, Profile};
use crate::device::DeviceLabel;
use crate::email::Email;
use crate::end_session;
use crate::epoch;
use crate::issue::{TokenResponse, issue};
use crate::known_browser::KnownBrowser;
use crate::password::{NewPassword, Password, optional_secret_text, secret_text};
use crate::refresh as refreshing;
use crate::self_contained;
use crate::session_cookie;
use crate::sign_in::{self, Attempt};
use crate::storage::endings;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Registration {
    email: Email,
    password: NewPassword,
    /// The part before the `@`, when it is left out.
    display_name: Option<DisplayName>,
}

/// Register an account. It is not signed in by this.
#[utoipa::path(
    tag = "login",
    responses(
        (status = 201, description = "The account", body = Profile),
        (status = 409, description = "`email_taken`", body = Problem, content_type = "application/problem+json"),
        UnreadableBody, Throttled, Unavailable,
    )
)]
#[post("/auth/register")]
pub(super) async fn register(
    service: web::Data<AuthService>,
    origin: Origin,
    Json(body): Json<Registration>,
) -> Result<HttpResponse, Problem> {
    let user = accounts::register(&service, body.email, body.password, body.display_name, origin.address).await?;
    Ok(HttpResponse::Created().json(Profile::of(&user)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    email: Email,
    password: Password,
    /// What the list of sessions calls it; by default what the browser is.
    device: Option<DeviceLabel>,
}

/// Signed in by a strategy of session cookies: the cookie is in the answer's `Set-Cookie`.
#[derive(Serialize, ToSchema)]
struct SessionResponse {
    session_id: SessionId,
    /// When it ends if it is not seen again.
    expires_at: Timestamp,
    user: Profile,
}

/// What a login gives, by `SESSION_STRATEGY`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum LoggedIn {
    Tokens(TokenResponse),
    Session(SessionResponse),
}

/// Sign in with a password. The session that begins is recognised by all services.
#[utoipa::path(
    tag = "login",
    responses(
        (status = 200, description = "Signed in", body = LoggedIn, headers(
            ("Cache-Control" = String, description = "`no-store`"),
            ("Set-Cookie" = Option<String>, description = "The session cookie, where the strategy has one, and the device cookie, by which the browser knows the account"),
        )),
        (status = 403, description = "`cross_site`: another site's page asked for this", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`invalid_credentials`: an unknown address, a wrong password or a locked account",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`session_limit_reached`", body = Problem, content_type = "application/problem+json"),
        UnreadableBody, Throttled, Unavailable,
    )
)]
#[post("/auth/login")]
pub(super) async fn log_in(
    service: web::Data<AuthService>,
    single_sign_on: web::Data<SingleSignOn>,
    origin: Origin,
    request: HttpRequest,
    Json(body): Json<Login>,
) -> Result<HttpResponse, Problem> {
    let ended = single_sign_on.all_by_cookie(&request).await?;
    let browser = known_browser(&service, &single_sign_on, &request, &ended).await;
    let device = origin.device(body.device);
    let attempt = Attempt { email: body.email, password: body.password, device, address: origin.address, browser };
    match service.strategy.credential() {
        Credential::BearerToken => {
            let user = sign_in::prove(&service, &attempt).await?;
            let session = sign_in::begin(&service, &user, &attempt, epoch::attribute(&service, &user)).await?;
            // The first refresh token of a session has generation 1.
            let mut answer = token_answer(&LoggedIn::Tokens(issue(&service, &user, &session, 1)?));
            answer.add_cookie(&attempt.device_cookie(&service, &user)).map_err(Problem::internal)?;
            Ok(answer)
        }
        Credential::SessionCookie | Credential::SealedCookie => {
            let signed_in = session_cookie::sign_in(&service, &attempt, &ended, &request).await?;
            let device = attempt.device_cookie(&service, &signed_in.user);
            let expires_at = signed_in.session.ends_at();
            let user = Profile::of(&signed_in.user);
            let body = LoggedIn::Session(SessionResponse { session_id: signed_in.session.id, expires_at, user });
            let mut answer = HttpResponse::Ok();
            answer.insert_header((CACHE_CONTROL, "no-store")).cookie(signed_in.cookie).cookie(device);
            Ok(answer.json(body))
        }
    }
}

/// By its device cookie, and by the login that it shows already: a cookie's, or an access token's of whoever proves again who
/// they are. A token that is refused is no reason to refuse the login.
async fn known_browser(
    service: &AuthService,
    single_sign_on: &SingleSignOn,
    request: &HttpRequest,
    by_cookie: &[Session],
) -> KnownBrowser {
    let has_token = request.headers().contains_key(AUTHORIZATION);
    let by_token = if has_token { single_sign_on.principal(request).await.ok() } else { None };
    let by_token = by_token.map(|principal| (principal.user, principal.session));
    let by_cookie = by_cookie.iter().map(|session| (session.user, session.id));
    KnownBrowser::of(service, request).in_sessions(by_cookie.chain(by_token))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefreshBody {
    #[serde(deserialize_with = "secret_text")]
    #[schema(value_type = String, format = Password)]
    refresh_token: SecretString,
}

/// Exchange a refresh token for new tokens. It is used up by this. A repetition within ten seconds gets the same
/// successor again, as long as that was not used itself; any other repetition ends the session.
#[utoipa::path(
    tag = "login",
    responses(
        (status = 200, description = "New tokens", body = TokenResponse, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 401, description = "`invalid_refresh_token`: sign in again", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`strategy_cannot`: the session cookie is renewed by its use", body = Problem, content_type = "application/problem+json"),
        UnreadableBody, Unavailable,
    )
)]
#[post("/auth/refresh")]
pub(super) async fn refresh(
    service: web::Data<AuthService>,
    origin: Origin,
    Json(body): Json<RefreshBody>,
) -> Result<HttpResponse, Problem> {
    if service.strategy.credential() != Credential::BearerToken {
        let detail = "SESSION_STRATEGY has no refresh tokens: a session goes on as its cookie is used";
        return Err(Problem::conflict("strategy_cannot", detail));
    }
    let tokens = refreshing::refresh(&service, &body.refresh_token, &origin.anonymous()).await?;
    Ok(token_answer(&tokens))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogoutBody {
    #[serde(default, deserialize_with = "optional_secret_text")]
    #[schema(value_type = Option<String>, format = Password)]
    refresh_token: Option<SecretString>,
}

/// End this session, on every service. Send the access token, or, when that has expired, a body with the refresh token.
#[utoipa::path(
    tag = "login",
    request_body(content = Option<LogoutBody>, description = "A `refresh_token` instead of an access token; nothing, or `{}`, beside one"),
    security(("bearer" = []), ()),
    responses((status = 204, description = "The session has ended"), UnreadableBody, Unauthorized, Unavailable)
)]
#[post("/auth/logout")]
pub(super) async fn log_out(
    service: web::Data<AuthService>,
    single_sign_on: web::Data<SingleSignOn>,
    origin: Origin,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = if has_body(&request) {
        Json::<Option<LogoutBody>>::from_request(&request, &mut payload.into_inner()).await?.0
    } else {
        None
    };
    let (session, user, by) = match body.and_then(|body| body.refresh_token) {
        Some(token) if self_contained::is_demanded(&service) => {
            let Some(session) = self_contained::read(&service, &token) else {
                return Ok(gone(&service, &request));
            };
            // Its text is good for long: what it may announce again and again must be a live session's end.
            if endings::has_session(&service.database, session.id).await? {
                return Ok(gone(&service, &request));
            }
            (session.id, Some(session.user), origin.anonymous())
        }
        Some(token) => {
            let session = refreshing::read_own(&service, &token)?.session;
            // A refresh token's MAC is good for ever: it may not announce the same end again and again. A session that a store
            // has lost is announced, for its access tokens may be good.
            let is_gone = service.sessions.load(session).await?.is_none();
            if is_gone && endings::has_session(&service.database, session).await? {
                return Ok(gone(&service, &request));
            }
            (session, None, origin.anonymous())
        }
        None => {
            let has_token = request.headers().contains_key(AUTHORIZATION);
            let by_cookie = if has_token { Vec::new() } else { single_sign_on.all_by_cookie(&request).await? };
            // Of several people's cookies one may be planted: all of them end.
            for session in by_cookie.iter().skip(1) {
                let by = origin.of_user(session.user);
                end_session::end_of(&service, session.id, Some(session.user), EndReason::Logout, &by).await?;
            }
            match by_cookie.first() {
                Some(session) => (session.id, Some(session.user), origin.of_user(session.user)),
                None => {
                    let principal = single_sign_on.principal(&request).await?;
                    (principal.session, Some(principal.user), origin.by(&principal))
                }
            }
        }
    };
    end_session::end_of(&service, session, user, EndReason::Logout, &by).await?;
    Ok(gone(&service, &request))
}

/// 204, and the browser forgets the session's cookie, where it has one.
fn gone(service: &AuthService, request: &HttpRequest) -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    for cookie in session_cookie::forget(service, request) {
        answer.cookie(cookie);
    }
    answer.finish()
}

fn has_body(request: &HttpRequest) -> bool {
    let length = request.headers().get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    length || request.headers().contains_key(TRANSFER_ENCODING)
}

#[derive(Serialize, ToSchema)]
struct Ended {
    /// How many sessions there were; null where nobody counts them.
    ended: Option<usize>,
}

/// End all of one's sessions, this one too.
#[utoipa::path(
    tag = "login",
    security(("bearer" = [])),
    responses((status = 200, description = "They have ended", body = Ended), BadRequest, Unauthorized, StrategyCannot, Unavailable)
)]
#[post("/auth/logout-all")]
pub(super) async fn log_out_all(
    service: web::Data<AuthService>,
    origin: Origin,
    principal: Principal,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let by = origin.by(&principal);
    let ended = if service.strategy.credential() == Credential::SealedCookie {
        let change = epoch::begin(&service, principal.user, None, EndReason::Logout, &by).await?;
        change.end_outdated(&service).await?;
        None
    } else {
        self_contained::needs_kept_sessions(&service)?;
        let ended = end_session::end_all(&service, principal.user, None, EndReason::Logout, &by).await?;
        if ended == 0 {
            // The store has lost them. The one that asks is known.
            end_session::end_of(&service, principal.session, Some(principal.user), EndReason::Logout, &by).await?;
        }
        Some(ended)
    };
    let mut answer = HttpResponse::Ok();
    for cookie in session_cookie::forget(&service, &request) {
        answer.cookie(cookie);
    }
    Ok(answer.json(Ended { ended }))
}

/// Tokens are never kept on their way (RFC 6749, section 5.1).
fn token_answer(tokens: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(tokens)
}
