//! Authorization codes (RFC 6749, section 4.1): good once, for a minute, for one client. Owns writing and redeeming them; a
//! code is kept under its hash only.

use std::time::Duration;

use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::key_value::Key;
use shared::problem::Problem;
use shared::session::{SessionId, UserId};
use shared::token::Thumbprint;

use crate::AuthService;
use crate::authorization::claims::RequestedClaims;
use crate::consent_epoch::ConsentEpoch;
use crate::grants;
use crate::oauth_error::OAuthError;
use crate::scopes::Words;
use crate::small_values::Payer;
use crate::storage::audit::{Act, By, Entry};
use crate::storage::grants::GrantId;

/// How long a code is good (RFC 6749, section 4.1.2, allows ten minutes).
const CODE_TTL: Duration = Duration::from_secs(60);
/// How long a second use is recognised, and ends what the first one gave.
const USED_TTL: Duration = Duration::from_secs(24 * 3600);

/// What a code stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Code {
    pub session: SessionId,
    pub user: UserId,
    pub client_id: String,
    pub redirect_uri: String,
    /// S256 of the verifier (RFC 7636, section 4.2), where there was one.
    pub code_challenge: Option<String>,
    pub scope: Words,
    pub audiences: Words,
    pub nonce: Option<String>,
    pub claims: RequestedClaims,
    /// The key that the tokens must be bound to (RFC 9449, section 10).
    pub dpop_jkt: Option<String>,
    pub auth_time: Timestamp,
    #[serde(default)]
    pub epoch: ConsentEpoch,
}

/// A random text of 256 bits, as codes and one-time ids are.
pub fn random_text() -> String {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// S256 (RFC 7636, section 4.2), and how one-time secrets are kept.
pub fn sha256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn code_key(text: &str) -> Key {
    Key::new("code", text.as_bytes())
}

fn used_key(text: &str) -> Key {
    Key::new("used_code", text.as_bytes())
}

/// Grants whose code was used twice while the first use was still under way.
fn betrayed_key(grant: GrantId) -> Key {
    Key::new("betrayed_grant", grant.to_string().as_bytes())
}

/// Writes a code.
///
/// # Errors
/// 429 when the user has left too much behind; 503 when the key-value store does not answer.
pub async fn write(service: &AuthService, code: &Code) -> Result<String, Problem> {
    let text = random_text();
    let value = serde_json::to_vec(code).map_err(Problem::internal)?;
    service.key_values.put(&code_key(&text), &value, CODE_TTL, &Payer::User(code.user)).await?;
    Ok(text)
}

/// Who presents a code, and with what.
pub struct Presented<'a> {
    pub client_id: &'a str,
    pub redirect_uri: &'a str,
    pub verifier: Option<&'a str>,
    /// The key that the client proved (RFC 9449).
    pub key: Option<Thumbprint>,
}

/// Returns what a code stands for, to the client that may use it. A second use ends what the first one gave (RFC 6749, section 4.1.2).
///
/// # Errors
/// `invalid_grant`; 503 when something needed does not answer.
pub async fn find(service: &AuthService, text: &str, presented: &Presented<'_>, by: &By) -> Result<Code, OAuthError> {
    let Some(value) = service.key_values.get(&code_key(text)).await? else {
        return Err(refuse_unknown(service, text, by).await);
    };
    let code: Code = serde_json::from_slice(&value).map_err(Problem::internal)?;
    // Whoever could not have used it does not use it up.
    let key_is_another =
        code.dpop_jkt.as_deref().is_some_and(|jkt| presented.key.is_none_or(|proven| jkt.parse() != Ok(proven)));
    if code.client_id != presented.client_id || code.redirect_uri != presented.redirect_uri || key_is_another {
        return Err(OAuthError::invalid_grant());
    }
    check_verifier(code.code_challenge.as_deref(), presented.verifier)?;
    Ok(code)
}

/// Uses up a code that was found: once. Answers the id of the grant that it becomes.
///
/// # Errors
/// As [`find`], for a second use; 429 when the user has left too much behind.
pub async fn use_up(service: &AuthService, text: &str, code: &Code, by: &By) -> Result<GrantId, OAuthError> {
    let (grant, payer) = (GrantId::random(), Payer::User(code.user));
    let used_by = grant.to_string();
    let first = service.key_values.claim(&used_key(text), used_by.as_bytes(), USED_TTL, &payer).await?;
    if first { Ok(grant) } else { Err(refuse_unknown(service, text, by).await) }
}

