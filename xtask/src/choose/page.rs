//! `docs/choosing.md`: the rules for people, with the figures behind them. Rules only.

use super::rules::{Clients, IN_ORDER, LARGEST_CLUSTER, Needs, Survives, Unfit, all_needs, choose, known, unfit};
use crate::compare::figures::{Figures, OfRow};
use crate::compare::page::{ends, lost};
use crate::measuring::table::{short, table};

/// The whole page.
pub(crate) fn page(figures: &Figures) -> String {
    format!(
        "# Choosing how sessions are shared\n\n\
         Written by `cargo xtask choose --page` from its rules and from [what was measured](strategies.md); do not edit. \
         `cargo xtask choose` asks the questions, and answers with the strategy, its settings and its figures.\n\n\
         {INTRODUCTION}\n\
         ## The questions\n\n{}\n\
         ## The order\n\n{ORDER}\n{}\n\
         ## What each need leaves\n\n\
         Of browsers, a Redis that requests may wait for, three nodes, and no other wish; then with one wish more. The first \
         that is left is taken.\n\n{}\n\
         ## Common cases\n\n{}",
        questions(figures),
        order(figures),
        leaves(figures),
        cases(figures),
    )
}

const INTRODUCTION: &str = "\
The usual advice is a tree: microservices or several domains take JWT; else up to three servers take sticky sessions, and
more take Redis; a cookie is for what is internal. It asks how many servers there are, which decides little: what decides is
what may be lost, how fast an end must be seen, and what may be asked. So these are the questions here.
";

const ORDER: &str = "\
Whatever fits, the one with the least around it is taken: first what needs nothing but a gateway, then what needs nothing at
all but gives up ends and lists, then nodes that talk to each other, then a Redis that is asked, then one that is not asked.
";

fn questions(figures: &Figures) -> String {
    let at = |name: &str| known(name, figures).map(|(_, found)| found);
    let trips = |name: &str| at(name).map_or_else(String::new, |found| format!("{:.1}", found.round_trips));
    let cpu =
        |name: &str| at(name).and_then(two).map_or_else(String::new, |at| short(at.node_cpu_us + at.redis_cpu_us));
    let kick = |name: &str| at(name).and_then(two).map_or_else(String::new, |at| ends(at.kick));
    let dies = |name: &str| at(name).and_then(two).map_or_else(String::new, |at| lost(at.node_dies));
    let restart = |name: &str| at(name).map_or_else(String::new, |found| lost(Some(found.restart)));
    let forgets = |name: &str| at(name).map_or_else(String::new, |found| lost(Some(found.redis_forgets.after)));
    let served = |name: &str| {
        at(name).map_or_else(String::new, |found| {
            let fault = found.redis_forgets;
            format!("{} of {}", fault.served_meanwhile, fault.after.of)
        })
    };
    let memory = |name: &str| at(name).map_or_else(String::new, |found| short(found.memory.nodes));
    format!(
        "1. **How many nodes?** `replicated` keeps every session at every node ({} bytes of memory a session at two nodes \
         together), and is for at most {LARGEST_CLUSTER}. [By the number of nodes](strategies.md#by-the-number-of-nodes)\n\
         2. **Who calls?** Browsers carry cookies by themselves. Applications, devices and other services carry tokens: \
         `jwt` or `hybrid`.\n\
         3. **Is there a Redis?** Without one, `redis` cannot be, and `hybrid` and `jwt + feed` only in one process.\n\
         4. **May a request wait for it?** `redis` makes {} round trip(s) for each read and `jwt + list` {}, `hybrid` {}; the \
         processor spends {} µs, {} µs and {} µs on a read. While Redis was away, `redis` served {} sessions and `hybrid` {}. \
         [At two nodes](strategies.md#at-two-nodes), [what is lost](strategies.md#what-is-lost)\n\
         5. **Must an end be seen within a second?** `sticky` {}, `replicated` {}, `redis` {}, `jwt + feed` {}, `hybrid` {}; \
         `jwt` {}. `jwt` and `cookie` end one session by its own sign-out alone, or all of a user's. [Who can do what](strategies.md#who-can-do-what)\n\
         6. **What must a session outlive?** When one of two nodes died, `sticky` lost {}, the others none; when all nodes \
         restarted, `sticky` lost {} and `replicated` {}, the others none. A Redis without persistence took {} sessions of \
         `redis` and {} of `hybrid` along: let it write to its disk. [What is lost](strategies.md#what-is-lost)\n\
         7. **Lists, limits, single kicks?** Only where somebody keeps sessions: `jwt` and `cookie` answer 409 \
         `strategy_cannot`. [Who can do what](strategies.md#who-can-do-what)\n",
        memory("replicated"),
        trips("redis"),
        trips("jwt + list"),
        trips("hybrid"),
        cpu("redis"),
        cpu("jwt + list"),
        cpu("hybrid"),
        served("redis"),
        served("hybrid"),
        kick("sticky"),
        kick("replicated"),
        kick("redis"),
        kick("jwt + feed"),
        kick("hybrid"),
        kick("jwt"),
        dies("sticky"),
        restart("sticky"),
        restart("replicated"),
        forgets("redis"),
        forgets("hybrid"),
    )
}

