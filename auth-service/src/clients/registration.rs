//! Clients that register themselves (RFC 7591) and manage that (RFC 7592). Off unless it is switched on, and then only
//! with a token that an administrator made; what comes this way is bounded in number and in what it may have.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use shared::clock::Timestamp;
use shared::config::Setting;
use shared::problem::Problem;
use utoipa::ToSchema;

use super::fetch::Reach;
use super::registry::secret_for;
use super::secret::make_up;
use super::{Client, FormerSecret, InvalidMetadata, Metadata, Registrar, Scope, SecretHash, sector};
use crate::AuthService;
use crate::oauth_error::OAuthError;
use crate::storage::audit::{self, Act, Actor, By, Entry};
use crate::storage::{clients as storage, consents};

/// `CLIENT_REGISTRATION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationMode {
    Off,
    /// With an initial access token.
    Token,
}

impl Setting for RegistrationMode {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "token" => Ok(Self::Token),
            _ => Err(format!("expected off or token, found {text:?}")),
        }
    }
}

/// Whether and how clients may register themselves.
#[derive(Debug, Clone)]
pub struct RegistrationRules {
    pub mode: RegistrationMode,
    /// All that such a client may ask for.
    pub scope: Scope,
    /// How many of them there may be.
    pub max_clients: u32,
}

/// A token that is to let clients register themselves.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InitialTokenPlan {
    /// How many clients may register with it.
    #[serde(default = "one", deserialize_with = "within::<_, 1, 1000>")]
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    uses: u32,
    /// Seconds.
    #[serde(default = "a_day", deserialize_with = "within::<_, 60, 2_592_000>")]
    #[schema(minimum = 60, maximum = 2_592_000, default = 86_400)]
    expires_in: u32,
}

fn one() -> u32 {
    1
}

fn a_day() -> u32 {
    86_400
}

fn within<'de, D: Deserializer<'de>, const MIN: u32, const MAX: u32>(deserializer: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    let good = (MIN..=MAX).contains(&number);
    good.then_some(number).ok_or_else(|| de::Error::custom(format!("expected {MIN} to {MAX}")))
}

impl InitialTokenPlan {
    /// # Errors
    /// A number is out of its range.
    pub fn new(uses: u32, expires_in: Duration) -> Result<Self, String> {
        let members = serde_json::json!({"uses": uses, "expires_in": expires_in.as_secs()});
        serde_json::from_value(members).map_err(|error| error.to_string())
    }

    pub fn uses(&self) -> u32 {
        self.uses
    }
}

/// Makes a token with which clients may register themselves, and answers when it expires.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn make_initial_token(
    service: &AuthService,
    plan: &InitialTokenPlan,
    by: &By,
) -> Result<(String, Timestamp), Problem> {
    let now = service.clock.now();
    let expires_at = now + Duration::from_secs(plan.expires_in.into());
    let (token, hash) = make_up();
    let mut transaction = service.database.begin().await?;
    storage::insert_initial_token(&mut transaction, &hash, plan.uses.into(), now, expires_at).await?;
    let entry = Entry::done(Act::MakeInitialToken, by).detail(format!("{} uses until {expires_at}", plan.uses));
    audit::write_in(&mut transaction, now, &entry).await?;
    transaction.commit().await?;
    Ok((token.expose_secret().to_owned(), expires_at))
}

/// A client that registered itself, with what is shown once.
#[derive(Debug)]
pub struct Registered {
    pub client: Client,
    pub secret: Option<SecretString>,
    /// With it, the client reads, changes and removes its registration.
    pub registration_token: SecretString,
}

impl From<InvalidMetadata> for OAuthError {
    fn from(error: InvalidMetadata) -> Self {
        let code = if error.is_of_redirect_uris() { "invalid_redirect_uri" } else { "invalid_client_metadata" };
        Self::new(code, error.to_string())
    }
}

/// Registers a client with an initial access token.
///
/// # Errors
/// 400 `invalid_redirect_uri`, `invalid_client_metadata`; 401 `invalid_token`; 403 `access_denied` when it is off or there
/// are too many clients; 429; 503.
pub async fn register(
    service: &AuthService,
    initial_token: Option<&SecretString>,
    members: Map<String, Value>,
    address: Option<IpAddr>,
) -> Result<Registered, OAuthError> {
    refuse_when_off(service)?;
    let initial_hash = initial_token.map(|token| SecretHash::of(token.expose_secret()));
    let is_good = match &initial_hash {
        Some(hash) => storage::is_initial_token(&service.database, hash, service.clock.now()).await?,
        None => false,
    };
    // A good token has uses of its own. Without one, this service neither reads on nor calls.
    let Some(initial_hash) = initial_hash.filter(|_| is_good) else {
        service.throttle.client_registration(address).await?.map_err(Problem::from)?;
        return Err(invalid_token());
    };
    let metadata = read(service, members).await?;
    let now = service.clock.now();
    let ((secret, secret_hash), (registration_token, registration_hash)) = (secret_for(&metadata), make_up());
    let client = Client {
        id: super::made_up_id(),
        metadata,
        secret_hash,
        former_secret: FormerSecret::default(),
        registration_token_hash: Some(registration_hash),
        first_party: false,
        approved: false,
        epoch: 0,
        created_at: now,
        disabled_at: None,
    };
    let by = By { actor: Actor::Anonymous, address: address.map(|address| address.to_string()) };
    let mut transaction = service.database.begin().await?;
    if !storage::use_initial_token(&mut transaction, &initial_hash, now).await? {
        return Err(invalid_token());
    }
    if storage::count_registered_by_themselves(&mut transaction).await? >= service.registration.max_clients.into() {
        return Err(denied("there are as many registered clients as may be"));
    }
    storage::insert(&mut transaction, &client).await?;
    audit::write_in(&mut transaction, now, &Entry::done(Act::RegisterClient, &by).detail(&client.id)).await?;
    transaction.commit().await?;
    Ok(Registered { client, secret, registration_token })
}

