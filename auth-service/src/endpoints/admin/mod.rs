//! Administration. Owns who may: an administrator whose session lives now, from an allowed network; and the pages.

pub(super) mod audit;
pub(super) mod clients;
pub(super) mod keys;
pub(super) mod logout_deliveries;
pub(super) mod sessions;
pub(super) mod users;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, de};
use shared::authentication::ConfirmedPrincipal;
use shared::problem::Problem;
use shared::ration::Ration;
use std::future::Future;
use std::pin::Pin;

use super::origin::Origin;
use crate::AuthService;
use crate::accounts;
use crate::roles::ADMIN;
use crate::storage::audit::By;

/// An administrator whose session lives now. The network is checked first: others learn nothing.
pub(super) struct Administrator {
    by: By,
}

impl FromRequest for Administrator {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let service = request.app_data::<web::Data<AuthService>>();
            let service =
                service.ok_or_else(|| Problem::internal("web::Data<AuthService> is not in this App's data"))?;
            let origin = Origin::of(&request, service);
            if !is_allowed(&origin, service) {
                static LINES: Ration = Ration::new();
                LINES.tell("an administrator's request is refused", |left_out| {
                    let address = origin.address;
                    tracing::warn!(
                        ?address,
                        left_out,
                        "an administrator's request is refused: its address is not in ADMIN_ALLOWED_NETWORKS"
                    );
                });
                return Err(Problem::forbidden("network_not_allowed", "administrators act from other networks"));
            }
            let caller = ConfirmedPrincipal::extract(&request).await?;
            caller.principal.require_scope(ADMIN)?;
            caller.principal.require_role(ADMIN)?;
            // The token tells what was so at the login; what administers is what is so now.
            accounts::of_caller(service, &caller).await?;
            Ok(Self { by: origin.by(&caller.principal) })
        })
    }
}

fn is_allowed(origin: &Origin, service: &AuthService) -> bool {
    let networks = &service.admin_allowed_networks;
    networks.is_empty()
        || origin.address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
}

const DEFAULT_PAGE: u8 = 50;

/// How many items a page has: 1 to 100.
#[derive(Debug, Clone, Copy)]
struct PageSize(u8);

impl Default for PageSize {
    fn default() -> Self {
        Self(DEFAULT_PAGE)
    }
}

impl<'de> Deserialize<'de> for PageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let size = u8::deserialize(deserializer)?;
        (1..=100).contains(&size).then_some(Self(size)).ok_or_else(|| de::Error::custom("expected 1 to 100"))
    }
}

/// The text of a cursor: opaque to the client.
fn cursor(position: &str) -> String {
    URL_SAFE_NO_PAD.encode(position)
}

/// What a cursor says, read by `read`.
///
/// # Errors
/// 400 `invalid_query`: it is none of ours.
fn position<T>(cursor: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let refused = || {
        let detail = "the cursor is not one that this list gave";
        Problem::bad_request("invalid_query", detail).at("#query/cursor", detail)
    };
    text.and_then(|text| read(&text)).map(Some).ok_or_else(refused)
}