/// Forgets what a code stood for that is used up, or that was told to no client.
pub async fn forget(service: &AuthService, text: &str) {
    // It opens nothing any more, and expires within a minute.
    if let Err(error) = service.key_values.remove(&code_key(text)).await {
        tracing::debug!(%error, "what a code stood for is forgotten when it expires");
    }
}

/// Gives a code back that was used up for a grant which was not given: it is as good as before. `false` for one that was
/// presented a second time meanwhile.
///
/// # Errors
/// 503 when the key-value store does not answer.
pub async fn give_back(service: &AuthService, text: &str, grant: GrantId) -> Result<bool, Problem> {
    if is_betrayed(service, grant).await? {
        return Ok(false);
    }
    service.key_values.remove(&used_key(text)).await?;
    Ok(true)
}

/// Whether the code of this grant was used a second time since: what was given then must be taken back.
///
/// # Errors
/// 503 when the key-value store does not answer.
pub async fn is_betrayed(service: &AuthService, grant: GrantId) -> Result<bool, Problem> {
    Ok(service.key_values.get(&betrayed_key(grant)).await?.is_some())
}

/// The challenge that was sent decides, and a verifier without one is a downgrade (RFC 9700, section 2.1.1).
fn check_verifier(challenge: Option<&str>, verifier: Option<&str>) -> Result<(), OAuthError> {
    match (challenge, verifier) {
        (None, None) => Ok(()),
        (Some(challenge), Some(verifier)) if is_verifier(verifier) => {
            let same = constant_time::verify_slices_are_equal(challenge.as_bytes(), sha256(verifier).as_bytes());
            same.map_err(|_| OAuthError::invalid_grant())
        }
        (Some(_), _) => Err(OAuthError::new("invalid_grant", "the code_verifier is missing, or is none")),
        (None, Some(_)) => Err(OAuthError::new("invalid_grant", "there was no code_challenge for this code_verifier")),
    }
}

/// RFC 7636, section 4.1.
fn is_verifier(text: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.bytes().all(unreserved)
}

/// `invalid_grant`, and the end of what the code gave where it was used before; 503 when that end is not certain.
async fn refuse_unknown(service: &AuthService, text: &str, by: &By) -> OAuthError {
    match end_what_it_gave(service, text, by).await {
        Ok(()) => OAuthError::invalid_grant(),
        Err(problem) => problem.into(),
    }
}

async fn end_what_it_gave(service: &AuthService, text: &str, by: &By) -> Result<(), Problem> {
    let Some(used) = service.key_values.get(&used_key(text)).await? else { return Ok(()) };
    let Some(id) = std::str::from_utf8(&used).ok().and_then(|id| id.parse::<GrantId>().ok()) else { return Ok(()) };
    // At most one for each code that was used, which its user has paid for.
    service.key_values.put(&betrayed_key(id), b"1", CODE_TTL, &Payer::Platform).await?;
    if let Some(grant) = crate::storage::grants::by_id(&service.database, id).await?
        && grant.ended_at.is_none()
    {
        tracing::warn!(client = grant.client_id, grant = %id, "an authorization code was used twice: what it gave has ended");
        let entry = Entry::refused(Act::Grant, by, "code_reused").subject(grant.user_id).session(grant.session.0);
        service.record_or_log(&entry).await;
        grants::end(service, &grant, grants::EndOfGrant::CodeReused, by).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn a_challenge_opens_with_its_verifier_alone() {
        assert!(check_verifier(Some(CHALLENGE), Some(VERIFIER)).is_ok());
        assert!(check_verifier(None, None).is_ok());
        let short = &VERIFIER[..42];
        let long = VERIFIER.repeat(3);
        for odd in [
            None,
            Some(CHALLENGE),
            Some(short),
            Some(&*long),
            Some(""),
            Some("dBjftJeZ4CVP mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ] {
            assert!(check_verifier(Some(CHALLENGE), odd).is_err(), "{odd:?} was taken");
        }
        assert!(check_verifier(None, Some(VERIFIER)).is_err(), "a downgrade");
    }
}
