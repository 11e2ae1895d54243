//! Who visits, for the pages that no handler makes: refusals. Owns what is known of a visitor there; never signs anybody in
//! or out, and renews nothing.

use std::sync::Arc;

use actix_web::{HttpMessage as _, HttpRequest, web};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

/// Who visits, as far as it can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visit {
    Guest,
    /// By the name that they want to be called.
    SignedIn(String),
    /// Something that had to be asked is away, or the answer would have to set a cookie.
    Unknown,
}

impl Visit {
    /// Remembers for the answer to `request` what a handler has found out.
    pub fn note(self, request: &HttpRequest) {
        request.extensions_mut().insert(self);
    }
}

type Ask = dyn Fn(HttpRequest) -> LocalBoxFuture<'static, Visit> + Send + Sync;

/// How a service finds out who visits. An `App` whose pages greet people has one as `web::Data`.
#[derive(Clone)]
pub struct Greeter(Arc<Ask>);

impl Greeter {
    pub fn new<F: Future<Output = Visit> + 'static>(ask: impl Fn(HttpRequest) -> F + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |request| ask(request).boxed_local()))
    }
}

/// Who sent `request`: what a handler has noted, else what the `App`'s [`Greeter`] says. Without one, everybody is a guest.
pub(super) async fn of(request: &HttpRequest) -> Visit {
    if let Some(noted) = request.extensions().get::<Visit>().cloned() {
        return noted;
    }
    let greeter = request.app_data::<web::Data<Greeter>>().cloned();
    match greeter {
        Some(greeter) => (greeter.0)(request.clone()).await,
        None => Visit::Guest,
    }
}
