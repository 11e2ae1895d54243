//! What a client says of itself (RFC 7591, section 2; OpenID Connect Registration 1.0, section 2): read, checked field by
//! field, and completed with defaults. Rules only.

mod vocabulary;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub use self::vocabulary::{ApplicationType, AuthMethod, GrantType, ResponseAlg, ResponseType, SubjectType, Words};
use super::public_keys::{AssertionAlg, PublicKeys};
use super::redirect_uri::RedirectUri;
use super::scope::{ADMINISTRATION, Scope};
use super::web_address::WebAddress;
use crate::codes::sha256;
use crate::device::is_readable;
use crate::look_alike::imitates_a_name;

const MAX_REDIRECT_URIS: usize = 20;
const MAX_CONTACTS: usize = 10;

/// A client's metadata, complete.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<Words>,
    #[schema(max_items = 20)]
    pub redirect_uris: Vec<RedirectUri>,
    #[schema(max_items = 20)]
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// `authorization_code` when it is left out.
    pub grant_types: BTreeSet<GrantType>,
    /// `code` with the grant `authorization_code`, else none.
    pub response_types: BTreeSet<ResponseType>,
    /// What the client may ask for; what identifies a user when it is left out.
    pub scope: Scope,
    /// The part of `scope` that the client gets by token exchange, in its callers' names (RFC 8693); nothing when it is left
    /// out.
    #[serde(skip_serializing_if = "Scope::is_empty")]
    pub token_exchange_scope: Scope,
    pub token_endpoint_auth_method: AuthMethod,
    /// A secret is taken by the registered method alone. Otherwise `client_secret_basic` and `client_secret_post` are each
    /// as good as the other: many libraries choose without looking at the registration.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict_auth_method: bool,
    /// For `private_key_jwt`; any of them when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg: Option<AssertionAlg>,
    /// Public keys. Instead of `jwks_uri`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<PublicKeys>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<WebAddress>,
    pub id_token_signed_response_alg: ResponseAlg,
    /// ID tokens tell of the login alone; the claims of the scope come by the userinfo endpoint.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub minimal_id_token: bool,
    /// The answer is plain JSON when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userinfo_signed_response_alg: Option<ResponseAlg>,
    /// Where the client is told that a session has ended (OpenID Connect Back-Channel Logout).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_uri: Option<WebAddress>,
    pub backchannel_logout_session_required: bool,
    /// Access tokens are bound to a key of the client's (RFC 9449).
    pub dpop_bound_access_tokens: bool,
    /// RFC 9126.
    pub require_pushed_authorization_requests: bool,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_max_age: Option<u32>,
    pub require_auth_time: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<WebAddress>,
    /// Where the client begins a sign-in by itself, with `iss` (OpenID Connect Core, section 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiate_login_uri: Option<WebAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<WebAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<WebAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<WebAddress>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 10)]
    pub contacts: Vec<Words>,
    pub application_type: ApplicationType,
    /// A JSON array of redirect URIs, which must hold all of the client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sector_identifier_uri: Option<WebAddress>,
    pub subject_type: SubjectType,
}

/// A field that is against a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct InvalidMetadata {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    pub detail: String,
}

impl InvalidMetadata {
    pub fn at(field: &str, detail: impl Into<String>) -> Self {
        Self { pointer: format!("/{field}"), detail: detail.into() }
    }

    /// Whether it is about the redirect URIs, for which RFC 7591, section 3.2.2 has an error of its own.
    pub fn is_of_redirect_uris(&self) -> bool {
        self.pointer == "/redirect_uris" || self.pointer.starts_with("/redirect_uris/")
    }
}

/// Who registers a client, and so what it may have.
#[derive(Debug, Clone, Copy)]
pub enum Registrar<'a> {
    /// Whoever configures the platform: this service may be told to call addresses inside, in clear.
    Operator,
    Administrator,
    /// The client itself. What this service does not understand is ignored (RFC 7591, section 2).
    Itself {
        /// All that it may ask for.
        scope: &'a Scope,
        /// Whether this service may be told to call this very machine.
        may_name_this_machine: bool,
    },
}

