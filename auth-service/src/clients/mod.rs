//! The applications that users sign in to. Owns what a client may register (RFC 7591), what it may do, and how it comes,
//! changes and goes; never asks a user, and never keeps a secret that could be shown again.

pub mod administered;
pub mod fetch;
pub mod first;
pub mod information;
pub mod metadata;
pub mod public_keys;
pub mod redirect_uri;
pub mod registration;
pub mod registry;
pub mod remote_keys;
pub mod scope;
pub mod secret;
pub mod sector;
pub mod web_address;

use std::collections::BTreeSet;

use shared::clock::Timestamp;
use shared::problem::Problem;
use shared::session::UserId;
use shared::token::PLATFORM_CLIENT;
use url::Url;

pub use self::first::FirstClient;
pub use self::metadata::{
    ApplicationType, AuthMethod, GrantType, InvalidMetadata, Metadata, Registrar, ResponseAlg, ResponseType,
};
pub use self::public_keys::{AssertionAlg, PublicKeys};
pub use self::redirect_uri::{RedirectUri, place_of};
pub use self::scope::Scope;
pub use self::secret::{FormerSecret, SecretHash};
pub use self::web_address::WebAddress;
use crate::AuthService;
use crate::scopes::Words;
use crate::storage::clients as storage;

/// The longest id of a client that is a word.
const LONGEST_WORD: usize = 40;
/// The longest that is an address.
const LONGEST_ADDRESS: usize = 120;
/// What may be the id of a client, for those that choose one.
pub const EXPECTED_CLIENT_ID: &str = "expected 1 to 40 letters, digits, - or _, neither a UUID nor the name of the platform's own login; or an https \
     address of at most 120 characters, without user, query and fragment";

/// An application, as it is registered. Has no `Serialize`: what is shown of it is written elsewhere, field by field.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Client {
    pub id: String,
    #[sqlx(try_from = "String")]
    pub metadata: Metadata,
    pub secret_hash: Option<SecretHash>,
    #[sqlx(flatten)]
    pub former_secret: FormerSecret,
    /// Of the token with which a client that registered itself manages its registration (RFC 7592).
    pub registration_token_hash: Option<SecretHash>,
    /// It belongs to the platform: no consent is asked.
    pub first_party: bool,
    /// An administrator vouches for it: a browser is sent to it without a person's act. One that registered itself waits
    /// for that.
    pub approved: bool,
    /// Grows when it is disabled: what people had answered it before is over.
    pub epoch: i64,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}

impl Client {
    pub fn allows_grant(&self, grant: GrantType) -> bool {
        self.metadata.grant_types.contains(&grant)
    }

    /// What it may ask for.
    pub fn scope(&self) -> &BTreeSet<String> {
        self.metadata.scope.words()
    }

    /// The same as words.
    pub fn words(&self) -> Words {
        self.scope().iter().map(String::as_str).collect()
    }

    /// What is left of a scope that was granted, now that the client may perhaps have less.
    pub fn still_has(&self, granted: &Words) -> Words {
        granted.within(&self.words())
    }

    /// The hashes of its secret, and of the one before while that is good.
    pub fn secret_hashes(&self, now: Timestamp) -> [Option<&SecretHash>; 2] {
        [self.secret_hash.as_ref(), self.former_secret.at(now)]
    }

    /// Whether it cannot keep a secret, and so only its redirect URIs and PKCE tell it from others.
    pub fn is_public(&self) -> bool {
        self.metadata.token_endpoint_auth_method == AuthMethod::None
    }

    /// Whether whoever gets a code at this address can only be the client: it proves who it is, or the address is one that
    /// the web has given to it. At a loopback address or a scheme of its own, any program on the machine may listen
    /// (RFC 8252, section 8.6).
    pub fn is_assured_at(&self, redirect_uri: &str) -> bool {
        !self.is_public() || redirect_uri::is_claimed(redirect_uri)
    }

    /// What it wants to be called: its name, or its id.
    pub fn shown_name(&self) -> &str {
        self.metadata.client_name.as_ref().map_or(&*self.id, |name| name.as_str())
    }

    /// Whether it came by dynamic registration: nobody here has looked at it.
    pub fn registered_itself(&self) -> bool {
        self.registration_token_hash.is_some()
    }

