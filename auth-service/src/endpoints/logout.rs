//! `/oauth2/logout`: an application sends the browser here to sign its user out (OpenID Connect RP-Initiated Logout 1.0). Owns
//! the way of such a request; what it may do is `logout_request`'s to say.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use shared::problem::Problem;
use shared::session::{EndReason, UserId};
use url::form_urlencoded;

use super::authorize::with_query;
use super::origin::Origin;
use super::pages;
use crate::AuthService;
use crate::back_channel;
use crate::browser_session::{self, BrowserSession};
use crate::clients::{self, Client};
use crate::form::Form;
use crate::logout_request::{LogoutRequest, Sender, Step};
use crate::oauth_error::OAuthError;
use crate::sealed_requests::Kind;
use crate::storage::audit::{Actor, By};
use crate::{end_session, id_token};

/// How long a request waits for its browser, or for the person.
const TTL: Duration = Duration::from_secs(10 * 60);
/// Where a person is asked.
pub(super) const QUESTION: &str = "/oauth2/logout/confirm";
/// Where a browser goes that no application wants back.
const SIGNED_OUT: &str = "/signed-out";

/// Sign a user out (OpenID Connect RP-Initiated Logout 1.0, section 2). A person's browser is sent here. The session of the
/// `id_token_hint` ends at once; without it, the person is asked.
#[utoipa::path(
    tag = "openid",
    params(
        ("id_token_hint" = Option<String>, Query, description = "An ID token of the session; it may have expired"),
        ("client_id" = Option<String>, Query),
        ("post_logout_redirect_uri" = Option<String>, Query, description = "Byte for byte as registered"),
        ("state" = Option<String>, Query, description = "At most 4,096 bytes"),
        ("ui_locales" = Option<String>, Query),
        ("request" = Option<String>, Query, description = "A request that waited"),
    ),
    responses(
        (status = 303, description = "Back to the application with `state`, or to a page of this service"),
        (status = 200, description = "Nobody is signed in: a page that asks before it leads to an application that no administrator has approved", content_type = "text/html"),
        (status = 400, description = "`invalid_request`: the address to return to is not registered, the application is not known, or another one's `id_token_hint`; nothing was ended", body = Problem, content_type = "application/problem+json"),
        super::answers::Unavailable,
    )
)]
#[get("/oauth2/logout")]
pub(super) async fn log_out(
    service: web::Data<AuthService>,
    origin: Origin,
    http: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let form = Form::parse(http.query_string().as_bytes()).map_err(unreadable)?;
    let (id, request) = match form.get("request") {
        Some(id) => (Some(id.to_owned()), waiting(&service, &http, id).await?),
        None => (None, read(&service, &form).await?),
    };
    let session = browser_session::find(&service, &http).await?;
    match (request.next(session.as_ref().map(|it| (it.session.id, it.user.id))), session) {
        (Step::End, Some(session)) => {
            end(&service, &origin, &session, request.client_id()).await?;
            let (request, _) = still(&service, request).await?;
            Ok(leave(&service, &request, false, true))
        }
        (Step::Ask, _) => {
            let id = if let Some(id) = id { id } else { seal(&service, &request)? };
            Ok(see_other(&to(QUESTION, &id, request.ui_locales.as_deref())))
        }
        _ => {
            let (request, client) = still(&service, request).await?;
            // No person has acted: a client that is not approved leads people nowhere by it.
            match (client.filter(|client| !client.approved), request.returns_to(false)) {
                (Some(client), Some((uri, state))) => {
                    let address = state.map_or_else(|| uri.to_owned(), |state| with_query(uri, &[("state", state)]));
                    pages::leave(&http, &client, request.ui_locales.as_deref(), &address, None)
                }
                _ => Ok(leave(&service, &request, false, false)),
            }
        }
    }
}

/// The request as far as it holds by now, and the application that it is from.
async fn still(service: &AuthService, request: LogoutRequest) -> Result<(LogoutRequest, Option<Client>), Problem> {
    let client = match request.client_id() {
        Some(id) => clients::find(service, id).await?,
        None => None,
    };
    Ok((request.left(client.as_ref()), client))
}

