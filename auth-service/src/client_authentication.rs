//! Which client sends a request, and how it proves that (RFC 6749, section 2.3; RFC 7523; OpenID Connect Core, section 9).
//! Exactly one method at a time, of the kind that is registered: a secret comes in the header or in the form. An unknown client
//! and one without a proof get one answer.

mod assertion;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use shared::problem::Problem;

use self::assertion::Assertion;
use crate::AuthService;
use crate::clients::secret::is_one_of;
use crate::clients::{self, AuthMethod, Client};
use crate::form::{Form, decode};
use crate::oauth_error::OAuthError;
use crate::refusals::Reason;
use crate::storage::audit::{Act, Actor, By, Entry};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a request shows.
struct Presented {
    client_id: String,
    proof: Proof,
}

enum Proof {
    None,
    Basic(SecretString),
    Post(SecretString),
    Assertion(Box<Assertion>),
}

impl Proof {
    fn method(&self) -> AuthMethod {
        match self {
            Self::None => AuthMethod::None,
            Self::Basic(_) => AuthMethod::ClientSecretBasic,
            Self::Post(_) => AuthMethod::ClientSecretPost,
            Self::Assertion(_) => AuthMethod::PrivateKeyJwt,
        }
    }
}

/// The client that sends this request. One that has no secret (`none`) is only named by this, not proven.
///
/// # Errors
/// 400 `invalid_request` for several methods at once; 401 `invalid_client`; 429 after too many failures; 503 when
/// something needed does not answer.
pub async fn authenticate(service: &AuthService, request: &HttpRequest, form: &Form) -> Result<Client, OAuthError> {
    let uses_header = request.headers().contains_key(AUTHORIZATION);
    let presented = present(request, form)?;
    let client = match &presented {
        None => clients::find(service, form.get("client_id").unwrap_or_default()).await?,
        Some(presented) => clients::find(service, &presented.client_id).await?,
    };
    let proven = match &presented {
        None => Err(Reason::Unreadable),
        Some(presented) => prove(service, request, client.as_ref(), &presented.proof).await?,
    };
    let (client, reason) = match (client, proven) {
        (Some(client), Ok(())) => return Ok(client),
        (client, Err(reason)) => (client, reason),
        (None, Ok(())) => (None, Reason::UnknownClient),
    };
    tell(service, form, client.as_ref(), presented.as_ref(), reason);
    if let (Some(client), Some(presented), Reason::WrongMethod) = (&client, &presented, reason)
        && client.metadata.token_endpoint_auth_method.takes(presented.proof.method(), false)
    {
        return Err(other_method(client, uses_header));
    }
    Err(refuse(service, request, client.as_ref(), uses_header).await)
}

/// Leaves the reason in the log: the answer is the same for all.
fn tell(service: &AuthService, form: &Form, client: Option<&Client>, presented: Option<&Presented>, reason: Reason) {
    let named = presented.map_or_else(|| form.get("client_id").unwrap_or_default(), |presented| &presented.client_id);
    let shown = presented.map_or("unreadable", |presented| presented.proof.method().as_str());
    let registered = client.map(|client| client.metadata.token_endpoint_auth_method.as_str());
    service.refusals.of_authentication(reason, named, shown, registered);
}

/// What the request shows, or nothing where that cannot be read.
fn present(request: &HttpRequest, form: &Form) -> Result<Option<Presented>, OAuthError> {
    let headers: Vec<_> = request.headers().get_all(AUTHORIZATION).collect();
    let (secret, assertion) = (form.secret("client_secret"), form.get("client_assertion"));
    if headers.len() + usize::from(secret.is_some()) + usize::from(assertion.is_some()) > 1 {
        return Err(OAuthError::invalid_request("the client authenticates in more than one way"));
    }
    if assertion.is_some() != form.get("client_assertion_type").is_some() {
        return Err(OAuthError::invalid_request("client_assertion and client_assertion_type go together"));
    }
    let named = form.get("client_id").map(str::to_owned);
    let (client_id, proof) = match (headers.first(), secret, assertion) {
        (Some(header), ..) => {
            let Some((client_id, secret)) = header.to_str().ok().and_then(basic) else { return Ok(None) };
            (client_id, Proof::Basic(secret))
        }
        (None, _, Some(text)) => {
            let known = form.get("client_assertion_type") == Some(JWT_BEARER);
            let Some(assertion) = Assertion::read(text).filter(|_| known) else { return Ok(None) };
            (assertion.client_id().to_owned(), Proof::Assertion(Box::new(assertion)))
        }
        (None, secret, None) => {
            let Some(client_id) = named.clone() else { return Ok(None) };
            (client_id, secret.map_or(Proof::None, Proof::Post))
        }
    };
    let agrees = named.is_none_or(|named| named == client_id);
    Ok(agrees.then_some(Presented { client_id, proof }))
}

