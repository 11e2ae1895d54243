//! A refusal as a plain page, for an `App` without the layout of `shared::pages`. Owns when a client gets one; the status, the
//! headers and the cause stay those of the refusal.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse};

use crate::problem::Problem;

/// The middleware that answers a [`Problem`] as a page where a browser asks for one: `middleware::from_fn(refusals_as_pages)`.
/// Programs get problem details (RFC 9457), as without it.
///
/// # Errors
/// None of its own.
pub async fn refusals_as_pages<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let response = next.call(request).await?;
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    let Some(problem) = problem.filter(|_| wants_page(response.request()) && !response.status().is_redirection())
    else {
        return Ok(response.map_into_left_body());
    };
    let mut shown = HttpResponse::build(response.status()).body(page(problem));
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            shown.headers_mut().append(name.clone(), value.clone());
        }
    }
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    ];
    for (name, value) in headers {
        shown.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response.into_response(shown).map_into_right_body())
}

/// Browsers ask for `text/html`; programs ask for JSON, or for anything.
fn wants_page(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let position = |kind: &str| accept.find(kind);
    position("text/html").is_some_and(|html| position("json").is_none_or(|json| html < json))
}

fn page(problem: &Problem) -> String {
    let status = problem.status();
    let title = status.canonical_reason().unwrap_or("Error");
    let next = match status {
        StatusCode::UNAUTHORIZED => "<p><a href=\"/login\">Sign in</a></p>",
        _ => "",
    };
    let (detail, code) = (escaped(problem.detail()), problem.code());
    format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><h1>{title}</h1><p>{detail}.</p>{next}<p>Code: {code}</p></html>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, web};

    use super::*;

    async fn asked(accept: &str, problem: fn() -> Problem) -> (StatusCode, String, String) {
        let refuse = move || async move { Err::<HttpResponse, Problem>(problem()) };
        let app = App::new().default_service(web::to(refuse)).wrap(from_fn(refusals_as_pages));
        let app = init_service(app).await;
        let answer = call_service(&app, TestRequest::get().insert_header((ACCEPT, accept)).to_request()).await;
        let kind = answer.headers().get(CONTENT_TYPE).expect("a type").to_str().expect("text").to_owned();
        let (status, body) = (answer.status(), read_body(answer).await);
        (status, kind, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[actix_web::test]
    async fn a_browser_gets_a_page_with_the_code_and_a_program_the_details() {
        let problem = || Problem::bad_request("odd", "<script>alert(1)</script>");
        let (status, kind, page) = asked("text/html,*/*;q=0.8", problem).await;
        assert_eq!((status.as_u16(), &*kind), (400, "text/html; charset=utf-8"));
        assert!(page.contains("Code: odd") && page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
        for program in ["*/*", "application/json", "application/json, text/html"] {
            let (status, kind, body) = asked(program, problem).await;
            assert_eq!((status.as_u16(), &*kind), (400, "application/problem+json"), "{program}: {body}");
        }
    }

    #[actix_web::test]
    async fn a_way_to_the_sign_in_stays_one() {
        let away = || Problem::new(StatusCode::SEE_OTHER, "sign_in", "sign in first");
        assert_eq!(asked("text/html", away).await.0, StatusCode::SEE_OTHER);
        assert!(
            asked("text/html", || Problem::new(StatusCode::UNAUTHORIZED, "x", "y")).await.2.contains("href=\"/login\"")
        );
    }
}
