//! `POST /oauth2/device_authorization` (RFC 8628, section 3.1).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::AuthService;
use crate::authorization::request;
use crate::client_authentication::authenticate;
use crate::clients::GrantType;
use crate::device_grant::{self, INTERVAL, TTL};
use crate::form::Form;
use crate::oauth_error::{OAuthError, OAuthErrorBody};
use crate::small_values::Payer;

#[derive(Serialize, ToSchema)]
struct DeviceAuthorization {
    device_code: String,
    /// For the person to type.
    #[schema(example = "BCDF-GHJK")]
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    /// Seconds.
    #[schema(minimum = 1, example = 600)]
    expires_in: u64,
    /// Seconds between two questions at the token endpoint.
    #[schema(minimum = 1, example = 5)]
    interval: u64,
}

/// A device asks for a code to show (RFC 8628). The person types it at `verification_uri`.
#[utoipa::path(
    tag = "openid",
    request_body(content = inline(std::collections::HashMap<String, String>), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The codes", body = DeviceAuthorization),
        (status = 400, description = "`invalid_request`, `invalid_scope`, `invalid_target`, `unauthorized_client`", body = OAuthErrorBody),
        (status = 401, description = "`invalid_client`", body = OAuthErrorBody),
        (status = 408, description = "The form did not arrive in time", body = OAuthErrorBody),
        (status = 413, description = "The form is too large, or its parameters have more than 5 KiB together; the description names the largest", body = OAuthErrorBody),
        (status = 415, description = "The body is no form", body = OAuthErrorBody),
        (status = 429, description = "`slow_down`", body = OAuthErrorBody),
        (status = 503, description = "`temporarily_unavailable`", body = OAuthErrorBody),
    )
)]
#[post("/oauth2/device_authorization")]
pub(super) async fn device_authorization(
    service: web::Data<AuthService>,
    http: HttpRequest,
    form: Form,
) -> Result<HttpResponse, OAuthError> {
    let client = authenticate(&service, &http, &form).await?;
    if !client.allows_grant(GrantType::DeviceCode) {
        return Err(OAuthError::new("unauthorized_client", "the client is not registered for the device grant"));
    }
    let form = form.kept(&request::PARAMETERS)?;
    let scope = request::read_scope(&form, &client, &service.api_scopes)?;
    let audiences = request::read_audiences(&form, &scope, &service.api_scopes, service.own_audience())?;
    let payer = Payer::client(&service, &client, &http);
    let begun = device_grant::begin(&service, &client, scope, audiences, &payer).await?;
    let verification_uri = format!("{}/device", service.issuer.trim_end_matches('/'));
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(DeviceAuthorization {
        verification_uri_complete: format!("{verification_uri}?user_code={}", begun.user_code),
        device_code: begun.device_code,
        user_code: begun.user_code,
        verification_uri,
        expires_in: TTL.as_secs(),
        interval: INTERVAL.as_secs(),
    }))
}
