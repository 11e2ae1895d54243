//! What a session takes: of the nodes together, and of Redis.

use super::client::{Person, sign_in_many};
use super::figures::Memory;
use super::nodes::Nodes;
use super::redis::RedisWork;
use super::stage::Stage;

/// Logins before the first look, from all addresses: pools, caches and the hashing's own memory are filled by then.
const BEFORE: usize = 40;

/// # Errors
/// A login is refused.
#[expect(clippy::cast_precision_loss, reason = "some thousand sessions")]
pub(super) fn measure(stage: &Stage, nodes: &Nodes, people: &[Person], sessions: usize) -> anyhow::Result<Memory> {
    let gateway = stage.gateway(nodes)?;
    sign_in_many(stage, stage.port(), people, 252, BEFORE)?;
    let (nodes_before, redis_before) = (nodes.resident()?, RedisWork::of(&stage.redis)?.memory);
    sign_in_many(stage, stage.port(), people, 252, sessions)?;
    let (nodes_after, redis_after) = (nodes.resident()?, RedisWork::of(&stage.redis)?.memory);
    drop(gateway);
    let each = |grown: f64| grown / sessions as f64;
    Ok(Memory { nodes: each(nodes_after - nodes_before), redis: each(redis_after - redis_before), sessions })
}
