//! An access token that a client shows in a form. Introspection and token exchange ask the same questions of it here: the
//! verdict, and what SQL and the session store say of whom it speaks for, whatever services are told of ends.

use shared::authentication::{Audience, Binding, Demand, SingleSignOn};
use shared::problem::Problem;
use shared::session::Session;
use shared::token::{PLATFORM_CLIENT, UserToken, VerifiedToken};

use crate::AuthService;
use crate::clients::{self, Client};
use crate::end_session::{self, Look};
use crate::issue;
use crate::oauth_error::OAuthError;
use crate::scopes::Words;
use crate::storage::endings::{self, Ended};
use crate::storage::users::User;

/// What is demanded of a token that a client shows in a form: it may be for any service, where its user proves the key.
pub(super) const IN_A_FORM: Demand<'static> =
    Demand { audience: Audience::Any, scope: None, binding: Binding::CheckedElsewhere };

/// A token that is good now.
pub(super) struct Shown {
    pub(super) token: VerifiedToken,
    /// None of a client's own.
    pub(super) speaks_for: Option<(User, Session)>,
}

/// The token, where it is good now and was issued to the client that shows it, or is for the service that it is.
///
/// # Errors
/// 503 when something needed does not answer.
pub(super) async fn read(
    service: &AuthService,
    single_sign_on: &SingleSignOn,
    client: &Client,
    text: &str,
) -> Result<Option<Shown>, OAuthError> {
    let token = match single_sign_on.verify(text, &IN_A_FORM).await {
        Err(refusal) if refusal.is_unavailable() => return Err(Problem::from(refusal).into()),
        Err(_) => return Ok(None),
        Ok(token) => token,
    };
    let is_for = |services: Words| services.has(&client.id);
    if token.client_id() != client.id && !issue::audience_of(service, text).is_some_and(is_for) {
        return Ok(None);
    }
    if !is_of_a_client(service, token.client_id()).await? || is_taken_back(service, &token).await? {
        return Ok(None);
    }
    let VerifiedToken::User(of_user) = &token else { return Ok(Some(Shown { token, speaks_for: None })) };
    match end_session::look(service, of_user.user, async || session(service, of_user).await).await? {
        Look::Current(user, session) => Ok(Some(Shown { token, speaks_for: Some((user, session)) })),
        Look::Gone | Look::Outdated => Ok(None),
    }
}

/// Whether the client that a token was issued to is there, and not disabled. The platform's own login is no client.
///
/// # Errors
/// 503 when the database does not answer.
async fn is_of_a_client(service: &AuthService, id: &str) -> Result<bool, Problem> {
    Ok(id == PLATFORM_CLIENT || clients::find(service, id).await?.is_some())
}

/// Whether SQL remembers that it was taken back: itself, all of its grant, or its session. The feed may be behind, or tell of
/// nothing.
async fn is_taken_back(service: &AuthService, token: &VerifiedToken) -> Result<bool, sqlx::Error> {
    let itself = Ended::Token(token.token_id());
    let grant = token.grant().map_or(itself, Ended::Token);
    let session = token.session().map_or(itself, Ended::Session);
    endings::has_any(&service.database, [itself, grant, session]).await
}

/// The user's session, as the store knows it; where no store keeps sessions, as the token tells.
async fn session(service: &AuthService, token: &UserToken) -> Result<Option<Session>, Problem> {
    if service.sessions.keeps_sessions() {
        return Ok(service.sessions.load(token.session).await?);
    }
    Ok(Some(token.as_session()))
}
