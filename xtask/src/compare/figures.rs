//! What was measured, as it lies in `docs/strategies.json` for whoever reads it again.

use serde::{Deserialize, Serialize};

/// Everything that one run found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) taken: Taken,
    pub(crate) rows: Vec<OfRow>,
}

/// How the figures were taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// `2026-11-28`
    pub(crate) date: String,
    /// Short: few rounds, few sessions.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// Seconds of each counted window.
    pub(crate) window: f64,
    /// How many clients ask at once, and how many sessions each fault meets.
    pub(crate) clients: usize,
    pub(crate) kicks: usize,
    /// What the machine is.
    pub(crate) machine: serde_json::Value,
}

/// What one strategy showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OfRow {
    pub(crate) name: String,
    pub(crate) strategy: String,
    pub(crate) declared: Declared,
    pub(crate) abilities: Abilities,
    /// The line with the credential, in bytes.
    pub(crate) credential_bytes: usize,
    /// The head of the answer to a read of the cart, in bytes.
    pub(crate) answer_head_bytes: usize,
    /// Of Redis, for each read of the cart.
    pub(crate) round_trips: f64,
    /// In ascending order of nodes.
    pub(crate) at: Vec<AtNodes>,
    pub(crate) memory: Memory,
    /// All nodes killed and started again.
    pub(crate) restart: Lost,
    pub(crate) redis_forgets: StoreFault,
    /// Not in a short run.
    pub(crate) redis_keeps: Option<StoreFault>,
    pub(crate) redis_fails_over: Option<StoreFault>,
}

/// What the nodes say at their start that the strategy promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Declared {
    pub(crate) any_node: bool,
    pub(crate) survives_a_node: bool,
    pub(crate) survives_a_restart: bool,
    pub(crate) revokes_at_once: bool,
    pub(crate) lists_sessions: bool,
}

/// What the API does, tried one by one: where it cannot, it said 409 `strategy_cannot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Abilities {
    pub(crate) lists: bool,
    pub(crate) shows_who_is_online: bool,
    pub(crate) kicks_one: bool,
    pub(crate) ends_all: bool,
    pub(crate) limits: bool,
}

/// With so many nodes behind the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AtNodes {
    pub(crate) nodes: usize,
    /// Medians of the rounds.
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Microseconds of processor time for each request: of all nodes, of Redis.
    pub(crate) node_cpu_us: f64,
    pub(crate) redis_cpu_us: f64,
    /// Commands that Redis did for each request, also within scripts.
    pub(crate) redis_commands: f64,
    pub(crate) kick: Kick,
    /// A node was killed, one of several.
    pub(crate) node_dies: Option<Lost>,
    /// The last of these nodes came while the others served.
    pub(crate) node_joins: Option<Lost>,
}

/// Sessions that were gone afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lost {
    pub(crate) lost: usize,
    pub(crate) of: usize,
}

/// How long after the request that ends a session every node refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kick {
    /// None: some node still took it when the watching ended.
    pub(crate) seen: Option<Seen>,
    pub(crate) of: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) p50_ms: f64,
    pub(crate) max_ms: f64,
}

/// Bytes for each session.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Of all nodes together, when there are two.
    pub(crate) nodes: f64,
    pub(crate) redis: f64,
    pub(crate) sessions: usize,
}

/// Redis was killed, and came back, or another took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreFault {
    /// Sessions whose cart could be read meanwhile.
    pub(crate) served_meanwhile: usize,
    /// That were gone afterwards.
    pub(crate) after: Lost,
}

impl OfRow {
    /// With so many nodes, or the next smaller number that was measured.
    pub(crate) fn with_nodes(&self, nodes: usize) -> Option<&AtNodes> {
        self.at.iter().rev().find(|at| at.nodes <= nodes).or(self.at.first())
    }
}

impl Figures {
    /// # Errors
    /// The text is not what a run writes.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        Ok(serde_json::from_str(text)?)
    }
}
