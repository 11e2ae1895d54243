//! In whose name the cart service is called: the caller's, with a token that is for the cart alone and names this service
//! as the one who acts (RFC 8693). Owns the way to that token, and what stands in for it; never decides about an order.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use secrecy::ExposeSecret as _;
use shared::authentication::{Principal, SingleSignOn};
use shared::problem::Problem;
use shared::relying_party::{OnBehalfError, RelyingParty, SignedIn};

use crate::cart::Authorization;

type LocalBoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

/// What opens the cart service.
const SCOPE: &str = "cart";

/// A caller, and what the cart service is called with in their name. As an extractor it answers as the caller's own does,
/// 401 `invalid_token` when the auth service takes the token no longer, and 503 when it does not answer and the token is
/// bound to a key.
pub(super) struct OnBehalf<Caller> {
    pub(super) caller: Caller,
    pub(super) authorization: Authorization,
}

impl FromRequest for OnBehalf<Principal> {
    type Error = Problem;
    type Future = LocalBoxFuture<Self>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = Principal::extract(&request).await?;
            let authorization = match token_of(request.headers()) {
                Some(token) => authorization(&request, &caller, token).await?,
                None => cookie(&request)?.ok_or_else(no_token)?,
            };
            Ok(Self { caller, authorization })
        })
    }
}

/// A page's visitor.
impl FromRequest for OnBehalf<SignedIn> {
    type Error = Problem;
    type Future = LocalBoxFuture<Self>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = SignedIn::extract(&request).await?;
            let authorization = authorization(&request, caller.principal(), caller.access_token()).await?;
            Ok(Self { caller, authorization })
        })
    }
}

/// The user's own token stands in while none is given for the cart, so that orders go on without the auth service: it opens
/// what the user may open, and nothing more. One that is bound to a key cannot be passed on.
async fn authorization(request: &HttpRequest, principal: &Principal, token: &str) -> Result<Authorization, Problem> {
    let found = request.app_data::<Data<RelyingParty>>();
    let relying_party = found.ok_or_else(|| Problem::internal("the App has no RelyingParty"))?;
    match relying_party.on_behalf(principal, token, SCOPE).await {
        Ok(given) => Authorization::bearer(given.expose_secret()),
        Err(OnBehalfError::TokenRefused) => return Err(token_refused()),
        Err(OnBehalfError::Unavailable(_) | OnBehalfError::Misconfigured { .. }) if principal.bound_to.is_none() => {
            Authorization::bearer(token)
        }
        Err(error) => return Err(Problem::unavailable("the auth service", error)),
    }
    .ok_or_else(|| Problem::internal("an access token is no header value"))
}

/// The login's own cookie, where the platform's strategy has one: there is no token to exchange, and it opens the cart too.
fn cookie(request: &HttpRequest) -> Result<Option<Authorization>, Problem> {
    let found = request.app_data::<Data<SingleSignOn>>();
    let single_sign_on = found.ok_or_else(|| Problem::internal("the App has no SingleSignOn"))?;
    Ok(single_sign_on.login_cookies(request).and_then(|cookies| Authorization::cookie(&cookies)))
}

/// The token after its scheme, in the one header that the principal came by.
fn token_of(headers: &HeaderMap) -> Option<&str> {
    let (_, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim_start_matches(' '))
}

fn no_token() -> Problem {
    let detail = "send an access token as a Bearer token";
    Problem::new(StatusCode::UNAUTHORIZED, "authentication_required", detail).header(WWW_AUTHENTICATE, "Bearer")
}

/// 401 (RFC 6750, section 3.1).
fn token_refused() -> Problem {
    let detail = "the auth service refuses the access token: its session has ended; sign in again";
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail)
        .header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
}
