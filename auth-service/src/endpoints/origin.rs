//! Where a request comes from: the address that a trusted proxy vouches for, and what the client calls itself.

use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::http::header::USER_AGENT;
use actix_web::{FromRequest, HttpRequest, web};
use shared::authentication::Principal;
use shared::problem::Problem;
use shared::session::UserId;

use crate::AuthService;
use crate::device::DeviceLabel;
use crate::storage::audit::{Actor, By};

pub(super) struct Origin {
    pub(super) address: Option<IpAddr>,
    user_agent: Option<String>,
}

impl Origin {
    pub(super) fn of(request: &HttpRequest, service: &AuthService) -> Self {
        let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { address: service.trusted_proxies.address_of(request), user_agent }
    }

    pub(super) fn device(&self, given: Option<DeviceLabel>) -> DeviceLabel {
        given.unwrap_or_else(|| DeviceLabel::from_user_agent(self.user_agent.as_deref()))
    }

    pub(super) fn anonymous(&self) -> By {
        By { actor: Actor::Anonymous, address: self.address.map(|address| address.to_string()) }
    }

    pub(super) fn by(&self, principal: &Principal) -> By {
        self.of_user(principal.user)
    }

    pub(super) fn of_user(&self, user: UserId) -> By {
        By { actor: Actor::User(user), ..self.anonymous() }
    }
}

impl FromRequest for Origin {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let service = request.app_data::<web::Data<AuthService>>();
        let origin = service.map(|service| Self::of(request, service));
        std::future::ready(origin.ok_or_else(|| Problem::internal("web::Data<AuthService> is not in this App's data")))
    }
}