async fn read(service: &AuthService, members: Map<String, Value>) -> Result<Metadata, OAuthError> {
    let may_name_this_machine = service.fetch.public_is_this_machine_too();
    let by = Registrar::Itself { scope: &service.registration.scope, may_name_this_machine };
    let metadata = Metadata::read(members, by)?;
    sector::check(&service.fetch, &metadata, Reach::Public).await?;
    Ok(metadata)
}

/// The client of that id, if this is its registration access token.
///
/// # Errors
/// 401 `invalid_token`, whatever is wrong; 403; 429 after too many failures; 503.
pub async fn managed(
    service: &AuthService,
    client_id: &str,
    token: Option<&SecretString>,
    address: Option<IpAddr>,
) -> Result<Client, OAuthError> {
    refuse_when_off(service)?;
    let client = super::find(service, client_id).await?;
    let exists = client.is_some();
    let is_its_token = |client: &Client| {
        let hash = client.registration_token_hash.as_ref();
        hash.zip(token).is_some_and(|(hash, token)| hash.is_of(token.expose_secret()))
    };
    match client.filter(is_its_token) {
        Some(client) => Ok(client),
        None => {
            let named = if exists { client_id } else { "" };
            service.throttle.client_failure(named, address).await?.map_err(Problem::from)?;
            Err(invalid_token())
        }
    }
}

/// Replaces what a client says of itself. Its registration access token is replaced too: the one that was used is worth
/// nothing from then on.
///
/// # Errors
/// As [`register`]; `invalid_client_metadata` too when another id or secret than the client's own is in it.
pub async fn replace(
    service: &AuthService,
    client_id: &str,
    token: Option<&SecretString>,
    mut members: Map<String, Value>,
    address: Option<IpAddr>,
) -> Result<Registered, OAuthError> {
    let client = managed(service, client_id, token, address).await?;
    if members.remove("client_id") != Some(Value::String(client.id.clone())) {
        return Err(InvalidMetadata::at("client_id", "expected the client's own id").into());
    }
    if let Some(named) = members.remove("client_secret") {
        let own = client.secret_hash.as_ref();
        if !own.zip(named.as_str()).is_some_and(|(hash, secret)| hash.is_of(secret)) {
            return Err(InvalidMetadata::at("client_secret", "a client does not choose its secret").into());
        }
    }
    service.throttle.own_change(client_id).await?.map_err(Problem::from)?;
    let metadata = read(service, members).await?;
    let now = service.clock.now();
    let mut transaction = service.database.begin().await?;
    // Of two changes at once with one token, the second comes too late.
    let held = storage::hold(&mut transaction, client_id).await?;
    let held = held.filter(|held| held.registration_token_hash == client.registration_token_hash);
    let held = held.filter(|held| held.disabled_at.is_none()).ok_or_else(invalid_token)?;
    let keeps_secret = held.secret_hash.is_some() && metadata.token_endpoint_auth_method.has_secret();
    let (secret, secret_hash) = if keeps_secret { (None, held.secret_hash) } else { secret_for(&metadata) };
    let (registration_token, registration_hash) = make_up();
    if metadata.leads_elsewhere(&held.metadata) || metadata.presents_itself() != held.metadata.presents_itself() {
        consents::forget(&mut transaction, client_id).await?;
    }
    // An administrator's word is for what was looked at.
    let is_as_looked_at = metadata.looks() == held.metadata.looks();
    let (approved, first_party) = (held.approved && is_as_looked_at, held.first_party && is_as_looked_at);
    let registration_token_hash = Some(registration_hash);
    let client = Client { metadata, secret_hash, registration_token_hash, first_party, approved, ..held };
    storage::update(&mut transaction, &client).await?;
    audit::write_in(&mut transaction, now, &Entry::done(Act::ChangeClient, &by_itself(address)).detail(client_id))
        .await?;
    transaction.commit().await?;
    Ok(Registered { client, secret, registration_token })
}

/// Removes a client that does not want to be one any more.
///
/// # Errors
/// As [`managed`].
pub async fn remove(
    service: &AuthService,
    client_id: &str,
    token: Option<&SecretString>,
    address: Option<IpAddr>,
) -> Result<(), OAuthError> {
    let client = managed(service, client_id, token, address).await?;
    Ok(super::registry::delete(service, &client.id, &by_itself(address)).await?)
}

fn by_itself(address: Option<IpAddr>) -> By {
    By { actor: Actor::Anonymous, address: address.map(|address| address.to_string()) }
}

fn refuse_when_off(service: &AuthService) -> Result<(), OAuthError> {
    match service.registration.mode {
        RegistrationMode::Token => Ok(()),
        RegistrationMode::Off => Err(denied("clients do not register themselves here; an administrator makes them")),
    }
}

fn denied(description: &str) -> OAuthError {
    OAuthError::with_status(StatusCode::FORBIDDEN, "access_denied", description)
}

/// RFC 6750, section 3.1.
fn invalid_token() -> OAuthError {
    OAuthError::with_status(
        StatusCode::UNAUTHORIZED,
        "invalid_token",
        "the token is missing, unknown, expired or used up",
    )
    .header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
}