impl Metadata {
    /// Reads metadata, checks it and completes it. A member that is null counts as left out.
    ///
    /// # Errors
    /// The first field that is against a rule.
    pub fn read(mut members: Map<String, Value>, by: Registrar<'_>) -> Result<Self, InvalidMetadata> {
        members.retain(|_, value| !value.is_null());
        if !matches!(by, Registrar::Itself { .. })
            && let Some(unknown) = members.keys().find(|name| !FIELDS.contains(&name.as_str()))
        {
            return Err(InvalidMetadata::at(&escaped(unknown), "there is no such field"));
        }
        let read = serde_path_to_error::deserialize(Value::Object(members));
        let mut metadata: Self = read.map_err(|error| InvalidMetadata {
            pointer: shared::request::pointer(error.path()),
            detail: error.into_inner().to_string(),
        })?;
        metadata.complete(by);
        metadata.check(by)?;
        Ok(metadata)
    }

    /// A digest, 43 characters, of all but the keys and the contacts: those a client may change without being another to people.
    pub fn looks(&self) -> String {
        let looks = Self { jwks: None, jwks_uri: None, contacts: Vec::new(), ..self.clone() };
        sha256(&serde_json::to_string(&looks).expect("plain values are written"))
    }

    /// What pages say of the client beside what it asks for.
    pub fn presents_itself(&self) -> impl PartialEq + use<'_> {
        let addresses = (&self.client_uri, &self.initiate_login_uri, &self.logo_uri, &self.policy_uri, &self.tos_uri);
        (&self.client_name, addresses)
    }

    /// Whether codes may go to a host, or to a scheme, that `before` does not name: what people saw then is not where they go now.
    pub fn leads_elsewhere(&self, before: &Self) -> bool {
        let places = |it: &Self| it.redirect_uris.iter().map(RedirectUri::place).collect::<BTreeSet<_>>();
        !places(self).is_subset(&places(before))
    }

    fn complete(&mut self, by: Registrar<'_>) {
        if self.grant_types.is_empty() {
            self.grant_types.insert(GrantType::AuthorizationCode);
        }
        if self.response_types.is_empty() && self.grant_types.contains(&GrantType::AuthorizationCode) {
            self.response_types.insert(ResponseType::Code);
        }
        let knows_users = self.grant_types.iter().any(|grant| *grant != GrantType::ClientCredentials);
        if self.scope.is_empty() && knows_users {
            self.scope = match by {
                Registrar::Itself { scope, .. } => scope.clone(),
                Registrar::Operator | Registrar::Administrator => Scope::identity(),
            };
        }
    }

    fn check(&self, by: Registrar<'_>) -> Result<(), InvalidMetadata> {
        self.check_redirects()?;
        self.check_grants(by)?;
        self.check_keys()?;
        self.check_addresses(by)?;
        if let (Registrar::Itself { .. }, Some(name)) = (by, &self.client_name)
            && imitates_a_name(name.as_str())
        {
            // No administrator has looked at it, and people read it where they allow something.
            let detail = "expected letters of one script in each word, which look like no others";
            return Err(InvalidMetadata::at("client_name", detail));
        }
        if self.contacts.len() > MAX_CONTACTS {
            return Err(InvalidMetadata::at("contacts", format!("expected at most {MAX_CONTACTS}")));
        }
        if let Registrar::Itself { scope, .. } = by
            && let Some(word) = self.scope.words().iter().find(|word| !scope.contains(word))
        {
            return Err(InvalidMetadata::at("scope", format!("{word} is not for clients that register themselves")));
        }
        if self.token_endpoint_auth_method == AuthMethod::None && self.scope.contains(ADMINISTRATION) {
            return Err(InvalidMetadata::at("scope", "a client that cannot prove who it is does not administer"));
        }
        Ok(())
    }

    fn check_redirects(&self) -> Result<(), InvalidMetadata> {
        let lists =
            [("redirect_uris", &self.redirect_uris), ("post_logout_redirect_uris", &self.post_logout_redirect_uris)];
        for (name, list) in lists {
            if list.len() > MAX_REDIRECT_URIS {
                return Err(InvalidMetadata::at(name, format!("expected at most {MAX_REDIRECT_URIS}")));
            }
            let strange = list.iter().position(RedirectUri::has_own_scheme);
            if let Some(index) = strange.filter(|_| self.application_type == ApplicationType::Web) {
                let detail = "only a client of the application_type native has a scheme of its own";
                return Err(InvalidMetadata::at(&format!("{name}/{index}"), detail));
            }
        }
        let needed = self.grant_types.contains(&GrantType::AuthorizationCode) && self.redirect_uris.is_empty();
        if needed { Err(InvalidMetadata::at("redirect_uris", "expected at least one")) } else { Ok(()) }
    }

    fn check_grants(&self, by: Registrar<'_>) -> Result<(), InvalidMetadata> {
        let has = |grant| self.grant_types.contains(&grant);
        if self.response_types.contains(&ResponseType::Code) != has(GrantType::AuthorizationCode) {
            let detail = "the response type code goes with the grant authorization_code";
            return Err(InvalidMetadata::at("response_types", detail));
        }
        let exchanged = &self.token_exchange_scope;
        if !exchanged.is_empty() && !has(GrantType::TokenExchange) {
            let detail = "expected the grant urn:ietf:params:oauth:grant-type:token-exchange beside it";
            return Err(InvalidMetadata::at("token_exchange_scope", detail));
        }
        if let Some(word) = exchanged.words().iter().find(|word| !self.scope.contains(word)) {
            let detail = format!("{word} is not in the client's scope");
            return Err(InvalidMetadata::at("token_exchange_scope", detail));
        }
        let own_name = has(GrantType::ClientCredentials) || has(GrantType::TokenExchange);
        if own_name && self.token_endpoint_auth_method == AuthMethod::None {
            let detail = "a client that cannot prove who it is gets no tokens in its own name";
            return Err(InvalidMetadata::at("grant_types", detail));
        }
        if own_name && matches!(by, Registrar::Itself { .. }) {
            let detail = "a client that registers itself gets tokens only from users";
            return Err(InvalidMetadata::at("grant_types", detail));
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), InvalidMetadata> {
        if self.jwks.is_some() && self.jwks_uri.is_some() {
            return Err(InvalidMetadata::at("jwks", "expected jwks or jwks_uri, not both"));
        }
        if self.token_endpoint_auth_method != AuthMethod::PrivateKeyJwt {
            return Ok(());
        }
        match (&self.jwks, &self.jwks_uri) {
            (None, None) => Err(InvalidMetadata::at("jwks", "private_key_jwt needs jwks or jwks_uri")),
            (Some(keys), _) if !keys.can_sign(self.token_endpoint_auth_signing_alg) => {
                Err(InvalidMetadata::at("jwks", "expected a key that signs: Ed25519, P-256 or RSA"))
            }
            _ => Ok(()),
        }
    }

    fn check_addresses(&self, by: Registrar<'_>) -> Result<(), InvalidMetadata> {
        let shown = [
            ("client_uri", &self.client_uri),
            ("initiate_login_uri", &self.initiate_login_uri),
            ("logo_uri", &self.logo_uri),
            ("policy_uri", &self.policy_uri),
            ("tos_uri", &self.tos_uri),
        ];
        let called = [
            ("jwks_uri", &self.jwks_uri),
            ("sector_identifier_uri", &self.sector_identifier_uri),
            ("backchannel_logout_uri", &self.backchannel_logout_uri),
        ];
        let https = "expected https; http only at localhost or a loopback address";
        for (name, address) in shown {
            if address.as_ref().is_some_and(WebAddress::is_in_clear) {
                return Err(InvalidMetadata::at(name, https));
            }
        }
        for (name, address) in called {
            let Some(address) = address else { continue };
            if address.url().fragment().is_some() {
                return Err(InvalidMetadata::at(name, "expected no fragment"));
            }
            if address.is_in_clear() && !matches!(by, Registrar::Operator) {
                return Err(InvalidMetadata::at(name, https));
            }
            if address.is_this_machine() && matches!(by, Registrar::Itself { may_name_this_machine: false, .. }) {
                return Err(InvalidMetadata::at(name, "expected an address that others reach"));
            }
        }
        Ok(())
    }
}

