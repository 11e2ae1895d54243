//! How long a person's answer to a client is good: until they take the access back, or the client is disabled or removed. A
//! code and a device's answer carry the epoch of their moment, and become a grant in the same epoch alone.

use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::session::UserId;

use crate::AuthService;
use crate::clients::{self, Client};
use crate::scopes::Words;
use crate::storage::consents;

/// The moment of an answer, as it is compared. What a release wrote that did not know it is of the first epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentEpoch {
    /// How often the person had taken the client's access back.
    withdrawals: i64,
    /// Which client it was: when it was made, for an id may be given again, and its own epoch.
    client: Option<(Timestamp, i64)>,
}

impl ConsentEpoch {
    pub fn new(withdrawals: i64, client: &Client) -> Self {
        Self { withdrawals, client: Some((client.created_at, client.epoch)) }
    }

    /// The epoch of now, and what the user has allowed the client: of one moment, so that a withdrawal after it is noticed.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn now(service: &AuthService, user: UserId, client: &Client) -> Result<(Words, Self), Problem> {
        let standing = consents::standing(&service.database, user, &client.id).await?;
        Ok((standing.allowed, Self::new(standing.withdrawals, client)))
    }

    /// Whether what was answered in this epoch is worth nothing any more.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn is_over(&self, service: &AuthService, user: UserId, client: &str) -> Result<bool, Problem> {
        let Some(client) = clients::find(service, client).await? else { return Ok(true) };
        let (_, now) = Self::now(service, user, &client).await?;
        let is_the_same = self.client.is_none() || self.client == now.client;
        Ok(!is_the_same || self.withdrawals != now.withdrawals)
    }
}
