//! An authorization request (RFC 6749, section 4.1.1; OpenID Connect Core, section 3.1.2.1) that reads well and that its
//! client may make. Rules only.

use serde::{Deserialize, Serialize};
use shared::session::UserId;
use url::Url;

use super::claims::RequestedClaims;
use crate::clients::Client;
use crate::form::Form;
use crate::id_token::Hint;
use crate::oauth_error::OAuthError;
use crate::scopes::{ApiScopes, OPENID, Words};

/// The longest `state`, in bytes, here and at a sign-out.
pub const LONGEST_STATE: usize = 4096;
/// The longest `nonce`, in bytes.
const LONGEST_NONCE: usize = 2048;
/// The parameters of a request. Others mean nothing here, and are dropped.
pub const PARAMETERS: [&str; 22] = [
    "acr_values",
    "audience",
    "claims",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "dpop_jkt",
    "id_token_hint",
    "login_hint",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "registration",
    "request",
    "request_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "ui_locales",
];
/// The name of a resource that has no address of its own (RFC 8707): `urn:roam:SERVICE`.
const RESOURCE_PREFIX: &str = "urn:roam:";

/// How the answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseMode {
    Query,
    /// For refusals alone: no code goes there.
    Fragment,
    FormPost,
}

impl ResponseMode {
    /// Where the client looks for the answer, a refusal too: by `response_mode`, or else where its `response_type` has it
    /// (OAuth 2.0 Multiple Response Type Encoding Practices, section 2.1).
    fn of(form: &Form) -> Self {
        let of_type = || {
            let types = form.get("response_type").unwrap_or_default();
            if types.split(' ').any(|word| matches!(word, "token" | "id_token")) { Self::Fragment } else { Self::Query }
        };
        match form.get("response_mode") {
            Some("query") => Self::Query,
            Some("fragment") => Self::Fragment,
            Some("form_post") => Self::FormPost,
            _ => of_type(),
        }
    }
}

/// Where the answer to a request goes, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnAddress {
    pub client_id: String,
    pub redirect_uri: String,
    pub mode: ResponseMode,
    pub state: Option<String>,
}

/// `prompt` (OpenID Connect Core, section 3.1.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    pub none: bool,
    pub login: bool,
    pub consent: bool,
    pub select_account: bool,
    /// `create` (Initiating User Registration 1.0).
    pub create: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    pub to: ReturnAddress,
    pub scope: Words,
    /// The services that the tokens are for.
    pub audiences: Words,
    pub code_challenge: Option<String>,
    pub nonce: Option<String>,
    pub prompt: Prompt,
    /// How old the login may be, in seconds.
    pub max_age: Option<u64>,
    pub login_hint: Option<String>,
    /// The one user that it is about.
    pub subject: Option<UserId>,
    /// That user's address, where the client has shown that it knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_email: Option<String>,
    pub ui_locales: Option<String>,
    pub acr_values: Vec<String>,
    pub claims: RequestedClaims,
    pub dpop_jkt: Option<String>,
}

impl AuthorizationRequest {
    /// All that the person must have allowed: the words of scope, and those that cover single claims.
    pub fn asked(&self) -> Words {
        self.scope.with(&self.claims.words())
    }

    /// Whether it is about one user, and this is not the one (OpenID Connect Core, section 3.1.2.1, `id_token_hint`).
    pub fn is_about_another_than(&self, user: UserId) -> bool {
        self.subject.is_some_and(|subject| subject != user)
    }
}

/// A refusal that the client is told: `error` and `error_description`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub error: &'static str,
    pub description: String,
}

impl Refusal {
    pub fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { error, description: description.into() }
    }
}

impl From<Refusal> for OAuthError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.error, refusal.description)
    }
}

fn invalid(description: impl Into<String>) -> Refusal {
    Refusal::new("invalid_request", description)
}

/// Where the answer goes. What fails here is shown to the person, never sent anywhere (RFC 6749, section 4.1.2.1).
///
/// # Errors
/// Why nobody can be answered, in words for the person.
pub fn return_address(form: &Form, client: &Client) -> Result<ReturnAddress, &'static str> {
    let given = form.get("redirect_uri").ok_or("the request does not say where to return to (redirect_uri)")?;
    let redirect_uri = client.redirect_uri(given).ok_or("the address to return to (redirect_uri) is not registered")?;
    let state = form.get("state").map(str::to_owned);
    // A client that did not get its state back could not tell which of its requests was refused.
    if state.as_ref().is_some_and(|state| state.len() > LONGEST_STATE) {
        return Err("the state is too long: it has at most 4,096 bytes");
    }
    let (client_id, redirect_uri) = (client.id.clone(), redirect_uri.as_str().to_owned());
    Ok(ReturnAddress { client_id, redirect_uri, mode: ResponseMode::of(form), state })
}

