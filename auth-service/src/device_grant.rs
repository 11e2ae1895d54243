//! Signing in on a device without a browser or a keyboard (RFC 8628): the device shows a short code, the person types it
//! here. Owns both codes and what becomes of them; a code is kept under its hash only.

use std::time::Duration;

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::key_value::Key;
use shared::problem::Problem;
use shared::session::{SessionId, UserId};

use crate::AuthService;
use crate::authorization::shown::{self, Asked as Shown};
use crate::browser_session::BrowserSession;
use crate::clients::{self, Client};
use crate::codes::random_text;
use crate::consent_epoch::ConsentEpoch;
use crate::grants;
use crate::oauth_error::OAuthError;
use crate::scopes::Words;
use crate::small_values::Payer;
use crate::storage::users::User;

/// How long the person may take.
pub const TTL: Duration = Duration::from_secs(10 * 60);
/// Who pays for what goes back to where it was: it was paid for when it came there.
const PAID_FOR: Payer = Payer::Platform;
/// How often a device may ask.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Devices keep to that by clocks of their own, and requests take longer now and then.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(4);
/// Letters that make no words and are not taken for each other (RFC 8628, section 6.1): 20 to the 8th codes.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;

/// What a device asked for, and what the person said to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Asked {
    client_id: String,
    scope: Words,
    audiences: Words,
    user_code: String,
    answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    Pending,
    Denied,
    Allowed {
        session: SessionId,
        user: UserId,
        auth_time: Timestamp,
        /// What the person saw and allowed: what the client was asked for may be more.
        #[serde(default)]
        scope: Words,
        #[serde(default)]
        audiences: Words,
        #[serde(default)]
        epoch: ConsentEpoch,
    },
}

/// What the device shows, and what it asks with.
pub struct Begun {
    pub device_code: String,
    /// `BCDF-GHJK`.
    pub user_code: String,
}

/// A device that waits for the person.
pub struct Waiting {
    pub client: Client,
    pub scope: Words,
    pub audiences: Words,
    asked: Asked,
    device_hash: Vec<u8>,
}

/// What the person has allowed.
pub struct Allowed {
    pub session: SessionId,
    pub user: UserId,
    pub scope: Words,
    pub audiences: Words,
    pub epoch: ConsentEpoch,
}

impl Waiting {
    /// The digest of what a page shows to the user.
    pub fn shown_to(&self, user: &User) -> String {
        let asked = Shown { words: &self.scope, audiences: &self.audiences, redirect_uri: None };
        shown::digest(&self.client, asked, user)
    }
}

/// By the device's code, or by what stands for it where the person's code leads.
fn device_key(hash: &[u8]) -> Key {
    Key::new("device_code", hash)
}

fn user_key(code: &str) -> Key {
    Key::new("user_code", code.as_bytes())
}

fn hash(text: &str) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref().to_vec()
}

