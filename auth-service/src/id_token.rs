//! ID tokens (OpenID Connect Core, section 2) and what is told about a user. Owns their claims; the signature is
//! `signing_keys`'.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use shared::problem::Problem;
use shared::session::{Session, SessionId, UserId};

use crate::AuthService;
use crate::authorization::claims::{Member, RequestedClaims};
use crate::clients::{Client, ResponseAlg};
use crate::scopes::Words;
use crate::signing_keys::SigningAlg;
use crate::storage::users::User;

/// The one authentication context class that there is: a password.
pub const ACR: &str = "urn:roam:acr:password";
/// How an ID token calls itself.
pub const TYP: &str = "JWT";

impl From<ResponseAlg> for SigningAlg {
    fn from(alg: ResponseAlg) -> Self {
        match alg {
            ResponseAlg::EdDsa => Self::EdDsa,
            ResponseAlg::Es256 => Self::Es256,
            ResponseAlg::Rs256 => Self::Rs256,
        }
    }
}

/// What an ID token is about.
pub struct NewIdToken<'a> {
    pub client: &'a Client,
    pub user: &'a User,
    pub session: &'a Session,
    pub nonce: Option<&'a str>,
    /// The access token that comes with it.
    pub access_token: &'a str,
    /// The scope that the access token has.
    pub scope: &'a Words,
    pub claims: &'a RequestedClaims,
}

/// Writes an ID token, with the claims of the scope and those that were asked for by name. Many applications never ask the
/// userinfo endpoint; a client with `minimal_id_token` gets the claims of its scope there alone, as OpenID Connect Core,
/// section 5.4, has it.
///
/// # Errors
/// 503 when no signing key is in use.
pub fn write(service: &AuthService, new: &NewIdToken<'_>) -> Result<String, Problem> {
    let now = service.clock.now();
    let alg: SigningAlg = new.client.metadata.id_token_signed_response_alg.into();
    let none = Words::default();
    let scope = if new.client.metadata.minimal_id_token { &none } else { new.scope };
    let mut claims = about(new.user, scope, &new.claims.id_token);
    let own = json!({
        "iss": service.issuer,
        "sub": new.user.id,
        "aud": new.client.id,
        "exp": (now + service.rules.access_token_ttl).min(new.session.expires_at).seconds(),
        "iat": now.seconds(),
        "auth_time": new.session.auth_time().min(now).seconds(),
        "acr": ACR,
        "amr": new.session.amr,
        "sid": new.session.id,
        "at_hash": half_hash(alg, new.access_token),
    });
    let Value::Object(own) = own else { return Err(Problem::internal("claims are an object")) };
    claims.extend(own);
    claims.extend(new.nonce.map(|nonce| ("nonce".to_owned(), nonce.into())));
    service.keys.sign(TYP, alg, &claims)
}

/// `at_hash` (OpenID Connect Core, section 3.1.3.6): the left half of the hash that belongs to the algorithm.
fn half_hash(alg: SigningAlg, text: &str) -> String {
    let hash = match alg {
        SigningAlg::EdDsa => &digest::SHA512,
        SigningAlg::Es256 | SigningAlg::Rs256 => &digest::SHA256,
    };
    let hash = digest::digest(hash, text.as_bytes());
    let half = &hash.as_ref()[..hash.as_ref().len() / 2];
    URL_SAFE_NO_PAD.encode(half)
}

/// The claims about a user: those of the scope (OpenID Connect Core, section 5.4), and those that were asked for by name.
/// `preferred_username` is the address that the user signs in with, so it needs the scope `email` too: a name that users
/// choose themselves could be another user's at an application that takes it for an account. `email_verified` is left out as
/// long as it is not known.
pub fn about(
    user: &User,
    scope: &Words,
    requested: &std::collections::BTreeMap<String, Option<Member>>,
) -> Map<String, Value> {
    let known = [
        ("name", "profile", json!(user.display_name)),
        ("updated_at", "profile", json!(user.created_at.seconds())),
        ("email", "email", json!(user.email)),
    ];
    let is_told = |name: &str, word| scope.has(word) || requested.contains_key(name);
    let told = known.into_iter().filter(|(name, word, _)| is_told(name, word));
    let mut told: Map<_, _> = told.map(|(name, _, value)| (name.to_owned(), value)).collect();
    if is_told("preferred_username", "profile") && told.contains_key("email") {
        told.insert("preferred_username".to_owned(), json!(user.email));
    }
    told
}

/// Whom an ID token of ours was about, however long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    pub user: UserId,
    pub session: Option<SessionId>,
    /// The client that it was written for.
    pub client_id: String,
    /// What it says of the user's address: whoever brings it knows that.
    pub email: Option<String>,
}

/// Reads an `id_token_hint`: an ID token of this issuer's under a good signature. It may have expired.
pub fn read_hint(service: &AuthService, text: &str) -> Option<Hint> {
    let claims = service.keys.verify_own(text, TYP)?;
    let word = |name: &str| claims.get(name).and_then(Value::as_str);
    if word("iss") != Some(&service.issuer) {
        return None;
    }
    Some(Hint {
        user: word("sub")?.parse().ok()?,
        session: word("sid").and_then(|text| text.parse().ok()),
        client_id: word("aud")?.to_owned(),
        email: word("email").map(str::to_owned),
    })
}
