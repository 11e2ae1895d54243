//! `/oauth2/authorize`: the dispatcher. Every step of a person (signing in, choosing, consenting) leads back here, and here
//! alone is decided what comes next. Only this folder and `authorization` know OAuth's parameters.

mod answer;
mod posted;
mod pushed;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, post, web};
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::request::must_be_a_page;
use shared::session::UserId;
use url::form_urlencoded;

pub(super) use self::answer::{refusal_at, with_query};
pub(super) use self::pushed::push;
use self::pushed::{Resolved, Unanswerable};
use super::origin::Origin;
use super::pages::over;
use crate::AuthService;
use crate::authorization::decision::{self, Before, Progress, SignedIn};
use crate::authorization::{AuthorizationRequest, Flow, Over, Refusal, ReturnAddress, Step, request};
use crate::browser_session::{self, BrowserSession};
use crate::clients::{self, Client};
use crate::codes::{self, Code};
use crate::consent_epoch::ConsentEpoch;
use crate::form::{Form, TooLarge};
use crate::id_token;
use crate::oauth_error::OAuthError;
use crate::scopes::Words;
use crate::storage::audit::{Actor, By};

/// Ask for an authorization code (RFC 6749, section 4.1.1; OpenID Connect Core, section 3.1.2.1). A person's browser is
/// sent here, and from here to sign in, to consent, or back with a code.
#[utoipa::path(
    tag = "openid",
    params(
        ("client_id" = Option<String>, Query),
        ("redirect_uri" = Option<String>, Query, description = "Byte for byte as registered"),
        ("response_type" = Option<String>, Query, description = "`code`"),
        ("scope" = Option<String>, Query),
        ("state" = Option<String>, Query, description = "At most 4,096 bytes"),
        ("code_challenge" = Option<String>, Query, description = "S256 of the verifier (RFC 7636)"),
        ("code_challenge_method" = Option<String>, Query, description = "`S256`"),
        ("flow" = Option<String>, Query, description = "A request that waited for the person"),
        ("posted" = Option<String>, Query, description = "A request that came by POST"),
    ),
    responses(
        (status = 303, description = "To a page of this service, or back to the client with `code` or `error`, `state` and `iss`"),
        (status = 200, description = "A form that a browser posts to the client (`response_mode=form_post`); or a page that asks before it leads to a client that no administrator has approved", content_type = "text/html"),
        (status = 400, description = "Nobody can be answered: the client or its `redirect_uri` is not known; or `flow_over`: the request took too long or was answered. A browser gets a page, which leads back to the client where that is known", content((Problem = "application/problem+json"), (String = "text/html"))),
        (status = 403, description = "`not_a_page`: an image or another part of a page asks", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`request_too_large`: the parameters have more than 5 KiB together; `errors` names the largest", body = Problem, content_type = "application/problem+json"),
        super::answers::OverBudget,
        super::answers::Unavailable,
    )
)]
#[get("/oauth2/authorize")]
pub(super) async fn authorize(
    service: web::Data<AuthService>,
    origin: Origin,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    must_be_a_page(request.headers())?;
    let form = Form::parse(request.query_string().as_bytes()).map_err(unreadable)?;
    let form = match (form.get(posted::PARAMETER), form.get("flow")) {
        (Some(id), _) => posted::find(&service, id)?,
        (None, Some(_)) => form,
        (None, None) => form.kept(&request::PARAMETERS).map_err(|error| too_large(&error, "#query/"))?,
    };
    dispatch(&service, &origin, &request, form).await
}

/// The same, with the parameters in a form (OpenID Connect Core, section 3.1.2.1). The browser is sent on, and the request is
/// answered when it comes.
#[utoipa::path(
    tag = "openid",
    request_body(content = inline(std::collections::HashMap<String, String>), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "To GET, with `posted`"),
        (status = 400, description = "The client is not known, or the form cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The form did not arrive in time", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The form is too large, or `request_too_large`: its parameters have more than 5 KiB together; `errors` names the largest", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no form", body = Problem, content_type = "application/problem+json"),
        super::answers::Unavailable,
    )
)]
#[post("/oauth2/authorize")]
pub(super) async fn authorize_by_form(
    service: web::Data<AuthService>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    use actix_web::FromRequest as _;
    let form = Form::from_request(&request, &mut payload.into_inner()).await.map_err(unreadable)?;
    client(&service, form.get("client_id")).await?.map_err(|why| Problem::bad_request("invalid_request", why))?;
    let form = form.kept(&request::PARAMETERS).map_err(|error| too_large(&error, "/"))?;
    posted::send_on(&service, &form)
}

