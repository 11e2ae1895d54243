//! The platform as a team runs it: two replicas of each service behind the gateway, on PostgreSQL and Redis. The journeys
//! are those of `tests/platform`, with each request at another door; beside them, what only many replicas can do wrong, and the
//! all-in-one as one of many nodes.

#[path = "../clients/browser.rs"]
#[expect(dead_code, reason = "it does more for other tests")]
mod browser;
#[path = "../platform/by_cookie.rs"]
mod by_cookie;
mod cluster_page;
mod endings;
mod gateway;
mod guarantees;
mod keys;
mod load;
mod nodes;
mod outside;
mod pauses;
mod pinned;
#[path = "../platform/refresh.rs"]
mod refresh;
mod restarts;
#[path = "../platform/revocation.rs"]
mod revocation;
#[path = "../platform/sessions.rs"]
mod sessions;
#[path = "../platform/shop.rs"]
mod shop;
mod spread;
mod start;
#[path = "../platform/story.rs"]
mod story;
mod strategies;
mod up;
mod upgrade;
mod world;

pub(crate) use self::world::journeys;
pub(crate) use e2e::World;
