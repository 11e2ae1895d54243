//! Where one is signed in, and signing out there.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;
use shared::session::{EndReason, Session, SessionId};

use super::account::DoneQuery;
use super::member::Member;
use super::texts::AuthTexts;
use crate::AuthService;
use crate::end_session;
use crate::endpoints::origin::Origin;

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    current: SessionId,
    /// The newest first.
    sessions: Vec<Session>,
    done: bool,
}

pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    Member { page, user, session }: Member,
    Query(query): Query<DoneQuery>,
) -> Result<HttpResponse, Problem> {
    let sessions = service.sessions.list(user.id).await?;
    let (t, done) = (AuthTexts(page.language), query.done.is_some());
    page.show(&SessionsPage { page: &page, t, current: session.id, sessions, done })
}

/// One session, or all but this one when none is named.
#[derive(Deserialize)]
pub(in crate::endpoints) struct EndForm {
    session: Option<SessionId>,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    origin: Origin,
    Member { page, user, session }: Member,
    HtmlForm(form): HtmlForm<EndForm>,
) -> Result<HttpResponse, Problem> {
    let by = origin.of_user(user.id);
    match form.session {
        Some(id) => {
            // Somebody else's, and one that is gone already, are left alone.
            if service.sessions.load(id).await?.is_some_and(|other| other.user == user.id) {
                end_session::end(&service, id, EndReason::EndedByUser, &by).await?;
            }
        }
        None => {
            end_session::end_all(&service, user.id, Some(session.id), EndReason::EndedByUser, &by).await?;
        }
    }
    Ok(page.see_other("/account/sessions?done=ended"))
}
