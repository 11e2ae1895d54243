//! Letting in a device that shows a code (RFC 8628, section 3.3): the person types it, sees who asks for what, and decides.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use shared::pages::{Field, HtmlForm, Page};
use shared::problem::Problem;
use shared::request::Query;
use shared::session::UserId;

use super::consent::Decision;
use super::member::Member;
use super::texts::AuthTexts;
use crate::AuthService;
use crate::browser_session::BrowserSession;
use crate::consent_epoch::ConsentEpoch;
use crate::device_grant::{self, Waiting};
use crate::endpoints::origin::Origin;
use crate::storage::audit::{Act, Entry};
use crate::storage::users::User;

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage<'a> {
    page: &'a Page,
    t: AuthTexts,
    alert: String,
    code: Field,
    /// What the person has decided for a device just now.
    done: Option<bool>,
}

#[derive(Template)]
#[template(path = "device_decision.html")]
struct DeviceDecisionPage<'a> {
    page: &'a Page,
    t: AuthTexts,
    user: &'a User,
    code: &'a str,
    client: &'a str,
    waiting: &'a Waiting,
    /// What comes back with the decision.
    shown: String,
    /// The client has changed, or another person has signed in, since the page was shown first.
    changed: bool,
}

#[derive(Deserialize)]
pub(in crate::endpoints) struct DeviceQuery {
    /// In the address that a device shows as a picture to scan.
    user_code: Option<String>,
    done: Option<Decision>,
}

pub(in crate::endpoints) async fn show(
    Member { page, .. }: Member,
    Query(query): Query<DeviceQuery>,
) -> Result<HttpResponse, Problem> {
    let (t, code) = (AuthTexts(page.language), Field::new(query.user_code.unwrap_or_default()));
    let done = query.done.map(|decision| decision == Decision::Allow);
    page.show(&DevicePage { page: &page, t, alert: String::new(), code, done })
}

/// First the code alone; then, once the person has seen who asks, the decision with it.
#[derive(Deserialize)]
pub(in crate::endpoints) struct DeviceForm {
    user_code: String,
    /// The account that was asked: another person may have signed in since.
    account: Option<UserId>,
    /// What they were shown: the client may have changed since.
    #[serde(default)]
    shown: String,
    decision: Option<Decision>,
}

pub(in crate::endpoints) async fn submit(
    service: web::Data<AuthService>,
    origin: Origin,
    Member { page, user, session }: Member,
    HtmlForm(form): HtmlForm<DeviceForm>,
) -> Result<HttpResponse, Problem> {
    let t = AuthTexts(page.language);
    let again = |alert, code| DevicePage { page: &page, t, alert, code, done: None };
    if let Err(throttled) = service.throttle.user_code(user.id).await? {
        let problem = Problem::from(throttled);
        let alert = t.refusal(&problem).ok_or_else(|| problem.clone())?;
        return page.refuse(&problem, &again(alert, Field::new(form.user_code)));
    }
    let Some(waiting) = device_grant::waiting(&service, &form.user_code).await? else {
        let code = Field::new(form.user_code).error(t.unknown_device_code());
        return page.answer(StatusCode::UNPROCESSABLE_ENTITY, &again(String::new(), code));
    };
    service.throttle.user_code_exists(user.id).await?;
    let is_as_shown = form.account == Some(user.id) && form.shown == waiting.shown_to(&user);
    match form.decision {
        Some(Decision::Allow) if is_as_shown => {
            let by = BrowserSession { session, user };
            let (_, epoch) = ConsentEpoch::now(&service, by.user.id, &waiting.client).await?;
            decide(&service, &origin, &page, waiting, by, Some(epoch)).await
        }
        Some(Decision::Refuse) => {
            decide(&service, &origin, &page, waiting, BrowserSession { session, user }, None).await
        }
        undecided => {
            let (client, shown) = (waiting.client.shown_name(), waiting.shown_to(&user));
            let (user, code, waiting, changed) = (&user, form.user_code.as_str(), &waiting, undecided.is_some());
            let status = if changed { StatusCode::CONFLICT } else { StatusCode::OK };
            page.answer(status, &DeviceDecisionPage { page: &page, t, user, code, client, waiting, shown, changed })
        }
    }
}

async fn decide(
    service: &AuthService,
    origin: &Origin,
    page: &Page,
    waiting: Waiting,
    by: BrowserSession,
    allowed: Option<ConsentEpoch>,
) -> Result<HttpResponse, Problem> {
    service.throttle.own_change(&by.user.id.0.to_string()).await??;
    let (actor, detail) = (origin.of_user(by.user.id), format!("{}: {}", waiting.client.id, waiting.scope));
    let (entry, done) = match allowed {
        Some(_) => (Entry::done(Act::Consent, &actor), "/device?done=allow"),
        None => (Entry::refused(Act::Consent, &actor, "refused"), "/device?done=refuse"),
    };
    service.record(&entry.subject(by.user.id).session(by.session.id).detail(detail)).await?;
    device_grant::answer(service, waiting, &by, allowed).await?;
    Ok(page.see_other(done))
}
