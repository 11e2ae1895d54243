//! Changing one's password.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use shared::pages::{Field, HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;

use super::account::DoneQuery;
use super::member::Member;
use super::texts::AuthTexts;
use crate::AuthService;
use crate::accounts;
use crate::browser_session;
use crate::endpoints::origin::Origin;
use crate::known_browser::KnownBrowser;
use crate::password::{NewPassword, Password};
use crate::storage::users::User;

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    user: &'a User,
    alert: String,
    current: Field,
    new: Field,
    done: bool,
}

impl<'a> PasswordPage<'a> {
    fn new(page: &'a Page, user: &'a User, done: bool) -> Self {
        let (t, alert) = (AuthTexts(page.language), String::new());
        Self { page, t, user, alert, current: Field::default(), new: Field::default(), done }
    }

    /// The two passwords, or what is wrong with them beside each.
    fn read(&mut self, form: &PasswordForm) -> Option<(Password, NewPassword)> {
        let current = Password::parse(form.current_password.expose_secret()).ok();
        if current.is_none() {
            self.current.error = Some(self.t.wrong_password().to_owned());
        }
        let new = NewPassword::parse(form.new_password.expose_secret());
        if let Err(invalid) = new {
            self.new.error = Some(self.t.invalid_password(invalid).to_owned());
        }
        current.zip(new.ok())
    }

    fn refuse(mut self, page: &Page, problem: Problem) -> Result<HttpResponse, Problem> {
        if problem.code() == "wrong_password" {
            self.current.error = Some(self.t.wrong_password().to_owned());
        } else {
            self.alert = self.t.refusal(&problem).ok_or_else(|| problem.clone())?;
        }
        page.refuse(&problem, &self)
    }
}

pub(in crate::endpoints) async fn show(
    Member { page, user, .. }: Member,
    Query(query): Query<DoneQuery>,
) -> Result<HttpResponse, Problem> {
    page.show(&PasswordPage::new(&page, &user, query.done.is_some()))
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct PasswordForm {
    current_password: SecretString,
    new_password: SecretString,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    http: HttpRequest,
    origin: Origin,
    Member { page, user, session }: Member,
    HtmlForm(form): HtmlForm<PasswordForm>,
) -> Result<HttpResponse, Problem> {
    let mut again = PasswordPage::new(&page, &user, false);
    let Some((current, new)) = again.read(&form) else {
        return page.answer(StatusCode::UNPROCESSABLE_ENTITY, &again);
    };
    let by = origin.of_user(user.id);
    let changed = match accounts::set_own_password(&service, user.clone(), &session, current, new, &by).await {
        Ok(changed) => changed,
        Err(problem) => return again.refuse(&page, problem),
    };
    let mut answer = page.see_other("/account/password?done=changed");
    let opening = changed.secret.map(|secret| browser_session::opening(&service, session.id, &secret));
    let device = KnownBrowser::of(&service, &http).learns(&service, &changed.user);
    for cookie in opening.into_iter().chain([device]) {
        answer.add_cookie(&cookie).map_err(Problem::internal)?;
    }
    Ok(answer)
}
