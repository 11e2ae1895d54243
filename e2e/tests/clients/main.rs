//! OpenID clients that others wrote, at the running platform: they sign a person in, refresh, ask who it is, introspect,
//! revoke and sign out, and check every answer as strictly as they check any provider's.

#[expect(dead_code, reason = "what services show is read by the tests of the containers")]
mod browser;
mod node;
mod oauth4webapi;
mod openid_client;
mod openidconnect;
mod place;
