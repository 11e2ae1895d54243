//! Signing in with a password; and again, where the login is too old for what comes next.

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use shared::pages::{Field, HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;

use super::texts::AuthTexts;
use super::way::{Way, WayQuery};
use crate::AuthService;
use crate::browser_session::{self, BrowserSession};
use crate::email::Email;
use crate::endpoints::origin::Origin;
use crate::known_browser::KnownBrowser;
use crate::password::Password;
use crate::sign_in::Attempt;
use crate::storage::users::User;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    way: &'a Way,
    /// The one who is signed in already must prove it again.
    again: bool,
    /// Who is signed out when another account signs in.
    leaving: Option<String>,
    alert: String,
    email: Field,
    password: Field,
}

impl<'a> SignInPage<'a> {
    /// `another` tells that the person has asked for another account than that of the session.
    fn new(page: &'a Page, way: &'a Way, session: Option<&BrowserSession>, another: bool, email: &str) -> Self {
        let user = session.map(|session| &session.user);
        let is_meant =
            |user: &&User| way.email_hint().is_none_or(|hint| hint.parse().ok().as_ref() == Some(&user.email));
        let again =
            user.filter(|user| !another && !way.is_about_another_than(user.id)).is_some_and(|user| is_meant(&user));
        let leaving = user.filter(|_| !again).map(|user| user.email.as_str().to_owned());
        let (alert, email, password) = (String::new(), Field::new(email), Field::default());
        Self { page, t: AuthTexts(page.language), way, again, leaving, alert, email, password }
    }
}

pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<WayQuery>,
) -> Result<HttpResponse, Problem> {
    let another = query.another.is_some();
    let way = Way::find(&service, &http, query).await?;
    let session = browser_session::find(&service, &http).await?;
    if let (Way::Local(path), Some(session)) = (&way, &session)
        && is_recent(&service, session)
    {
        return Ok(page.see_other(path.as_str()));
    }
    let page = way.page(page);
    let known = session.as_ref().map(|session| &session.user);
    let known = known.filter(|user| !another && !way.is_about_another_than(user.id));
    let email = way.email_hint().or(known.map(|user| user.email.as_str())).unwrap_or_default();
    page.show(&SignInPage::new(&page, &way, session.as_ref(), another, email))
}

/// Whether a page of one's own account would have it.
fn is_recent(service: &AuthService, session: &BrowserSession) -> bool {
    let age = service.clock.now().since(session.session.auth_time());
    age < service.rules.step_up_after
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct SignInForm {
    email: String,
    password: SecretString,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    http: HttpRequest,
    origin: Origin,
    page: Page,
    Query(query): Query<WayQuery>,
    HtmlForm(form): HtmlForm<SignInForm>,
) -> Result<HttpResponse, Problem> {
    let another = query.another.is_some();
    let way = match Way::of_form(&service, &http, query).await? {
        Ok(way) => way,
        Err(on) => return Ok(page.see_other(&on)),
    };
    let page = way.page(page);
    let current = browser_session::find(&service, &http).await?;
    let mut again = SignInPage::new(&page, &way, current.as_ref(), another, form.email.trim());
    let Some((email, password)) = again.read(&form.password) else {
        return page.answer(StatusCode::UNPROCESSABLE_ENTITY, &again);
    };
    let browser = known_browser(&service, &http, current.as_ref());
    let attempt = Attempt { email, password, device: origin.device(None), address: origin.address, browser };
    match browser_session::sign_in(&service, &attempt, current).await {
        Ok((user, cookie)) => signed_in(&page, &way, [cookie, attempt.device_cookie(&service, &user)]),
        Err(problem) => {
            again.alert = again.t.refusal(&problem).ok_or_else(|| problem.clone())?;
            page.refuse(&problem, &again)
        }
    }
}

/// By its device cookie, and by the one who is signed in already.
pub(super) fn known_browser(
    service: &AuthService,
    http: &HttpRequest,
    current: Option<&BrowserSession>,
) -> KnownBrowser {
    let session = current.map(|current| (current.user.id, current.session.id));
    KnownBrowser::of(service, http).in_sessions(session)
}

/// The browser goes on, signed in.
pub(super) fn signed_in(page: &Page, way: &Way, cookies: [Cookie<'_>; 2]) -> Result<HttpResponse, Problem> {
    let mut answer = page.see_other(&way.next());
    for cookie in cookies {
        answer.add_cookie(&cookie).map_err(Problem::internal)?;
    }
    Ok(answer)
}

impl SignInPage<'_> {
    /// The two fields, or what is wrong with them beside each. A password that is too long is only a wrong one.
    fn read(&mut self, password: &SecretString) -> Option<(Email, Password)> {
        let email: Option<Email> = self.email.value.parse().ok();
        if email.is_none() {
            self.email.error = Some(self.t.invalid_email().to_owned());
        }
        let password = password.expose_secret();
        if password.is_empty() {
            self.password.error = Some(self.t.password_missing().to_owned());
            return None;
        }
        let read = Password::parse(password).ok();
        if read.is_none() {
            self.password.error = Some(self.t.password_too_long().to_owned());
        }
        // Another account could not go on, and would end the session of the account that is signed in.
        if let (Some(expected), Some(client), Some(email)) = (self.way.expected(), self.way.client_name(), &email)
            && expected != email.as_str()
        {
            self.email.error = Some(self.t.expected_account(client, expected));
            return None;
        }
        email.zip(read)
    }
}
