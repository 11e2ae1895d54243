//! Clients are made, changed and removed. Every change is written together with its entry in the audit, and what a client
//! was given ends when it is disabled or removed.

use std::time::Duration;

use secrecy::SecretString;
use shared::problem::Problem;

use super::fetch::Reach;
use super::secret::make_up;
use super::{Client, FormerSecret, InvalidMetadata, Metadata, Scope, SecretHash, is_client_id, sector};
use crate::AuthService;
use crate::grants;
use crate::storage::audit::{self, Act, By, Entry};
use crate::storage::clients as storage;
use crate::storage::consents;

/// What an administrator decides about a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub metadata: Metadata,
    pub first_party: bool,
    /// Whether a browser may be sent to it without a person's act. Where nothing is said, it stays as it is; a new client of
    /// an administrator's is approved.
    pub approved: Option<bool>,
    pub disabled: bool,
}

/// A client, and a secret that was made up for it just now: shown once, for only its hash is kept.
#[derive(Debug)]
pub struct WithSecret {
    pub client: Client,
    pub secret: Option<SecretString>,
}

impl From<InvalidMetadata> for Problem {
    fn from(error: InvalidMetadata) -> Self {
        Self::invalid_field(error.pointer, error.detail)
    }
}

/// A client, enabled or not.
///
/// # Errors
/// 404; 503 when the database does not answer.
pub async fn by_id(service: &AuthService, id: &str) -> Result<Client, Problem> {
    let client = if is_client_id(id) { storage::by_id(&service.database, id).await? } else { None };
    client.ok_or_else(|| Problem::not_found("client"))
}

/// Adds a client, under that id or a random one.
///
/// # Errors
/// 409 `client_exists`; 422 for a word of scope that is unknown, or when its `sector_identifier_uri` does not hold; 503 when the database does not answer.
pub async fn create(
    service: &AuthService,
    id: Option<String>,
    decided: Decided,
    by: &By,
) -> Result<WithSecret, Problem> {
    decided.metadata.scope.check_words(&service.api_scopes, &Scope::default())?;
    sector::check(&service.fetch, &decided.metadata, Reach::Anywhere).await?;
    let now = service.clock.now();
    let (secret, secret_hash) = secret_for(&decided.metadata);
    let client = Client {
        id: id.unwrap_or_else(super::made_up_id),
        metadata: decided.metadata,
        secret_hash,
        former_secret: FormerSecret::default(),
        registration_token_hash: None,
        first_party: decided.first_party,
        approved: decided.first_party || decided.approved.unwrap_or(true),
        epoch: 0,
        created_at: now,
        disabled_at: decided.disabled.then_some(now),
    };
    let mut transaction = service.database.begin().await?;
    if !storage::insert(&mut transaction, &client).await? {
        let detail = "there is a client of this id";
        return Err(Problem::conflict("client_exists", detail).at("/client_id", detail));
    }
    audit::write_in(&mut transaction, now, &Entry::done(Act::CreateClient, by).detail(&client.id)).await?;
    transaction.commit().await?;
    Ok(WithSecret { client, secret })
}

/// A secret for a client that needs one, and its hash.
pub(super) fn secret_for(metadata: &Metadata) -> (Option<SecretString>, Option<SecretHash>) {
    let made = metadata.token_endpoint_auth_method.has_secret().then(make_up);
    made.map_or((None, None), |(secret, hash)| (Some(secret), Some(hash)))
}

/// Replaces what is decided about a client. A secret is made up where the client needs one and has none, or where a new
/// one is asked for, and the old one is good for so long beside it. What a client was given ends when it is disabled.
///
/// # Errors
/// 404; 422 for a word of scope that is unknown, or when its `sector_identifier_uri` does not hold; 503 when something needed does not answer: to try again goes
/// on.
pub async fn replace(
    service: &AuthService,
    id: &str,
    decided: Decided,
    new_secret: Option<Duration>,
    by: &By,
) -> Result<WithSecret, Problem> {
    let before = by_id(service, id).await?;
    // A word that the platform knows no more stays with those that have it.
    decided.metadata.scope.check_words(&service.api_scopes, &before.metadata.scope)?;
    sector::check(&service.fetch, &decided.metadata, Reach::Anywhere).await?;
    let now = service.clock.now();
    let mut transaction = service.database.begin().await?;
    let held = storage::hold(&mut transaction, id).await?.ok_or_else(|| Problem::not_found("client"))?;
    let keeps_secret = held.secret_hash.is_some() && decided.metadata.token_endpoint_auth_method.has_secret();
    let (secret, secret_hash, former_secret) = match new_secret {
        None if keeps_secret => (None, held.secret_hash, held.former_secret),
        keep => {
            let (secret, hash) = secret_for(&decided.metadata);
            let former = held.secret_hash.filter(|_| hash.is_some());
            (secret, hash, FormerSecret::kept(former, keep.unwrap_or_default(), now))
        }
    };
    if decided.metadata.leads_elsewhere(&held.metadata) {
        // People have allowed the hosts that they were shown.
        consents::forget(&mut transaction, id).await?;
    }
    let client = Client {
        metadata: decided.metadata,
        secret_hash,
        former_secret,
        first_party: decided.first_party,
        approved: decided.first_party || decided.approved.unwrap_or(held.approved),
        epoch: held.epoch + i64::from(decided.disabled && held.disabled_at.is_none()),
        disabled_at: if decided.disabled { held.disabled_at.or(Some(now)) } else { None },
        ..held
    };
    storage::update(&mut transaction, &client).await?;
    audit::write_in(&mut transaction, now, &Entry::done(Act::ChangeClient, by).detail(id)).await?;
    if secret.is_some() {
        audit::write_in(&mut transaction, now, &Entry::done(Act::RotateClientSecret, by).detail(id)).await?;
    }
    transaction.commit().await?;
    if client.disabled_at.is_some() {
        grants::end_of_client(service, id, by).await?;
    }
    Ok(WithSecret { client, secret })
}

