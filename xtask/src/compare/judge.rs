//! Whether what was measured agrees with what the strategies declare. Rules only.

use super::figures::{Figures, Kick, Lost, OfRow};
use super::rows::{Ending, ROWS, Row};

/// What an ended session may take to be refused everywhere, where that is promised "within a second".
const AT_ONCE_MS: f64 = 1_000.0;
/// Fewer round trips for each request than this are none: idle nodes follow feeds meanwhile.
const NONE: f64 = 0.3;
/// Fewer bytes for each session than this are none: what belongs to the user, and how allocators round.
const NOTHING: f64 = 300.0;

/// What does not agree, in words.
pub(super) fn faults(figures: &Figures) -> Vec<String> {
    let rows = ROWS.iter().zip(&figures.rows);
    let mut all = Vec::new();
    for (row, found) in rows {
        let mut faults = of_row(row, found);
        // A few sessions are lost in what allocators round.
        if !figures.taken.quick {
            faults.extend(memory(row, found));
        }
        all.extend(faults.into_iter().map(|fault| format!("{}: {fault}", row.name)));
    }
    all
}

fn memory(row: &Row, found: &OfRow) -> Option<String> {
    let in_redis = found.memory.redis > NOTHING;
    (in_redis != row.kept_in_redis).then(|| format!("{:.0} bytes of Redis for each session", found.memory.redis))
}

fn of_row(row: &Row, found: &OfRow) -> Vec<String> {
    let mut faults = Vec::new();
    let mut judge = |holds: bool, otherwise: String| {
        if !holds {
            faults.push(otherwise);
        }
    };
    let (declared, able) = (found.declared, found.abilities);
    judge(
        all_or_none(found.restart, declared.survives_a_restart),
        format!("a restart of all nodes: {:?}", found.restart),
    );
    for at in &found.at {
        let nodes = at.nodes;
        if let Some(dies) = at.node_dies {
            let some = dies.lost > 0 && dies.lost < dies.of;
            let holds = if declared.survives_a_node { dies.lost == 0 } else { some };
            judge(holds, format!("one of {nodes} nodes died: {dies:?}"));
        }
        judge(
            at.node_joins.is_none_or(|joins| joins.lost == 0 || !declared.any_node),
            format!("a node joined: {:?}", at.node_joins),
        );
        judge(seen_as_declared(row, found, at.kick), format!("an end with {nodes} nodes: {:?}", at.kick));
    }
    let holds = if row.asks_redis { found.round_trips > 1.0 - NONE } else { found.round_trips < NONE };
    judge(holds, format!("{} round trips to Redis for each request", found.round_trips));
    for (name, able) in [
        ("a list", able.lists),
        ("a list of who is online", able.shows_who_is_online),
        ("a kick", able.kicks_one),
        ("a limit", able.limits),
    ] {
        let can = if able { "there is" } else { "there is no" };
        judge(able == declared.lists_sessions, format!("{can} {name}, and that is not what is declared"));
    }
    let forgets = found.redis_forgets.after;
    judge(all_or_none(forgets, !row.kept_in_redis), format!("a Redis that forgets: {forgets:?}"));
    if let Some(keeps) = found.redis_keeps {
        judge(keeps.after.lost == 0, format!("a Redis that keeps everything: {keeps:?}"));
    }
    faults
}

/// None lost where it is survived, else all.
fn all_or_none(lost: Lost, survived: bool) -> bool {
    lost.of > 0 && if survived { lost.lost == 0 } else { lost.lost == lost.of }
}

