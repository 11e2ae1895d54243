//! The applications that have access to one's account, and taking it back.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::clock::Timestamp;
use shared::pages::{HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;
use shared::session::UserId;

use super::account::DoneQuery;
use super::member::Member;
use super::texts::AuthTexts;
use crate::AuthService;
use crate::clients;
use crate::endpoints::origin::Origin;
use crate::grants;
use crate::scopes::Words;
use crate::storage::{consents, grants as stored_grants};

#[derive(Template)]
#[template(path = "applications.html")]
struct ApplicationsPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    applications: Vec<Application>,
    done: bool,
}

struct Application {
    client_id: String,
    name: String,
    scope: Words,
    since: Timestamp,
    /// It belongs to the platform, and asks for nothing.
    own: bool,
}

pub(in crate::endpoints) async fn show(
    service: web::Data<AuthService>,
    Member { page, user, .. }: Member,
    Query(query): Query<DoneQuery>,
) -> Result<HttpResponse, Problem> {
    let applications = applications(&service, user.id).await?;
    let (t, done) = (AuthTexts(page.language), query.done.is_some());
    page.show(&ApplicationsPage { page: &page, t, applications, done })
}

/// Those that the user has consented to, and those that have something in a session that lives.
async fn applications(service: &AuthService, user: UserId) -> Result<Vec<Application>, Problem> {
    let mut found: BTreeMap<String, (Words, Timestamp)> = BTreeMap::new();
    for consent in consents::of_user(&service.database, user).await? {
        found.insert(consent.client_id, (consent.scope, consent.granted_at));
    }
    for grant in stored_grants::open_of_user(&service.database, user).await? {
        let (scope, since) = found.entry(grant.client_id).or_insert_with(|| (Words::default(), grant.created_at));
        (*scope, *since) = (scope.with(&grant.scope), (*since).min(grant.created_at));
    }
    let mut applications = Vec::new();
    for (client_id, (scope, since)) in found {
        let client = clients::find(service, &client_id).await?;
        let name = client.as_ref().and_then(|client| Some(client.metadata.client_name.as_ref()?.as_str().to_owned()));
        let scope = client.as_ref().map_or_else(|| scope.clone(), |client| client.still_has(&scope));
        let own = client.is_some_and(|client| client.first_party);
        applications.push(Application {
            name: name.unwrap_or_else(|| client_id.clone()),
            client_id,
            scope,
            since,
            own,
        });
    }
    Ok(applications)
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct WithdrawForm {
    client: String,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    origin: Origin,
    Member { page, user, .. }: Member,
    HtmlForm(form): HtmlForm<WithdrawForm>,
) -> Result<HttpResponse, Problem> {
    grants::withdraw(&service, user.id, &form.client, &origin.of_user(user.id)).await?;
    Ok(page.see_other("/account/applications?done=withdrawn"))
}
