//! The platform as a user meets it: private servers, the platform as child processes, and people who use it over HTTP.
//! Knows the public contract and the settings; never a service's code.

pub mod containers;
mod foreign_cookies;
#[cfg(feature = "platform")]
mod person;
#[cfg(feature = "platform")]
mod platform;
pub mod probe;
pub mod process;
#[cfg(feature = "platform")]
pub mod routes;
pub mod secrets;
pub mod servers;
pub mod services;
#[cfg(feature = "platform")]
pub mod world;

/// Where the output of the platform's processes is kept, if not in a temporary folder: `cargo xtask test` searches it for
/// secrets.
pub const OUTPUT_VARIABLE: &str = "ROAM_OUTPUT_DIR";
/// The folder of the platform's programs, where they are built already.
pub const PROGRAMS_VARIABLE: &str = "ROAM_PROGRAMS";

pub use self::foreign_cookies::among_others;
#[cfg(feature = "platform")]
pub use self::person::{Answer, Person};
#[cfg(feature = "platform")]
pub use self::platform::{Containers, Credentials, Entrance, Platform, program};
pub use self::services::{Look, Replica, Service};
#[cfg(feature = "platform")]
pub use self::world::World;
