//! Access tokens that are signed with a secret which all services share (HS256; RFC 7518, section 3.2), for platforms whose
//! other services cannot verify anything else. Owns the secret and what it signs; no published key is ever taken for it.
//!
//! Whoever can verify such a token can also issue one. That is what `JWT_COMPATIBILITY` gives up, and why nothing else
//! leads here.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{TokenError, read_object};
use crate::config::Setting;

/// As long as the hash (RFC 7518, section 3.2).
const SHORTEST: usize = 32;
/// A text with fewer different characters was not made by chance.
const FEWEST_CHARACTERS: usize = 10;
/// More secrets than a rotation needs would only cost time on every forged token.
const MOST_SECRETS: usize = 4;

/// The header of every token that is signed so. There is one secret to verify with, so it names no key.
static HEADER: LazyLock<String> = LazyLock::new(|| URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"at+jwt"}"#));

/// The secrets of the platform: the first signs, all verify. So a new one is put in front at every service, and the old one
/// is taken out once its last token has expired. A copy is the same.
#[derive(Clone)]
pub struct SharedSecret(Arc<[hmac::Key]>);

/// The text is no list of strong secrets. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected at least {SHORTEST} visible ASCII characters made by chance (`openssl rand -hex 32`), or up to {MOST_SECRETS} \
     such secrets with commas between"
)]
pub struct WeakSecret;

/// What the header says, and nothing else: a `kid`, a `jku` or a `jwk` would name another key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
}

impl SharedSecret {
    /// # Errors
    /// One of the secrets is short, repeats itself or is no visible text, or there are too many.
    pub fn parse(text: &SecretString) -> Result<Self, WeakSecret> {
        let secrets: Vec<&str> = text.expose_secret().split(',').map(str::trim).collect();
        if secrets.len() > MOST_SECRETS || !secrets.iter().all(|secret| is_strong(secret)) {
            return Err(WeakSecret);
        }
        Ok(Self(secrets.iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())).collect()))
    }

    /// An access token with these claims.
    ///
    /// # Errors
    /// The claims are no JSON.
    pub fn sign(&self, claims: &impl Serialize) -> serde_json::Result<String> {
        let signed = format!("{}.{}", *HEADER, URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?));
        let signature = hmac::sign(&self.0[0], signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// The payload of an access token that one of the secrets signed. Compared in constant time.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] for what is no such token, [`TokenError::BadSignature`] for another algorithm or secret.
    pub fn open(&self, token: &str) -> Result<Vec<u8>, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
        let Header { alg, typ } = read_object(&decode(header)?).ok_or(TokenError::Malformed)?;
        if !typ.eq_ignore_ascii_case("at+jwt") {
            return Err(TokenError::Malformed);
        }
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        let is_signed = |key: &hmac::Key| hmac::verify(key, message.as_bytes(), &signature).is_ok();
        if alg == "HS256" && self.0.iter().any(is_signed) { Ok(payload) } else { Err(TokenError::BadSignature) }
    }
}

fn is_strong(secret: &str) -> bool {
    let different: BTreeSet<u8> = secret.bytes().collect();
    secret.len() >= SHORTEST
        && secret.bytes().all(|byte| byte.is_ascii_graphic())
        && different.len() >= FEWEST_CHARACTERS
}

impl Setting for SharedSecret {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(&text.into()).map_err(|error| error.to_string())
    }

    fn stand_in(_: &str) -> Result<Self, String> {
        let mut secret = [0; SHORTEST];
        aws_lc_rs::rand::fill(&mut secret).map_err(|error| error.to_string())?;
        <Self as Setting>::parse(&URL_SAFE_NO_PAD.encode(secret))
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSecret({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";

    fn secret(text: &str) -> SharedSecret {
        SharedSecret::parse(&text.into()).expect("a strong secret")
    }

    #[test]
    fn a_secret_opens_what_it_signed_and_nothing_else() {
        let token = secret(OLD).sign(&json!({"sub": "ada"})).expect("JSON");
        assert_eq!(secret(OLD).open(&token), Ok(br#"{"sub":"ada"}"#.to_vec()));
        assert_eq!(secret(NEW).open(&token), Err(TokenError::BadSignature));
        for place in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("text");
            assert!(secret(OLD).open(&changed).is_err(), "character {place}");
            assert!(secret(OLD).open(&token[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_new_secret_in_front_still_opens_the_tokens_of_the_old_one() {
        let both = secret(&format!("{NEW},{OLD}"));
        assert!(both.open(&secret(OLD).sign(&json!({})).expect("JSON")).is_ok());
        assert!(secret(NEW).open(&both.sign(&json!({})).expect("JSON")).is_ok(), "the first one signs");
    }

    #[test]
    fn only_the_one_header_is_read() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, OLD.as_bytes());
        let signed_under = |header: &str| {
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
            let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()).as_ref());
            secret(OLD).open(&format!("{message}.{signature}"))
        };
        assert!(signed_under(r#"{"typ":"AT+jwt","alg":"HS256"}"#).is_ok());
        for header in [
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"alg":"HS512","typ":"at+jwt"}"#,
            r#"{"alg":"hs256","typ":"at+jwt"}"#,
            r#"{"alg":"none","typ":"at+jwt"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
            r#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#,
            r#"{"alg":"HS256","typ":"at+jwt","jwk":{}}"#,
            r#"{"alg":"HS256","alg":"HS256","typ":"at+jwt"}"#,
            r#"["HS256","at+jwt"]"#,
            "",
        ] {
            assert!(signed_under(header).is_err(), "{header}");
        }
    }

    #[test]
    fn a_weak_secret_is_refused() {
        let repeated = "ab".repeat(32);
        let five = [OLD; 5].join(",");
        for refused in ["", "secret", &OLD[..31], &repeated, &five, &format!("{OLD},"), &format!("{OLD},short")] {
            assert_eq!(SharedSecret::parse(&refused.into()).err(), Some(WeakSecret), "{refused:?} was taken");
        }
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{OLD}\n-----END PUBLIC KEY-----");
        assert_eq!(SharedSecret::parse(&pem.into()).err(), Some(WeakSecret), "a published key is no secret");
        assert!(SharedSecret::parse(&[OLD; 4].join(", ").into()).is_ok());
    }
}