    /// Where the browser may be sent back to: `asked`, if it is registered byte for byte. At a loopback address any port may be
    /// asked for (RFC 8252, section 7.3), by a native application at `localhost` too.
    pub fn redirect_uri(&self, asked: &str) -> Option<RedirectUri> {
        self.registered(&self.metadata.redirect_uris, asked)
    }

    /// Where the browser may be sent to after a logout, by the same rules.
    pub fn post_logout_redirect_uri(&self, asked: &str) -> Option<RedirectUri> {
        self.registered(&self.metadata.post_logout_redirect_uris, asked)
    }

    fn registered(&self, list: &[RedirectUri], asked: &str) -> Option<RedirectUri> {
        if let Some(registered) = list.iter().find(|registered| registered.as_str() == asked) {
            return Some(registered.clone());
        }
        let asked: RedirectUri = asked.parse().ok()?;
        let native = self.metadata.application_type == ApplicationType::Native;
        let any_port = |registered: &&RedirectUri| native || registered.is_at_a_loopback_address();
        list.iter().filter(any_port).any(|registered| registered.is_but_for_the_port(&asked)).then_some(asked)
    }
}

/// The client of that id, if there is one and it is not disabled. Any text may be asked for.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn find(service: &AuthService, id: &str) -> Result<Option<Client>, Problem> {
    if !is_client_id(id) {
        return Ok(None);
    }
    let client = storage::by_id(&service.database, id).await?;
    Ok(client.filter(|client| client.disabled_at.is_none()))
}

/// A random id for a client. Not a bare UUID: see [`is_client_id`].
fn made_up_id() -> String {
    format!("client-{}", uuid::Uuid::new_v4().simple())
}

/// Whether a text may be a client's id: 1 to 40 letters, digits, `-` or `_`, which do not read as a user's id: a token whose
/// `sub` it is would be taken for a user's. Or an address, so that a service that is named by one (RFC 8707) introspects under
/// its own audience. It is harmless in a log line and a key, and encoded in a path.
pub fn is_client_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_word = (1..=LONGEST_WORD).contains(&text.len()) && text.bytes().all(allowed) && text != PLATFORM_CLIENT;
    if is_word { text.parse::<UserId>().is_err() } else { is_address(text) }
}

