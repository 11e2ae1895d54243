//! A request that waits for a person. It is kept for half an hour under a random id, and bound to the browser that brought
//! it: another browser that learns the id gets nowhere (login CSRF).

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite};
use aws_lc_rs::constant_time;
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::key_value::Key;
use shared::problem::Problem;
use shared::request::cookies_named;
use shared::session::UserId;
use url::Url;

use super::decision::Progress;
use super::request::{AuthorizationRequest, Refusal, covering};
use super::shown::{self, Asked};
use crate::AuthService;
use crate::clients::{self, Client};
use crate::codes::{random_text, sha256};
use crate::consent_epoch::ConsentEpoch;
use crate::grants;
use crate::scopes::Words;
use crate::storage::users::User;

/// How long a person may take.
const TTL: Duration = Duration::from_secs(30 * 60);

/// A request that waits, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiting {
    request: AuthorizationRequest,
    /// SHA-256 of the browser's secret.
    browser_hash: String,
    started_at: Timestamp,
    /// Who wants to go on, and who has consented: it counts for nobody else who signs in in this browser since.
    selected: Option<UserId>,
    allowed: Option<Allowed>,
    refused: bool,
}

/// That a person has allowed what a page showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    pub user: UserId,
    /// See [`shown::digest`].
    pub shown: String,
    pub epoch: ConsentEpoch,
}

/// A request that waits for this browser.
#[derive(Debug, Clone)]
pub struct Flow {
    pub id: String,
    pub client: Client,
    waiting: Waiting,
    /// The client may have nothing any more of what it asked for.
    nothing_is_left: bool,
}

fn key(id: &str) -> Key {
    Key::new("authorization", id.as_bytes())
}

fn cookie_name(service: &AuthService) -> &'static str {
    if service.cookie_secure { "__Host-roam_flow" } else { "roam_flow" }
}

impl Flow {
    /// Keeps a request until the person is done. Answers its id, and the cookie that binds it to the browser.
    ///
    /// # Errors
    /// 503 when the key-value store does not answer.
    pub async fn begin(
        service: &AuthService,
        http: &HttpRequest,
        request: AuthorizationRequest,
        started_at: Timestamp,
    ) -> Result<(String, Cookie<'static>), Problem> {
        // One secret for all tabs of a browser.
        let known =
            cookies_named(http.headers(), cookie_name(service)).find(|secret| secret.len() == 43).map(str::to_owned);
        let secret = known.unwrap_or_else(random_text);
        let browser_hash = sha256(&secret);
        let waiting = Waiting { request, browser_hash, started_at, selected: None, allowed: None, refused: false };
        let id = random_text();
        store(service, &id, &waiting).await?;
        let cookie = Cookie::build(cookie_name(service), secret).path("/").http_only(true).same_site(SameSite::Lax);
        Ok((id, cookie.secure(service.cookie_secure).finish()))
    }

    /// The request that waits under that id for this browser: `None` when there is none, it is over, or it is another
    /// browser's.
    ///
    /// # Errors
    /// 503 when a store does not answer.
    pub async fn find(service: &AuthService, http: &HttpRequest, id: &str) -> Result<Option<Self>, Problem> {
        let Some(value) = service.key_values.get(&key(id)).await? else { return Ok(None) };
        let mut waiting: Waiting = serde_json::from_slice(&value).map_err(Problem::internal)?;
        let ours = |secret: &str| {
            constant_time::verify_slices_are_equal(sha256(secret).as_bytes(), waiting.browser_hash.as_bytes()).is_ok()
        };
        if !cookies_named(http.headers(), cookie_name(service)).any(ours) {
            return Ok(None);
        }
        let Some(client) = clients::find(service, &waiting.request.to.client_id).await? else { return Ok(None) };
        let request = &mut waiting.request;
        if client.redirect_uri(&request.to.redirect_uri).is_none() {
            return Ok(None);
        }
        let left = grants::left(service, &client, &request.scope, &request.audiences);
        let nothing_is_left = left.is_none();
        (request.scope, request.audiences) = left.unwrap_or_default();
        request.claims = std::mem::take(&mut request.claims).within(&covering(&client, &request.scope));
        Ok(Some(Self { id: id.to_owned(), client, waiting, nothing_is_left }))
    }