/// 413 that names the largest parameter.
pub(super) fn too_large(error: &TooLarge, place: &str) -> Problem {
    let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", error.to_string());
    problem.at(format!("{place}{}", error.largest), error.to_string())
}

fn unreadable(error: OAuthError) -> Problem {
    Problem::new(error.status(), "invalid_request", error.description)
}

async fn dispatch(
    service: &AuthService,
    origin: &Origin,
    http: &HttpRequest,
    form: Form,
) -> Result<HttpResponse, Problem> {
    if let Some(id) = form.get("flow") {
        let flow = Flow::find(service, http, id).await?.map_err(|gone| over(service, http, &gone))?;
        return go_on(service, origin, http, flow).await;
    }
    let started_at = service.clock.now();
    let Resolved { client, form, reference } = match pushed::resolve(service, form).await? {
        Ok(found) => found,
        Err(Unanswerable::Request(why)) => return Err(Problem::bad_request("invalid_request", why)),
        Err(Unanswerable::Over(client)) => return Err(over(service, http, &Over::of_client(*client))),
    };
    let to = request::return_address(&form, &client).map_err(|why| {
        service.refusals.of_redirect_uri(&client, form.get("redirect_uri"));
        Problem::bad_request("invalid_request", why)
    })?;
    let request = match read(service, &form, &client, to.clone()) {
        Ok(request) => request,
        Err(refusal) => {
            return answer::refuse_unasked(service, http, &client, &to, form.get("ui_locales"), &refusal);
        }
    };
    let progress = Progress { started_at, has_selected_account: false, has_consented: false };
    let present = Present::find(service, http, &client).await?;
    let step = next(&client, &request, progress, present.as_ref());
    match (step, present) {
        (Step::Answer, Some(present)) => {
            let user = present.session.user.id;
            let code = write_code(service, origin, &request, present).await?;
            if !pushed::end(service, reference.as_deref(), &code, user).await? {
                return Err(answered_already(service, http, client, &request, &code).await);
            }
            answer::give(service, http, &request.to, &code)
        }
        (step, _) if request.prompt.none => {
            let locales = request.ui_locales.as_deref();
            answer::refuse_unasked(service, http, &client, &to, locales, &unattended(step))
        }
        (step, _) => {
            let (id, cookie) = Flow::begin(service, http, request, started_at, reference)?;
            let mut answer = to_page(step, &id);
            Ok(answer.cookie(cookie).finish())
        }
    }
}

/// The person comes back from a page.
async fn go_on(
    service: &AuthService,
    origin: &Origin,
    http: &HttpRequest,
    flow: Flow,
) -> Result<HttpResponse, Problem> {
    let (request, client) = (flow.request(), &flow.client);
    let present = Present::find(service, http, client).await?;
    if let Some(refusal) = flow.refusal() {
        if let Some(present) = present {
            end(service, &flow, present.session.user.id).await?;
        }
        if flow.is_refused() {
            return answer::refuse(service, http, &request.to, &refusal);
        }
        let locales = request.ui_locales.as_deref();
        return answer::refuse_unasked(service, http, client, &request.to, locales, &refusal);
    }
    let progress = flow.progress(present.as_ref().map(|present| (&present.session.user, &present.epoch)));
    match (next(client, request, progress, present.as_ref()), present) {
        (Step::Answer, Some(present)) => {
            // The code comes first: a request is not used up by one that cannot be written. One too many reaches no client.
            let user = present.session.user.id;
            let code = write_code(service, origin, request, present).await?;
            if !end(service, &flow, user).await? {
                return Err(answered_already(service, http, flow.client.clone(), request, &code).await);
            }
            answer::give(service, http, &request.to, &code)
        }
        (step, _) => Ok(to_page(step, &flow.id).finish()),
    }
}

/// A request that has waited is answered to this user, once.
async fn end(service: &AuthService, flow: &Flow, user: UserId) -> Result<bool, Problem> {
    // What a failure leaves of the first step is no other answer's.
    Ok(pushed::end(service, flow.reference(), &flow.id, user).await? && flow.end(service, user).await?)
}

