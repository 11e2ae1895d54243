//! A session becomes tokens.

use aws_lc_rs::rand;
use serde::Serialize;
use serde_json::Value;
use shared::problem::Problem;
use shared::session::{Attributes, Session, SessionId};
use shared::token::{AccessClaims, Actor, Confirmation, PLATFORM_CLIENT, Subject, Thumbprint, UserToken};
use utoipa::ToSchema;

use crate::AuthService;
use crate::accounts::Profile;
use crate::clients::Client;
use crate::id_token::ACR;
use crate::refresh_token::RefreshToken;
use crate::scopes::Words;
use crate::self_contained;
use crate::storage::grants::{Grant, GrantId};
use crate::storage::users::User;

/// What a client gets at a login and at each refresh (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub struct TokenResponse {
    /// A JWT for all services (RFC 9068).
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token lives.
    #[schema(minimum = 0, example = 300)]
    expires_in: i64,
    /// Good for one refresh.
    refresh_token: String,
    session_id: SessionId,
    user: Profile,
}

/// Issues an access token for all services, and the refresh token of that generation.
///
/// # Errors
/// 503 when no signing key is in use.
pub fn issue(service: &AuthService, user: &User, session: &Session, generation: u64) -> Result<TokenResponse, Problem> {
    let claims = AccessClaims {
        aud: service.audiences.clone(),
        scope: service.api_scopes.scope(),
        attributes: if self_contained::is_demanded(service) { session.attributes.clone() } else { Attributes::new() },
        ..claims_of(service, user, session, PLATFORM_CLIENT)
    };
    let refresh_token = if self_contained::is_demanded(service) {
        self_contained::write(service, session)?
    } else {
        let client = PLATFORM_CLIENT.to_owned();
        service.refresh_tokens.write(&RefreshToken { session: session.id, client, generation })
    };
    Ok(TokenResponse {
        access_token: service.keys.sign_access(&claims)?,
        token_type: "Bearer",
        expires_in: (claims.exp - claims.iat).max(0),
        refresh_token,
        session_id: session.id,
        user: Profile::of(user),
    })
}

/// What a user's client gets at the token endpoint (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub struct ClientTokens {
    /// A JWT (RFC 9068).
    pub access_token: String,
    /// Of a token exchange (RFC 8693, section 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token lives.
    #[schema(minimum = 0, example = 300)]
    expires_in: i64,
    /// Good for one refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Who the user is (OpenID Connect Core, section 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    /// What was granted.
    scope: String,
}

impl ClientTokens {
    pub fn with_id_token(self, id_token: String) -> Self {
        Self { id_token: Some(id_token), ..self }
    }
}

/// A client that gets tokens by a grant.
pub struct ToClient<'a> {
    pub user: &'a User,
    pub session: &'a Session,
    pub grant: &'a Grant,
    pub audiences: &'a Words,
    pub scope: &'a Words,
    /// The key without whose proof the access token is worth nothing.
    pub bound_to: Option<Thumbprint>,
}

/// Issues an access token by a grant, and the refresh token of that generation where there is one.
///
/// # Errors
/// 503 when no signing key is in use.
pub fn to_client(service: &AuthService, to: &ToClient<'_>, generation: Option<u64>) -> Result<ClientTokens, Problem> {
    let mut claims = AccessClaims {
        aud: to.audiences.to_vec(),
        scope: to.scope.to_string(),
        acr: Some(ACR.to_owned()),
        grant: Some(to.grant.id.to_string()),
        cnf: to.bound_to.map(|jkt| Confirmation { jkt }),
        ..claims_of(service, to.user, to.session, &to.grant.client_id)
    };
    // Roles are for services; whoever only wants to know who the user is does not get them.
    if to.scope.within(&service.api_scopes.words()).is_empty() {
        claims.roles.clear();
    }
    let client = to.grant.id.to_string();
    let refresh_token = generation.map(|generation| RefreshToken { session: to.session.id, client, generation });
    let refresh_token = refresh_token.map(|token| service.refresh_tokens.write(&token));
    Ok(ClientTokens { refresh_token, ..alone(service, &claims)? })
}

