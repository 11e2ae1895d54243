//! The clients that a start brings up to date: the platform's own, as whoever configures it names them.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use shared::clock::Timestamp;
use shared::config::Setting;

use super::secret::{FORMER_SECRET_LIFE, SHORTEST_CHOSEN, SecretHash};
use super::{Client, EXPECTED_CLIENT_ID, FormerSecret, Metadata, Registrar, is_client_id};
use crate::AuthService;
use crate::storage::audit::{self, Act, By, Entry};
use crate::storage::clients as storage;

/// A client that every start brings up to date. Has its secret, if it needs one.
#[derive(Debug, Clone)]
pub struct FirstClient {
    pub id: String,
    pub metadata: Metadata,
    pub secret: Option<SecretString>,
    pub first_party: bool,
}

impl FirstClient {
    /// Reads metadata (RFC 7591) with `client_id`, and with `client_secret` where the client needs one. `first_party` is
    /// true when it is left out.
    ///
    /// # Errors
    /// What is wrong, with the field's name; never a secret.
    pub fn read(mut members: Map<String, Value>) -> Result<Self, String> {
        let mut text = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name}: expected text")),
        };
        let (id, secret) = (text("client_id")?, text("client_secret")?.map(SecretString::from));
        let id = id.filter(|id| is_client_id(id)).ok_or_else(|| format!("client_id: {EXPECTED_CLIENT_ID}"))?;
        let first_party = match members.remove("first_party") {
            None => true,
            Some(Value::Bool(first_party)) => first_party,
            Some(_) => return Err(format!("{id}: first_party: expected true or false")),
        };
        let metadata = Metadata::read(members, Registrar::Operator).map_err(|error| format!("{id}: {error}"))?;
        match (metadata.token_endpoint_auth_method.has_secret(), &secret) {
            (true, None) => {
                return Err(format!("{id}: client_secret: expected one, for its token_endpoint_auth_method"));
            }
            (false, Some(_)) => return Err(format!("{id}: client_secret: its token_endpoint_auth_method has none")),
            (true, Some(secret)) if secret.expose_secret().len() < SHORTEST_CHOSEN => {
                return Err(format!("{id}: client_secret: expected at least {SHORTEST_CHOSEN} characters"));
            }
            _ => {}
        }
        Ok(Self { id, metadata, secret, first_party })
    }
}

/// `FIRST_CLIENTS`.
pub struct FirstClients(pub Vec<FirstClient>);

impl Setting for FirstClients {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        // The cause could quote a secret.
        let read: Vec<Map<String, Value>> =
            serde_json::from_str(text).map_err(|_| "expected a JSON array of clients' metadata".to_owned())?;
        let clients = read.into_iter().map(FirstClient::read).collect::<Result<Vec<_>, _>>()?;
        let mut ids: Vec<_> = clients.iter().map(|client| client.id.as_str()).collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("{}: there is another client of this id", pair[0])),
            None => Ok(Self(clients)),
        }
    }
}

/// Adds the clients that are missing, and gives the others the metadata and secrets of `first`. Of several replicas that
/// start at once, one does it. Clients that are not among them stay. A secret that is replaced is good for another day: the
/// client's replicas have it still. One that was replaced before does not come back.
///
/// # Errors
/// The database does not answer.
pub async fn align(service: &AuthService, first: &[FirstClient]) -> anyhow::Result<()> {
    for given in first {
        let FirstClient { id, metadata, secret, first_party } = given;
        let now = service.clock.now();
        let client = Client {
            id: id.clone(),
            metadata: metadata.clone(),
            secret_hash: secret.as_ref().map(|secret| SecretHash::of(secret.expose_secret())),
            former_secret: FormerSecret::default(),
            registration_token_hash: None,
            first_party: *first_party,
            approved: true,
            epoch: 0,
            created_at: now,
            disabled_at: None,
        };
        let mut transaction = service.database.begin().await?;
        let act = if storage::insert(&mut transaction, &client).await? {
            Act::CreateClient
        } else {
            let Some(held) = storage::hold(&mut transaction, id).await? else { continue };
            let aligned = aligned(client, &held, now);
            if aligned == held {
                continue;
            }
            storage::update(&mut transaction, &aligned).await?;
            Act::ChangeClient
        };
        audit::write_in(&mut transaction, now, &Entry::done(act, &By::SERVICE).detail(id)).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// What becomes of a client that is there. One that is disabled stays so.
fn aligned(given: Client, held: &Client, now: Timestamp) -> Client {
    let is_replaced = held.former_secret.is_of(given.secret_hash.as_ref());
    if is_replaced && held.former_secret.at(now).is_none() {
        tracing::warn!(
            client = given.id,
            "the settings (FIRST_CLIENTS, SHOP_CLIENT_SECRET or ORDERS_CLIENT_SECRET) have a secret of this client that was \
             replaced: it stays refused; set the one that `client rotate-secret` printed"
        );
    }
    let (secret_hash, former_secret) = if is_replaced || given.secret_hash == held.secret_hash {
        (held.secret_hash.clone(), held.former_secret.clone())
    } else {
        let former = held.secret_hash.clone().filter(|_| given.secret_hash.is_some());
        (given.secret_hash.clone(), FormerSecret::kept(former, FORMER_SECRET_LIFE, now))
    };
    Client {
        secret_hash,
        former_secret,
        epoch: held.epoch,
        created_at: held.created_at,
        disabled_at: held.disabled_at,
        ..given
    }
}
