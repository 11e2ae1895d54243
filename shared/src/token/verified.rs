//! What a good token says in the platform's own types, and why one is refused. Rules only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AccessClaims, Actor, Subject, Thumbprint};
use crate::clock::Timestamp;
use crate::session::{Attributes, Revoked, Session, SessionId, UserId, epoch_of};

/// What a good access token says. A copy is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifiedToken {
    User(Arc<UserToken>),
    Client(Arc<ClientToken>),
}

/// A token that speaks for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserToken {
    pub user: UserId,
    pub session: SessionId,
    /// The client that the token was issued to.
    pub client_id: String,
    pub scope: BTreeSet<String>,
    pub roles: BTreeSet<String>,
    /// How the user proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// How well, where the issuer says so.
    pub acr: Option<String>,
    /// When they did.
    pub auth_time: Timestamp,
    /// Who acts for the user, where it is not the user (RFC 8693, section 4.1).
    pub actor: Option<Actor>,
    /// The key that it is bound to (RFC 9449).
    pub bound_to: Option<Thumbprint>,
    pub token_id: u128,
    /// The grant that it was issued by: revoking that revokes it too.
    pub grant: Option<u128>,
    /// What the session remembers, where nothing but the token keeps it.
    pub attributes: Attributes,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What the platform's own login is called where a client is named: nobody's client.
pub const PLATFORM_CLIENT: &str = "platform";

impl UserToken {
    /// What a session says whose cookie came with a request: the same as a token of the platform's own login, good for
    /// `scope`, as long as the session.
    pub(crate) fn of_session(session: &Session, scope: BTreeSet<String>) -> Self {
        Self {
            user: session.user,
            session: session.id,
            client_id: PLATFORM_CLIENT.to_owned(),
            scope,
            roles: session.roles.iter().cloned().collect(),
            amr: session.amr.clone(),
            acr: None,
            auth_time: session.auth_time(),
            actor: None,
            bound_to: None,
            // No token, and none to take back: the session's end is the end.
            token_id: 0,
            grant: None,
            attributes: session.attributes.clone(),
            issued_at: session.created_at,
            expires_at: session.ends_at(),
        }
    }

    /// The session as the token tells of it, where nothing else does.
    pub fn as_session(&self) -> Session {
        Session {
            id: self.session,
            user: self.user,
            roles: self.roles.iter().cloned().collect(),
            amr: self.amr.clone(),
            device: String::new(),
            address: String::new(),
            created_at: self.auth_time,
            last_seen_at: self.issued_at,
            idle: self.expires_at.since(self.issued_at),
            expires_at: self.expires_at,
            version: 0,
            clients: BTreeMap::new(),
            attributes: self.attributes.clone(),
        }
    }
}

/// A token that speaks for a client itself: nobody has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientToken {
    pub client_id: String,
    pub scope: BTreeSet<String>,
    /// The key that it is bound to (RFC 9449).
    pub bound_to: Option<Thumbprint>,
    pub token_id: u128,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// How many roles, scope words or methods a token may name.
const MAX_WORDS: usize = 64;
/// How long each, or a client's name, may be: in bytes.
const MAX_WORD: usize = 128;

impl VerifiedToken {
    /// Reads claims whose signature, issuer, audience and times are good. The words in them are bounded and
    /// have no control characters, so that none can break out of a log line.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] for another `jti`, for words that are too many, too long or odd, and for what is neither
    /// a user's token whole nor a client's.
    pub(super) fn read(claims: AccessClaims) -> Result<Self, TokenError> {
        let token_id = claims.token_id().ok_or(TokenError::Malformed)?;
        let grant = claims.grant_id().ok_or(TokenError::Malformed)?;
        let scope: BTreeSet<String> =
            claims.scope.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let roles: BTreeSet<String> = claims.roles.into_iter().collect();
        let counted = [scope.len(), roles.len(), claims.amr.len(), claims.attributes.len()]
            .iter()
            .all(|count| *count <= MAX_WORDS);
        let attributes = claims.attributes.iter().flat_map(|(name, value)| [name, value]);
        let words =
            attributes.chain(&scope).chain(&roles).chain(&claims.amr).chain(&claims.acr).chain([&claims.client_id]);
        if !counted || !words.into_iter().all(|word| is_word(word)) || !claims.act.iter().all(is_short) {
            return Err(TokenError::Malformed);
        }
        let client_id = claims.client_id;
        let (issued_at, expires_at) = (Timestamp::from_seconds(claims.iat), Timestamp::from_seconds(claims.exp));
        let bound_to = claims.cnf.map(|confirmation| confirmation.jkt);
        match (claims.sub, claims.sid, claims.auth_time) {
            (Subject::User(user), Some(session), Some(auth_time)) => Ok(Self::User(Arc::new(UserToken {
                user,
                session,
                client_id,
                scope,
                roles,
                amr: claims.amr,
                acr: claims.acr,
                auth_time: Timestamp::from_seconds(auth_time),
                actor: claims.act,
                bound_to,
                token_id,
                grant,
                attributes: claims.attributes,
                issued_at,
                expires_at,
            }))),
            (Subject::Client(client), None, None)
                if client == client_id
                    && roles.is_empty()
                    && claims.amr.is_empty()
                    && claims.acr.is_none()
                    && grant.is_none()
                    && claims.act.is_none()
                    && claims.attributes.is_empty() =>
            {
                let token = ClientToken { client_id, scope, bound_to, token_id, issued_at, expires_at };
                Ok(Self::Client(Arc::new(token)))
            }
            _ => Err(TokenError::Malformed),
        }
    }

