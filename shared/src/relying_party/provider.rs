//! The provider, as this service calls it: metadata, code exchange, refresh, token exchange, revocation, userinfo. Owns the calls and their
//! time limits; never follows a redirect, and never decides whether a token is good.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use super::RelyingPartyConfig;
use super::id_token::CLOCK_SKEW;
use super::mistake::Mistake;
use crate::calls;
use crate::clock::Clock;
use crate::clock_skew::Reading;
use crate::problem::Problem;
use crate::token::{UNIT_OF_DATE, date};

const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// For a whole call, answer included. A sign-in may wait for the provider's database.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a sign-in waits to hear whether its client is registered.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);
const MAX_ANSWER: usize = 64 * 1024;
/// How long metadata is taken for fresh; where it cannot be read again, the last one stays.
const FRESH: Duration = Duration::from_secs(600);
/// (RFC 8693, section 3.)
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The provider's endpoints, as its metadata names them (OpenID Connect Discovery, section 3).
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    token_endpoint: Url,
    pub(super) end_session_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    userinfo_endpoint: Option<Url>,
    pushed_authorization_request_endpoint: Option<Url>,
    /// Whether `iss` is in every answer (RFC 9207): then one without is refused.
    pub(super) tells_issuer: bool,
}

/// Its document, as far as it matters here.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    end_session_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    pushed_authorization_request_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Document {
    fn read(self, issuer: &str) -> Result<Metadata, ProviderError> {
        if self.issuer != issuer {
            return Err(Mistake::Issuer { here: issuer.to_owned(), told: self.issuer }.into());
        }
        let secure = issuer.starts_with("https:");
        let endpoint = |text: String| {
            let url = Url::parse(&text).ok();
            let url = url.filter(|url| url.scheme() == "https" || (url.scheme() == "http" && !secure));
            url.ok_or_else(|| ProviderError::Away("its metadata names an endpoint that is no address".to_owned()))
        };
        Ok(Metadata {
            authorization_endpoint: endpoint(self.authorization_endpoint)?,
            token_endpoint: endpoint(self.token_endpoint)?,
            end_session_endpoint: self.end_session_endpoint.map(endpoint).transpose()?,
            revocation_endpoint: self.revocation_endpoint.map(endpoint).transpose()?,
            userinfo_endpoint: self.userinfo_endpoint.map(endpoint).transpose()?,
            pushed_authorization_request_endpoint: self
                .pushed_authorization_request_endpoint
                .map(endpoint)
                .transpose()?,
            tells_issuer: self.authorization_response_iss_parameter_supported,
        })
    }
}

/// The answer of the token endpoint (RFC 6749, section 5.1).
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    pub(super) access_token: String,
    pub(super) token_type: String,
    pub(super) refresh_token: Option<String>,
    pub(super) id_token: Option<String>,
}

/// What the userinfo endpoint says of the user.
#[derive(Deserialize)]
pub(super) struct UserInfo {
    pub(super) sub: String,
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
}

#[derive(Deserialize)]
struct ErrorResponse {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProviderError {
    /// No answer, or none that makes sense: what was done is not known.
    #[error("the provider does not answer: {0}")]
    Away(String),
    /// By an error of RFC 6749, section 5.2.
    #[error("the provider refuses: {0}")]
    Refused(String),
    /// It refuses what no repetition mends.
    #[error(transparent)]
    SetUpWrongly(#[from] Mistake),
}

impl From<ProviderError> for Problem {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::SetUpWrongly(mistake) => mistake.into(),
            error => Self::unavailable("the sign-in service", error),
        }
    }
}

pub(super) struct Provider {
    client: Client,
    issuer: String,
    internal: Option<Url>,
    /// `Basic …` (RFC 6749, section 2.3.1).
    credential: HeaderValue,
    client_id: String,
    scope: String,
    metadata: Mutex<Option<(Metadata, Instant)>>,
    reading: tokio::sync::Mutex<()>,
    /// Until when the client is known to be registered as it asks.
    registered_until: Mutex<Option<Instant>>,
    clock: Clock,
    /// How far this machine's clock was ahead of the provider's at its last answer, in microseconds.
    ahead: AtomicI64,
}

