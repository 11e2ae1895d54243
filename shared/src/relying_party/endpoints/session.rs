//! Who is signed in, for the page's own script, and the script itself.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::ASKED_BY_SCRIPT;
use crate::problem::Problem;
use crate::relying_party::own_pages::{Came, came};
use crate::relying_party::{RelyingParty, Visitor};

const SCRIPT: &str = include_str!("../../../assets/session.js");

/// `{"signed_in": false}`, or with the user; with an access token where the page's own script asks for one.
///
/// # Errors
/// 403 for another site's request, 503 while it cannot be said who it is.
pub(super) async fn show(
    relying_party: web::Data<RelyingParty>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let origin = came(request.headers(), &relying_party.0.config.public_url);
    if origin == Came::FromElsewhere {
        return Err(Problem::forbidden("cross_site", "this is for the pages of this service"));
    }
    let visitor = relying_party.visitor(&request).await?;
    let mut answer = json!({"signed_in": visitor.signed_in().is_some()});
    if let Visitor::SignedIn(signed_in) = &visitor {
        let (principal, profile) = (signed_in.principal(), signed_in.profile());
        answer["user"] = json!({"id": principal.user, "name": profile.name, "email": profile.email});
        if request.headers().contains_key(ASKED_BY_SCRIPT) {
            let lives = signed_in.tokens().expires_at().since(relying_party.clock().now());
            answer["access_token"] = json!(signed_in.access_token());
            answer["expires_in"] = json!(lives.as_secs());
        }
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((VARY, "Cookie, X-Requested-With"));
    Ok(response.json(answer))
}

/// `/assets/session.js`.
pub(super) async fn script(request: HttpRequest) -> HttpResponse {
    const TAG: &str = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == TAG.as_bytes());
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((CACHE_CONTROL, "public, max-age=300")).insert_header((ETAG, TAG));
    response.insert_header((CONTENT_TYPE, "text/javascript; charset=utf-8"));
    if known { response.finish() } else { response.body(SCRIPT) }
}
