//! A form that a page of ours has sent: read only when its token shows that it is one. Owns the bounds of a form; a field's
//! rules are its handler's.

use std::fmt;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::{Site, csrf};
use crate::problem::Problem;
use crate::request::{media_type, read_body_in_time};

/// A form of this service, sent by the browser that got it. Anything else is refused before it reaches the handler: 403
/// `cross_origin_request` or `invalid_csrf_token`, 400 for a doubled field, 413 beyond 64 KiB.
///
/// Give `T` texts: the handler parses them, so that it can show what is wrong beside the field.
pub struct HtmlForm<T>(pub T);

impl<T> fmt::Debug for HtmlForm<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HtmlForm(…)")
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for HtmlForm<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        async move {
            let site = request.app_data::<web::Data<Site>>();
            let site = site.ok_or_else(|| Problem::internal("web::Data<Site> is not in this App's data"))?;
            if !csrf::is_from_own_page(site, request.headers()) {
                return Err(Problem::forbidden(
                    "cross_origin_request",
                    "this form was not sent by a page of this service",
                ));
            }
            // Another kind of body has no token: other sites can send some kinds without being asked.
            if media_type(request.headers()).as_deref() != Some("application/x-www-form-urlencoded") {
                return Err(invalid_token());
            }
            let body = read_body_in_time(&mut payload).await?;
            let fields = read_fields(&body)?;
            let secret = csrf::Secret::presented(site, request.headers()).ok_or_else(invalid_token)?;
            let token = fields.iter().find(|(name, _)| name == csrf::FIELD).map_or("", |(_, value)| value);
            if !secret.is_masked_in(token) {
                return Err(invalid_token());
            }
            read(&fields).map(Self)
        }
        .boxed_local()
    }
}

fn invalid_token() -> Problem {
    let detail = "the form's token is missing, or is not this browser's: load the page again";
    Problem::forbidden("invalid_csrf_token", detail)
}

fn read_fields(body: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    for (index, (name, value)) in fields.iter().enumerate() {
        if fields[..index].iter().any(|(other, _)| other == name) {
            return Err(Problem::bad_request("invalid_form", "a field is there twice"));
        }
        // What stands for bytes that are no text.
        if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
            return Err(Problem::bad_request("invalid_form", "a field is not UTF-8"));
        }
        if index == 256 {
            return Err(Problem::bad_request("invalid_form", "there are too many fields"));
        }
    }
    Ok(fields)
}

fn read<T: DeserializeOwned>(fields: &[(String, String)]) -> Result<T, Problem> {
    let own = fields.iter().filter(|(name, _)| name != csrf::FIELD);
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(own).finish();
    // Serde's own words may quote a value.
    let unreadable = |_| Problem::bad_request("invalid_form", "a field is missing, or is not of its kind");
    web::Query::from_query(&text).map(web::Query::into_inner).map_err(unreadable)
}

/// What a form's field shows when the form is shown again: what was entered, and what is wrong with it. A password is never
/// shown again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field {
    pub value: String,
    pub error: Option<String>,
}

impl Field {
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: value.into(), error: None }
    }

    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }
}
