//! `cargo xtask choose`: a few questions, and the strategy that fits, with its settings and its figures. Owns the rules and
//! `docs/choosing.md`; measures nothing.

mod page;
mod rules;

use std::fs;
use std::io::{BufRead, IsTerminal as _, Write};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};

use self::rules::{Clients, Needs, Survives, choose, settings, unfit};
use crate::children::workspace;
use crate::compare::figures::{Figures, OfRow};
use crate::compare::page::{ends, lost};
use crate::compare::rows::Row;
use crate::measuring::table::short;

/// Chooses how sessions are shared between servers.
///
/// Asks what is not given as an option; answers with the strategy, what to write into the environment, and the figures of
/// docs/strategies.json, which `cargo xtask compare` measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many nodes will serve.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    nodes: Option<u16>,
    /// Who calls: browsers alone, or also applications, devices, other services (api).
    #[arg(long)]
    clients: Option<Clients>,
    /// Whether there is, or may be, a Redis.
    #[arg(long)]
    redis: Option<Answer>,
    /// Whether an ordinary request may wait for Redis.
    #[arg(long)]
    may_ask: Option<Answer>,
    /// Whether the end of a session must be seen everywhere within a second.
    #[arg(long)]
    ends_at_once: Option<Answer>,
    /// What sessions must outlive: nothing, the death of one node, the restart of all.
    #[arg(long)]
    survives: Option<Survives>,
    /// Whether sessions must be listed, limited, ended one by one.
    #[arg(long)]
    lists: Option<Answer>,
    /// Writes docs/choosing.md anew instead.
    #[arg(long)]
    page: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Answer {
    Yes,
    No,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let figures = figures()?;
    if arguments.page {
        return write_page(&figures);
    }
    let (stdin, mut stdout) = (std::io::stdin(), std::io::stdout());
    let is_terminal = stdin.is_terminal();
    let mut asking = Asking { lines: &mut stdin.lock(), out: &mut stdout, is_terminal };
    let needs = asking.needs(arguments)?;
    write!(stdout, "{}", answer(&needs, &figures))?;
    Ok(())
}

fn docs(file: &str) -> PathBuf {
    workspace().join("docs").join(file)
}

fn figures() -> anyhow::Result<Figures> {
    let file = docs("strategies.json");
    let text = fs::read_to_string(&file)
        .with_context(|| format!("{} cannot be read: `cargo xtask compare` writes it", file.display()))?;
    Figures::read(&text).with_context(|| format!("{} is not what `cargo xtask compare` writes", file.display()))
}

/// Writes `docs/choosing.md`, which holds figures.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_page(figures: &Figures) -> anyhow::Result<()> {
    let file = docs("choosing.md");
    fs::write(&file, page::page(figures)).with_context(|| format!("{} cannot be written", file.display()))
}

/// Whoever is asked.
struct Asking<'a> {
    lines: &'a mut dyn BufRead,
    out: &'a mut dyn Write,
    /// Elsewhere nobody is there to answer.
    is_terminal: bool,
}

impl Asking<'_> {
    fn needs(&mut self, given: &Arguments) -> anyhow::Result<Needs> {
        let nodes = match given.nodes {
            Some(nodes) => usize::from(nodes),
            None => self.ask("--nodes", "How many nodes will serve?", "1, 2, …", |text| {
                text.parse().ok().filter(|nodes| *nodes > 0)
            })?,
        };
        let clients = match given.clients {
            Some(clients) => clients,
            None => self.choice("--clients", "Who calls: browsers alone, or also applications and services?")?,
        };
        let redis = self.yes_or_no(given.redis, "--redis", "Is there, or may there be, a Redis?")?;
        let may_ask = redis && self.yes_or_no(given.may_ask, "--may-ask", "May an ordinary request wait for it?")?;
        let question = "Must the end of a session be seen everywhere within a second?";
        let ends_at_once = self.yes_or_no(given.ends_at_once, "--ends-at-once", question)?;
        let survives = match given.survives {
            Some(survives) => survives,
            None => self.choice("--survives", "What must sessions outlive: nothing, a node, a restart of all?")?,
        };
        let question = "Must sessions be listed, limited, ended one by one?";
        let lists = self.yes_or_no(given.lists, "--lists", question)?;
        Ok(Needs { nodes, clients, redis, may_ask, ends_at_once, survives, lists })
    }

    fn yes_or_no(&mut self, given: Option<Answer>, option: &str, question: &str) -> anyhow::Result<bool> {
        Ok(given.map_or_else(|| self.choice(option, question), Ok)? == Answer::Yes)
    }

    /// One of a few words, or the beginning of one.
    fn choice<C: clap::ValueEnum + Copy>(&mut self, option: &str, question: &str) -> anyhow::Result<C> {
        let name =
            |choice: &C| choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let names: Vec<String> = C::value_variants().iter().map(name).collect();
        self.ask(option, question, &names.join(", "), |text| {
            let found = C::value_variants().iter().filter(|choice| name(choice).starts_with(text));
            found.copied().next().filter(|_| !text.is_empty())
        })
    }

    fn ask<A>(
        &mut self,
        option: &str,
        question: &str,
        choices: &str,
        read: impl Fn(&str) -> Option<A>,
    ) -> anyhow::Result<A> {
        ensure!(self.is_terminal, "{option} is not given, and nobody can be asked: {question}");
        loop {
            write!(self.out, "{question} ({choices}) ")?;
            self.out.flush()?;
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                bail!("no answer to: {question}");
            }
            if let Some(answer) = read(&line.trim().to_lowercase()) {
                return Ok(answer);
            }
        }
    }
}

