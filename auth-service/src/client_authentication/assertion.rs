//! A client's signed assertion (RFC 7523, section 3): read strictly, believed only under a key of the client's, and only
//! once.

use std::time::Duration;

use actix_web::HttpRequest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, de};
use shared::clock::Timestamp;
use shared::key_value::Key;

use crate::AuthService;
use crate::clients::{AssertionAlg, Client};
use crate::oauth_error::OAuthError;
use crate::refusals::Reason;
use crate::small_values::Payer;

/// The largest assertion that is looked at: 8 KiB.
const MAX_BYTES: usize = 8 * 1024;
/// How far ahead an assertion may expire: one hour, as some libraries write it. It is remembered for as long.
const LONGEST_LIFE: Duration = Duration::from_secs(3_600);
/// How far a client's clock may be ahead of this one.
const CLOCK_SKEW: Duration = Duration::from_secs(30);
const MAX_ID: usize = 256;

/// Members that name a key in the token itself (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: Moment,
    nbf: Option<Moment>,
    iat: Option<Moment>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A NumericDate (RFC 7519, section 2), in whole seconds.
#[derive(Clone, Copy)]
struct Moment(i64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        #[expect(clippy::cast_possible_truncation, reason = "a number out of range becomes the nearest in range")]
        let seconds = number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64));
        seconds.filter(|seconds| *seconds >= 0).map(Self).ok_or_else(|| de::Error::custom("expected seconds"))
    }
}

/// What an assertion says. Only a claim, until it is proven.
pub(super) struct Assertion {
    alg: AssertionAlg,
    key_id: Option<String>,
    claims: Claims,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Assertion {
    /// Reads an assertion, or nothing where it is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.').filter(|_| text.len() <= MAX_BYTES)?;
        let (header, payload) = message.split_once('.')?;
        let header: Header = read_part(header)?;
        let is_jwt = header
            .typ
            .is_none_or(|typ| ["JWT", "client-authentication+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known)));
        let claims: Claims = read_part(payload)?;
        let has_id = (1..=MAX_ID).contains(&claims.jti.len());
        if !is_jwt || header.crit.is_some() || claims.iss != claims.sub || !has_id {
            return None;
        }
        Some(Self {
            alg: AssertionAlg::from_name(&header.alg)?,
            key_id: header.kid,
            claims,
            message: message.as_bytes().to_vec(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// The client that it says it is of.
    pub(super) fn client_id(&self) -> &str {
        &self.claims.sub
    }

    /// Whether it proves that `client` sends this request, or why it does not. A second time, it proves nothing.
    ///
    /// # Errors
    /// 429 when a client that registered itself has left too much behind; 503: nothing can be remembered, so nothing is believed.
    pub(super) async fn proves(
        &self,
        service: &AuthService,
        client: &Client,
        http: &HttpRequest,
    ) -> Result<Result<(), Reason>, OAuthError> {
        let (now, expires_at) = (service.clock.now(), Timestamp::from_seconds(self.claims.exp.0));
        let registered = client.metadata.token_endpoint_auth_signing_alg;
        if registered.is_some_and(|registered| registered != self.alg) {
            return Ok(Err(Reason::WrongAlgorithm));
        }
        if !self.is_for(&service.issuer, http.path()) {
            return Ok(Err(Reason::WrongAudience));
        }
        if let Err(reason) = self.is_timely(now, expires_at) {
            return Ok(Err(reason));
        }
        let key_id = self.key_id.as_deref();
        let keys = service.client_keys.of(client, self.alg, key_id).await;
        let Some(keys) = keys.filter(|keys| keys.knows(self.alg, key_id)) else {
            return Ok(Err(Reason::UnknownKey));
        };
        if !keys.verify(self.alg, key_id, &self.message, &self.signature) {
            return Ok(Err(Reason::WrongSignature));
        }
        let once = Key::new("client-assertion", format!("{} {}", client.id, self.claims.jti).as_bytes());
        let payer = Payer::Client(client.id.clone());
        let is_first = service.key_values.claim(&once, b"", expires_at.since(now) + CLOCK_SKEW, &payer).await?;
        Ok(is_first.then_some(()).ok_or(Reason::Repeated))
    }

    /// Whether it names the issuer, the token endpoint or the endpoint that it was sent to, and nobody else: others could
    /// present it as theirs.
    fn is_for(&self, issuer: &str, path: &str) -> bool {
        let base = issuer.trim_end_matches('/');
        let is_ours = |name: &String| {
            name == issuer || name.strip_prefix(base).is_some_and(|rest| rest == "/oauth2/token" || rest == path)
        };
        match &self.claims.aud {
            Audience::One(name) => is_ours(name),
            Audience::Many(names) => !names.is_empty() && names.iter().all(is_ours),
        }
    }

    fn is_timely(&self, now: Timestamp, expires_at: Timestamp) -> Result<(), Reason> {
        let begun =
            |moment: Option<Moment>| moment.is_none_or(|moment| Timestamp::from_seconds(moment.0) <= now + CLOCK_SKEW);
        match () {
            () if now >= expires_at => Err(Reason::Expired),
            () if expires_at > now + LONGEST_LIFE + CLOCK_SKEW => Err(Reason::TooLongLived),
            () if !begun(self.claims.nbf) || !begun(self.claims.iat) => Err(Reason::NotYetValid),
            () => Ok(()),
        }
    }
}

/// A JSON object in base64url. An array is refused: serde would take it for a struct.
fn read_part<T: DeserializeOwned>(part: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(&json).ok()).flatten()
}
