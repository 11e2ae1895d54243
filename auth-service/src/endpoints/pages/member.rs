//! Whoever is signed in in this browser: a page of one's own sends anybody else to sign in, and back; a refusal greets.

use actix_web::dev::Payload;
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::{Error, FromRequest, HttpRequest, web};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use shared::pages::{Greeter, Page, Visit};
use shared::problem::Problem;
use shared::session::Session;
use url::form_urlencoded;

use crate::AuthService;
use crate::browser_session::{self, BrowserSession};
use crate::storage::users::User;

/// A page of one's own account, and whose it is.
pub(in crate::endpoints) struct Member {
    pub(super) page: Page,
    pub(super) user: User,
    pub(super) session: Session,
}

impl FromRequest for Member {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move { Self::of(&request).await }.boxed_local()
    }
}

/// How refusals find out whom to greet.
pub(in crate::endpoints) fn greeter() -> Greeter {
    Greeter::new(|request| async move {
        let Some(service) = request.app_data::<web::Data<AuthService>>() else { return Visit::Unknown };
        match browser_session::find(service, &request).await {
            Ok(Some(BrowserSession { user, .. })) => Visit::SignedIn(user.display_name.as_str().to_owned()),
            Ok(None) => Visit::Guest,
            Err(_) => Visit::Unknown,
        }
    })
}

impl Member {
    async fn of(request: &HttpRequest) -> Result<Self, Error> {
        let missing = || Problem::internal("the App's data lacks what pages need");
        let page = Page::of(request).ok_or_else(missing)?;
        let service = request.app_data::<web::Data<AuthService>>().ok_or_else(missing)?;
        match browser_session::find(service, request).await? {
            Some(BrowserSession { user, session }) => {
                Ok(Self { page: page.signed_in_as(user.display_name.as_str()), user, session })
            }
            None => {
                let asked = request.uri().path_and_query().filter(|_| request.method() == Method::GET);
                let asked = asked.map_or(request.path(), |asked| asked.as_str());
                let back = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", asked).finish();
                let answer = page.see_other(&format!("/sign-in?{back}"));
                Err(InternalError::from_response("nobody is signed in", answer).into())
            }
        }
    }
}
