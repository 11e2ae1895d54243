//! OpenID clients that others wrote, at the running platform: they sign a person in, refresh, ask who it is, introspect,
//! revoke and sign out, and check every answer as strictly as they check any provider's. `docs/clients.md` lists them.

mod apache;
mod application;
mod browser;
mod documented;
mod node;
mod node_applications;
mod oauth4webapi;
mod openid_client;
mod openidconnect;
mod place;
mod python;
mod python_applications;
mod verifiers;
