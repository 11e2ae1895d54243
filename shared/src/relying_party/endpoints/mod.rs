//! Every URL of the relying party on one screen. An endpoint reads the request and words the answer.

mod callback;
mod login;
mod logout;
mod query;
mod session;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, LOCATION};
use actix_web::{HttpResponse, HttpResponseBuilder, Resource, Route, web};

use crate::problem::Problem;
use crate::return_to::ReturnTo;

/// A header that no form can send, and no page of another origin without this service's leave, which nobody gets.
const ASKED_BY_SCRIPT: &str = "x-requested-with";

/// The relying party's routes. The `App`'s data must hold a `web::Data` of [`RelyingParty`](super::RelyingParty), and the
/// `App` must be wrapped in [`answer_with_cookies`](super::answer_with_cookies), as `shared::server` is.
pub fn endpoints(app: &mut web::ServiceConfig) {
    #[cfg(feature = "pages")]
    app.app_data(web::Data::new(super::visitor::greeter()));
    app.service(only("/login", "GET", web::get().to(login::begin)))
        .service(only("/callback", "GET", web::get().to(callback::finish)))
        .service(only("/logout", "POST", web::post().to(logout::begin)))
        .service(only("/logout/done", "GET", web::get().to(logout::finish)))
        .service(only("/backchannel-logout", "POST", web::post().to(logout::hear)))
        .service(only("/session", "GET", web::get().to(session::show)))
        .service(only("/assets/session.js", "GET", web::get().to(session::script)));
}

fn only(path: &'static str, method: &'static str, route: Route) -> Resource {
    let methods = if method == "GET" { "GET, HEAD" } else { method };
    web::resource(path).route(route).default_service(web::to(move || async move {
        let detail = format!("this path answers {methods}");
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        Err::<HttpResponse, Problem>(problem.header(ALLOW, methods))
    }))
}

/// 303, never kept: what follows a sign-in or a sign-out.
fn see_other(location: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((LOCATION, location)).insert_header((CACHE_CONTROL, "no-store"));
    response
}

fn to_own_page(place: &ReturnTo) -> HttpResponseBuilder {
    see_other(place.as_str())
}
