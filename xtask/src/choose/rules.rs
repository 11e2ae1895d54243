//! Which strategy fits which needs. Rules only: needs and what strategies declare in, a strategy out.

use crate::compare::figures::{Declared, Figures, OfRow};
use crate::compare::rows::{ROWS, Row};

/// What somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    /// How many nodes will serve.
    pub(crate) nodes: usize,
    pub(crate) clients: Clients,
    /// Whether there is, or may be, a Redis.
    pub(crate) redis: bool,
    /// Whether an ordinary request may wait for Redis.
    pub(crate) may_ask: bool,
    /// Whether the end of a session must be seen everywhere within a second.
    pub(crate) ends_at_once: bool,
    pub(crate) survives: Survives,
    /// Whether sessions must be listed, limited, ended one by one.
    pub(crate) lists: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Clients {
    /// Browsers alone: a cookie will do.
    Browsers,
    /// Also applications, devices and other services: they send tokens.
    Api,
}

/// What sessions must outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Survives {
    Nothing,
    /// The death of one node.
    Node,
    /// Of all nodes at once.
    Restart,
}

/// More nodes than these do not keep each other's sessions.
pub(crate) const LARGEST_CLUSTER: usize = 5;

/// Those that are recommended, the one with the least around it first: the first that fits is taken. `sticky, by address`
/// and `jwt + list` are measured, and never better than their neighbours.
pub(crate) const IN_ORDER: [&str; 7] = ["sticky", "cookie", "jwt", "replicated", "redis", "jwt + feed", "hybrid"];

/// Why a strategy does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    GivesNoTokens,
    NeedsRedis,
    AsksRedis,
    TooManyNodes,
    EndsLate,
    DiesWithNode,
    DiesWithAll,
    ListsNothing,
}

impl Unfit {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::GivesNoTokens => "its clients must keep a cookie",
            Self::NeedsRedis => "it needs a Redis",
            Self::AsksRedis => "each request waits for Redis",
            Self::TooManyNodes => "each node holds all sessions: five are enough",
            Self::EndsLate => "an ended session may be taken until it expires",
            Self::DiesWithNode => "sessions die with their node",
            Self::DiesWithAll => "sessions die when all nodes restart",
            Self::ListsNothing => "nobody can list, limit or end them one by one",
        }
    }
}

/// The first reason for which a strategy with these promises does not fit, in the order of the questions.
pub(crate) fn unfit(row: &Row, declared: Declared, needs: &Needs) -> Option<Unfit> {
    let Needs { nodes, clients, redis, may_ask, ends_at_once, survives, lists } = *needs;
    let alone = nodes == 1;
    let rules = [
        (Unfit::GivesNoTokens, clients == Clients::Api && !gives_tokens(row)),
        // In one process, what needs a Redis between nodes is in memory.
        (Unfit::NeedsRedis, !redis && needs_redis(row, alone, survives)),
        (Unfit::AsksRedis, !may_ask && row.asks_redis),
        (Unfit::TooManyNodes, row.is_cluster() && nodes > LARGEST_CLUSTER),
        (Unfit::EndsLate, ends_at_once && !declared.revokes_at_once),
        (Unfit::DiesWithAll, survives == Survives::Restart && !declared.survives_a_restart),
        (Unfit::DiesWithNode, survives == Survives::Node && dies_with_a_node(row, declared, alone)),
        (Unfit::ListsNothing, lists && !declared.lists_sessions),
    ];
    rules.into_iter().find_map(|(unfit, holds)| holds.then_some(unfit))
}

fn gives_tokens(row: &Row) -> bool {
    matches!(row.strategy, "jwt" | "hybrid")
}

fn needs_redis(row: &Row, alone: bool, survives: Survives) -> bool {
    match row.name {
        "redis" => true,
        // What was measured was measured with a Redis: without one, the memory of the one process is as good as `sticky`.
        "hybrid" => !alone || survives > Survives::Nothing,
        "jwt + feed" | "jwt + list" => !alone,
        _ => false,
    }
}

/// Where there is one node, its death is that of all.
fn dies_with_a_node(row: &Row, declared: Declared, alone: bool) -> bool {
    !declared.survives_a_node || (alone && row.is_cluster())
}

/// The strategy that fits, or why each does not.
pub(crate) fn choose<'a>(
    needs: &Needs,
    figures: &'a Figures,
) -> Result<(&'static Row, &'a OfRow), Vec<(&'static str, Unfit)>> {
    let mut unfits = Vec::new();
    for name in IN_ORDER {
        let Some((row, found)) = known(name, figures) else { continue };
        match unfit(row, found.declared, needs) {
            None => return Ok((row, found)),
            Some(why) => unfits.push((name, why)),
        }
    }
    Err(unfits)
}

/// A strategy with its figures.
pub(crate) fn known<'a>(name: &str, figures: &'a Figures) -> Option<(&'static Row, &'a OfRow)> {
    let row = ROWS.iter().find(|row| row.name == name)?;
    Some((row, figures.rows.iter().find(|found| found.name == name)?))
}

/// What to write into the environment of every node, and of the gateway.
pub(crate) fn settings(row: &Row, needs: &Needs) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![("SESSION_STRATEGY", row.strategy)];
    settings.extend(row.settings);
    if needs.redis || needs_redis(row, needs.nodes == 1, needs.survives) {
        settings.push(("REDIS_URL", "redis://HOST:6379"));
    }
    if row.is_cluster() {
        settings.extend([("CLUSTER_LISTEN", "ADDRESS:7946"), ("CLUSTER_SEEDS", "NODE:7946,NODE:7946")]);
        settings.push(("CLUSTER_KEY", "$(openssl rand -base64 32)"));
    }
    if row.strategy == "cookie" {
        settings.push(("COOKIE_KEY", "$(openssl rand -base64 32)"));
    }
    if needs.nodes > 1 {
        settings.extend(row.pin.map(|pin| ("GATEWAY_PIN", pin)));
    }
    settings
}

/// All needs that can be told apart, with so many nodes each.
pub(crate) fn all_needs(nodes: &[usize]) -> Vec<Needs> {
    let mut all = Vec::new();
    for nodes in nodes.iter().copied() {
        for bits in 0..32_u8 {
            let yes = |bit: u8| bits >> bit & 1 == 1;
            for survives in [Survives::Nothing, Survives::Node, Survives::Restart] {
                let clients = if yes(0) { Clients::Api } else { Clients::Browsers };
                all.push(Needs {
                    nodes,
                    clients,
                    redis: yes(1),
                    may_ask: yes(2),
                    ends_at_once: yes(3),
                    survives,
                    lists: yes(4),
                });
            }
        }
    }
    all
}
