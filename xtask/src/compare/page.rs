//! `docs/strategies.md`: the figures for people. Rules only: figures in, text out.

use super::figures::{AtNodes, Figures, Kick, Lost, OfRow, StoreFault};
use super::plots::{Bar, Bars, Lines};
use super::rows::ROWS;
use crate::measuring::table::{short, table};

/// The number of nodes at which the page compares what does not depend on it much.
const NODES: usize = 2;

/// The whole page.
pub(crate) fn page(figures: &Figures) -> String {
    let tables = tables(figures);
    format!(
        "# Six ways to share a session, measured\n\n\
         Written by `cargo xtask compare`, which measures all of it again in about {}; do not edit. \
         [choosing.md](choosing.md) says what follows from it, [strategies.json](strategies.json) holds the figures for programs.\n\n\
         {}\n\n{tables}\n{}",
        "ten minutes",
        how(figures),
        NOTES,
    )
}

fn how(figures: &Figures) -> String {
    let taken = &figures.taken;
    let machine = |field: &str| match &taken.machine[field] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let short_run = if taken.quick { " **A short run: read nothing but orders of magnitude from it.**" } else { "" };
    format!(
        "Taken on {} on {} cores of {}, {}, {}.{short_run} A node is one process with all three services; all nodes share \
         one PostgreSQL, all strategies one Redis, and the gateway (nginx) stands before them; load, gateway and servers are \
         on the same cores as the nodes, so more nodes do not mean more power here: compare strategies, not numbers of nodes. \
         The load is {} clients that read their carts, each as soon as it has its answer, in {} rounds of {} s in which the \
         strategies take turns; the figures are medians. Each fault meets {} sessions.",
        taken.date,
        machine("cores"),
        machine("processor"),
        machine("postgres"),
        machine("redis"),
        taken.clients,
        taken.rounds,
        taken.window,
        taken.clients,
    )
}

const NOTES: &str = "\
## How to read it

- **processor** is what the nodes, and what Redis, spend on one request; PostgreSQL and nginx cost all the same.
- **round trips to Redis** are counted by Redis (`total_reads_processed`) over reads of the cart one after the other.
- **refused everywhere after** runs from the request that ends the session until every node refuses it, watched without a
  pause. Where a strategy has no kick, the nearest that it has was measured: see the second table.
- **lost** counts sessions that ask for a new sign-in afterwards. Under tokens a session is only kept if its refresh token
  is good, too. *All nodes restart* kills the only node (`SIGKILL`) and starts it again.
- The gateway pins `sticky` by cookie (`GATEWAY_PIN=cookie`), `sticky, by address` by the client's address: there, a node
  that joins moves clients to other nodes. `replicated` waits for all nodes (`CLUSTER_WRITE=sync`).
- **Redis forgets** restarts one without persistence; *keeps* one with `appendfsync always`; *fails over* kills a master
  whose replica takes its place under three sentinels. *Served meanwhile* are sessions whose cart could be read while no
  Redis answered.
- **memory** of the nodes is the growth of what both of two nodes have resident, of Redis its `used_memory`.
- `jwt + feed` and `jwt + list` are `jwt` with `JWT_DENY_LIST=feed` and `redis`.
";

/// All tables, as Markdown and as text for a terminal.
pub(super) fn tables(figures: &Figures) -> String {
    let parts = [
        ("## At two nodes", cost(figures)),
        ("## Who can do what", abilities(figures)),
        ("## What is lost", losses(figures)),
        ("## By the number of nodes", by_nodes(figures)),
    ];
    let mut text = String::new();
    for (title, table) in parts {
        text += &format!("{title}\n\n");
        for (file, alt, of) in PICTURES.iter().filter(|(.., of)| *of == title) {
            debug_assert_eq!(*of, title);
            text += &format!("![{alt}](strategies/{file}.svg)\n\n");
        }
        text += &format!("{table}\n");
    }
    text
}

/// File, alternative text, under which title.
const PICTURES: [(&str, &str, &str); 3] = [
    ("cost", "Processor time for each request, of the nodes and of Redis", "## At two nodes"),
    ("ends", "How long after its end a session is refused everywhere", "## Who can do what"),
    ("throughput", "Requests a second by the number of nodes", "## By the number of nodes"),
];

