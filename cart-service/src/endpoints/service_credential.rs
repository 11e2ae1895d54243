//! The order service's credential at the checkouts. A user who could confirm a checkout would destroy stock; one who could
//! release it after the order would get the goods twice.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use aws_lc_rs::{constant_time, digest};
use shared::problem::Problem;

use crate::CartService;

/// The header that carries it.
pub(super) const SERVICE_SECRET: &str = "service-secret";

/// What the credential is compared with: a digest, so that neither its content nor its length shows in the time taken.
pub(crate) struct CheckoutSecret(digest::Digest);

impl CheckoutSecret {
    pub(crate) fn new(secret: &str) -> Self {
        Self(digest::digest(&digest::SHA256, secret.as_bytes()))
    }

    fn is(&self, presented: &[u8]) -> bool {
        let presented = digest::digest(&digest::SHA256, presented);
        constant_time::verify_slices_are_equal(self.0.as_ref(), presented.as_ref()).is_ok()
    }
}

/// The caller is the order service. As an extractor it answers 403 when it is not.
pub(super) struct OrderService;

impl FromRequest for OrderService {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let mut values = request.headers().get_all(SERVICE_SECRET);
        let known = match (values.next(), values.next(), request.app_data::<Data<CartService>>()) {
            (Some(one), None, Some(service)) => service.checkout_secret.is(one.as_bytes()),
            _ => false,
        };
        let refused =
            || Problem::forbidden("service_credential_required", "only the order service may drive checkouts");
        ready(known.then_some(Self).ok_or_else(refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        let secret = CheckoutSecret::new("0123456789abcdef0123456789abcdef");
        assert!(secret.is(b"0123456789abcdef0123456789abcdef"));
        for wrong in [&b""[..], b"0", b"0123456789abcdef0123456789abcdeF", b"0123456789abcdef0123456789abcdef0"] {
            assert!(!secret.is(wrong));
        }
    }
}