/// The answer, in words.
fn answer(needs: &Needs, figures: &Figures) -> String {
    match choose(needs, figures) {
        Ok((row, found)) => recommendation(row, found, needs, figures),
        Err(unfits) => {
            let mut text = "\nNo strategy does all of that:\n".to_owned();
            for (name, why) in unfits {
                text += &format!("  {name:<12} {}\n", why.as_str());
            }
            text
        }
    }
}

fn recommendation(row: &Row, found: &OfRow, needs: &Needs, figures: &Figures) -> String {
    let mut text = format!(
        "\nSESSION_STRATEGY={}\n\nWrite into the environment of each node (and of the gateway, GATEWAY_PIN):\n",
        row.strategy
    );
    for (name, value) in settings(row, needs) {
        text += &format!("  {name}={value}\n");
    }
    let taken = &figures.taken;
    text += &format!("\nMeasured on {} (docs/strategies.md):\n", taken.date);
    for (what, figure) in shown(found, needs.nodes) {
        text += &format!("  {what:<46} {figure}\n");
    }
    let others = figures.rows.iter().filter(|other| other.name != found.name);
    let others: Vec<&str> = others.filter(|other| fits(other, needs)).map(|other| other.name.as_str()).collect();
    if !others.is_empty() {
        text += &format!("\nIt would also be met by {}; docs/choosing.md says why not first.\n", others.join(", "));
    }
    text
}

fn fits(found: &OfRow, needs: &Needs) -> bool {
    let row = crate::compare::rows::ROWS.iter().find(|row| row.name == found.name);
    row.is_some_and(|row| unfit(row, found.declared, needs).is_none())
}

