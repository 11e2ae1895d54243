//! Every URL of the order service. Reads requests and words answers; decides nothing.

mod answers;
mod on_behalf;
mod orders;
mod pages;
mod payment;
mod requests;
mod view;

use utoipa_actix_web::service_config::ServiceConfig;

/// Every URL. The `App`'s data must hold a `web::Data` of [`OrderService`](crate::OrderService), of
/// [`SingleSignOn`](shared::authentication::SingleSignOn), of [`RelyingParty`](shared::relying_party::RelyingParty) and of
/// [`Site`](shared::pages::Site).
pub fn endpoints(config: &mut ServiceConfig) {
    config
        .service(orders::place) // POST /orders
        .service(orders::list) // GET /orders
        .service(orders::show) // GET /orders/{id}
        .service(orders::cancel) // POST /orders/{id}/cancel
        .service(payment::pay) // POST /orders/{id}/pay
        .map(pages::pages); // what people see, and how they sign in
}
