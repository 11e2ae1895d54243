//! A refusal as a page: what happened, and what to do next. Owns when a client gets one; the status, the other headers and
//! the cause stay those of the refusal.

use actix_web::HttpRequest;
use actix_web::body::{BoxBody, EitherBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER, SET_COOKIE};
use askama::Template;

use super::{NextStep, Page, Visit, visit};
use crate::authentication::several_logins::SEVERAL_LOGINS;
use crate::calls;
use crate::problem::{MISCONFIGURED, Problem};

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    page: &'a Page,
    title: &'static str,
    next: String,
    step: Option<NextStep>,
    code: &'a str,
    request_id: Option<String>,
    offers_sign_in: bool,
    offers_sign_out: bool,
}

impl ErrorPage<'_> {
    /// The shop is the better way then.
    fn is_warned(&self) -> bool {
        self.step.as_ref().is_some_and(|step| step.warning.is_some())
    }
}

/// Answers a refusal as a page where a browser asks for one, in an `App` with pages; everything else passes.
pub(crate) async fn as_page<B>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B, BoxBody>> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || !wants_page(response.request()) || is_page(&response)
    {
        return response.map_into_left_body();
    }
    let Some(page) = Page::of(response.request()) else { return response.map_into_left_body() };
    let page = greeting(page, &response).await;
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    let code = problem.map_or("", Problem::code);
    // The form that signs out all of them goes on to the provider.
    let page = if code == SEVERAL_LOGINS { page.form_leads_to_account() } else { page };
    let step = NextStep::of(response.request());
    let page = if let Some(step) = &step { page.leading_on(step) } else { page };
    let Ok(mut shown) = error_page(&page, status, code, response.headers(), step) else {
        return response.map_into_left_body();
    };
    for (name, value) in response.headers() {
        let is_added = name == SET_COOKIE || !shown.headers().contains_key(name);
        if name != CONTENT_TYPE && name != CONTENT_LENGTH && is_added {
            shown.headers_mut().append(name.clone(), value.clone());
        }
    }
    response.into_response(shown).map_into_right_body()
}

/// The page with what is known of who visits. After a failure nobody is asked again.
async fn greeting<B>(page: Page, response: &ServiceResponse<B>) -> Page {
    let visit = if response.status().is_server_error() { Visit::Unknown } else { visit::of(response.request()).await };
    match visit {
        // The form that signs out goes on to the provider.
        Visit::SignedIn(_) => page.visited_by(visit).form_leads_to_account(),
        Visit::Guest | Visit::Unknown => page.visited_by(visit),
    }
}

/// Browsers ask for `text/html`; programs ask for JSON, or for anything.
fn wants_page(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let position = |kind: &str| accept.find(kind);
    position("text/html").is_some_and(|html| position("json").is_none_or(|json| html < json))
}

fn is_page<B>(response: &ServiceResponse<B>) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

fn error_page(
    page: &Page,
    status: StatusCode,
    code: &str,
    headers: &HeaderMap,
    mut step: Option<NextStep>,
) -> Result<actix_web::HttpResponse, Problem> {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(1);
    let (title, next) = words(page, status, code, seconds);
    let next = step.as_mut().and_then(|step| step.says.take()).unwrap_or(next);
    let (offers_sign_in, offers_sign_out) = (status == StatusCode::UNAUTHORIZED, code == SEVERAL_LOGINS);
    let request_id = calls::request_id();
    page.answer(status, &ErrorPage { page, title, next, step, code, request_id, offers_sign_in, offers_sign_out })
}

fn words(page: &Page, status: StatusCode, code: &str, retry_after: u64) -> (&'static str, String) {
    let t = page.texts();
    let (title, next) = match (status.as_u16(), code) {
        (403, "invalid_csrf_token" | "cross_origin_request") => (t.form_expired(), t.form_expired_next()),
        (400, SEVERAL_LOGINS) => (t.several_logins(), t.several_logins_next()),
        (400, "flow_over") => (t.sign_in_over(), t.sign_in_over_next()),
        (400, "logout_over") => (t.sign_out_over(), t.sign_out_over_next()),
        (400, "sign_in_cancelled") => (t.sign_in_cancelled(), t.sign_in_cancelled_next()),
        (400, "sign_in_failed") => (t.sign_in_failed(), t.sign_in_failed_next()),
        (400 | 405 | 415 | 422, _) => (t.wrong_request(), t.wrong_request_next()),
        (401, _) => (t.sign_in_first(), t.sign_in_first_next()),
        (403, _) => (t.not_allowed(), t.not_allowed_next()),
        (404 | 410, _) => (t.not_found(), t.not_found_next()),
        (409 | 412, _) => (t.changed_meanwhile(), t.changed_meanwhile_next()),
        (408 | 413 | 414 | 431, _) => (t.too_large(), t.too_large_next()),
        (429, _) => return (t.too_often(), t.too_often_next(t.duration(retry_after))),
        (503, code) if code.starts_with(MISCONFIGURED) => return (t.set_up_wrongly(), t.set_up_wrongly_next(code)),
        (502..=504, _) => return (t.unavailable(), t.unavailable_next(t.duration(retry_after))),
        (500.., _) => (t.failed(), t.failed_next()),
        _ => (t.not_done(), t.not_done_next()),
    };
    (title, next.to_owned())
}
