//! `/oauth2/userinfo` (OpenID Connect Core, section 5.3): what an access token with the scope `openid` is told of its user.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use shared::authentication::{Principal, SingleSignOn};
use shared::problem::Problem;
use shared::token::PLATFORM_CLIENT;

use super::answers::{BadRequest, NotAllowed, Unauthorized, Unavailable};
use crate::AuthService;
use crate::authorization::claims::RequestedClaims;
use crate::clients;
use crate::form::Form;
use crate::id_token;
use crate::scopes::{OPENID, Words};
use crate::storage::grants::{self, Grant, GrantId};

/// Claims about the user, by the token's scope. JSON, or a JWT where the client registered
/// `userinfo_signed_response_alg`.
#[utoipa::path(
    tag = "openid",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "`sub`, and the claims of the scope", content(
            (inline(std::collections::HashMap<String, Value>) = "application/json"), (String = "application/jwt"))),
        BadRequest, Unauthorized, NotAllowed, Unavailable,
    )
)]
#[get("/oauth2/userinfo")]
pub(super) async fn userinfo(
    service: web::Data<AuthService>,
    single_sign_on: web::Data<SingleSignOn>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let token = single_sign_on.authenticate_for(&request, Some(OPENID)).await?;
    let principal: Principal = token.ok_or_else(missing)?.try_into()?;
    tell(&service, &principal).await
}

/// The same by POST: the token in the header, or as `access_token` in a form (RFC 6750, section 2.2).
#[utoipa::path(
    tag = "openid",
    security(("bearer" = []), ()),
    request_body(content = inline(std::collections::HashMap<String, String>), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "As GET", content(
            (inline(std::collections::HashMap<String, Value>) = "application/json"), (String = "application/jwt"))),
        BadRequest, Unauthorized, NotAllowed, Unavailable,
    )
)]
#[post("/oauth2/userinfo")]
pub(super) async fn userinfo_by_post(
    service: web::Data<AuthService>,
    single_sign_on: web::Data<SingleSignOn>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    use actix_web::FromRequest as _;
    let is_form =
        request.headers().get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"application/x-www-form"));
    let form = if is_form { Form::from_request(&request, &mut payload.into_inner()).await.ok() } else { None };
    let in_form = form.as_ref().and_then(|form| form.get("access_token"));
    let token = match (single_sign_on.authenticate_for(&request, Some(OPENID)).await?, in_form) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("invalid_request", "send one access token")),
        (Some(token), None) => token,
        (None, Some(text)) => single_sign_on.authenticate_form(&request, text, Some(OPENID)).await?,
        (None, None) => return Err(missing()),
    };
    tell(&service, &token.try_into()?).await
}

fn missing() -> Problem {
    let detail = "send an access token as a Bearer token";
    Problem::new(StatusCode::UNAUTHORIZED, "authentication_required", detail).header(WWW_AUTHENTICATE, "Bearer")
}

fn invalid_token(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail)
        .header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
}

/// The grant that the token belongs to. The feed may not have told of its end yet.
async fn living_grant(service: &AuthService, id: GrantId) -> Result<Grant, Problem> {
    let grant = grants::by_id(&service.database, id).await?;
    grant
        .filter(|grant| grant.ended_at.is_none())
        .ok_or_else(|| invalid_token("what the access token belongs to has ended"))
}

async fn tell(service: &AuthService, principal: &Principal) -> Result<HttpResponse, Problem> {
    let user = service.users.by_id(principal.user).await?;
    let user = user.ok_or_else(|| Problem::not_found("account"))?;
    let grant = match principal.grant {
        Some(id) => Some(living_grant(service, id.into()).await?),
        None => None,
    };
    let client = clients::find(service, &principal.client_id).await?;
    if client.is_none() && principal.client_id != PLATFORM_CLIENT {
        return Err(invalid_token("the client that the access token was issued to is not there any more"));
    }
    let of_token: Words = principal.scope.iter().map(String::as_str).collect();
    // A client that may have less by now is told less.
    let scope = client.as_ref().map_or_else(Words::default, |client| client.still_has(&of_token));
    let requested = match (grant, &client) {
        (Some(grant), Some(client)) => {
            let requested: RequestedClaims = serde_json::from_str(&grant.claims).unwrap_or_default();
            requested.left(&client.words(), &grant.scope, &of_token)
        }
        _ => RequestedClaims::default(),
    };
    let mut claims = id_token::about(&user, &scope, &requested.userinfo);
    claims.insert("sub".to_owned(), user.id.to_string().into());
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store"));
    match client.and_then(|client| client.metadata.userinfo_signed_response_alg) {
        None => Ok(answer.json(claims)),
        Some(alg) => {
            claims.insert("iss".to_owned(), service.issuer.clone().into());
            claims.insert("aud".to_owned(), principal.client_id.clone().into());
            Ok(answer.content_type("application/jwt").body(service.keys.sign("JWT", alg.into(), &claims)?))
        }
    }
}
