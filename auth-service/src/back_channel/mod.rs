//! Clients are told that a session of their user's has ended (OpenID Connect Back-Channel Logout 1.0). Owns what is said,
//! to whom, and when it is said again; never ends a session, and never holds up whoever did.
//!
//! Word is left in SQL together with the end of what the client was given; every replica carries it out.

mod delivery;
mod logout_token;
mod schedule;

use std::time::Duration;

use shared::clock::Timestamp;
use shared::database::Transaction;
use shared::problem::Problem;
use shared::session::{SessionId, UserId};
use tokio::sync::Notify;
use uuid::Uuid;

pub(crate) use self::delivery::deliver;
pub use self::logout_token::{EVENT, TYP};
pub(crate) use self::schedule::OUTCOMES;
use crate::AuthService;
use crate::clients::Client;
use crate::storage::audit::{self, Act, By, Entry};
use crate::storage::grants::StoredSession;
use crate::storage::outbox::{self, Delivery};

/// How clients are told.
#[derive(Debug, Clone)]
pub struct BackChannelRules {
    /// How long a client may take to answer.
    pub patience: Duration,
    /// How often it is tried.
    pub attempts: u32,
}

/// The way to the clients.
pub struct BackChannel {
    rules: BackChannelRules,
    word: Notify,
    /// A client has answered, or has not in time.
    tried: Notify,
}

impl BackChannel {
    pub fn new(rules: BackChannelRules) -> Self {
        Self { rules, word: Notify::new(), tried: Notify::new() }
    }

    /// Word was left: it is carried out at once.
    pub(crate) fn wake(&self) {
        self.word.notify_one();
    }
}

/// How long the browser waits for the client that has begun the logout.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often the database is asked meanwhile: another replica may tell the client.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until `client` was told of the end of the session, or could not be, for a second at most: the client that begins a
/// logout hears of its end before the browser comes back to it (RP-Initiated Logout 1.0, section 2).
pub(crate) async fn heard(service: &AuthService, client: &str, session: SessionId) {
    let told = async {
        loop {
            let tried = service.back_channel.tried.notified();
            tokio::pin!(tried);
            // From here on, none is missed.
            tried.as_mut().enable();
            match outbox::is_untold(&service.database, client, session).await {
                Ok(true) => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, tried).await;
                }
                Ok(false) => return,
                Err(error) => return tracing::warn!(%error, "whether a client was told of a logout is not known"),
            }
        }
    };
    if tokio::time::timeout(LONGEST_WAIT, told).await.is_err() {
        tracing::debug!(client, "the browser goes on before the client was told of the logout");
    }
}

/// Leaves word for a client, where it wants any: `false` where it does not. It stands with the transaction or not at all;
/// [`BackChannel::wake`] after it.
///
/// # Errors
/// The database does not answer.
pub(crate) async fn leave_word(
    transaction: &mut Transaction,
    client: &Client,
    session: SessionId,
    user: UserId,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let Some(uri) = &client.metadata.backchannel_logout_uri else { return Ok(false) };
    let delivery = Delivery {
        id: Uuid::new_v4(),
        client_id: client.id.clone(),
        session: StoredSession(session),
        user_id: user,
        uri: uri.to_string(),
        alg: client.metadata.id_token_signed_response_alg.as_str().to_owned(),
        own_claim: client.registered_itself(),
        created_at: now,
        attempts: 0,
        next_at: now,
        dead_at: None,
        last_error: None,
    };
    outbox::insert(transaction, &delivery).await?;
    Ok(true)
}

/// Has a client told that was not, from the beginning.
///
/// # Errors
/// 404; 503 when the database does not answer.
pub async fn retry(service: &AuthService, id: Uuid, by: &By) -> Result<Delivery, Problem> {
    let now = service.clock.now();
    let mut transaction = service.database.begin().await?;
    let delivery = outbox::retry(&mut transaction, id, now).await?.ok_or_else(|| Problem::not_found("delivery"))?;
    let entry = Entry::done(Act::RetryLogoutDelivery, by).subject(delivery.user_id).session(delivery.session.0);
    audit::write_in(&mut transaction, now, &entry.detail(&delivery.client_id)).await?;
    transaction.commit().await?;
    service.back_channel.wake();
    Ok(delivery)
}