    pub fn scope(&self) -> &BTreeSet<String> {
        match self {
            Self::User(token) => &token.scope,
            Self::Client(token) => &token.scope,
        }
    }

    /// The client that the token was issued to.
    pub fn client_id(&self) -> &str {
        match self {
            Self::User(token) => &token.client_id,
            Self::Client(token) => &token.client_id,
        }
    }

    /// The session that it is part of; a client's own token is part of none.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::User(token) => Some(token.session),
            Self::Client(_) => None,
        }
    }

    /// The key that it is bound to (RFC 9449).
    pub fn bound_to(&self) -> Option<Thumbprint> {
        match self {
            Self::User(token) => token.bound_to,
            Self::Client(token) => token.bound_to,
        }
    }

    /// The grant that it was issued by; a client's own token, and the platform's own login, have none.
    pub fn grant(&self) -> Option<u128> {
        match self {
            Self::User(token) => token.grant,
            Self::Client(_) => None,
        }
    }

    pub fn token_id(&self) -> u128 {
        match self {
            Self::User(token) => token.token_id,
            Self::Client(token) => token.token_id,
        }
    }

    /// All by which it can be taken back: its session, itself, its grant, its user's epoch.
    pub fn named(&self) -> impl Iterator<Item = Revoked> {
        let (session, epoch) = match self {
            Self::User(token) => (Some(token.session), epoch_of(&token.attributes)),
            Self::Client(_) => (None, None),
        };
        let tokens = [Some(self.token_id()), self.grant(), epoch];
        session.map(Revoked::Session).into_iter().chain(tokens.into_iter().flatten().map(Revoked::Token))
    }

    pub fn expires_at(&self) -> Timestamp {
        match self {
            Self::User(token) => token.expires_at,
            Self::Client(token) => token.expires_at,
        }
    }
}

fn is_word(text: &str) -> bool {
    (1..=MAX_WORD).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_short(actor: &Actor) -> bool {
    let is_word = |subject: &Subject| matches!(subject, Subject::User(_)) || is_word(&subject.to_string());
    actor.chain().count() <= Actor::MOST && actor.chain().all(is_word)
}

/// Why a token is refused. The text is safe to show: it never quotes the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the access token is malformed")]
    Malformed,
    #[error("the access token is signed with a key that is not published")]
    UnknownKey,
    #[error("the access token's signature is wrong")]
    BadSignature,
    #[error("the access token has expired")]
    Expired,
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// Its life is longer than this service remembers revocations: one could be forgotten before the token expires.
    #[error("the access token lives longer than this service allows")]
    LivesTooLong,
    #[error("the access token was issued by another issuer")]
    WrongIssuer,
    #[error("the access token is for another service")]
    WrongAudience,
    #[error("the access token was revoked")]
    Revoked,
    /// It was sent as a Bearer token: by anybody who has it.
    #[error("the access token is bound to a key, and came without its proof")]
    BoundToKey,
    /// It was sent with a proof, as one that is bound: whoever has it could have made that proof.
    #[error("the access token is not bound to a key; it is a Bearer token")]
    NotBoundToKey,
    /// No key set has been read yet, so nothing can be said of any token.
    #[error("the issuer's keys are not known yet")]
    KeysUnavailable,
    /// The revocations have not been read, since the start or since this process stood still: it may have been revoked.
    #[error("the revocations have not been read yet")]
    RevocationsUnknown,
    /// The clock of this machine is wrong, or the others' are: nothing can be said of its times.
    #[error("the clock of this machine differs too much from the others'")]
    ClockInDoubt,
    /// This service is set up otherwise than the platform: it may not hear of ended sessions.
    #[error("this service is not set up as the platform is")]
    Misconfigured,
}

impl TokenError {
    /// Whether the fault lies here: the token may be good, and the answer is 503.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::RevocationsUnknown | Self::ClockInDoubt | Self::Misconfigured)
    }

    /// Whether a service that is set up rightly could find the token good.
    pub(crate) const fn is_of_the_setup(&self) -> bool {
        matches!(self, Self::WrongIssuer | Self::LivesTooLong | Self::UnknownKey)
    }

    /// Whether a clock that is right could find the token good.
    pub(crate) const fn is_of_its_times(&self) -> bool {
        matches!(self, Self::Expired | Self::NotYetValid)
    }

    /// One word for a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LivesTooLong => "lives_too_long",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Revoked => "revoked",
            Self::BoundToKey => "bound_to_key",
            Self::NotBoundToKey => "not_bound_to_key",
            Self::KeysUnavailable => "keys_unavailable",
            Self::RevocationsUnknown => "revocations_unknown",
            Self::ClockInDoubt => "clock_in_doubt",
            Self::Misconfigured => "misconfigured",
        }
    }
}