impl Provider {
    pub(super) fn new(config: &RelyingPartyConfig, clock: Clock) -> anyhow::Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .timeout(PATIENCE)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .context("no client for the calls to the provider")?;
        Ok(Self {
            client,
            issuer: config.issuer.clone(),
            internal: config.issuer_internal_url.clone(),
            credential: credential(&config.client_id, &config.client_secret)?,
            client_id: config.client_id.clone(),
            scope: config.scope.clone(),
            metadata: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            registered_until: Mutex::default(),
            clock,
            ahead: AtomicI64::new(0),
        })
    }

    /// The metadata, read when it is first needed and every ten minutes: once for all who wait.
    pub(super) async fn metadata(&self) -> Result<Metadata, ProviderError> {
        let known = || self.metadata.lock().clone();
        if let Some((metadata, read_at)) = known()
            && read_at.elapsed() < FRESH
        {
            return Ok(metadata);
        }
        let _one_at_a_time = self.reading.lock().await;
        match known() {
            Some((metadata, read_at)) if read_at.elapsed() < FRESH => Ok(metadata),
            stale => match self.read_metadata().await {
                Ok(metadata) => {
                    *self.metadata.lock() = Some((metadata.clone(), Instant::now()));
                    Ok(metadata)
                }
                Err(error) => stale.map(|(metadata, _)| metadata).ok_or(error),
            },
        }
    }

    async fn read_metadata(&self) -> Result<Metadata, ProviderError> {
        const PATH: &str = "/.well-known/openid-configuration";
        let base = self.internal.as_ref().map_or(self.issuer.as_str(), Url::as_str);
        let url = format!("{}{PATH}", base.trim_end_matches('/'));
        let document: Document = self.answer(self.client.get(url), PATH).await?;
        document.read(&self.issuer)
    }

    /// Whether the provider takes this client with what a sign-in asks for. A refusal of the sign-in itself would be shown by the
    /// provider, to the person, and never come back here; so the same request is left there once (RFC 9126) and not used. A
    /// provider that cannot be asked so, or does not answer, is no mistake.
    ///
    /// # Errors
    /// What is set up wrongly.
    pub(super) async fn check_registration(&self, redirect_uri: &str) -> Result<(), Mistake> {
        let is_known = || self.registered_until.lock().is_some_and(|until| Instant::now() < until);
        if is_known() {
            return Ok(());
        }
        let asked = tokio::time::timeout(CHECK_PATIENCE, self.leave_request(redirect_uri)).await;
        if let Ok(Err(ProviderError::SetUpWrongly(mistake))) = asked {
            return Err(mistake);
        }
        *self.registered_until.lock() = Some(Instant::now() + FRESH);
        Ok(())
    }

    async fn leave_request(&self, redirect_uri: &str) -> Result<(), ProviderError> {
        let Some(endpoint) = self.metadata().await?.pushed_authorization_request_endpoint else { return Ok(()) };
        let form = [
            ("response_type", "code"),
            ("client_id", &*self.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &*self.scope),
            ("state", "whether this client is registered"),
            // The example of RFC 7636, appendix B: nothing is ever given for it.
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ];
        let request = self.client.post(self.inside(&endpoint)).form(&form);
        let request = request.header(AUTHORIZATION, self.credential.clone()).build().map_err(away)?;
        let response = calls::send(&self.client, request, "pushed request endpoint").await.map_err(away)?;
        let status = response.status();
        let (status, body) = (status, read(response).await?);
        let refusal = match serde_json::from_slice::<ErrorResponse>(&body) {
            Ok(refusal) if status.is_client_error() && !is_of_the_moment(status) => refusal,
            _ => return Ok(()),
        };
        if refusal.error == "invalid_request" && refusal.error_description.contains("redirect_uri") {
            let (id, uri) = (self.client_id.clone(), redirect_uri.to_owned());
            return Err(Mistake::RedirectUri { id, uri }.into());
        }
        let of_client = Mistake::of_answer(&self.client_id, &refusal.error, ("authorization_code", &self.scope));
        of_client.map_or(Ok(()), |mistake| Err(mistake.into()))
    }

    /// What is wrong with the clocks, where a time in the provider's last answer is refused.
    pub(super) fn mistake_in_clock(&self) -> Option<Mistake> {
        let ahead = self.ahead.load(Ordering::Acquire);
        (Duration::from_micros(ahead.unsigned_abs()) >= CLOCK_SKEW).then(|| Mistake::of_clock(ahead))
    }

    /// Exchanges a code for tokens (RFC 6749, section 4.1.3; RFC 7636, section 4.5).
    pub(super) async fn exchange(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> Result<TokenResponse, ProviderError> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        self.tokens(&form).await
    }

    /// (RFC 6749, section 6.)
    pub(super) async fn refresh(&self, refresh_token: &str) -> Result<TokenResponse, ProviderError> {
        self.tokens(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// A token that says that this client acts for whom `token` speaks, for the service that `scope` opens (RFC 8693,
    /// section 2.1).
    pub(super) async fn exchange_token(&self, token: &SecretString, scope: &str) -> Result<String, ProviderError> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token.expose_secret()),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
            ("scope", scope),
        ];
        Ok(self.tokens(&form).await?.access_token)
    }

    async fn tokens(&self, form: &[(&str, &str)]) -> Result<TokenResponse, ProviderError> {
        let endpoint = self.inside(&self.metadata().await?.token_endpoint);
        let request = self.client.post(endpoint).form(form).header(AUTHORIZATION, self.credential.clone());
        let asked = |name: &str| form.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| *value);
        let response: TokenResponse = match self.answer(request, "token endpoint").await {
            Err(ProviderError::Refused(error)) => {
                let of = (asked("grant_type"), if asked("scope").is_empty() { &*self.scope } else { asked("scope") });
                let mistake = Mistake::of_answer(&self.client_id, &error, of);
                return Err(mistake.map_or(ProviderError::Refused(error), ProviderError::from));
            }
            answered => answered?,
        };
        if response.token_type.eq_ignore_ascii_case("bearer") {
            Ok(response)
        } else {
            Err(ProviderError::Away("its token is of another type than Bearer".to_owned()))
        }
    }

    /// Takes a refresh token back (RFC 7009). A provider that cannot is no error.
    pub(super) async fn revoke(&self, refresh_token: &str) -> Result<(), ProviderError> {
        let Some(endpoint) = self.metadata().await?.revocation_endpoint else { return Ok(()) };
        let form = [("token", refresh_token), ("token_type_hint", "refresh_token")];
        let request = self.client.post(self.inside(&endpoint)).form(&form);
        let request = request.header(AUTHORIZATION, self.credential.clone()).build().map_err(away)?;
        let response = calls::send(&self.client, request, "revocation endpoint").await.map_err(away)?;
        let status = response.status();
        if status.is_server_error() { Err(ProviderError::Away(format!("it answers {status}"))) } else { Ok(()) }
    }

    /// What the provider says of the user, where it has such an endpoint.
    pub(super) async fn user_info(&self, access_token: &str) -> Result<Option<UserInfo>, ProviderError> {
        let Some(endpoint) = self.metadata().await?.userinfo_endpoint else { return Ok(None) };
        let request = self.client.get(self.inside(&endpoint)).bearer_auth(access_token);
        self.answer(request, "userinfo endpoint").await.map(Some)
    }

    /// An endpoint under the issuer's address, as this process reaches it.
    fn inside(&self, endpoint: &Url) -> Url {
        let Some(internal) = &self.internal else { return endpoint.clone() };
        let path = endpoint.as_str().strip_prefix(self.issuer.trim_end_matches('/')).filter(|it| it.starts_with('/'));
        let reached = path.and_then(|path| format!("{}{path}", internal.as_str().trim_end_matches('/')).parse().ok());
        reached.unwrap_or_else(|| endpoint.clone())
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder, call: &str) -> Result<T, ProviderError> {
        let request = request.header(ACCEPT, "application/json").build().map_err(away)?;
        let before = self.clock.now();
        let response = calls::send(&self.client, request, call).await.map_err(away)?;
        if let Some(other) = date(response.headers()) {
            let reading = Reading { before, after: self.clock.now(), other, unit: UNIT_OF_DATE };
            self.ahead.store(reading.ahead(), Ordering::Release);
        }
        let status = response.status();
        let body = read(response).await?;
        if status == StatusCode::OK {
            let unreadable = |error| ProviderError::Away(format!("its answer cannot be read: {error}"));
            return serde_json::from_slice(&body).map_err(unreadable);
        }
        match serde_json::from_slice::<ErrorResponse>(&body) {
            Ok(ErrorResponse { error, .. }) if status.is_client_error() && !is_of_the_moment(status) => {
                Err(ProviderError::Refused(plain(&error)))
            }
            _ => Err(ProviderError::Away(format!("it answers {status}"))),
        }
    }
}

/// The body, within bounds.
async fn read(mut response: Response) -> Result<Vec<u8>, ProviderError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(ProviderError::Away("its answer is too large".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether the same request may be answered otherwise the next time.
fn is_of_the_moment(status: StatusCode) -> bool {
    [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
}

fn credential(client_id: &str, secret: &SecretString) -> anyhow::Result<HeaderValue> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(client_id), encode(secret.expose_secret()));
    let mut credential = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))?;
    credential.set_sensitive(true);
    Ok(credential)
}

fn away(error: reqwest::Error) -> ProviderError {
    let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
    ProviderError::Away(format!("{}{cause}", error.without_url()))
}

/// An error's name, fit for a log line.
pub(super) fn plain(error: &str) -> String {
    error.chars().filter(|letter| letter.is_ascii_graphic()).take(64).collect()
}