/// The same, with the parameters in a form. Browsers bring no cookie along with a form of another site's: so they are sent
/// on, to come by themselves.
#[utoipa::path(
    tag = "openid",
    request_body(content = inline(std::collections::HashMap<String, String>), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "To GET, with `request`"),
        (status = 400, description = "As GET", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The form did not arrive in time", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The form is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no form", body = Problem, content_type = "application/problem+json"),
        super::answers::Unavailable,
    )
)]
#[post("/oauth2/logout")]
pub(super) async fn log_out_by_form(
    service: web::Data<AuthService>,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    use actix_web::FromRequest as _;
    let form = Form::from_request(&http, &mut payload.into_inner()).await.map_err(unreadable)?;
    let request = read(&service, &form).await?;
    let id = seal(&service, &request)?;
    Ok(see_other(&to("/oauth2/logout", &id, None)))
}

/// The person `account` has agreed: the session of their browser ends, by whichever client's wish. Where another person has signed in since,
/// they are asked.
///
/// # Errors
/// 503 when something needed does not answer.
pub(super) async fn agreed(
    service: &AuthService,
    origin: &Origin,
    http: &HttpRequest,
    id: &str,
    account: Option<UserId>,
) -> Result<HttpResponse, Problem> {
    let request = waiting(service, http, id).await?;
    if let Some(session) = browser_session::find(service, http).await? {
        if account != Some(session.user.id) {
            return Ok(see_other(&to(QUESTION, id, request.ui_locales.as_deref())));
        }
        end(service, origin, &session, request.client_id()).await?;
    }
    Ok(leave(service, &request, true, true))
}

fn unreadable(error: OAuthError) -> Problem {
    Problem::new(error.status(), "invalid_request", error.description)
}

async fn read(service: &AuthService, form: &Form) -> Result<LogoutRequest, Problem> {
    let refused = |why| Problem::bad_request("invalid_request", why);
    let hint = form.get("id_token_hint").map(|text| id_token::read_hint(service, text));
    let vouched = match hint.as_ref().and_then(Option::as_ref) {
        Some(hint) => clients::find(service, &hint.client_id).await?.map(|client| (client, hint)),
        None => None,
    };
    if let Some((client, hint)) = vouched {
        return LogoutRequest::read(form, Sender::Vouched(&client, hint)).map_err(refused);
    }
    // Whoever brings a forged ID token is nobody, whatever else it says.
    let named = if hint.is_some() { None } else { form.get("client_id") };
    let Some(id) = named else { return LogoutRequest::read(form, Sender::Unknown).map_err(refused) };
    let client = clients::find(service, id).await?;
    let client = client.ok_or_else(|| refused("the application (client_id) is not known here"))?;
    LogoutRequest::read(form, Sender::Named(&client)).map_err(refused)
}

/// The request as a text that the browser brings again.
fn seal(service: &AuthService, request: &LogoutRequest) -> Result<String, Problem> {
    service.sealed_requests.seal(Kind::Logout, request, service.clock.now() + TTL)
}

/// A request that waits. It is bound to no browser: it says nothing that its sender did not know, and ends nothing by itself.
///
/// # Errors
/// 400 `logout_over`; 503 when the database does not answer.
pub(super) async fn waiting(service: &AuthService, http: &HttpRequest, id: &str) -> Result<LogoutRequest, Problem> {
    let opened = service.sealed_requests.open(Kind::Logout, id, service.clock.now());
    let (_, request) = opened.ok_or_else(|| pages::log_out::over(http))?;
    Ok(still(service, request).await?.0)
}

/// Ends the session, and lets the client that has begun it hear of that first.
async fn end(
    service: &AuthService,
    origin: &Origin,
    session: &BrowserSession,
    client: Option<&str>,
) -> Result<(), Problem> {
    let by = By { actor: Actor::User(session.user.id), ..origin.anonymous() };
    end_session::end(service, session.session.id, EndReason::Logout, &by).await?;
    if let Some(client) = client {
        back_channel::heard(service, client, session.session.id).await;
    }
    Ok(())
}

/// Sends the browser on, with or without its cookie.
fn leave(service: &AuthService, request: &LogoutRequest, has_agreed: bool, forgets: bool) -> HttpResponse {
    let location = match request.returns_to(has_agreed) {
        Some((uri, Some(state))) => with_query(uri, &[("state", state)]),
        Some((uri, None)) => uri.to_owned(),
        None => SIGNED_OUT.to_owned(),
    };
    let mut answer = see_other(&location);
    if forgets && let Err(error) = answer.add_cookie(&browser_session::forget(service)) {
        tracing::error!(%error, "a cookie was not taken back");
    }
    answer
}

pub(super) fn to(page: &str, id: &str, ui_locales: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("request", id);
    if let Some(locales) = ui_locales {
        query.append_pair("ui_locales", locales);
    }
    format!("{page}?{}", query.finish())
}

fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, location))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .finish()
}