/// The answer where another one was quicker: its own code is worth nothing.
async fn answered_already(
    service: &AuthService,
    http: &HttpRequest,
    client: Client,
    request: &AuthorizationRequest,
    code: &str,
) -> Problem {
    codes::forget(service, code).await;
    over(service, http, &Over::answered(client, request))
}

pub(super) fn read(
    service: &AuthService,
    form: &Form,
    client: &Client,
    to: ReturnAddress,
) -> Result<AuthorizationRequest, Refusal> {
    let hint = form.get("id_token_hint").map(|hint| {
        let refusal = || Refusal::new("invalid_request", "the id_token_hint is no ID token of this issuer's");
        id_token::read_hint(service, hint).ok_or_else(refusal)
    });
    let request = request::read(form, client, to, &service.api_scopes, service.own_audience(), hint.transpose()?)?;
    match request.claims.essential_acr() {
        Some(acr) if !acr.is_empty() && !acr.contains(&id_token::ACR) => {
            Err(Refusal::new("unmet_authentication_requirements", "no login here has that acr"))
        }
        _ => Ok(request),
    }
}

/// The person who is signed in in the browser, and how they stand to the client.
struct Present {
    session: BrowserSession,
    allowed: Words,
    /// Of the same moment: what is allowed before a withdrawal becomes nothing after it.
    epoch: ConsentEpoch,
}

impl Present {
    async fn find(service: &AuthService, http: &HttpRequest, client: &Client) -> Result<Option<Self>, Problem> {
        let Some(session) = browser_session::find(service, http).await? else { return Ok(None) };
        let (allowed, epoch) = ConsentEpoch::now(service, session.user.id, client).await?;
        Ok(Some(Self { session, allowed, epoch }))
    }
}

fn next(client: &Client, request: &AuthorizationRequest, progress: Progress, present: Option<&Present>) -> Step {
    let signed_in = present
        .map(|Present { session, .. }| SignedIn { user: session.user.id, auth_time: session.session.auth_time() });
    let before = match present {
        _ if !client.is_assured_at(&request.to.redirect_uri) => Before::Unassured,
        Some(present) if !(client.first_party && client.approved) => Before::Allowed(&present.allowed),
        _ => Before::Own,
    };
    decision::next(request, progress, signed_in, before)
}

fn unattended(step: Step) -> Refusal {
    Refusal::new(step.refusal(), "this needs a person, and the client asked for none")
}

fn to_page(step: Step, flow: &str) -> HttpResponseBuilder {
    let page = match step {
        Step::Register => "/register",
        Step::SignIn => "/sign-in",
        Step::SwitchAccount => "/switch-account",
        Step::SelectAccount => "/select-account",
        Step::Consent => "/consent",
        Step::Answer => "/oauth2/authorize",
    };
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("flow", flow).finish();
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((LOCATION, format!("{page}?{query}"))).insert_header((CACHE_CONTROL, "no-store"));
    answer
}

async fn write_code(
    service: &AuthService,
    origin: &Origin,
    request: &AuthorizationRequest,
    Present { session, epoch, .. }: Present,
) -> Result<String, Problem> {
    let by = By { actor: Actor::User(session.user.id), ..origin.anonymous() };
    let auth_time: Timestamp = session.session.auth_time();
    let code = Code {
        session: session.session.id,
        user: session.user.id,
        client_id: request.to.client_id.clone(),
        redirect_uri: request.to.redirect_uri.clone(),
        code_challenge: request.code_challenge.clone(),
        scope: request.scope.clone(),
        audiences: request.audiences.clone(),
        nonce: request.nonce.clone(),
        claims: request.claims.clone(),
        dpop_jkt: request.dpop_jkt.clone(),
        auth_time,
        epoch,
    };
    tracing::debug!(client = code.client_id, user = ?by.actor, "an authorization code");
    codes::write(service, &code).await
}

/// The client of that id, for the person to see or not.
async fn client(service: &AuthService, id: Option<&str>) -> Result<Result<Client, &'static str>, Problem> {
    let found = clients::find(service, id.unwrap_or_default()).await?;
    Ok(found.ok_or_else(|| {
        service.refusals.of_unknown_client(id);
        match id {
            None => "the request does not say which application it is from (client_id)",
            Some(_) => "the application (client_id) is not known here",
        }
    }))
}