/// Whether it is an address in its one spelling: two ids never mean the same.
fn is_address(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
    let plain = text.len() <= LONGEST_ADDRESS && text.starts_with("https://") && text.bytes().all(allowed);
    let spelled = |url: Url| url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
    plain && Url::parse(text).is_ok_and(spelled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn client(members: serde_json::Value) -> Client {
        let serde_json::Value::Object(members) = members else { panic!("an object") };
        Client {
            id: "shop".to_owned(),
            metadata: Metadata::read(members, Registrar::Administrator).expect("good metadata"),
            secret_hash: None,
            former_secret: FormerSecret::default(),
            registration_token_hash: None,
            first_party: false,
            approved: true,
            epoch: 0,
            created_at: Timestamp::from_seconds(1),
            disabled_at: None,
        }
    }

    /// B1, B2
    #[test]
    fn a_redirect_uri_is_the_one_that_is_registered_byte_for_byte() {
        let shop = client(json!({"redirect_uris": ["https://shop.example/cb", "https://shop.example/other?a=b"]}));
        for good in ["https://shop.example/cb", "https://shop.example/other?a=b"] {
            assert_eq!(shop.redirect_uri(good).expect("registered").as_str(), good);
        }
        for bad in [
            "https://shop.example/cb/../evil",
            "https://shop.example/cb%2f..%2fevil",
            "https://shop.example/cb/%2e%2e/evil",
            "https://shop.example/cb%252e%252e",
            "https://shop.example/cb/",
            "https://shop.example/CB",
            "https://shop.example/cb?x=1",
            "https://shop.example/cb?",
            "https://shop.example/cb#f",
            "https://shop.example/other",
            "https://shop.example/other?a=b&c=d",
            "https://shop.example/other?a=c",
            "https://shop.example:8443/cb",
            "https://shop.example:443/cb",
            "http://shop.example/cb",
            "https://shop.example.evil/cb",
            "https://shop.example%00.evil/cb",
            "https://shop.example@evil.example/cb",
            "https://sub.shop.example/cb",
            "//shop.example/cb",
            "https:shop.example/cb",
            "\\\\shop.example/cb",
            "javascript:alert(1)",
            " https://shop.example/cb",
            "https://shop.example/cb ",
            "",
        ] {
            assert_eq!(shop.redirect_uri(bad), None, "{bad:?} was taken");
        }
    }

    /// B4
    #[test]
    fn any_port_of_a_loopback_address_may_be_asked_for_and_at_localhost_by_a_native_application() {
        let uris = json!(["http://127.0.0.1/cb", "http://localhost:9000/cb"]);
        let native = client(json!({"application_type": "native", "redirect_uris": uris}));
        for good in ["http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", "http://localhost:1/cb"] {
            assert_eq!(native.redirect_uri(good).expect("registered").as_str(), good);
        }
        for bad in [
            "http://127.0.0.1:51004/other",
            "http://127.0.0.1:51004/cb?x=1",
            "http://[::1]:51004/cb",
            "http://127.1:51004/cb",
            "http://0.0.0.0:51004/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:80@evil.example/cb",
            "http://127.0.0.1:51004\\@evil.example/cb",
            "https://127.0.0.1:51004/cb",
        ] {
            assert_eq!(native.redirect_uri(bad), None, "{bad:?} was taken");
        }
        let web =
            client(json!({"redirect_uris": ["http://127.0.0.1/cb", "http://[::1]:7/cb", "http://localhost:9000/cb"]}));
        for good in ["http://localhost:9000/cb", "http://127.0.0.1:51004/cb", "http://[::1]:51004/cb"] {
            assert_eq!(web.redirect_uri(good).expect("RFC 8252, section 7.3").as_str(), good);
        }
        for bad in ["http://localhost:9001/cb", "http://127.0.0.1:51004/other", "http://127.0.0.2:51004/cb"] {
            assert_eq!(web.redirect_uri(bad), None, "{bad:?} was taken");
        }
    }

    #[test]
    fn only_a_proof_or_a_claimed_address_tells_a_client_from_other_programs() {
        let uris = json!(["http://127.0.0.1/cb"]);
        let at = |method: &str, uri: &str| {
            let metadata =
                json!({"application_type": "native", "redirect_uris": uris, "token_endpoint_auth_method": method});
            client(metadata).is_assured_at(uri)
        };
        for odd in [
            "http://127.0.0.1:51004/cb",
            "http://[::1]/cb",
            "http://localhost/cb",
            "https://localhost/cb",
            "https://127.0.0.1:8443/cb",
            "https://app.localhost/cb",
            "com.example.app:/cb",
            "no address",
        ] {
            assert!(!at("none", odd), "{odd}");
            assert!(at("client_secret_basic", odd), "{odd}");
        }
        assert!(at("none", "https://app.example/cb"));
    }

    /// B6
    #[test]
    fn a_client_id_is_harmless_wherever_it_stands() {
        let long = format!("https://api.example/{}", "x".repeat(100));
        for good in [
            "cart-service",
            "A_1",
            &"x".repeat(40),
            "https://api.example",
            "https://api.example/",
            "https://api.example:8443/v1/~x",
            "https://[::1]:8443",
            &long,
        ] {
            assert!(is_client_id(good), "{good}");
        }
        for bad in ["", "a.b", "a~b", "a b", "a/b", "a\u{0}", "\u{fc}", PLATFORM_CLIENT, &"x".repeat(41)]
            .into_iter()
            .chain([
                "http://api.example",
                "https://",
                "https://API.example",
                "https://api.example:443",
                "https:/api.example",
            ])
            .chain([
                "https://u@api.example",
                "https://api.example/?q",
                "https://api.example/#f",
                "https://api.example/a/../b",
            ])
            .chain([
                "https://api.example/%41",
                "https://api.example/\"",
                "https://api.example/\n",
                "urn:api",
                &format!("{long}x"),
            ])
        {
            assert!(!is_client_id(bad), "{bad:?} was taken");
        }
    }

    #[test]
    fn no_client_is_taken_for_a_user() {
        let user = uuid::Uuid::new_v4();
        for bad in [user.to_string(), user.simple().to_string(), user.to_string().to_uppercase()] {
            assert!(!is_client_id(&bad), "{bad} was taken");
        }
        let own = made_up_id();
        assert!(is_client_id(&own) && own != made_up_id(), "{own}");
    }
}