/// A person's code: each letter as likely as any other.
fn random_user_code() -> String {
    let mut code = String::with_capacity(LENGTH);
    while code.len() < LENGTH {
        let mut byte = [0];
        rand::fill(&mut byte).expect("the system gives random bytes");
        // 240 is the greatest multiple of 20 in a byte.
        if byte[0] < 240 {
            code.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    code
}

/// What a person typed, without what only helps to read it.
fn canonical(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_uppercase()).take(LENGTH + 1).collect()
}

/// A device asks to be let in.
///
/// # Errors
/// 429 when `payer` has left too much behind; 503 when the key-value store does not answer.
pub async fn begin(
    service: &AuthService,
    client: &Client,
    scope: Words,
    audiences: Words,
    payer: &Payer,
) -> Result<Begun, Problem> {
    let device_code = random_text();
    let device_hash = hash(&device_code);
    let user_code = loop {
        let code = random_user_code();
        if service.key_values.claim(&user_key(&code), &device_hash, TTL, payer).await? {
            break code;
        }
    };
    let asked =
        Asked { client_id: client.id.clone(), scope, audiences, user_code: user_code.clone(), answer: Answer::Pending };
    store(service, &device_hash, &asked, payer).await?;
    let (one, two) = user_code.split_at(LENGTH / 2);
    Ok(Begun { device_code, user_code: format!("{one}-{two}") })
}

async fn store(service: &AuthService, device_hash: &[u8], asked: &Asked, payer: &Payer) -> Result<(), Problem> {
    let value = serde_json::to_vec(asked).map_err(Problem::internal)?;
    service.key_values.put(&device_key(device_hash), &value, TTL, payer).await
}

/// The device that shows the code that a person typed, if one waits.
///
/// Guesses must be throttled by the caller: see [`Throttle::user_code`](crate::throttle::Throttle::user_code).
///
/// # Errors
/// 503 when a store does not answer.
pub async fn waiting(service: &AuthService, typed: &str) -> Result<Option<Waiting>, Problem> {
    let Some(device_hash) = service.key_values.get(&user_key(&canonical(typed))).await? else { return Ok(None) };
    let Some(value) = service.key_values.get(&device_key(&device_hash)).await? else { return Ok(None) };
    let asked: Asked = serde_json::from_slice(&value).map_err(Problem::internal)?;
    if asked.answer != Answer::Pending {
        return Ok(None);
    }
    let Some(client) = clients::find(service, &asked.client_id).await? else { return Ok(None) };
    let left = grants::left(service, &client, &asked.scope, &asked.audiences);
    Ok(left.map(|(scope, audiences)| Waiting { client, scope, audiences, asked, device_hash }))
}

/// The person lets the device in, with what they were shown and in the epoch of that moment, or refuses. A code is answered
/// once.
///
/// # Errors
/// 503 when the key-value store does not answer.
pub async fn answer(
    service: &AuthService,
    waiting: Waiting,
    by: &BrowserSession,
    allowed: Option<ConsentEpoch>,
) -> Result<(), Problem> {
    let Waiting { mut asked, device_hash, scope, audiences, .. } = waiting;
    // Of two answers at once, the one that takes the code counts.
    if service.key_values.take(&user_key(&asked.user_code)).await?.is_none() {
        return Ok(());
    }
    let (session, user, auth_time) = (by.session.id, by.user.id, by.session.auth_time());
    asked.answer = match allowed {
        Some(epoch) => Answer::Allowed { session, user, auth_time, scope, audiences, epoch },
        None => Answer::Denied,
    };
    let stored = store(service, &device_hash, &asked, &Payer::User(user)).await;
    if stored.is_err() {
        // The person's answer is lost, and they are told to try again: by the same code.
        service.key_values.put(&user_key(&asked.user_code), &device_hash, TTL, &PAID_FOR).await?;
    }
    stored
}

/// A device asks whether it was let in. Once it was, [`use_up`] makes that its one answer.
///
/// # Errors
/// `authorization_pending`, `slow_down`, `access_denied`, `expired_token` (RFC 8628, section 3.5); `invalid_grant` for
/// another client's code; 503 when the key-value store does not answer.
pub async fn poll(service: &AuthService, client: &Client, device_code: &str) -> Result<Allowed, OAuthError> {
    let device_hash = hash(device_code);
    let value = service.key_values.get(&device_key(&device_hash)).await?.ok_or_else(over)?;
    let asked: Asked = serde_json::from_slice(&value).map_err(Problem::internal)?;
    if asked.client_id != client.id {
        return Err(OAuthError::invalid_grant());
    }
    let recent = Key::new("device_poll", &device_hash);
    if service.key_values.count(&recent, SHORTEST_INTERVAL).await?.count > 1 {
        return Err(OAuthError::new("slow_down", "ask every five seconds"));
    }
    match asked.answer {
        Answer::Pending => Err(OAuthError::new("authorization_pending", "the person has not answered yet")),
        Answer::Denied => Err(OAuthError::new("access_denied", "the person has refused")),
        Answer::Allowed { session, user, scope, audiences, epoch, .. } => {
            Ok(Allowed { session, user, scope, audiences, epoch })
        }
    }
}

/// What a device's code stood for that is used up.
pub struct UsedUp(Vec<u8>);

/// Uses up a device's code that was found to be allowed: once.
///
/// # Errors
/// `expired_token` for the second caller; 503 when the key-value store does not answer.
pub async fn use_up(service: &AuthService, device_code: &str) -> Result<UsedUp, OAuthError> {
    let taken = service.key_values.take(&device_key(&hash(device_code))).await?;
    taken.map(UsedUp).ok_or_else(over)
}

/// Gives a device's code back that was used up, and for which nothing was given: it is as good as before.
///
/// # Errors
/// 503 when the key-value store does not answer.
pub async fn give_back(service: &AuthService, device_code: &str, UsedUp(value): UsedUp) -> Result<(), Problem> {
    service.key_values.put(&device_key(&hash(device_code)), &value, TTL, &PAID_FOR).await
}

/// The device code can be used no more.
pub fn over() -> OAuthError {
    OAuthError::new("expired_token", "the device code is over; begin again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        for typed in ["BCDF-GHJK", "bcdf ghjk", " bcdfghjk\n", "B.C.D.F.G.H.J.K"] {
            assert_eq!(canonical(typed), "BCDFGHJK");
        }
        assert_ne!(canonical("BCDFGHJKL"), "BCDFGHJK");
    }

    #[test]
    fn a_code_is_made_of_letters_that_make_no_words() {
        for _ in 0..100 {
            let code = random_user_code();
            assert!(code.len() == LENGTH && code.bytes().all(|byte| LETTERS.contains(&byte)), "{code}");
        }
    }
}
