//! Signing out: here and at the provider, or by the provider's word.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use serde_json::json;

#[cfg(feature = "pages")]
use super::ASKED_BY_SCRIPT;
use super::query::Parameters;
use super::{see_other, to_own_page};
use crate::problem::Problem;
use crate::ration::Ration;
use crate::relying_party::own_pages::{Came, came};
use crate::relying_party::signed::Refused;
use crate::relying_party::tokens::Tokens;
use crate::relying_party::{RelyingParty, logout_token};
use crate::request::read_body_in_time;
use crate::return_to::ReturnTo;

/// What the `state` of a sign-out is sealed for.
const STATE: &str = "state of a sign-out";
/// The largest logout request.
const MAX_FORM: usize = 16 * 1024;

/// Forgets the cookie, takes the refresh token back, and sends the browser to the provider to end the session there
/// (OpenID Connect RP-Initiated Logout). A script, which cannot follow to another origin, asks for JSON and gets the
/// address.
///
/// # Errors
/// 403 for a form that is not of an own page; 503 while the provider is away: then nothing was changed, and the user is
/// still signed in.
pub(super) async fn begin(
    relying_party: web::Data<RelyingParty>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    if came(request.headers(), &relying_party.0.config.public_url) != Came::FromOwnPage {
        return Err(Problem::forbidden("cross_site", "a sign-out is sent by a page of this service"));
    }
    check_form(&request, payload).await?;
    let query = Parameters::read(request.query_string().as_bytes())?;
    let return_to: ReturnTo = query.get("return_to").and_then(|text| text.parse().ok()).unwrap_or_default();
    let kept = relying_party.0.cookies.session(request.headers()).contents;
    // Of several people's cookies one may be planted: all of them are signed out.
    let kept: Vec<Tokens> = kept.iter().filter_map(|content| Tokens::read(content)).collect();
    let location = match kept.is_empty() {
        false => relying_party.sign_out(&kept, &return_to).await?,
        true => return_to.to_string(),
    };
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut response = if accept.contains("application/json") { HttpResponse::Ok() } else { see_other(&location) };
    response.insert_header((CACHE_CONTROL, "no-store")).cookie(relying_party.0.cookies.forget_session());
    Ok(if accept.contains("application/json") {
        response.json(json!({"location": location}))
    } else {
        response.finish()
    })
}

/// In an `App` with pages, a form also shows the page's token. No form can send the header that a script sends.
#[cfg(feature = "pages")]
async fn check_form(request: &HttpRequest, payload: web::Payload) -> Result<(), Problem> {
    use actix_web::FromRequest as _;

    #[derive(serde::Deserialize)]
    struct Nothing {}

    let has_pages = request.app_data::<web::Data<crate::pages::Site>>().is_some();
    if !has_pages || request.headers().contains_key(ASKED_BY_SCRIPT) {
        return Ok(());
    }
    crate::pages::HtmlForm::<Nothing>::from_request(request, &mut payload.into_inner()).await.map(drop)
}

#[cfg(not(feature = "pages"))]
async fn check_form(_request: &HttpRequest, _payload: web::Payload) -> Result<(), Problem> {
    Ok(())
}

impl RelyingParty {
    /// Takes the refresh tokens back; answers where the browser ends the session itself. Where it does not say whose that is,
    /// the provider asks the person.
    async fn sign_out(&self, kept: &[Tokens], return_to: &ReturnTo) -> Result<String, Problem> {
        let metadata = self.0.provider.metadata().await?;
        for refresh_token in kept.iter().filter_map(|tokens| tokens.refresh_token.as_ref()) {
            self.0.provider.revoke(refresh_token).await?;
        }
        let Some(mut location) = metadata.end_session_endpoint else { return Ok(return_to.to_string()) };
        if let [tokens] = kept {
            location.query_pairs_mut().append_pair("id_token_hint", &tokens.id_token);
        }
        location
            .query_pairs_mut()
            .append_pair("client_id", &self.0.config.client_id)
            .append_pair("post_logout_redirect_uri", &self.public("/logout/done"))
            .append_pair("state", &self.0.cookies.seal_text(STATE, return_to.as_str()));
        Ok(location.into())
    }
}

/// Where the provider sends the browser when the session has ended: back to where the sign-out said, which is sealed in
/// the `state`.
pub(super) async fn finish(
    relying_party: web::Data<RelyingParty>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = Parameters::read(request.query_string().as_bytes())?;
    let state = query.get("state").and_then(|state| relying_party.0.cookies.open_text(STATE, state));
    let return_to: Option<ReturnTo> = state.and_then(|text| text.parse().ok());
    Ok(to_own_page(&return_to.unwrap_or_default()).finish())
}

/// The provider tells that a session, or all of a user, has ended (OpenID Connect Back-Channel Logout, section 2.8).
///
/// # Errors
/// 400 `invalid_request` for anything that is no good logout token, which its sender does not repeat; 503 where this process may
/// not know the key yet, or its clock is in doubt; 408 and 413 for a body that is late or too large.
pub(super) async fn hear(
    relying_party: web::Data<RelyingParty>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let body = match read_body_in_time(&mut payload.into_inner()).await {
        Ok(body) => body,
        Err(problem) => {
            refused(&problem);
            return problem.error_response();
        }
    };
    match relying_party.take_in(&request, &body).await {
        Ok(()) => HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).finish(),
        Err(NotTaken::Later(why)) => Problem::unavailable("what a logout token is held against", why).error_response(),
        Err(NotTaken::Refused(why)) => {
            refused(&why);
            let body = json!({"error": "invalid_request", "error_description": "the logout token is refused"});
            HttpResponse::build(StatusCode::BAD_REQUEST).insert_header((CACHE_CONTROL, "no-store")).json(body)
        }
    }
}

/// Anybody can send one.
fn refused(why: &dyn std::fmt::Display) {
    static LINES: Ration = Ration::new();
    LINES.tell("a logout token is refused", |left_out| tracing::warn!(%why, left_out, "a logout token is refused"));
}

/// Why a logout token was not taken.
enum NotTaken {
    Refused(String),
    /// It may be good, and is known to be a moment later.
    Later(&'static str),
}

impl From<&str> for NotTaken {
    fn from(why: &str) -> Self {
        Self::Refused(why.to_owned())
    }
}

impl RelyingParty {
    async fn take_in(&self, request: &HttpRequest, body: &[u8]) -> Result<(), NotTaken> {
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err("it is not sent as a form".into());
        }
        if body.len() > MAX_FORM {
            return Err("it is too large".into());
        }
        let form = Parameters::read(body).map_err(|_| "a parameter is given twice")?;
        let token = form.get("logout_token").ok_or("there is no logout_token")?;
        let (keys, now) = (self.0.single_sign_on.keys(), self.clock().now());
        let client = (self.0.config.issuer.as_str(), self.0.config.client_id.as_str());
        let token = logout_token::verify(token, keys, client, now).await.map_err(|why| self.not_taken(why))?;
        if self.0.logged_out.remember(token, now) { Ok(()) } else { Err("it was received before".into()) }
    }

    /// Whether it lies with this process that a token is refused: the issuer signs with a key that was not read yet, or the clocks
    /// are too far apart.
    fn not_taken(&self, why: Refused) -> NotTaken {
        match why {
            Refused::UnknownKey => NotTaken::Later("its key is not known yet"),
            Refused::Time if self.0.single_sign_on.can_tell().is_err() => NotTaken::Later("the clock is in doubt"),
            why => NotTaken::Refused(why.to_string()),
        }
    }
}
