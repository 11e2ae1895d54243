//! The relying party against a provider that the test holds: a real server that signs, rotates and can be bent. A browser
//! is a client with cookies that follows no redirect by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod browser;
mod cookies;
mod guide;
#[path = "../authentication/keys.rs"]
#[expect(dead_code, reason = "the tests of tokens use all of it")]
mod keys;
mod mistakes;
mod on_behalf;
mod provider;
mod rig;
mod script;
mod sign_in;
mod sign_out;
mod visits;