    pub fn request(&self) -> &AuthorizationRequest {
        &self.waiting.request
    }

    /// What has happened since the request arrived, as far as it concerns this user, in this epoch.
    pub fn progress(&self, now: Option<(&User, &ConsentEpoch)>) -> Progress {
        let Waiting { started_at, selected, allowed, .. } = &self.waiting;
        let has_selected_account = now.is_some_and(|(user, _)| *selected == Some(user.id));
        let is_now = |(user, epoch): (&User, &ConsentEpoch)| Allowed {
            user: user.id,
            shown: self.shown_to(user, &self.client),
            epoch: epoch.clone(),
        };
        let has_consented = allowed.is_some() && *allowed == now.map(is_now);
        Progress { started_at: *started_at, has_selected_account, has_consented }
    }

    /// The digest of what a page shows to the user, of the client as it is registered there.
    pub fn shown_to(&self, user: &User, client: &Client) -> String {
        let AuthorizationRequest { to, audiences, .. } = self.request();
        let asked = Asked { words: &self.asked(), audiences, redirect_uri: Some(&to.redirect_uri) };
        shown::digest(client, asked, user)
    }

    /// The person has refused, or there is nothing to allow: the client is told.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.nothing_is_left {
            return Some(Refusal::new("invalid_scope", "the scope is not this client's any more"));
        }
        self.waiting.refused.then(|| Refusal::new("access_denied", "the user has refused"))
    }

    /// Whether the person has refused; else a refusal is the service's own.
    pub fn is_refused(&self) -> bool {
        self.waiting.refused && !self.nothing_is_left
    }

    /// What the client asks to be allowed, as far as it may have it now.
    pub fn asked(&self) -> Words {
        self.request().asked()
    }

    /// What the client asks to be called: its name, or its id.
    pub fn client_name(&self) -> String {
        self.client.shown_name().to_owned()
    }

    /// Where the browser will be sent back to. A page whose form leads there must allow it in `form-action`, for browsers
    /// hold the redirects after a form to it.
    pub fn returns_to(&self) -> Option<Url> {
        Url::parse(&self.waiting.request.to.redirect_uri).ok()
    }

    /// Notes that the person wants to go on with this account.
    ///
    /// # Errors
    /// 503 when the key-value store does not answer.
    pub async fn select_account(mut self, service: &AuthService, user: UserId) -> Result<(), Problem> {
        self.waiting.selected = Some(user);
        store(service, &self.id, &self.waiting).await
    }

    /// Notes what the person said to what the client asks for: nothing where they refuse. Who allows it, and for how long, is
    /// the caller's to write down.
    ///
    /// # Errors
    /// 503 when the key-value store does not answer.
    pub async fn consent(mut self, service: &AuthService, allowed: Option<Allowed>) -> Result<(), Problem> {
        self.waiting.refused = allowed.is_none();
        self.waiting.allowed = allowed;
        store(service, &self.id, &self.waiting).await
    }

    /// The request is answered: nobody answers it again. Of several at once, one gets `true`.
    ///
    /// # Errors
    /// 503 when the key-value store does not answer.
    pub async fn end(&self, service: &AuthService) -> Result<bool, Problem> {
        Ok(service.key_values.take(&key(&self.id)).await?.is_some())
    }
}

async fn store(service: &AuthService, id: &str, waiting: &Waiting) -> Result<(), Problem> {
    let value = serde_json::to_vec(waiting).map_err(Problem::internal)?;
    Ok(service.key_values.put(&key(id), &value, TTL).await?)
}
