//! Who calls. Owns the principal that a handler asks for, and the one place where a service joins the single sign-on;
//! never decides what a principal may do with a cart or an order.

mod agreement;
mod answer;
mod challenge;
mod compatibility;
mod cookie_domain;
mod cookie_keys;
mod credential;
mod deny_list;
pub(crate) mod issuer;
mod login_cookie;
mod page_origin;
mod principal;
mod proof_nonces;
mod sealed_cookie;
mod session_cookie;
#[cfg(feature = "redis")]
mod settings;
pub mod several_logins;
mod single_sign_on;
pub mod strategy;
mod verdict;

#[cfg(feature = "redis")]
pub use self::agreement::PlatformCheck;
pub use self::answer::answer_with_cookies;
#[cfg(feature = "relying-party")]
pub(crate) use self::answer::set_with_answer;
#[cfg(feature = "relying-party")]
pub(crate) use self::challenge::cannot_tell;
pub use self::challenge::{DPOP_NONCE, Refusal};
pub use self::cookie_domain::DomainPattern;
pub use self::cookie_keys::{CookieKeys, InvalidCookieKey};
pub use self::credential::dpop_proof;
pub use self::deny_list::DenyListMode;
pub use self::issuer::mistake_in as issuer_mistake;
pub use self::principal::{Caller, ClientPrincipal, ConfirmedPrincipal, Principal};
pub use self::proof_nonces::ProofNonces;
pub use self::sealed_cookie::SealedCookie;
pub use self::session_cookie::SessionCookie;
#[cfg(feature = "redis")]
pub use self::settings::how_long_to_remember;
pub use self::single_sign_on::{SingleSignOn, SingleSignOnConfig};
pub use self::verdict::{Audience, Binding, Demand, RequestView};
