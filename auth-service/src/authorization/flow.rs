//! A request that waits for a person, for half an hour. It is sealed into its id, which the browser carries from page to
//! page, and bound to the browser that brought it: another browser that learns the id gets nowhere (login CSRF). Only
//! what a signed-in person has done to it is kept here, and that it was answered.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite};
use aws_lc_rs::constant_time;
use futures_util::future::try_join;
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::key_value::Key;
use shared::problem::Problem;
use shared::request::cookies_named;
use shared::session::UserId;
use url::Url;

use super::decision::Progress;
use super::request::{AuthorizationRequest, Refusal, ReturnAddress, covering};
use super::shown::{self, Asked};
use crate::AuthService;
use crate::clients::{self, Client};
use crate::codes::{random_text, sha256};
use crate::consent_epoch::ConsentEpoch;
use crate::grants;
use crate::scopes::Words;
use crate::sealed_requests::Kind;
use crate::small_values::Payer;
use crate::storage::users::User;

/// How long a person may take.
pub const TTL: Duration = Duration::from_secs(30 * 60);

/// A request that waits, as it is sealed and kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiting {
    request: AuthorizationRequest,
    /// SHA-256 of the browser's secret.
    browser_hash: String,
    started_at: Timestamp,
    /// Where the client has pushed it (RFC 9126).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// Who wants to go on, and who has consented: it counts for nobody else who signs in in this browser since.
    selected: Option<UserId>,
    allowed: Option<Allowed>,
    refused: bool,
    /// The person stays with another account than the one that the request is about.
    #[serde(default)]
    stays: bool,
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
    ends_at: Timestamp,
    /// The client may have nothing any more of what it asked for.
    nothing_is_left: bool,
}

/// Why a request waits no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// There is none: it was changed on its way, or its client is gone, or does not return there any more.
    Unknown,
    /// It waits for another browser.
    Elsewhere,
    Late,
    Answered,
}

/// A request that waits no more, and who was to be answered, as far as that is known.
#[derive(Debug, Clone)]
pub struct Over {
    pub why: Ended,
    pub client: Option<Client>,
    /// For the browser alone that brought the request: the `state` is its own.
    pub to: Option<ReturnAddress>,
    pub ui_locales: Option<String>,
}

impl Over {
    const UNKNOWN: Self = Self { why: Ended::Unknown, client: None, to: None, ui_locales: None };

    /// The request of this client has been answered.
    pub fn answered(client: Client, request: &AuthorizationRequest) -> Self {
        Self::of(Ended::Answered, client, request)
    }

    /// No request is left under a reference that this client has pushed.
    pub fn of_client(client: Client) -> Self {
        Self { client: Some(client), ..Self::UNKNOWN }
    }

    fn of(why: Ended, client: Client, request: &AuthorizationRequest) -> Self {
        let to = (why != Ended::Elsewhere).then(|| request.to.clone());
        Self { why, client: Some(client), to, ui_locales: request.ui_locales.clone() }
    }
}

/// What a person has done to the request.
fn key(id: &str) -> Key {
    Key::new("authorization", id.as_bytes())
}

/// The request was answered.
fn answered_key(id: &str) -> Key {
    Key::new("answered_authorization", id.as_bytes())
}

fn cookie_name(service: &AuthService) -> &'static str {
    if service.cookie_secure { "__Host-roam_flow" } else { "roam_flow" }
}

impl Waiting {
    fn is_of_browser(&self, service: &AuthService, http: &HttpRequest) -> bool {
        let hash = self.browser_hash.as_bytes();
        let is_its = |secret: &str| constant_time::verify_slices_are_equal(sha256(secret).as_bytes(), hash).is_ok();
        cookies_named(http.headers(), cookie_name(service)).any(is_its)
    }
}

impl Flow {
    /// Seals a request until the person is done. Answers its id, and the cookie that binds it to the browser.
    ///
    /// # Errors
    /// 400 `request_too_large`.
    pub fn begin(
        service: &AuthService,
        http: &HttpRequest,
        request: AuthorizationRequest,
        started_at: Timestamp,
        reference: Option<String>,
    ) -> Result<(String, Cookie<'static>), Problem> {
        // One secret for all tabs of a browser.
        let known =
            cookies_named(http.headers(), cookie_name(service)).find(|secret| secret.len() == 43).map(str::to_owned);
        let secret = known.unwrap_or_else(random_text);
        let browser_hash = sha256(&secret);
        let (selected, allowed, refused, stays) = (None, None, false, false);
        let waiting = Waiting { request, browser_hash, started_at, reference, selected, allowed, refused, stays };
        let id = service.sealed_requests.seal(Kind::Authorization, &waiting, service.clock.now() + TTL)?;
        let cookie = Cookie::build(cookie_name(service), secret).path("/").http_only(true).same_site(SameSite::Lax);
        Ok((id, cookie.secure(service.cookie_secure).finish()))
    }