/// What the rest of a request says. `hint` is what an `id_token_hint` says that was verified.
///
/// # Errors
/// What the client is told.
pub fn read(
    form: &Form,
    client: &Client,
    to: ReturnAddress,
    scopes: &ApiScopes,
    issuer_audience: &str,
    hint: Option<Hint>,
) -> Result<AuthorizationRequest, Refusal> {
    refuse_request_objects(form)?;
    match form.get("response_type") {
        Some("code") => {}
        None => return Err(invalid("the parameter response_type is missing")),
        Some(_) => return Err(Refusal::new("unsupported_response_type", "the only response_type is code")),
    }
    if !matches!(form.get("response_mode"), None | Some("query" | "form_post")) {
        return Err(invalid("the response_mode is query or form_post"));
    }
    if !client.allows_grant(crate::clients::GrantType::AuthorizationCode) {
        return Err(Refusal::new("unauthorized_client", "the client may not use the authorization code grant"));
    }
    if form.get("nonce").is_some_and(|nonce| nonce.len() > LONGEST_NONCE) {
        return Err(invalid("the parameter nonce is too long"));
    }
    let scope = read_scope(form, client, scopes)?;
    let audiences = read_audiences(form, &scope, scopes, issuer_audience)?;
    let claims = form.get("claims").map(RequestedClaims::parse).transpose().map_err(invalid)?.unwrap_or_default();
    let subject = read_subject(&claims, hint.as_ref().map(|hint| hint.user))?;
    let max_age = form.get("max_age").map(|text| text.parse().map_err(|_| invalid("max_age is a number of seconds")));
    Ok(AuthorizationRequest {
        audiences,
        code_challenge: read_challenge(form, client)?,
        nonce: form.get("nonce").map(str::to_owned),
        prompt: read_prompt(form.get("prompt"))?,
        max_age: max_age.transpose()?.or(client.metadata.default_max_age.map(u64::from)),
        login_hint: form.get("login_hint").filter(|hint| hint.len() <= 320).map(str::to_owned),
        subject,
        subject_email: hint.and_then(|hint| hint.email),
        ui_locales: form.get("ui_locales").filter(|text| text.len() <= 100).map(str::to_owned),
        acr_values: form
            .get("acr_values")
            .unwrap_or_default()
            .split(' ')
            .take(10)
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect(),
        claims: claims.within(&covering(client, &scope)),
        dpop_jkt: read_jkt(form)?,
        scope,
        to,
    })
}

/// Request objects are not taken (OpenID Connect Core, sections 6.1 and 6.2). Nothing is fetched. A `request_uri` of a
/// pushed request was replaced by its parameters before.
fn refuse_request_objects(form: &Form) -> Result<(), Refusal> {
    if form.get("request").is_some() {
        return Err(Refusal::new("request_not_supported", "request objects are not supported"));
    }
    if form.get("request_uri").is_some() {
        return Err(Refusal::new("request_uri_not_supported", "request objects are not supported"));
    }
    if form.get("registration").is_some() {
        return Err(Refusal::new("registration_not_supported", "the registration parameter is not supported"));
    }
    Ok(())
}

/// The words whose claims a client may ask for one by one: those that are registered for it, where it is told anything at
/// all of the user.
pub fn covering(client: &Client, scope: &Words) -> Words {
    if scope.has(OPENID) { client.words() } else { Words::default() }
}

/// The words that are known and that the client may have: others are left out (RFC 6749, section 3.3).
///
/// # Errors
/// `invalid_scope` when none is left.
pub fn read_scope(form: &Form, client: &Client, scopes: &ApiScopes) -> Result<Words, Refusal> {
    let asked = Words::split(form.get("scope").unwrap_or_default());
    let granted = client.still_has(&asked.within(&scopes.known()));
    if granted.is_empty() {
        return Err(Refusal::new("invalid_scope", "the scope is missing, unknown, or not this client's"));
    }
    Ok(granted)
}

/// The services of the scope, or those of them that the request names: see [`targets`].
///
/// # Errors
/// `invalid_target`.
pub fn read_audiences(form: &Form, scope: &Words, scopes: &ApiScopes, issuer_audience: &str) -> Result<Words, Refusal> {
    targets(form, scopes.audiences(scope, issuer_audience), "opened by the scope")
}

/// Some of the services that were granted, where a token request names them (RFC 8707, section 2.2).
///
/// # Errors
/// `invalid_target`.
pub fn narrowed(form: &Form, granted: &Words) -> Result<Words, OAuthError> {
    Ok(targets(form, granted.clone(), "granted")?)
}

/// Those of the services `among` that `resource` (RFC 8707, section 2) and `audience` (RFC 8693, section 2.1) name; all
/// where neither is there.
///
/// # Errors
/// `invalid_target`, where one of the names is none of theirs.
fn targets(form: &Form, among: Words, which: &str) -> Result<Words, Refusal> {
    let of = |parameter: &'static str, find: fn(&str, &Words) -> Option<String>| {
        let found = form.all(parameter).map(|name| find(name, &among).ok_or(parameter));
        found.collect::<Result<Vec<_>, _>>()
    };
    let named = of("resource", by_resource).and_then(|resources| {
        let audiences = of("audience", by_audience)?;
        Ok(resources.iter().chain(&audiences).map(String::as_str).collect::<Words>())
    });
    match named {
        Ok(named) => Ok(if named.is_empty() { among } else { named }),
        Err(parameter) => {
            let description = format!("the parameter {parameter} names a service that is unknown, or not {which}");
            Err(Refusal::new("invalid_target", description))
        }
    }
}

