//! The platform as a user meets it: journeys, races and faults, on the all-in-one (SQLite, memory) and on three processes
//! (PostgreSQL, Redis).

#[path = "../clients/browser.rs"]
#[expect(dead_code, reason = "it does more for other tests")]
mod browser;
mod by_cookie;
mod documents;
mod faults;
mod full_disk;
mod joining;
mod mistakes;
mod on_behalf;
mod operation;
mod readme;
mod refresh;
mod revocation;
mod seed_defects;
mod sessions;
mod shop;
mod story;
mod strategies;
mod world;

pub(crate) use self::world::journeys;
pub(crate) use e2e::World;