/// Makes a new secret up; the old one is good for another `keep` beside it, and one from before that no more.
///
/// # Errors
/// 404; 409 `client_without_secret`; 503 when the database does not answer.
pub async fn rotate_secret(service: &AuthService, id: &str, keep: Duration, by: &By) -> Result<WithSecret, Problem> {
    by_id(service, id).await?;
    let now = service.clock.now();
    let mut transaction = service.database.begin().await?;
    let held = storage::hold(&mut transaction, id).await?.ok_or_else(|| Problem::not_found("client"))?;
    let (secret, secret_hash) = secret_for(&held.metadata);
    if secret.is_none() {
        return Err(Problem::conflict("client_without_secret", "the client proves who it is in another way"));
    }
    let former_secret = FormerSecret::kept(held.secret_hash, keep, now);
    let client = Client { secret_hash, former_secret, ..held };
    storage::update(&mut transaction, &client).await?;
    audit::write_in(&mut transaction, now, &Entry::done(Act::RotateClientSecret, by).detail(id)).await?;
    transaction.commit().await?;
    Ok(WithSecret { client, secret })
}

/// Notes that an administrator vouches for a client that has these [`Metadata::looks`].
///
/// # Errors
/// 404; 409 `client_changed` when it has others by now; 503 when the database does not answer.
pub async fn approve(service: &AuthService, id: &str, looks: &str, by: &By) -> Result<Client, Problem> {
    by_id(service, id).await?;
    let mut transaction = service.database.begin().await?;
    let held = storage::hold(&mut transaction, id).await?.ok_or_else(|| Problem::not_found("client"))?;
    if held.metadata.looks() != looks {
        let detail = "the client is not what was looked at: show it again, and approve it with the `looks` of that";
        return Err(Problem::conflict("client_changed", detail));
    }
    let client = Client { approved: true, ..held };
    storage::update(&mut transaction, &client).await?;
    let entry = Entry::done(Act::ChangeClient, by).detail(format!("{id}: approved"));
    audit::write_in(&mut transaction, service.clock.now(), &entry).await?;
    transaction.commit().await?;
    Ok(client)
}

/// Removes a client, and ends what it was given. It is disabled first: what is ended does not begin anew, and a failure in
/// between leaves a client that gets nothing and can be removed again.
///
/// # Errors
/// 404; 503 when something needed does not answer.
pub async fn delete(service: &AuthService, id: &str, by: &By) -> Result<(), Problem> {
    by_id(service, id).await?;
    let now = service.clock.now();
    let mut transaction = service.database.begin().await?;
    let held = storage::hold(&mut transaction, id).await?.ok_or_else(|| Problem::not_found("client"))?;
    let disabled = Client { disabled_at: held.disabled_at.or(Some(now)), epoch: held.epoch + 1, ..held };
    storage::update(&mut transaction, &disabled).await?;
    transaction.commit().await?;
    grants::end_of_client(service, id, by).await?;
    let mut transaction = service.database.begin().await?;
    if !storage::delete(&mut transaction, id).await? {
        return Err(Problem::not_found("client"));
    }
    // Another client may get the id one day: nobody has consented to that one.
    consents::remove_of_client(&mut transaction, id).await?;
    audit::write_in(&mut transaction, now, &Entry::done(Act::DeleteClient, by).detail(id)).await?;
    transaction.commit().await?;
    // A request that had begun before may have got something meanwhile.
    grants::end_of_client(service, id, by).await
}
