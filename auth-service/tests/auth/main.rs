//! The auth service as its clients and its operator meet it: each journey on SQLite with memory, and on PostgreSQL with
//! Redis.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

mod accounts;
mod admin;
mod attacks;
mod attacks_on_codes;
mod audit;
mod back_channel;
mod browser;
mod client_administration;
mod client_authentication;
mod clients;
mod command_line;
mod conformance;
mod document_server;
mod documents;
mod dpop_tokens;
mod faults;
mod harness;
mod keys;
mod kill_graph;
mod login;
mod logout;
mod logs;
mod no_sessions;
mod openid;
mod pages;
mod passwords;
mod refresh;
mod registration;
mod registration_of_clients;
mod sealed_cookies;
mod session_cookies;
mod sessions;
mod storage;
mod token_exchange;