/// The credentials of the scheme `Basic`, both form-encoded first (RFC 6749, section 2.3.1). Many clients do not encode: behind
/// an id that is an address, the last colon parts the two.
fn basic(header: &str) -> Option<(String, SecretString)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_matches(' ')).ok()?;
    let is_colon = |byte: &u8| *byte == b':';
    let colon = match decoded.starts_with(b"https://") {
        true => decoded.iter().rposition(is_colon)?,
        false => decoded.iter().position(is_colon)?,
    };
    let client_id = decode(&decoded[..colon]).ok()?;
    let secret = decode(&decoded[colon + 1..]).ok()?;
    (!secret.is_empty()).then(|| (client_id, secret.into()))
}

/// Whether the proof is the client's, or why it is not.
async fn prove(
    service: &AuthService,
    request: &HttpRequest,
    client: Option<&Client>,
    proof: &Proof,
) -> Result<Result<(), Reason>, OAuthError> {
    let takes = |strictly| {
        client.is_some_and(|client| client.metadata.token_endpoint_auth_method.takes(proof.method(), strictly))
    };
    let misfit = if client.is_some() { Reason::WrongMethod } else { Reason::UnknownClient };
    Ok(match proof {
        Proof::None => takes(true).then_some(()).ok_or(misfit),
        Proof::Basic(secret) | Proof::Post(secret) => {
            // Compared in any case: the time does not tell who is known.
            let hashes = client.map_or([None, None], |client| client.secret_hashes(service.clock.now()));
            let is_right = is_one_of(hashes, secret.expose_secret());
            let strictly = client.is_some_and(|client| client.metadata.strict_auth_method);
            match is_right {
                true if takes(strictly) => Ok(()),
                false if takes(false) => Err(Reason::WrongSecret),
                _ => Err(misfit),
            }
        }
        Proof::Assertion(assertion) => match client.filter(|_| takes(true)) {
            Some(client) => assertion.proves(service, client, request).await?,
            None => Err(misfit),
        },
    })
}

/// For a client that has proven who it is: it may be told why it is refused.
fn other_method(client: &Client, uses_header: bool) -> OAuthError {
    let method = client.metadata.token_endpoint_auth_method.as_str();
    let detail = format!("the secret is right, but this client is registered for {method} alone (strict_auth_method)");
    challenged(OAuthError::with_status(StatusCode::UNAUTHORIZED, "invalid_client", detail), uses_header)
}

/// Counts the failure, for what was named and from where, and answers it. A client is never shut out by others' failures:
/// what it proves is not counted.
///
/// All clients that do not exist share one counter: with one for each name, a stranger could make any number of them.
async fn refuse(
    service: &AuthService,
    request: &HttpRequest,
    client: Option<&Client>,
    uses_header: bool,
) -> OAuthError {
    let address = service.trusted_proxies.address_of(request);
    let named = client.map_or("", |client| client.id.as_str());
    match service.throttle.client_failure(named, address).await {
        Err(unavailable) => return unavailable.into(),
        Ok(Err(throttled)) => {
            if throttled.is_first {
                let by = By { actor: Actor::Anonymous, address: address.map(|address| address.to_string()) };
                let entry = Entry::refused(Act::AuthenticateClient, &by, "throttled");
                let entry = match clients::find(service, named).await {
                    Ok(Some(client)) => entry.client(&client.id),
                    _ => entry.detail(named),
                };
                service.record_or_log(&entry).await;
            }
            return Problem::from(throttled).into();
        }
        Ok(Ok(())) => {}
    }
    challenged(OAuthError::invalid_client(), uses_header)
}

fn challenged(error: OAuthError, uses_header: bool) -> OAuthError {
    if uses_header { error.header(WWW_AUTHENTICATE, "Basic realm=\"clients\", charset=\"UTF-8\"") } else { error }
}