/// `urn:roam:SERVICE`, or the address of a service that is named by one.
fn by_resource(resource: &str, among: &Words) -> Option<String> {
    if let Some(service) = resource.strip_prefix(RESOURCE_PREFIX) {
        return among.has(service).then(|| service.to_owned());
    }
    let asked = Url::parse(resource).ok().filter(|asked| asked.has_host() && asked.fragment().is_none())?;
    among.iter().find(|service| Url::parse(service).is_ok_and(|service| service == asked)).map(str::to_owned)
}

/// A service's own name, or as a resource.
fn by_audience(audience: &str, among: &Words) -> Option<String> {
    if among.has(audience) { Some(audience.to_owned()) } else { by_resource(audience, among) }
}

/// S256 alone (RFC 9700, section 2.1.1), and for public clients always.
fn read_challenge(form: &Form, client: &Client) -> Result<Option<String>, Refusal> {
    let Some(challenge) = form.get("code_challenge") else {
        if form.get("code_challenge_method").is_some() {
            return Err(invalid("there is a code_challenge_method without a code_challenge"));
        }
        let required =
            client.is_public().then(|| invalid("a public client must send a code_challenge (PKCE, RFC 7636)"));
        return required.map_or(Ok(None), Err);
    };
    if form.get("code_challenge_method") != Some("S256") {
        return Err(invalid("the only code_challenge_method is S256"));
    }
    let good = challenge.len() == 43
        && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if good {
        Ok(Some(challenge.to_owned()))
    } else {
        Err(invalid("the code_challenge is not the base64url of a SHA-256"))
    }
}

fn read_prompt(text: Option<&str>) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    for word in text.unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
        match word {
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select_account = true,
            "create" => prompt.create = true,
            _ => return Err(invalid("an unknown prompt")),
        }
    }
    let others = prompt.login || prompt.consent || prompt.select_account || prompt.create;
    if prompt.none && others { Err(invalid("prompt=none stands alone")) } else { Ok(prompt) }
}

fn read_subject(claims: &RequestedClaims, hinted: Option<UserId>) -> Result<Option<UserId>, Refusal> {
    let named = claims.subject().map(str::parse::<UserId>).transpose().map_err(|_| invalid("there is no such sub"))?;
    match (named, hinted) {
        (Some(named), Some(hinted)) if named != hinted => Err(invalid("id_token_hint and claims name two users")),
        (named, hinted) => Ok(named.or(hinted)),
    }
}

fn read_jkt(form: &Form) -> Result<Option<String>, Refusal> {
    let Some(jkt) = form.get("dpop_jkt") else { return Ok(None) };
    let good = jkt.len() == 43 && jkt.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if good { Ok(Some(jkt.to_owned())) } else { Err(invalid("the dpop_jkt is not the base64url of a SHA-256")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets_of(form: &[u8]) -> Result<String, String> {
        let among =
            Words::split("cart-service https://api.example/ https://api.example:8443/v1?a=b https://bare.example");
        let form = Form::parse(form).expect("a form");
        targets(&form, among, "granted").map(|named| named.to_string()).map_err(|refusal| refusal.description)
    }

    #[test]
    fn a_service_is_named_by_its_urn_its_address_or_its_audience() {
        for (form, expected) in [
            ("resource=urn:roam:cart-service", "cart-service"),
            ("resource=https://api.example", "https://api.example/"),
            ("resource=HTTPS://API.example:443/", "https://api.example/"),
            ("resource=https://bare.example/", "https://bare.example"),
            ("resource=https://api.example:8443/v1?a%3Db", "https://api.example:8443/v1?a=b"),
            ("audience=cart-service", "cart-service"),
            ("audience=urn:roam:cart-service", "cart-service"),
            ("audience=https://api.example", "https://api.example/"),
            ("resource=https://api.example&audience=cart-service", "cart-service https://api.example/"),
            ("resource=urn:roam:cart-service&resource=https://api.example/", "cart-service https://api.example/"),
        ] {
            assert_eq!(targets_of(form.as_bytes()).as_deref(), Ok(expected), "{form}");
        }
        assert_eq!(targets_of(b"").expect("all").split(' ').count(), 4);
    }

    #[test]
    fn an_unknown_service_is_refused_and_the_parameter_named() {
        for (form, parameter) in [
            ("resource=cart-service", "resource"),
            ("resource=urn:roam:order-service", "resource"),
            ("resource=https://api.example/other", "resource"),
            ("resource=https://api.example:8443/", "resource"),
            ("resource=http://api.example/", "resource"),
            ("resource=https://api.example/%23x", "resource"),
            ("resource=https://user@api.example/", "resource"),
            ("resource=https://api.example&resource=urn:roam:nothing", "resource"),
            ("audience=order-service", "audience"),
            ("resource=https://api.example&audience=https://other.example", "audience"),
        ] {
            let error = targets_of(form.as_bytes()).expect_err(form);
            assert!(error.starts_with(&format!("the parameter {parameter} names")), "{form}: {error}");
        }
    }
}
