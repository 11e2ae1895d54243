//! The OpenID relying party: how a service with pages signs people in at the provider, keeps their tokens, and signs them
//! out. Owns the routes below, the sealed cookies and the calls to the provider; never sees a password, and stores
//! nothing on the server.
//!
//! | route | what it does |
//! |---|---|
//! | `GET /login?return_to=/path` | begins a sign-in (code flow, PKCE, `state`, `nonce`); `max_age` asks for a recent one |
//! | `GET /callback` | where the provider sends the browser back |
//! | `POST /logout` | signs out here and at the provider (RP-initiated logout) |
//! | `GET /logout/done` | where the provider sends the browser after that |
//! | `POST /backchannel-logout` | the provider tells that a session has ended (back-channel logout) |
//! | `GET /session` | who is signed in, for the page's own script |
//! | `GET /assets/session.js` | the script's side of it |

mod cookies;
mod endpoints;
mod id_token;
mod logged_out;
mod logout_token;
mod mistake;
mod on_behalf;
mod own_pages;
mod pending;
mod plain_pages;
mod provider;
mod refreshing;
mod settings;
mod signed;
mod state;
mod tokens;
mod visitor;

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

pub use self::endpoints::endpoints;
pub use self::on_behalf::OnBehalfError;
pub use self::plain_pages::refusals_as_pages;
pub use self::tokens::Profile;
pub use self::visitor::{RecentlySignedIn, SignedIn, Visitor};
use crate::authentication::{Audience, Binding, Demand, Principal, Refusal, SingleSignOn};
pub use crate::authentication::{CookieKeys, InvalidCookieKey, answer_with_cookies};
use crate::clock::Clock;
use crate::token::TokenError;

/// What a service must be told to sign people in.
#[derive(Clone)]
pub struct RelyingPartyConfig {
    /// The provider's public address, byte for byte as its metadata names it.
    pub issuer: String,
    /// Where this process reaches the provider, when browsers know it by another address.
    pub issuer_internal_url: Option<Url>,
    pub client_id: String,
    pub client_secret: SecretString,
    /// What is asked for: words with spaces between. `openid` is one of them.
    pub scope: String,
    /// This service as browsers know it: `https://cart.example`, without a path.
    pub public_url: Url,
    pub cookie_keys: CookieKeys,
    /// Whether browsers come by https: cookies are `Secure` and named `__Host-…`.
    pub cookie_secure: bool,
}

/// A service's part as a relying party. Put it into the `App` as `web::Data` beside its [`SingleSignOn`]; a copy is the
/// same.
#[derive(Clone)]
pub struct RelyingParty(Arc<Inner>);

struct Inner {
    config: RelyingPartyConfig,
    single_sign_on: SingleSignOn,
    provider: provider::Provider,
    cookies: cookies::Cookies,
    refreshing: refreshing::Refreshing,
    acting: on_behalf::Acting,
    logged_out: logged_out::LoggedOut,
}

impl RelyingParty {
    /// Touches no network: the provider's metadata is read when it is first needed.
    ///
    /// # Errors
    /// The system has no TLS roots.
    pub fn new(config: RelyingPartyConfig, single_sign_on: SingleSignOn) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Inner {
            provider: provider::Provider::new(&config, single_sign_on.clock().clone())?,
            cookies: cookies::Cookies::new(&config),
            refreshing: refreshing::Refreshing::default(),
            acting: on_behalf::Acting::default(),
            logged_out: logged_out::LoggedOut::default(),
            single_sign_on,
            config,
        })))
    }

    fn clock(&self) -> &Clock {
        self.0.single_sign_on.clock()
    }

    /// Whom an access token of the cookie speaks for. One of a client, or without this service's scope, is for others.
    async fn principal(&self, access_token: &str) -> Result<Principal, Refusal> {
        let single_sign_on = &self.0.single_sign_on;
        // The token is this client's own: no holder shows it.
        let binding = Binding::CheckedElsewhere;
        let demand = Demand { audience: Audience::Own, scope: single_sign_on.scope(), binding };
        let token = single_sign_on.verify(access_token, &demand).await?;
        Principal::try_from(token).map_err(|_| Refusal::Token(TokenError::WrongAudience))
    }

    /// A route of this service as browsers know it.
    fn public(&self, path: &str) -> String {
        format!("{}{path}", self.0.config.public_url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for RelyingParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelyingParty").field("client_id", &self.0.config.client_id).finish_non_exhaustive()
    }
}

/// `bytes` random bytes in base64url.
fn random_text<const BYTES: usize>() -> String {
    use base64::Engine as _;
    let mut bytes = [0_u8; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
