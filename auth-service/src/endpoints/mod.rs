//! Every URL of the auth service, on one screen. A handler reads the request, calls one act and writes the answer.

mod account;
mod admin;
mod answers;
mod authorize;
mod device_authorization;
mod discovery;
mod introspect;
mod login;
mod logout;
mod origin;
mod pages;
mod registration;
mod revoke;
mod sessions;
mod shown_token;
mod token;
mod userinfo;

use actix_web::web;
use utoipa_actix_web::service_config::ServiceConfig;

/// The paths at which sessions and tokens end.
pub(crate) const ENDING_PATHS: [&str; 8] = [
    "/auth/logout",
    "/auth/logout-all",
    "/auth/sessions/",
    "/oauth2/revoke",
    "/oauth2/logout",
    "/oauth2/logout/confirm",
    "/sign-out",
    "/account/sessions",
];

/// What scripts of every origin may ask: what a client asks without a browser's session, and no page nor anything of `/auth`.
/// A cookie opens nothing there to them: the client says in the request who it is and what it brings.
pub(crate) const OPEN_PATHS: [&str; 8] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
    "/oauth2/par",
    "/oauth2/device_authorization",
    "/oauth2/token",
    "/oauth2/userinfo",
    "/oauth2/revoke",
];

/// Adds the endpoints. The `App` needs `web::Data` of `AuthService`, `SingleSignOn` and `Site`.
pub fn endpoints(config: &mut ServiceConfig) {
    config
        // Signing in and out
        .service(login::register) //          POST   /auth/register
        .service(login::log_in) //            POST   /auth/login
        .service(login::refresh) //           POST   /auth/refresh
        .service(login::log_out) //           POST   /auth/logout
        .service(login::log_out_all) //       POST   /auth/logout-all
        // One's own account and sessions
        .service(account::me) //              GET    /auth/me
        .service(account::change_password) // POST   /auth/password
        .service(sessions::list) //           GET    /auth/sessions
        .service(sessions::end) //            DELETE /auth/sessions/{id}
        // Administration
        .service(admin::users::list) //       GET    /admin/users
        .service(admin::users::lock) //       POST   /admin/users/{id}/lock
        .service(admin::users::unlock) //     POST   /admin/users/{id}/unlock
        .service(admin::users::set_roles) //  PUT    /admin/users/{id}/roles
        .service(admin::sessions::online) //  GET    /admin/sessions
        .service(admin::sessions::end) //     DELETE /admin/sessions/{id}
        .service(admin::audit::list) //       GET    /admin/audit
        .service(admin::keys::rotate) //      POST   /admin/keys/rotate
        .service(admin::clients::list) //     GET    /admin/clients
        .service(admin::clients::create) //   POST   /admin/clients
        .service(admin::clients::show) //     GET    /admin/clients/{id}
        .service(admin::clients::replace) //  PUT    /admin/clients/{id}
        .service(admin::clients::remove) //   DELETE /admin/clients/{id}
        .service(admin::clients::make_initial_token) // POST /admin/initial-access-tokens
        .service(admin::logout_deliveries::list) // GET /admin/logout-deliveries
        .service(admin::logout_deliveries::retry) // POST /admin/logout-deliveries/{id}/retry
        // OpenID
        .service(authorize::authorize) //     GET    /oauth2/authorize
        .service(authorize::authorize_by_form) // POST
        .service(authorize::push) //          POST   /oauth2/par
        .service(device_authorization::device_authorization) // POST /oauth2/device_authorization
        .service(token::token) //             POST   /oauth2/token
        .service(userinfo::userinfo) //       GET    /oauth2/userinfo
        .service(userinfo::userinfo_by_post) // POST
        .service(revoke::revoke) //           POST   /oauth2/revoke
        .service(introspect::introspect) //   POST   /oauth2/introspect
        .service(registration::register) //   POST   /oauth2/register
        .service(registration::read) //       GET    /oauth2/register/{id}
        .service(registration::replace) //    PUT    /oauth2/register/{id}
        .service(registration::remove) //     DELETE /oauth2/register/{id}
        .service(logout::log_out) //          GET    /oauth2/logout
        .service(logout::log_out_by_form) //  POST   /oauth2/logout
        // For services and clients
        .service(discovery::openid_configuration) // GET /.well-known/openid-configuration
        .service(discovery::oauth_authorization_server) // GET /.well-known/oauth-authorization-server
        .service(discovery::jwks) //          GET    /.well-known/jwks.json
        .map(pages);
}

/// What a person sees in a browser: each page by GET, its form by POST. No part of the API, nor of its documents.
fn pages(config: &mut web::ServiceConfig) -> &mut web::ServiceConfig {
    use self::pages::*;
    config
        .app_data(web::Data::new(member::greeter()))
        // On the way to a client, or to one's own account
        .service(web::resource("/sign-in").get(sign_in::show).post(sign_in::submit))
        .service(web::resource("/register").get(register::show).post(register::submit))
        .service(web::resource("/select-account").get(select_account::show).post(select_account::submit))
        .service(web::resource("/switch-account").get(switch_account::show).post(switch_account::submit))
        .service(web::resource("/consent").get(consent::show).post(consent::submit))
        .service(web::resource("/device").get(device::show).post(device::submit))
        .service(web::resource(logout::QUESTION).get(log_out::show).post(log_out::submit))
        .service(web::resource("/sign-out").post(sign_out::submit))
        .service(web::resource("/signed-out").get(sign_out::show))
        // One's own account
        .service(web::resource("/").get(account::home))
        .service(web::resource("/account").get(account::show).post(account::submit))
        .service(web::resource("/account/password").get(password::show).post(password::submit))
        .service(web::resource("/account/sessions").get(sessions::show).post(sessions::submit))
        .service(web::resource("/account/applications").get(applications::show).post(applications::submit))
        .configure(shared::pages::assets)
}
