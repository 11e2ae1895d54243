//! One's own account: who one is, and how one wants to be called.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::pages::{Field, HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;

use super::member::Member;
use super::texts::AuthTexts;
use crate::AuthService;
use crate::accounts;
use crate::endpoints::origin::Origin;
use crate::storage::users::User;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    user: &'a User,
    display_name: Field,
    done: bool,
}

/// Where one's own things begin.
pub(in crate::endpoints) async fn home(page: Page) -> HttpResponse {
    page.see_other("/account")
}

/// What a form has just done, for the page that follows it to say so.
#[derive(Deserialize)]
pub(in crate::endpoints) struct DoneQuery {
    pub(super) done: Option<String>,
}

pub(in crate::endpoints) async fn show(
    Member { page, user, .. }: Member,
    Query(query): Query<DoneQuery>,
) -> Result<HttpResponse, Problem> {
    let display_name = Field::new(user.display_name.as_str());
    let (t, done) = (AuthTexts(page.language), query.done.is_some());
    page.show(&AccountPage { page: &page, t, user: &user, display_name, done })
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct ProfileForm {
    display_name: String,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    origin: Origin,
    Member { page, user, .. }: Member,
    HtmlForm(form): HtmlForm<ProfileForm>,
) -> Result<HttpResponse, Problem> {
    let Ok(name) = form.display_name.parse() else {
        let t = AuthTexts(page.language);
        let display_name = Field::new(form.display_name).error(t.invalid_display_name());
        let again = AccountPage { page: &page, t, user: &user, display_name, done: false };
        return page.answer(StatusCode::UNPROCESSABLE_ENTITY, &again);
    };
    accounts::rename(&service, user.id, &name, &origin.of_user(user.id)).await?;
    Ok(page.see_other("/account?done=profile"))
}
