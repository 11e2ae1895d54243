//! What a service lets through, and what it refuses: the attack catalogue on access tokens, the key set, the extractors.
//! Against a real small service, a real key server and tokens signed here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod answers;
mod callers;
mod compatibility;
mod dependencies;
mod dpop;
mod forgeries;
mod key_sets;
mod keys;
mod mutations;
mod revocation;
mod rig;
mod verdict;