    /// The request that waits under that id for this browser. The inner error tells why none does.
    ///
    /// # Errors
    /// 503 when a store does not answer.
    pub async fn find(service: &AuthService, http: &HttpRequest, id: &str) -> Result<Result<Self, Box<Over>>, Problem> {
        let unknown = || Ok(Err(Box::new(Over::UNKNOWN)));
        let Some((ends_at, sealed)) = service.sealed_requests.read::<Waiting>(Kind::Authorization, id) else {
            return unknown();
        };
        let Some(client) = clients::find(service, &sealed.request.to.client_id).await? else { return unknown() };
        if client.redirect_uri(&sealed.request.to.redirect_uri).is_none() {
            return unknown();
        }
        let over = |why, client| Ok(Err(Box::new(Over::of(why, client, &sealed.request))));
        if !sealed.is_of_browser(service, http) {
            return over(Ended::Elsewhere, client);
        }
        if ends_at <= service.clock.now() {
            return over(Ended::Late, client);
        }
        let (key, answered_key) = (key(id), answered_key(id));
        let (kept, answered) = try_join(service.key_values.get(&key), service.key_values.get(&answered_key)).await?;
        if answered.is_some() {
            return over(Ended::Answered, client);
        }
        let mut waiting = match kept {
            Some(value) => serde_json::from_slice(&value).map_err(Problem::internal)?,
            None => sealed,
        };
        let request = &mut waiting.request;
        let left = grants::left(service, &client, &request.scope, &request.audiences);
        let nothing_is_left = left.is_none();
        (request.scope, request.audiences) = left.unwrap_or_default();
        request.claims = std::mem::take(&mut request.claims).within(&covering(&client, &request.scope));
        Ok(Ok(Self { id: id.to_owned(), client, waiting, ends_at, nothing_is_left }))
    }

    pub fn request(&self) -> &AuthorizationRequest {
        &self.waiting.request
    }

    /// Where the client has pushed the request.
    pub fn reference(&self) -> Option<&str> {
        self.waiting.reference.as_deref()
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
        if self.waiting.stays {
            let description = "the user is signed in with another account, and stays with it";
            return Some(Refusal::new("login_required", description));
        }
        self.waiting.refused.then(|| Refusal::new("access_denied", "the user has refused"))
    }

    /// Whether the person has refused; else a refusal is the service's own.
    pub fn is_refused(&self) -> bool {
        (self.waiting.refused || self.waiting.stays) && !self.nothing_is_left
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
    /// 429 when the user has left too much behind; 503 when the key-value store does not answer.
    pub async fn select_account(mut self, service: &AuthService, user: UserId) -> Result<(), Problem> {
        self.waiting.selected = Some(user);
        self.keep(service, user).await
    }

    /// Notes that the person stays with this account, and does not sign in with the one that the request is about.
    ///
    /// # Errors
    /// 429 when the user has left too much behind; 503 when the key-value store does not answer.
    pub async fn stay(mut self, service: &AuthService, user: UserId) -> Result<(), Problem> {
        self.waiting.stays = true;
        self.keep(service, user).await
    }

    /// Notes what the person said to what the client asks for: nothing where they refuse. Who allows it, and for how long, is
    /// the caller's to write down.
    ///
    /// # Errors
    /// 429 when the user has left too much behind; 503 when the key-value store does not answer.
    pub async fn consent(
        mut self,
        service: &AuthService,
        user: UserId,
        allowed: Option<Allowed>,
    ) -> Result<(), Problem> {
        self.waiting.refused = allowed.is_none();
        self.waiting.allowed = allowed;
        self.keep(service, user).await
    }

    /// The request of this user is answered, once. Of several answers at once, one gets `true`.
    ///
    /// # Errors
    /// 429 when the user has left too much behind; 503 when the key-value store does not answer.
    pub async fn end(&self, service: &AuthService, user: UserId) -> Result<bool, Problem> {
        let rest = self.ends_at.since(service.clock.now());
        let first = service.key_values.claim(&answered_key(&self.id), b"", rest, &Payer::User(user)).await?;
        // What was done to an answered request counts no more, and expires with it.
        if let Err(error) = service.key_values.remove(&key(&self.id)).await {
            tracing::debug!(%error, "a request that was answered is forgotten when it expires");
        }
        Ok(first)
    }

    async fn keep(&self, service: &AuthService, user: UserId) -> Result<(), Problem> {
        let value = serde_json::to_vec(&self.waiting).map_err(Problem::internal)?;
        let rest = self.ends_at.since(service.clock.now());
        service.key_values.put(&key(&self.id), &value, rest, &Payer::User(user)).await
    }
}
