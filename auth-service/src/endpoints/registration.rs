//! Dynamic client registration (RFC 7591) and its management (RFC 7592).

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL};
use actix_web::{FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder, delete, get, post, put, web};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::problem::Problem;
use shared::request::{Json, Path};
use utoipa::{IntoResponses, ToSchema};

use super::origin::Origin;
use crate::AuthService;
use crate::clients::Metadata;
use crate::clients::information::ClientInformation;
use crate::clients::registration::{self, Registered};
use crate::oauth_error::{OAuthError, OAuthErrorBody};

/// The refusals of these endpoints.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
enum Refused {
    /// `invalid_token`: it is missing, unknown, expired or used up.
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "The challenge (RFC 6750)")))]
    Unauthorized(OAuthErrorBody),
    /// `access_denied`: clients do not register themselves here, or there are too many.
    #[response(status = 403)]
    Forbidden(OAuthErrorBody),
    /// `slow_down`: try again after `Retry-After` seconds.
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds")))]
    Throttled(OAuthErrorBody),
    /// `temporarily_unavailable`: try again after `Retry-After` seconds.
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds")))]
    Unavailable(OAuthErrorBody),
}

/// The refusals of a body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
enum RefusedBody {
    /// `invalid_redirect_uri`, `invalid_client_metadata` (RFC 7591, section 3.2.2): the description names the field.
    #[response(status = 400)]
    BadRequest(OAuthErrorBody),
    /// `invalid_client_metadata`: the body has more than 64 KiB.
    #[response(status = 413)]
    TooLarge(OAuthErrorBody),
    /// `invalid_client_metadata`: the body is not `application/json`.
    #[response(status = 415)]
    UnsupportedMediaType(OAuthErrorBody),
}

/// Metadata in a body.
struct Body(Map<String, Value>);

impl FromRequest for Body {
    type Error = OAuthError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let body = Json::<Map<String, Value>>::from_request(request, payload);
        Box::pin(async move {
            let refused = |problem: Problem| {
                let status = problem.status();
                let status = if status == StatusCode::UNPROCESSABLE_ENTITY { StatusCode::BAD_REQUEST } else { status };
                OAuthError::with_status(status, "invalid_client_metadata", problem.detail())
            };
            body.await.map(|Json(members)| Self(members)).map_err(refused)
        })
    }
}

fn bearer(request: &HttpRequest) -> Option<SecretString> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let (scheme, token) = headers.next()?.to_str().ok()?.split_once(' ')?;
    let good = scheme.eq_ignore_ascii_case("bearer") && headers.next().is_none() && !token.is_empty();
    good.then(|| token.into())
}

/// A client, with what it manages its registration by.
#[derive(Serialize, ToSchema)]
struct RegisteredClient {
    #[serde(flatten)]
    information: ClientInformation,
    registration_access_token: String,
    registration_client_uri: String,
}

fn answer(service: &AuthService, mut response: HttpResponseBuilder, registered: &Registered) -> HttpResponse {
    let information = ClientInformation::of(&registered.client, registered.secret.as_ref());
    let base = service.issuer.trim_end_matches('/');
    let registration_client_uri = format!("{base}/oauth2/register/{}", information.client_id);
    let registration_access_token = registered.registration_token.expose_secret().to_owned();
    let shown = RegisteredClient { information, registration_access_token, registration_client_uri };
    response.insert_header((CACHE_CONTROL, "no-store")).json(shown)
}

/// Register a client. Send an initial access token, which an administrator makes.
#[utoipa::path(
    tag = "registration",
    security(("bearer" = [])),
    request_body = Metadata,
    responses(
        (status = 201, description = "The client, with its secret and its registration access token", body = RegisteredClient, headers(("Cache-Control" = String, description = "`no-store`"))),
        RefusedBody, Refused,
    )
)]
#[post("/oauth2/register")]
pub(super) async fn register(
    service: web::Data<AuthService>,
    origin: Origin,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, OAuthError> {
    let registered = registration::register(&service, bearer(&request).as_ref(), body.0, origin.address).await?;
    Ok(answer(&service, HttpResponse::Created(), &registered))
}

/// What a client has registered. Send its registration access token.
#[utoipa::path(
    tag = "registration",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The client's id")),
    responses(
        (status = 200, description = "The client, without its secret", body = RegisteredClient, headers(("Cache-Control" = String, description = "`no-store`"))),
        Refused,
    )
)]
#[get("/oauth2/register/{id}")]
pub(super) async fn read(
    service: web::Data<AuthService>,
    origin: Origin,
    request: HttpRequest,
    Path(id): Path<String>,
) -> Result<HttpResponse, OAuthError> {
    let token = bearer(&request);
    let client = registration::managed(&service, &id, token.as_ref(), origin.address).await?;
    let registration_token = token.unwrap_or_default();
    Ok(answer(&service, HttpResponse::Ok(), &Registered { client, secret: None, registration_token }))
}

/// Replace what a client has registered: what is left out gets its default. The registration access token that is sent is
/// replaced too.
#[utoipa::path(
    tag = "registration",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The client's id")),
    request_body = Metadata,
    responses(
        (status = 200, description = "The client, with a new registration access token", body = RegisteredClient, headers(("Cache-Control" = String, description = "`no-store`"))),
        RefusedBody, Refused,
    )
)]
#[put("/oauth2/register/{id}")]
pub(super) async fn replace(
    service: web::Data<AuthService>,
    origin: Origin,
    request: HttpRequest,
    Path(id): Path<String>,
    body: Body,
) -> Result<HttpResponse, OAuthError> {
    let token = bearer(&request);
    let replaced = registration::replace(&service, &id, token.as_ref(), body.0, origin.address).await?;
    Ok(answer(&service, HttpResponse::Ok(), &replaced))
}

/// Remove a client.
#[utoipa::path(
    tag = "registration",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The client's id")),
    responses((status = 204, description = "It is gone"), Refused)
)]
#[delete("/oauth2/register/{id}")]
pub(super) async fn remove(
    service: web::Data<AuthService>,
    origin: Origin,
    request: HttpRequest,
    Path(id): Path<String>,
) -> Result<HttpResponse, OAuthError> {
    registration::remove(&service, &id, bearer(&request).as_ref(), origin.address).await?;
    Ok(HttpResponse::NoContent().finish())
}
