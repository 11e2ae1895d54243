//! What is shown of a client (RFC 7591, section 3.2.1): never a hash, and a secret only when it was just made up.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use shared::clock::Timestamp;
use utoipa::ToSchema;

use super::registry::WithSecret;
use super::{Client, Metadata};

/// A client, as it sees itself.
#[derive(Serialize, ToSchema)]
pub struct ClientInformation {
    #[schema(example = "cart-service")]
    pub client_id: String,
    /// Seconds since 1970 (UTC).
    pub client_id_issued_at: i64,
    /// Shown when it was made up, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// 0, for a secret does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<i64>,
    #[serde(flatten)]
    metadata: Metadata,
}

impl ClientInformation {
    pub fn of(client: &Client, secret: Option<&SecretString>) -> Self {
        Self {
            client_id: client.id.clone(),
            client_id_issued_at: client.created_at.seconds(),
            client_secret: secret.map(|secret| secret.expose_secret().to_owned()),
            client_secret_expires_at: secret.map(|_| 0),
            metadata: client.metadata.clone(),
        }
    }
}

/// A client, as administrators see it.
#[derive(Serialize, ToSchema)]
pub struct AdministeredClient {
    #[serde(flatten)]
    information: ClientInformation,
    /// Until when the secret before the last rotation is good, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_expires_at: Option<Timestamp>,
    /// It belongs to the platform: no consent is asked.
    first_party: bool,
    /// An administrator vouches for it: a browser is sent to it without a person's act.
    approved: bool,
    /// A digest of what people can see of it: `client approve` takes it.
    looks: String,
    /// It came by dynamic registration.
    registered_itself: bool,
    disabled: bool,
    disabled_at: Option<Timestamp>,
}

impl From<WithSecret> for AdministeredClient {
    fn from(WithSecret { client, secret }: WithSecret) -> Self {
        Self {
            information: ClientInformation::of(&client, secret.as_ref()),
            old_secret_expires_at: client.former_secret.until,
            first_party: client.first_party,
            approved: client.approved,
            looks: client.metadata.looks(),
            registered_itself: client.registered_itself(),
            disabled: client.disabled_at.is_some(),
            disabled_at: client.disabled_at,
        }
    }
}

impl From<Client> for AdministeredClient {
    fn from(client: Client) -> Self {
        WithSecret { client, secret: None }.into()
    }
}