fn escaped(name: &str) -> String {
    let readable = |c: char| if is_readable(c) { c } else { '?' };
    name.chars().take(64).map(readable).collect::<String>().replace('~', "~0").replace('/', "~1")
}

/// The names of [`Metadata`]'s fields.
const FIELDS: [&str; 30] = [
    "client_name",
    "redirect_uris",
    "post_logout_redirect_uris",
    "grant_types",
    "response_types",
    "scope",
    "token_exchange_scope",
    "token_endpoint_auth_method",
    "strict_auth_method",
    "token_endpoint_auth_signing_alg",
    "jwks",
    "jwks_uri",
    "id_token_signed_response_alg",
    "minimal_id_token",
    "userinfo_signed_response_alg",
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    "dpop_bound_access_tokens",
    "require_pushed_authorization_requests",
    "default_max_age",
    "require_auth_time",
    "client_uri",
    "initiate_login_uri",
    "logo_uri",
    "policy_uri",
    "tos_uri",
    "contacts",
    "application_type",
    "sector_identifier_uri",
    "subject_type",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: Value) -> Map<String, Value> {
        let Value::Object(members) = value else { panic!("an object") };
        members
    }

    fn with(changes: Value) -> Map<String, Value> {
        let mut all = members(json!({"redirect_uris": ["https://shop.example/cb"]}));
        all.extend(members(changes));
        all
    }

    fn refusal(changes: Value, by: Registrar<'_>) -> String {
        let text = changes.to_string();
        Metadata::read(with(changes), by).err().unwrap_or_else(|| panic!("{text} was taken")).pointer
    }

    fn stranger(scope: &Scope) -> Registrar<'_> {
        Registrar::Itself { scope, may_name_this_machine: false }
    }

    #[test]
    fn what_is_left_out_is_completed() {
        let metadata = Metadata::read(with(json!({"client_name": null})), Registrar::Administrator).expect("good");
        assert_eq!(metadata.grant_types, [GrantType::AuthorizationCode].into());
        assert_eq!(metadata.response_types, [ResponseType::Code].into());
        assert_eq!(metadata.token_endpoint_auth_method, AuthMethod::ClientSecretBasic);
        assert_eq!(metadata.id_token_signed_response_alg, ResponseAlg::Rs256);
        assert_eq!(metadata.scope, Scope::identity());
        let text = serde_json::to_string(&metadata).expect("JSON");
        assert_eq!(serde_json::from_str::<Metadata>(&text).expect("metadata"), metadata, "it comes back from its text");

        let machine = json!({"grant_types": ["client_credentials"]});
        let machine = Metadata::read(members(machine), Registrar::Administrator).expect("good");
        assert!(machine.redirect_uris.is_empty() && machine.response_types.is_empty() && machine.scope.is_empty());
    }

    #[test]
    fn hl5_a_client_exchanges_for_a_part_of_its_scope_where_it_may_exchange_at_all() {
        let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
        let grants = json!(["authorization_code", exchange]);
        let good = json!({"grant_types": grants, "scope": "openid cart", "token_exchange_scope": "cart"});
        let metadata = Metadata::read(with(good), Registrar::Operator).expect("good");
        assert_eq!(metadata.token_exchange_scope.to_string(), "cart");
        for bad in [
            json!({"grant_types": grants, "scope": "openid cart", "token_exchange_scope": "cart account"}),
            json!({"grant_types": ["authorization_code"], "scope": "openid cart", "token_exchange_scope": "cart"}),
        ] {
            assert_eq!(refusal(bad, Registrar::Operator), "/token_exchange_scope");
        }
    }

    #[test]
    fn a_client_with_other_keys_looks_the_same_and_with_anything_else_does_not() {
        let read = |changes| Metadata::read(with(changes), Registrar::Administrator).expect("good");
        let plain = read(json!({}));
        assert_eq!(read(json!({})).looks(), plain.looks());
        let keys = json!({"jwks_uri": "https://shop.example/jwks", "contacts": ["ops"]});
        assert_eq!(read(keys).looks(), plain.looks());
        for change in [
            json!({"client_name": "Bank"}),
            json!({"redirect_uris": ["https://shop.example/cb", "https://evil.example/cb"]}),
            json!({"scope": "openid"}),
            json!({"policy_uri": "https://evil.example/p"}),
            json!({"token_endpoint_auth_method": "none"}),
        ] {
            assert_ne!(read(change.clone()).looks(), plain.looks(), "{change}");
        }
    }

    #[test]
    fn a_client_leads_elsewhere_with_another_host_and_not_with_another_path() {
        let at = |uris: Value| {
            let changes = json!({"redirect_uris": uris, "application_type": "native"});
            Metadata::read(with(changes), Registrar::Administrator).expect("good")
        };
        let before = at(json!(["https://shop.example/cb", "com.example.app:/cb"]));
        for same in
            [json!(["https://shop.example/other"]), json!(["com.example.app:/x", "https://shop.example:8443/cb"])]
        {
            assert!(!at(same.clone()).leads_elsewhere(&before), "{same}");
        }
        for other in ["https://evil.example/cb", "https://shop.example.evil/cb", "com.example.other:/cb"] {
            assert!(at(json!(["https://shop.example/cb", other])).leads_elsewhere(&before), "{other}");
        }
    }

    #[test]
    fn every_field_is_a_field_and_no_other_is_taken() {
        let everything = json!({
            "client_name": "Shop", "redirect_uris": ["https://shop.example/cb"],
            "post_logout_redirect_uris": ["https://shop.example/"],
            "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:token-exchange"],
            "response_types": ["code"], "scope": "cart openid", "token_exchange_scope": "cart", "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256", "jwks_uri": "https://shop.example/jwks",
            "strict_auth_method": true, "minimal_id_token": true,
            "id_token_signed_response_alg": "EdDSA", "userinfo_signed_response_alg": "ES256",
            "backchannel_logout_uri": "https://shop.example/out", "backchannel_logout_session_required": true,
            "dpop_bound_access_tokens": true, "require_pushed_authorization_requests": true, "default_max_age": 60,
            "require_auth_time": true, "client_uri": "https://shop.example", "initiate_login_uri": "https://shop.example/login", "logo_uri": "https://shop.example/l.png",
            "policy_uri": "https://shop.example/p", "tos_uri": "https://shop.example/t",
            "contacts": ["ops@shop.example"], "application_type": "web",
            "sector_identifier_uri": "https://shop.example/s", "subject_type": "public",
        });
        let metadata = Metadata::read(members(everything.clone()), Registrar::Administrator).expect("good");
        assert_eq!(serde_json::to_value(&metadata).expect("JSON"), everything);
        let mut names: Vec<_> = members(everything).keys().cloned().chain(["jwks".to_owned()]).collect();
        names.sort();
        let mut fields = FIELDS.map(str::to_owned).to_vec();
        fields.sort();
        assert_eq!(names, fields);
        let scope = Scope::identity();
        assert_eq!(refusal(json!({"redirect_uri": "x"}), Registrar::Administrator), "/redirect_uri");
        assert_eq!(refusal(json!({"a/b\u{0}": 1}), Registrar::Operator), "/a~1b?");
        assert!(Metadata::read(with(json!({"software_id": "x"})), stranger(&scope)).is_ok(), "RFC 7591, section 2");
    }

    /// B3, B25
    #[test]
    fn each_field_against_a_rule_is_named() {
        let key = json!({"kty": "oct", "k": "AA"});
        let many: Vec<_> = (0..21).map(|number| format!("https://shop.example/{number}")).collect();
        for (changes, pointer) in [
            (json!({"redirect_uris": []}), "/redirect_uris"),
            (json!({"redirect_uris": many}), "/redirect_uris"),
            (json!({"redirect_uris": "https://shop.example/cb"}), "/redirect_uris"),
            (json!({"redirect_uris": ["https://a.example/", "https://a.example/#f"]}), "/redirect_uris/1"),
            (json!({"redirect_uris": ["javascript:alert(1)"]}), "/redirect_uris/0"),
            (json!({"redirect_uris": ["com.example.app:/cb"]}), "/redirect_uris/0"),
            (json!({"redirect_uris": ["http://shop.example/cb"]}), "/redirect_uris/0"),
            (json!({"redirect_uris": [7]}), "/redirect_uris/0"),
            (json!({"post_logout_redirect_uris": ["https://*.a.example/"]}), "/post_logout_redirect_uris/0"),
            (json!({"grant_types": ["password"]}), "/grant_types/0"),
            (json!({"grant_types": ["implicit", "authorization_code"]}), "/grant_types/0"),
            (json!({"response_types": ["token"]}), "/response_types/0"),
            (json!({"response_types": ["code"], "grant_types": ["client_credentials"]}), "/response_types"),
            (json!({"token_endpoint_auth_method": "client_secret_jwt"}), "/token_endpoint_auth_method"),
            (json!({"token_endpoint_auth_method": "none", "grant_types": ["client_credentials"]}), "/grant_types"),
            (json!({"token_endpoint_auth_method": "none", "scope": "openid admin"}), "/scope"),
            (json!({"token_endpoint_auth_method": "private_key_jwt"}), "/jwks"),
            (json!({"token_endpoint_auth_signing_alg": "none"}), "/token_endpoint_auth_signing_alg"),
            (json!({"token_endpoint_auth_signing_alg": "HS256"}), "/token_endpoint_auth_signing_alg"),
            (json!({"jwks": {"keys": [key]}}), "/jwks"),
            (json!({"jwks": {"keys": [{"kty": "x"}]}, "token_endpoint_auth_method": "private_key_jwt"}), "/jwks"),
            (json!({"jwks": {"keys": [{"kty": "x"}]}, "jwks_uri": "https://shop.example/jwks"}), "/jwks"),
            (json!({"jwks_uri": "http://shop.example/jwks"}), "/jwks_uri"),
            (json!({"jwks_uri": "file:///etc/passwd"}), "/jwks_uri"),
            (json!({"jwks_uri": "https://shop.example/jwks#f"}), "/jwks_uri"),
            (json!({"sector_identifier_uri": "http://169.254.169.254/"}), "/sector_identifier_uri"),
            (json!({"backchannel_logout_uri": "http://inside:8082/out"}), "/backchannel_logout_uri"),
            (json!({"id_token_signed_response_alg": "none"}), "/id_token_signed_response_alg"),
            (json!({"id_token_signed_response_alg": "HS256"}), "/id_token_signed_response_alg"),
            (json!({"logo_uri": "javascript:alert(1)"}), "/logo_uri"),
            (json!({"client_uri": "http://shop.example/"}), "/client_uri"),
            (json!({"initiate_login_uri": "http://shop.example/login"}), "/initiate_login_uri"),
            (json!({"policy_uri": "data:text/html,x"}), "/policy_uri"),
            (json!({"tos_uri": "https://user@shop.example/"}), "/tos_uri"),
            (json!({"subject_type": "pairwise"}), "/subject_type"),
            (json!({"application_type": "service"}), "/application_type"),
            (json!({"default_max_age": -1}), "/default_max_age"),
            (json!({"require_auth_time": "yes"}), "/require_auth_time"),
            (json!({"client_name": ""}), "/client_name"),
            (json!({"client_name": "a\u{0}b"}), "/client_name"),
            (json!({"client_name": "x".repeat(101)}), "/client_name"),
            (json!({"contacts": vec!["a@b.example"; 11]}), "/contacts"),
            (json!({"contacts": ["a\nb"]}), "/contacts/0"),
            (json!({"scope": "a\"b"}), "/scope"),
            (json!({"scope": ["openid"]}), "/scope"),
        ] {
            assert_eq!(refusal(changes.clone(), Registrar::Administrator), pointer, "{changes}");
        }
    }

    #[test]
    fn who_registers_decides_what_may_be_had() {
        let scope: Scope = "openid profile".parse().expect("a scope");
        for (changes, pointer) in [
            (json!({"scope": "openid cart"}), "/scope"),
            (json!({"scope": "admin"}), "/scope"),
            (json!({"grant_types": ["client_credentials"]}), "/grant_types"),
            (json!({"jwks_uri": "http://localhost:6379/"}), "/jwks_uri"),
            (json!({"jwks_uri": "https://127.0.0.1/"}), "/jwks_uri"),
            (json!({"sector_identifier_uri": "http://[::1]/"}), "/sector_identifier_uri"),
            (json!({"client_name": "The R\u{43e}am Shop"}), "/client_name"),
        ] {
            assert_eq!(refusal(changes.clone(), stranger(&scope)), pointer, "{changes}");
            assert!(Metadata::read(with(changes.clone()), Registrar::Administrator).is_ok(), "{changes}");
        }
        let own = Metadata::read(with(json!({})), stranger(&scope)).expect("good");
        assert_eq!(own.scope, scope, "it gets all that it may");
        let here = Registrar::Itself { scope: &scope, may_name_this_machine: true };
        assert!(Metadata::read(with(json!({"jwks_uri": "http://localhost:1/"})), here).is_ok());
        let inside = json!({"backchannel_logout_uri": "http://inside:8082/out"});
        assert!(Metadata::read(with(inside), Registrar::Operator).is_ok());
    }

    #[test]
    fn a_native_application_has_a_scheme_of_its_own() {
        let native = json!({"application_type": "native", "redirect_uris": ["com.example.app:/cb"]});
        assert!(Metadata::read(members(native), Registrar::Administrator).is_ok());
        let dangerous = json!({"application_type": "native", "redirect_uris": ["javascript:alert(1)"]});
        assert_eq!(refusal(dangerous, Registrar::Administrator), "/redirect_uris/0");
    }
}
