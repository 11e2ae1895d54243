//! Registering an account. Whoever has done it is signed in.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use shared::pages::{Field, HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;

use super::sign_in::{known_browser, signed_in};
use super::texts::AuthTexts;
use super::way::{Way, WayQuery};
use crate::AuthService;
use crate::accounts::{self, DisplayName};
use crate::browser_session::{self, BrowserSession};
use crate::email::Email;
use crate::endpoints::origin::Origin;
use crate::password::NewPassword;
use crate::sign_in::Attempt;

#[derive(Template)]
#[template(path = "register.html")]
struct RegisterPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    way: &'a Way,
    alert: String,
    email: Field,
    display_name: Field,
    password: Field,
}

impl<'a> RegisterPage<'a> {
    fn new(page: &'a Page, way: &'a Way, email: &str, display_name: &str) -> Self {
        let (alert, email, display_name) = (String::new(), Field::new(email), Field::new(display_name));
        Self { page, t: AuthTexts(page.language), way, alert, email, display_name, password: Field::default() }
    }

    /// The fields, or what is wrong with them beside each.
    fn read(&mut self, password: &SecretString) -> Option<(Email, Option<DisplayName>, NewPassword)> {
        let email = self.email.value.parse().ok();
        if email.is_none() {
            self.email.error = Some(self.t.invalid_email().to_owned());
        }
        let name = match self.display_name.value.as_str() {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        };
        if name.is_none() {
            self.display_name.error = Some(self.t.invalid_display_name().to_owned());
        }
        let password = NewPassword::parse(password.expose_secret());
        if let Err(invalid) = password {
            self.password.error = Some(self.t.invalid_password(invalid).to_owned());
        }
        Some((email?, name?, password.ok()?))
    }
}

pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    http: HttpRequest,
    page: Page,
    Query(query): Query<WayQuery>,
) -> Result<HttpResponse, Problem> {
    let way = Way::find(&service, &http, query).await?;
    let page = way.page(page);
    page.show(&RegisterPage::new(&page, &way, way.email_hint().unwrap_or_default(), ""))
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct RegisterForm {
    email: String,
    display_name: String,
    password: SecretString,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    http: HttpRequest,
    origin: Origin,
    page: Page,
    Query(query): Query<WayQuery>,
    HtmlForm(form): HtmlForm<RegisterForm>,
) -> Result<HttpResponse, Problem> {
    let way = match Way::of_form(&service, &http, query).await? {
        Ok(way) => way,
        Err(on) => return Ok(page.see_other(&on)),
    };
    let page = way.page(page);
    let mut again = RegisterPage::new(&page, &way, form.email.trim(), form.display_name.trim());
    let Some((email, name, password)) = again.read(&form.password) else {
        return page.answer(StatusCode::UNPROCESSABLE_ENTITY, &again);
    };
    // Before the account is made: a browser with the logins of several people makes none.
    let current = browser_session::find(&service, &http).await?;
    let (browser, device) = (known_browser(&service, &http, current.as_ref()), origin.device(None));
    let (account, chosen) = (email.clone(), password.clone());
    let attempt = Attempt { email, password: password.into(), device, address: origin.address, browser };
    let problem = match accounts::register(&service, account, chosen, name, origin.address).await {
        Ok(_) => return enter(&service, &page, &way, &attempt, current).await,
        // A form that was sent twice has made the account the first time: the one who knows its password has made it.
        Err(problem) if problem.code() == "email_taken" => {
            match enter(&service, &page, &way, &attempt, current).await {
                Ok(answer) => return Ok(answer),
                Err(_) => problem,
            }
        }
        Err(problem) => problem,
    };
    match problem.code() {
        "email_taken" => again.email.error = Some(again.t.email_taken().to_owned()),
        "look_alike" => again.email.error = Some(again.t.look_alike_email().to_owned()),
        _ => again.alert = again.t.refusal(&problem).ok_or_else(|| problem.clone())?,
    }
    page.refuse(&problem, &again)
}

/// Signs in with the account.
async fn enter(
    service: &AuthService,
    page: &Page,
    way: &Way,
    attempt: &Attempt,
    current: Option<BrowserSession>,
) -> Result<HttpResponse, Problem> {
    let (user, cookie) = browser_session::sign_in(service, attempt, current).await?;
    signed_in(page, way, [cookie, attempt.device_cookie(service, &user)])
}
