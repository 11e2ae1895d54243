//! What a person has allowed, and a client has used up a code for, becomes tokens; or goes back where the service fails before
//! that is certain. Nothing stays open whose tokens no client holds.

use shared::problem::Problem;
use shared::session::{SessionId, UserId};
use shared::token::Thumbprint;

use super::{TokenRequest, with_id_token};
use crate::authorization::claims::RequestedClaims;
use crate::clients::GrantType;
use crate::consent_epoch::ConsentEpoch;
use crate::grants::{self, NewGrant};
use crate::issue::{self, ClientTokens, ToClient};
use crate::oauth_error::OAuthError;
use crate::scopes::Words;
use crate::storage::grants::{Grant, GrantId};
use crate::{codes, end_session};

/// What a person has allowed a client, and that it is about to be given.
pub(super) struct NewTokens {
    pub(super) grant: GrantId,
    pub(super) session: SessionId,
    pub(super) user: UserId,
    pub(super) scope: Words,
    pub(super) granted_audiences: Words,
    /// Those of them that this token is for.
    pub(super) audiences: Words,
    pub(super) nonce: Option<String>,
    pub(super) claims: RequestedClaims,
    /// The key that the tokens are bound to.
    pub(super) bound_to: Option<Thumbprint>,
    /// In which the person has allowed it.
    pub(super) epoch: ConsentEpoch,
}

/// Why nothing was given.
pub(super) enum NotGiven {
    /// It may not be.
    Refused(OAuthError),
    /// The service failed. All is as it was, and to try again is safe.
    AsBefore(OAuthError),
    /// The service failed, and what was used up stays so.
    Lost,
}

impl NotGiven {
    pub(super) fn is_as_before(&self) -> bool {
        matches!(self, Self::AsBefore(_))
    }

    /// The refusal, or the one for what is lost.
    pub(super) fn or(self, lost: fn() -> OAuthError) -> OAuthError {
        match self {
            Self::Refused(error) | Self::AsBefore(error) => error,
            Self::Lost => lost(),
        }
    }
}

/// Begins the grant, and gives what comes with it. What was used up for it goes back by `give_back` where the service fails;
/// that answers `false` where it may not.
pub(super) async fn give(
    request: &TokenRequest<'_>,
    new: NewTokens,
    give_back: impl AsyncFnOnce() -> Result<bool, Problem>,
) -> Result<ClientTokens, NotGiven> {
    let mut begun = None;
    let failed = match try_to_give(request, new, &mut begun).await {
        Err(error) if error.status().is_server_error() => error,
        given => return given.map_err(NotGiven::Refused),
    };
    let TokenRequest { service, by, .. } = request;
    if let Some(grant) = begun {
        grants::take_back(service, grant, by).await;
    }
    match give_back().await {
        Ok(true) => Err(NotGiven::AsBefore(failed)),
        Ok(false) => Err(NotGiven::Lost),
        Err(problem) => {
            tracing::warn!(%problem, %failed, "what was used up for tokens that were not given is lost");
            Err(NotGiven::Lost)
        }
    }
}

/// Gives no more than the client may have by now, and notes the grant that may have `begun`.
async fn try_to_give(
    request: &TokenRequest<'_>,
    new: NewTokens,
    begun: &mut Option<Grant>,
) -> Result<ClientTokens, OAuthError> {
    let (TokenRequest { service, client, by, .. }, bound_to) = (request, new.bound_to);
    let left = grants::left(service, client, &new.scope, &new.granted_audiences);
    let (scope, granted_audiences) = left.ok_or_else(OAuthError::invalid_grant)?;
    let audiences = new.audiences.within(&granted_audiences);
    let claims = new.claims.left(&client.words(), &new.scope, &scope);
    let user = service.users.by_id(new.user).await?.ok_or_else(OAuthError::invalid_grant)?;
    let refreshable = client.allows_grant(GrantType::RefreshToken);
    let grant = NewGrant {
        id: new.grant,
        session: new.session,
        user: new.user,
        client_id: client.id.clone(),
        scope: scope.clone(),
        audiences: granted_audiences,
        claims: serde_json::to_string(&claims).map_err(Problem::internal)?,
        // A confidential client's refresh token is bound to the client's own proof (RFC 9449, section 5).
        dpop_jkt: bound_to.filter(|_| client.is_public()).map(|key| key.to_string()),
        refreshable,
        epoch: new.epoch,
    };
    *begun = Some(grant.begun_at(service.clock.now()));
    let (grant, session) = grants::begin(service, grant, by).await?.ok_or_else(OAuthError::invalid_grant)?;
    // A session of an account that has changed since is about to end, if it has not yet.
    if !end_session::is_current(&user, &session) || codes::is_betrayed(service, grant.id).await? {
        grants::end(service, &grant, grants::EndOfGrant::NotGiven, by).await?;
        return Err(OAuthError::invalid_grant());
    }
    let (audiences, scope) = (&audiences, &scope);
    let to = ToClient { user: &user, session: &session, grant: &grant, audiences, scope, bound_to };
    let tokens = issue::to_client(service, &to, refreshable.then_some(1))?;
    with_id_token(service, client, &to, tokens, new.nonce.as_deref(), &claims)
}
