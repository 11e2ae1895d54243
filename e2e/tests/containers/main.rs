//! The platform as `docker compose up --build` makes it. `cargo xtask test --compose` brings it up, once for all of these
//! tests, and takes it down; elsewhere they are left out. The journeys are those of `tests/platform` by the gateway's hosts;
//! beside them, what images, Compose and a real name service can do wrong.

mod backup;
#[path = "../clients/browser.rs"]
#[expect(dead_code, reason = "devices are let in elsewhere")]
mod browser;
mod images;
#[path = "../replicas/load.rs"]
#[expect(dead_code, reason = "some of the load's words are for replicas that are processes")]
mod load;
mod operation;
#[path = "../replicas/outside.rs"]
mod outside;
mod pages;
#[path = "../platform/refresh.rs"]
mod refresh;
#[path = "../platform/revocation.rs"]
mod revocation;
#[path = "../platform/sessions.rs"]
mod sessions;
#[path = "../platform/shop.rs"]
mod shop;
#[path = "../platform/story.rs"]
mod story;
mod world;

pub(crate) use self::world::journeys;
pub(crate) use e2e::World;