/// What one would ask next, at that number of nodes or the next smaller one that was measured.
fn shown(found: &OfRow, nodes: usize) -> Vec<(String, String)> {
    let Some(at) = found.with_nodes(nodes) else { return Vec::new() };
    let with = format!("with {} node(s)", at.nodes);
    [
        (format!("requests a second, {with}"), short(at.per_second)),
        (format!("p50, p99 in ms, {with}"), format!("{}, {}", short(at.p50_ms), short(at.p99_ms))),
        ("processor a request, nodes and Redis".to_owned(), format!("{} µs", short(at.node_cpu_us + at.redis_cpu_us))),
        ("round trips to Redis a request".to_owned(), format!("{:.1}", found.round_trips)),
        ("credential".to_owned(), format!("{} bytes", found.credential_bytes)),
        (format!("an end is seen everywhere after, {with}"), ends(at.kick)),
        (format!("sessions lost when a node dies, {with}"), lost(at.node_dies)),
        ("sessions lost when all nodes restart".to_owned(), lost(Some(found.restart))),
        ("sessions lost when Redis forgets".to_owned(), lost(Some(found.redis_forgets.after))),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::rules::{IN_ORDER, all_needs};
    use super::*;

    /// The figures that lie in the repository.
    fn kept() -> Figures {
        figures().expect("docs/strategies.json is there")
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(options: &[&str]) -> Arguments {
        Line::try_parse_from(["choose"].iter().chain(options)).map(|line| line.arguments).expect("options")
    }

    fn told(options: &[&str], typed: &str, is_terminal: bool) -> anyhow::Result<Needs> {
        let mut out = Vec::new();
        Asking { lines: &mut typed.as_bytes(), out: &mut out, is_terminal }.needs(&arguments(options))
    }

    #[test]
    fn the_page_about_choosing_is_in_step_with_the_rules_and_the_figures() {
        let page = fs::read_to_string(docs("choosing.md")).expect("docs/choosing.md is there");
        assert!(page == page::page(&kept()), "`cargo xtask choose --page` writes it anew");
    }

    #[test]
    fn the_page_of_figures_is_in_step_with_the_figures() {
        let page = fs::read_to_string(docs("strategies.md")).expect("docs/strategies.md is there");
        assert!(page == crate::compare::page::page(&kept()), "`cargo xtask compare` writes both");
    }

    #[test]
    fn each_strategy_is_the_answer_to_something() {
        let figures = kept();
        let all = all_needs(&[1, 2, 3, 5, 6]);
        let chosen: BTreeSet<&str> =
            all.iter().filter_map(|needs| Some(choose(needs, &figures).ok()?.0.name)).collect();
        assert_eq!(chosen, IN_ORDER.into_iter().collect());
    }

    #[test]
    fn no_answer_promises_what_its_strategy_does_not_declare_and_did_not_show() {
        let figures = kept();
        for needs in all_needs(&[1, 2, 3, 5, 6]) {
            let Ok((row, found)) = choose(&needs, &figures) else { continue };
            let declared = found.declared;
            assert!(!needs.ends_at_once || declared.revokes_at_once, "{needs:?}: {}", row.name);
            let at = found.with_nodes(needs.nodes).expect("measured");
            assert!(!needs.ends_at_once || at.kick.seen.is_some_and(|seen| seen.p50_ms < 1_000.0), "{needs:?}");
            assert!(!needs.lists || (declared.lists_sessions && found.abilities.lists && found.abilities.limits));
            if needs.survives >= Survives::Node {
                assert!(declared.survives_a_node, "{needs:?}: {}", row.name);
                assert!(at.node_dies.is_none_or(|dies| dies.lost == 0), "{needs:?}: {}", row.name);
            }
            let all_at_once =
                needs.survives == Survives::Restart || (needs.survives == Survives::Node && needs.nodes == 1);
            assert!(
                !all_at_once || (declared.survives_a_restart && found.restart.lost == 0),
                "{needs:?}: {}",
                row.name
            );
            assert!(needs.may_ask || found.round_trips < 0.5, "{needs:?}: {}", row.name);
            assert!(
                needs.clients == Clients::Browsers || row.strategy == "jwt" || row.strategy == "hybrid",
                "{needs:?}"
            );
            let told = settings(row, &needs);
            assert!(needs.redis || !told.iter().any(|(name, _)| *name == "REDIS_URL"), "{needs:?}: {}", row.name);
        }
    }

    #[test]
    fn who_can_be_served_by_none_is_told_why_by_each() {
        let needs = told(
            &["--nodes=3", "--clients=api", "--redis=no", "--ends-at-once=yes", "--survives=restart", "--lists=yes"],
            "",
            false,
        )
        .expect("all is answered: without a Redis, none is waited for");
        let text = answer(&needs, &kept());
        assert!(text.contains("No strategy does all of that"), "{text}");
        for name in IN_ORDER {
            assert!(text.contains(&format!("  {name} ")), "{name}: {text}");
        }
        assert!(text.contains("it needs a Redis") && text.contains("its clients must keep a cookie"), "{text}");
    }

    #[test]
    fn what_is_not_given_is_asked_until_it_is_answered() {
        let needs = told(&["--redis=yes", "--lists=no"], "none\n3\nb\n\nyes\nno\nnode\n", true).expect("answered");
        let expected = Needs {
            nodes: 3,
            clients: Clients::Browsers,
            redis: true,
            may_ask: true,
            ends_at_once: false,
            survives: Survives::Node,
            lists: false,
        };
        assert_eq!(needs, expected);
        assert!(told(&[], "3\n", true).expect_err("the answers end").to_string().contains("no answer to: Who calls"));
        let error = told(&["--nodes=3"], "browsers\n", false).expect_err("nobody is there").to_string();
        assert!(error.starts_with("--clients is not given"), "{error}");
    }

    #[test]
    fn the_answer_names_the_settings_and_the_figures() {
        let needs = told(
            &[
                "--nodes=3",
                "--clients=api",
                "--redis=yes",
                "--may-ask=no",
                "--ends-at-once=yes",
                "--survives=restart",
                "--lists=yes",
            ],
            "",
            false,
        );
        let text = answer(&needs.expect("answered"), &kept());
        assert!(text.contains("SESSION_STRATEGY=hybrid\n") && text.contains("REDIS_URL="), "{text}");
        assert!(text.contains("round trips to Redis a request") && text.contains("(docs/strategies.md)"), "{text}");
        let needs = told(
            &["--nodes=2", "--clients=browsers", "--redis=no", "--ends-at-once=no", "--survives=nothing", "--lists=no"],
            "",
            false,
        );
        let text = answer(&needs.expect("answered"), &kept());
        assert!(text.contains("GATEWAY_PIN=cookie\n") && text.contains("also be met by"), "{text}");
    }

    #[test]
    fn figures_of_another_form_are_refused() {
        assert!(Figures::read("{}").is_err());
        let text = serde_json::to_string(&kept()).expect("JSON");
        assert_eq!(Figures::read(&text).expect("as written"), kept());
    }
}