fn two(found: &OfRow) -> Option<&crate::compare::figures::AtNodes> {
    found.with_nodes(2)
}

/// What is gained and given up, in the order in which strategies are tried.
fn order(figures: &Figures) -> String {
    let mut rows = vec![["", "is taken for", "gives up"].map(str::to_owned)];
    for name in IN_ORDER.into_iter().filter(|name| known(name, figures).is_some()) {
        let (gains, gives_up) = match name {
            "sticky" => ("no store, all of the administration", "a node's sessions with the node"),
            "cookie" => ("no store, any node", "lists, the end of one session by another; 4 KB"),
            "jwt" => ("no store, any node, any client", "every end before it expires, lists"),
            "replicated" => {
                ("no store, any node, all of the administration", "five nodes at most; all restart: all lost")
            }
            "redis" => {
                ("one truth, an end at once, plain cookies", "a round trip for each request; no Redis, no service")
            }
            "jwt + feed" => ("no sessions to keep, ends at once", "lists, limits"),
            _ => ("ends at once, lists, no round trip, any client", "the most moving parts"),
        };
        rows.push([name, gains, gives_up].map(str::to_owned));
    }
    table(&rows)
}

const WISHLESS: Needs = Needs {
    nodes: 3,
    clients: Clients::Browsers,
    redis: true,
    may_ask: true,
    ends_at_once: false,
    survives: Survives::Nothing,
    lists: false,
};

fn leaves(figures: &Figures) -> String {
    let wishes = [
        ("no other wish", WISHLESS),
        ("applications call, too", Needs { clients: Clients::Api, ..WISHLESS }),
        ("there is no Redis", Needs { redis: false, may_ask: false, ..WISHLESS }),
        ("requests do not wait for it", Needs { may_ask: false, ..WISHLESS }),
        ("more than five nodes", Needs { nodes: 6, ..WISHLESS }),
        ("ends are seen within a second", Needs { ends_at_once: true, ..WISHLESS }),
        ("sessions outlive a node", Needs { survives: Survives::Node, ..WISHLESS }),
        ("sessions outlive all nodes", Needs { survives: Survives::Restart, ..WISHLESS }),
        ("lists, limits, single kicks", Needs { lists: true, ..WISHLESS }),
    ];
    let mut rows = vec![["", "left, in order", "not, and why"].map(str::to_owned)];
    for (wish, needs) in wishes {
        let judged = IN_ORDER.into_iter().filter_map(|name| {
            let (row, found) = known(name, figures)?;
            Some((name, unfit(row, found.declared, &needs)))
        });
        let (fit, unfit): (Vec<_>, Vec<_>) = judged.partition(|(_, unfit)| unfit.is_none());
        let left = fit.into_iter().map(|(name, _)| format!("`{name}`"));
        let mut reasons: Vec<Unfit> = unfit.iter().filter_map(|(_, why)| *why).collect();
        reasons.dedup();
        let not = reasons.into_iter().map(|reason| {
            let names = unfit.iter().filter(|(_, why)| *why == Some(reason)).map(|(name, _)| format!("`{name}`"));
            format!("{}: {}", names.collect::<Vec<_>>().join(", "), reason.as_str())
        });
        rows.push([wish.to_owned(), left.collect::<Vec<_>>().join(", "), not.collect::<Vec<_>>().join("; ")]);
    }
    table(&rows)
}

fn cases(figures: &Figures) -> String {
    let everything = Needs { ends_at_once: true, survives: Survives::Restart, lists: true, ..WISHLESS };
    let cases = [
        ("a small tool on three nodes, whose users may sign in again", WISHLESS),
        (
            "the same, and a node may die unnoticed; no Redis",
            Needs { redis: false, may_ask: false, survives: Survives::Node, lists: true, ..WISHLESS },
        ),
        (
            "something internal that nobody is thrown out of",
            Needs { survives: Survives::Restart, redis: false, may_ask: false, ..WISHLESS },
        ),
        (
            "an API for other services, nobody is thrown out of",
            Needs { clients: Clients::Api, survives: Survives::Restart, ..WISHLESS },
        ),
        (
            "an API whose tokens end at once, and nobody looks at sessions",
            Needs { clients: Clients::Api, ends_at_once: true, survives: Survives::Restart, ..WISHLESS },
        ),
        ("a shop in the browser, with all of the administration", everything),
        ("the same, and Redis may be away", Needs { may_ask: false, ..everything }),
        ("the same, with applications", Needs { clients: Clients::Api, ..everything }),
        ("the same, without a Redis", Needs { redis: false, may_ask: false, clients: Clients::Api, ..everything }),
    ];
    let mut rows = vec![["case", "strategy"].map(str::to_owned)];
    for (case, needs) in cases {
        let chosen = choose(&needs, figures).map_or_else(|_| "none".to_owned(), |(row, _)| format!("`{}`", row.name));
        rows.push([case.to_owned(), chosen]);
    }
    let all = all_needs(&[1, 2, 3, 5, 6]);
    let met = all.iter().filter(|needs| choose(needs, figures).is_ok()).count();
    format!(
        "{}\nOf {} combinations of answers, {met} have a strategy; `choose` says for each of the others what is in the way.\n",
        table(&rows),
        all.len()
    )
}