/// The pictures of the page, by file name.
pub(super) fn pictures(figures: &Figures) -> [(&'static str, String); 3] {
    let at = |row: &OfRow| row.with_nodes(NODES).cloned();
    let cost = figures.rows.iter().filter_map(|row| {
        let at = at(row)?;
        let says = format!("{} µs", short(at.node_cpu_us + at.redis_cpu_us));
        Some(Bar { name: row.name.clone(), parts: vec![at.node_cpu_us, at.redis_cpu_us], says })
    });
    let ends = figures.rows.iter().filter_map(|row| {
        let kick = at(row)?.kick;
        let length = kick.seen.map_or(0.0, |seen| seen.p50_ms);
        Some(Bar { name: row.name.clone(), parts: vec![length], says: ends(kick) })
    });
    let lines = figures.rows.iter().map(|row| {
        let points = row.at.iter().map(|at| (f64::from(u32::try_from(at.nodes).unwrap_or(u32::MAX)), at.per_second));
        (row.name.clone(), points.collect())
    });
    let bars = |title, parts, bars: Vec<Bar>| Bars { title, parts, bars }.svg();
    [
        ("cost", bars("Processor time for each request, at two nodes", &["nodes", "Redis"], cost.collect())),
        ("ends", bars("From a session's end until every node refuses it, at two nodes", &["median"], ends.collect())),
        (
            "throughput",
            Lines { title: "Requests a second", across: "nodes behind the gateway", lines: lines.collect() }.svg(),
        ),
    ]
}

fn cost(figures: &Figures) -> String {
    let head = [
        "",
        "requests a second",
        "p50 ms",
        "p99 ms",
        "processor µs: nodes",
        "Redis",
        "round trips to Redis",
        "credential, bytes",
        "answer's head, bytes",
        "memory a session: nodes",
        "Redis",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for row in &figures.rows {
        let Some(at) = row.with_nodes(NODES) else { continue };
        rows.push([
            row.name.clone(),
            short(at.per_second),
            short(at.p50_ms),
            short(at.p99_ms),
            short(at.node_cpu_us),
            short(at.redis_cpu_us),
            format!("{:.1}", row.round_trips),
            row.credential_bytes.to_string(),
            row.answer_head_bytes.to_string(),
            bytes(row.memory.nodes),
            bytes(row.memory.redis),
        ]);
    }
    table(&rows)
}

fn abilities(figures: &Figures) -> String {
    let head = ["", "list", "who is online", "kick one", "end all", "limit", "ended by", "refused everywhere after"];
    let mut rows = vec![head.map(str::to_owned)];
    let can = |able: bool| if able { "yes" } else { "no" }.to_owned();
    for row in &figures.rows {
        let ending = ROWS.iter().find(|known| known.name == row.name).map_or("", |known| known.ending.as_str());
        let able = row.abilities;
        rows.push([
            row.name.clone(),
            can(able.lists),
            can(able.shows_who_is_online),
            can(able.kicks_one),
            can(able.ends_all),
            can(able.limits),
            ending.to_owned(),
            row.with_nodes(NODES).map_or_else(String::new, |at| ends(at.kick)),
        ]);
    }
    table(&rows)
}

fn losses(figures: &Figures) -> String {
    let head = [
        "",
        "one node of two dies",
        "a second node joins",
        "all nodes restart",
        "Redis forgets",
        "served meanwhile",
        "Redis keeps",
        "Redis fails over",
        "served meanwhile",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let of_fault = |fault: Option<StoreFault>| fault.map_or_else(unmeasured, |fault| lost(Some(fault.after)));
    let served = |fault: Option<StoreFault>| {
        fault.map_or_else(unmeasured, |fault| format!("{} of {}", fault.served_meanwhile, fault.after.of))
    };
    for row in &figures.rows {
        let at = row.with_nodes(NODES);
        rows.push([
            row.name.clone(),
            lost(at.and_then(|at| at.node_dies)),
            lost(at.and_then(|at| at.node_joins)),
            lost(Some(row.restart)),
            of_fault(Some(row.redis_forgets)),
            served(Some(row.redis_forgets)),
            of_fault(row.redis_keeps),
            of_fault(row.redis_fails_over),
            served(row.redis_fails_over),
        ]);
    }
    table(&rows)
}

fn by_nodes(figures: &Figures) -> String {
    let head = [
        "",
        "nodes",
        "requests a second",
        "p50 ms",
        "p99 ms",
        "processor µs: nodes",
        "Redis",
        "refused everywhere after",
        "lost: one dies",
        "one joins",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for (row, at) in figures.rows.iter().flat_map(|row| row.at.iter().map(move |at| (row, at))) {
        let AtNodes { nodes, per_second, p50_ms, p99_ms, node_cpu_us, redis_cpu_us, .. } = *at;
        rows.push([
            row.name.clone(),
            nodes.to_string(),
            short(per_second),
            short(p50_ms),
            short(p99_ms),
            short(node_cpu_us),
            short(redis_cpu_us),
            ends(at.kick),
            lost(at.node_dies),
            lost(at.node_joins),
        ]);
    }
    table(&rows)
}

/// `3.1 ms (at most 7.4)`
pub(crate) fn ends(kick: Kick) -> String {
    kick.seen.map_or_else(
        || "not before it expires".to_owned(),
        |seen| format!("{} ms (at most {})", short(seen.p50_ms), short(seen.max_ms)),
    )
}

/// `12 of 24`
pub(crate) fn lost(lost: Option<Lost>) -> String {
    match lost {
        Some(Lost { lost: 0, .. }) => "none".to_owned(),
        Some(Lost { lost, of }) => format!("{lost} of {of}"),
        None => unmeasured(),
    }
}

fn unmeasured() -> String {
    "-".to_owned()
}

/// What is less than the measuring is sure of shows as nothing.
fn bytes(each: f64) -> String {
    if each < 50.0 {
        "0".to_owned()
    } else {
        format!("{:.0}", each / 10.0).parse().map_or_else(|_| unmeasured(), |tens: u64| (tens * 10).to_string())
    }
}