fn seen_as_declared(row: &Row, found: &OfRow, kick: Kick) -> bool {
    match kick.seen {
        Some(seen) if found.declared.revokes_at_once => seen.p50_ms < AT_ONCE_MS,
        Some(_) => row.ending == Ending::LogOutEverywhere,
        None => !found.declared.revokes_at_once && row.ending == Ending::LogOut,
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Abilities, AtNodes, Declared, Memory, Seen, StoreFault, Taken};
    use super::*;

    /// What a run should find of the row at this place.
    fn as_declared(row: &Row) -> OfRow {
        let kept = row.ending == Ending::Kick;
        let (pinned, in_memory) = (row.pin.is_some(), row.pin.is_some() || row.is_cluster());
        let lost = |lost| Lost { lost, of: 12 };
        let revokes = row.name != "jwt";
        let forgets = lost(if row.kept_in_redis { 12 } else { 0 });
        OfRow {
            name: row.name.to_owned(),
            strategy: row.strategy.to_owned(),
            declared: Declared {
                any_node: !pinned,
                survives_a_node: !pinned,
                survives_a_restart: !in_memory,
                revokes_at_once: revokes,
                lists_sessions: kept,
            },
            abilities: Abilities {
                lists: kept,
                shows_who_is_online: kept,
                kicks_one: kept,
                ends_all: kept,
                limits: kept,
            },
            credential_bytes: 100,
            answer_head_bytes: 400,
            round_trips: if row.asks_redis { 1.02 } else { 0.02 },
            at: vec![AtNodes {
                nodes: 2,
                per_second: 1000.0,
                p50_ms: 1.0,
                p99_ms: 2.0,
                node_cpu_us: 100.0,
                redis_cpu_us: 1.0,
                redis_commands: 0.0,
                kick: Kick { seen: (row.name != "jwt").then_some(Seen { p50_ms: 5.0, max_ms: 2_000.0 }), of: 3 },
                node_dies: Some(lost(if pinned { 6 } else { 0 })),
                node_joins: Some(lost(if pinned { 5 } else { 0 })),
            }],
            memory: Memory { nodes: 500.0, redis: if row.kept_in_redis { 600.0 } else { 3.0 }, sessions: 100 },
            restart: lost(if in_memory { 12 } else { 0 }),
            redis_forgets: StoreFault { served_meanwhile: 0, after: forgets },
            redis_keeps: None,
            redis_fails_over: None,
        }
    }

    fn figures() -> Figures {
        let taken = Taken {
            date: "2026-11-28".to_owned(),
            quick: false,
            rounds: 1,
            window: 1.0,
            clients: 12,
            kicks: 3,
            machine: serde_json::Value::Null,
        };
        Figures { taken, rows: ROWS.iter().map(as_declared).collect() }
    }

    fn after(change: impl Fn(&mut OfRow)) -> Vec<String> {
        let mut figures = figures();
        figures.rows.iter_mut().for_each(change);
        faults(&figures)
    }

    #[test]
    fn what_is_as_declared_is_no_fault() {
        assert_eq!(faults(&figures()), Vec::<String>::new());
    }

    #[test]
    fn every_figure_that_disagrees_is_named_with_its_strategy() {
        let every = ROWS.len();
        let count = |change: fn(&mut OfRow)| after(change).len();
        assert_eq!(count(|row| row.round_trips = 1.0), ROWS.iter().filter(|row| !row.asks_redis).count());
        assert_eq!(count(|row| row.round_trips = 0.0), ROWS.iter().filter(|row| row.asks_redis).count());
        assert_eq!(count(|row| row.at[0].node_dies = Some(Lost { lost: 12, of: 12 })), every);
        assert_eq!(count(|row| row.at[0].kick.seen = Some(Seen { p50_ms: 1_500.0, max_ms: 1_500.0 })), every);
        assert_eq!(count(|row| row.abilities.limits = !row.abilities.limits), every);
        assert_eq!(count(|row| row.redis_forgets.after = Lost { lost: 1, of: 12 }), every);
        assert_eq!(count(|row| row.restart = Lost { lost: 0, of: 0 }), every);
        let faults = after(|row| row.abilities.limits = true);
        assert!(
            faults.contains(&"cookie: there is a limit, and that is not what is declared".to_owned()),
            "{faults:?}"
        );
    }
}