/// Issues a client an access token of its own: nobody has signed in.
///
/// # Errors
/// 503 when no signing key is in use.
pub fn to_itself(
    service: &AuthService,
    client: &Client,
    audiences: &Words,
    scope: &Words,
    bound_to: Option<Thumbprint>,
) -> Result<ClientTokens, Problem> {
    let now = service.clock.now();
    let claims = AccessClaims {
        iss: service.issuer.clone(),
        sub: Subject::Client(client.id.clone()),
        aud: audiences.to_vec(),
        exp: (now + service.rules.access_token_ttl).seconds(),
        iat: now.seconds(),
        jti: random_token_id(),
        sid: None,
        client_id: client.id.clone(),
        scope: scope.to_string(),
        roles: Vec::new(),
        auth_time: None,
        amr: Vec::new(),
        acr: None,
        act: None,
        cnf: bound_to.map(|jkt| Confirmation { jkt }),
        grant: None,
        attributes: Attributes::new(),
    };
    alone(service, &claims)
}

/// A client that acts for a user who called it.
pub struct OnBehalf<'a> {
    pub client_id: &'a str,
    pub user: &'a User,
    pub session: &'a Session,
    /// The token that the user called with.
    pub subject: &'a UserToken,
    pub actor: Actor,
    /// The key without whose proof the new token is worth nothing.
    pub bound_to: Option<Thumbprint>,
}

/// Issues an access token in a user's name, that ends no later than the one that the user called with, and with its grant.
///
/// # Errors
/// 503 when no signing key is in use.
pub fn on_behalf(
    service: &AuthService,
    on_behalf: &OnBehalf<'_>,
    audiences: &Words,
    scope: &Words,
) -> Result<ClientTokens, Problem> {
    let OnBehalf { client_id, user, session, subject, actor, bound_to } = on_behalf;
    let fresh = claims_of(service, user, session, client_id);
    let claims = AccessClaims {
        aud: audiences.to_vec(),
        scope: scope.to_string(),
        exp: fresh.exp.min(subject.expires_at.seconds()),
        auth_time: Some(subject.auth_time.seconds()),
        act: Some(actor.clone()),
        cnf: bound_to.map(|jkt| Confirmation { jkt }),
        grant: subject.grant.map(|grant| GrantId::from(grant).to_string()),
        // Where no store keeps the session, it ends by these.
        attributes: subject.attributes.clone(),
        ..fresh
    };
    let issued = alone(service, &claims)?;
    Ok(ClientTokens { issued_token_type: Some("urn:ietf:params:oauth:token-type:access_token"), ..issued })
}

/// An access token alone.
fn alone(service: &AuthService, claims: &AccessClaims) -> Result<ClientTokens, Problem> {
    Ok(ClientTokens {
        access_token: service.keys.sign_access(claims)?,
        issued_token_type: None,
        token_type: if claims.cnf.is_some() { "DPoP" } else { "Bearer" },
        expires_in: (claims.exp - claims.iat).max(0),
        refresh_token: None,
        id_token: None,
        scope: claims.scope.clone(),
    })
}

/// The services that an access token of ours is for.
pub fn audience_of(service: &AuthService, token: &str) -> Option<Words> {
    match service.keys.verify_own(token, "at+jwt")?.get("aud")? {
        Value::String(one) => Some([one.as_str()].into_iter().collect()),
        Value::Array(many) => Some(many.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

/// What every access token of a user's says. For nobody and nothing yet.
fn claims_of(service: &AuthService, user: &User, session: &Session, client_id: &str) -> AccessClaims {
    let now = service.clock.now();
    AccessClaims {
        iss: service.issuer.clone(),
        sub: user.id.into(),
        aud: Vec::new(),
        // A token never outlives its session.
        exp: (now + service.rules.access_token_ttl).min(session.expires_at).seconds(),
        iat: now.seconds(),
        jti: random_token_id(),
        sid: Some(session.id),
        client_id: client_id.to_owned(),
        scope: String::new(),
        roles: user.roles.to_vec(),
        // By the store's clock, which may be ahead of this one.
        auth_time: Some(session.auth_time().min(now).seconds()),
        amr: session.amr.clone(),
        acr: None,
        act: None,
        cnf: None,
        grant: None,
        attributes: Attributes::new(),
    }
}

fn random_token_id() -> String {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    format!("{:032x}", u128::from_be_bytes(bytes))
}
