//! What the session cookie holds. Owns its form; never verifies anything.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::provider::TokenResponse;
use crate::clock::Timestamp;
use crate::session::{SessionId, UserId};

/// In bytes; names and addresses that are longer are cut, for the cookie is small.
const LONGEST_TEXT: usize = 96;

/// How to greet the user. By the provider's word at the sign-in; decides nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl Profile {
    pub(super) fn bounded(name: Option<String>, email: Option<String>) -> Self {
        let bound = |text: Option<String>| {
            let mut text = text.filter(|text| !text.trim().is_empty() && !text.chars().any(char::is_control))?;
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
            Some(text)
        };
        Self { name: bound(name), email: bound(email) }
    }

    /// What the user is called on a page.
    #[cfg(feature = "pages")]
    pub(super) fn called(&self) -> String {
        self.name.clone().or_else(|| self.email.clone()).unwrap_or_else(|| "•".to_owned())
    }
}

/// The tokens of one sign-in. No `Debug`: they never print.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Tokens {
    #[serde(rename = "a")]
    pub(super) access_token: String,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    /// Shown to the provider at the sign-out, so that it knows who asks.
    #[serde(rename = "i")]
    pub(super) id_token: String,
    /// Of the access token, in seconds since 1970.
    #[serde(rename = "e")]
    expires_at: i64,
    #[serde(flatten)]
    pub(super) profile: Profile,
}

impl Tokens {
    /// Of a sign-in.
    pub(super) fn new(response: TokenResponse, id_token: String, profile: Profile, expires_at: Timestamp) -> Self {
        let TokenResponse { access_token, refresh_token, .. } = response;
        Self { access_token, refresh_token, id_token, expires_at: expires_at.seconds(), profile }
    }

    /// After a refresh: what the provider does not give anew stays (RFC 6749, section 6).
    pub(super) fn renewed(&self, response: TokenResponse, expires_at: Timestamp) -> Self {
        Self {
            access_token: response.access_token,
            refresh_token: response.refresh_token.or_else(|| self.refresh_token.clone()),
            id_token: response.id_token.unwrap_or_else(|| self.id_token.clone()),
            expires_at: expires_at.seconds(),
            profile: self.profile.clone(),
        }
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.expires_at)
    }

    /// The session that the access token names. Its signature is not looked at: it was, before the token was sealed.
    pub(super) fn session(&self) -> Option<SessionId> {
        #[derive(Deserialize)]
        struct Claims {
            sid: SessionId,
        }

        let payload = URL_SAFE_NO_PAD.decode(self.access_token.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&payload).ok().map(|Claims { sid }| sid)
    }

    /// The user whom the access token names, as [`Tokens::session`]. Tokens that name none have no user.
    pub(super) fn user(&self) -> UserId {
        #[derive(Deserialize)]
        struct Claims {
            sub: UserId,
        }

        let payload = self.access_token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
        claims.map_or(UserId(uuid::Uuid::nil()), |Claims { sub }| sub)
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
