//! The platform as a user meets it: journeys, races and faults, on the all-in-one (SQLite, memory) and on three processes
//! (PostgreSQL, Redis).

mod by_cookie;
mod documents;
mod faults;
mod full_disk;
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
