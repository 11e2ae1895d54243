//! The whole run: for each number of nodes, all strategies side by side, and what each of them shows there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use e2e::servers::{PrivateRedis, PrivateSentinels};

use super::abilities::{self, Tried};
use super::client::{Device, Person, in_parallel, sign_in_many};
use super::faults;
use super::figures::{AtNodes, Declared, Figures, Kick, Lost, Memory, OfRow, StoreFault, Taken};
use super::nodes::Nodes;
use super::rows::{ROWS, Row};
use super::speed::{self, Speed};
use super::stage::Stage;
use super::{Plan, kicks, memory};
use crate::measuring::Halt;
use crate::screen::Screen;

/// So many people use each strategy.
const PEOPLE: usize = 6;
/// More sessions than anybody begins here.
const UNLIMITED: &str = "1000000";
/// A silent master is replaced after so long.
const SILENCE: Duration = Duration::from_secs(2);

pub(super) struct Run<'a> {
    pub(super) plan: Plan,
    pub(super) screen: &'a Screen,
    pub(super) halt: &'a Halt,
    pub(super) programs: PathBuf,
    pub(super) output: PathBuf,
    pub(super) taken: Taken,
}

/// What is known of one row so far.
#[derive(Default)]
struct Found {
    declared: Declared,
    tried: Option<Tried>,
    at: Vec<AtNodes>,
    memory: Option<Memory>,
    restart: Option<Lost>,
    redis_forgets: Option<StoreFault>,
    redis_keeps: Option<StoreFault>,
    redis_fails_over: Option<StoreFault>,
}

/// # Errors
/// Something could not be measured, or the run was halted.
pub(super) fn measure(run: Run<'_>) -> anyhow::Result<Figures> {
    run.screen.step("starting PostgreSQL and Redis");
    let mut stage = Stage::set_up(run.programs.clone(), run.output.clone(), run.halt)?;
    let mut found: Vec<Found> = ROWS.iter().map(|_| Found::default()).collect();
    let mut people = Vec::new();
    for nodes in run.plan.nodes {
        let mut all = if *nodes == 1 {
            let mut all = run.start(&stage, 1, abilities::LIMIT)?;
            people = register(&stage, &all)?;
            run.try_abilities(&stage, &all, &people, &mut found)?;
            for nodes in &mut all {
                nodes.set_limit(UNLIMITED);
                nodes.kill(0)?;
                nodes.start(0)?;
            }
            all.iter_mut().try_for_each(|nodes| nodes.wait(&stage))?;
            all
        } else {
            run.start(&stage, nodes - 1, UNLIMITED)?
        };
        run.with_nodes(&mut stage, *nodes, &mut all, &people, &mut found)?;
    }
    if !run.plan.quick {
        run.with_other_stores(&mut stage, &people, &mut found)?;
    }
    let rows = ROWS.iter().zip(found).map(|(row, found)| found.complete(row)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Figures { taken: run.taken, rows })
}

/// Some people for each strategy: what ends for one of them says nothing of another strategy's.
fn register(stage: &Stage, all: &[Nodes]) -> anyhow::Result<Vec<Vec<Person>>> {
    let names: Vec<(usize, usize)> = (0..all.len()).flat_map(|row| (0..PEOPLE).map(move |who| (row, who))).collect();
    let port = |row: usize| all[row].ports_of(e2e::services::Service::Auth)[0];
    let people = in_parallel(&names, |(row, who)| Person::register(stage, port(*row), &format!("person-{row}-{who}")))?;
    Ok(people.chunks(PEOPLE).map(<[Person]>::to_vec).collect())
}

impl Run<'_> {
    /// The nodes of all strategies, ready, each strategy with a database of its own in one Redis.
    fn start(&self, stage: &Stage, nodes: usize, limit: &str) -> anyhow::Result<Vec<Nodes>> {
        let redis = stage.redis.url();
        self.start_on(stage, nodes, limit, |number| format!("{redis}/{number}"))
    }

    fn start_on(
        &self,
        stage: &Stage,
        nodes: usize,
        limit: &str,
        redis: impl Fn(usize) -> String,
    ) -> anyhow::Result<Vec<Nodes>> {
        self.screen.step(&format!("starting {nodes} node(s) of each strategy"));
        let mut all = Vec::new();
        for (number, row) in ROWS.iter().enumerate() {
            let mut of_row = Nodes::of(row, redis(number), nodes + 1)?;
            of_row.set_limit(limit);
            for _ in 0..nodes {
                of_row.add(stage)?;
                // The first of all makes tables, keys and users.
                if all.is_empty() && of_row.count() == 1 {
                    of_row.wait(stage)?;
                }
            }
            all.push(of_row);
        }
        all.iter_mut().try_for_each(|nodes| nodes.wait(stage))?;
        Ok(all)
    }

    fn try_abilities(
        &self,
        stage: &Stage,
        all: &[Nodes],
        people: &[Vec<Person>],
        found: &mut [Found],
    ) -> anyhow::Result<()> {
        self.screen.step("trying what each strategy can do");
        for ((nodes, people), found) in all.iter().zip(people).zip(found) {
            found.declared = nodes.declared()?;
            let tried = abilities::measure(stage, nodes, &people[0], found.declared);
            found.tried = Some(tried.with_context(|| nodes.row.name)?);
        }
        Ok(())
    }

    /// All that is measured with so many nodes. `all` have one less, but for the first time.
    fn with_nodes(
        &self,
        stage: &mut Stage,
        nodes: usize,
        all: &mut [Nodes],
        people: &[Vec<Person>],
        found: &mut [Found],
    ) -> anyhow::Result<()> {
        self.screen.step(&format!("signing people in, {nodes} node(s)"));
        let mut devices = sign_in_everywhere(stage, all, people, self.plan.clients)?;
        let joins = self.join(stage, nodes, all, &mut devices)?;
        if nodes > 1 {
            // Where clients are led to one node, those who came before the new one would leave it idle.
            devices = sign_in_everywhere(stage, all, people, self.plan.clients)?;
        }
        let speeds = self.rounds(stage, nodes, all, &devices)?;
        let kicks = self.kicks(stage, nodes, all, people, found)?;
        if nodes == 2 {
            self.memory(stage, all, people, found)?;
            self.screen.step("Redis dies, and has forgotten everything");
            let faults = faults::redis_dies(stage, all, &mut devices)?;
            found.iter_mut().zip(faults).for_each(|(found, fault)| found.redis_forgets = Some(fault));
        }
        self.screen.step(&format!("a node dies, of {nodes}"));
        for (number, of_row) in all.iter_mut().enumerate() {
            let (found, devices) = (&mut found[number], &mut devices[number]);
            let dies = if nodes == 1 {
                found.restart = Some(faults::restart(stage, of_row, devices)?);
                None
            } else {
                Some(faults::node_dies(stage, of_row, devices).with_context(|| of_row.row.name)?)
            };
            found.at.push(at_nodes(nodes, speeds[number], kicks[number], joins[number], dies));
        }
        Ok(())
    }

    /// One more node for each strategy, while people are signed in.
    fn join(
        &self,
        stage: &Stage,
        nodes: usize,
        all: &mut [Nodes],
        devices: &mut [Vec<Device>],
    ) -> anyhow::Result<Vec<Option<Lost>>> {
        if nodes == 1 {
            return Ok(vec![None; all.len()]);
        }
        self.screen.step(&format!("a node joins, and there are {nodes}"));
        all.iter_mut().try_for_each(|of_row| of_row.add(stage))?;
        all.iter_mut().try_for_each(|of_row| of_row.wait(stage))?;
        let counted = all.iter().zip(devices).map(|(of_row, devices)| {
            let lost = faults::count(stage, of_row, devices).with_context(|| of_row.row.name)?;
            Ok(Some(lost))
        });
        counted.collect()
    }

    /// The load, in rounds; each round begins with another strategy.
    fn rounds(
        &self,
        stage: &Stage,
        nodes: usize,
        all: &[Nodes],
        devices: &[Vec<Device>],
    ) -> anyhow::Result<Vec<Speed>> {
        self.screen.step(&format!("measuring the load, {nodes} node(s)"));
        let mut rounds: BTreeMap<usize, Vec<speed::Round>> = BTreeMap::new();
        for round in 0..self.plan.rounds {
            for turn in 0..all.len() {
                let number = (round + turn) % all.len();
                let name = all[number].row.name;
                let (now, of) = (round + 1, self.plan.rounds);
                self.screen.progress(format!("measuring the load, {nodes} node(s): {name}, round {now} of {of}"));
                let measured = speed::measure(stage, &all[number], &devices[number], self.plan.counted);
                rounds.entry(number).or_default().push(measured.with_context(|| name)?);
            }
        }
        Ok(rounds.values().map(|rounds| speed::medians(rounds)).collect())
    }

    fn kicks(
        &self,
        stage: &Stage,
        nodes: usize,
        all: &[Nodes],
        people: &[Vec<Person>],
        found: &[Found],
    ) -> anyhow::Result<Vec<Kick>> {
        self.screen.step(&format!("ending sessions, {nodes} node(s)"));
        let measured = all.iter().zip(people).zip(found).map(|((of_row, people), found)| {
            // Not by those whose sessions are measured: one ending takes all of a user's.
            let kicked = &people[PEOPLE - 1..];
            kicks::measure(stage, of_row, kicked, found.declared, self.plan.kicks).with_context(|| of_row.row.name)
        });
        measured.collect()
    }

    fn memory(&self, stage: &Stage, all: &[Nodes], people: &[Vec<Person>], found: &mut [Found]) -> anyhow::Result<()> {
        for ((of_row, people), found) in all.iter().zip(people).zip(found) {
            self.screen.step(&format!("signing in for the memory: {}", of_row.row.name));
            let sessions = self.plan.sessions;
            found.memory = Some(memory::measure(stage, of_row, &people[..PEOPLE - 1], sessions)?);
        }
        Ok(())
    }

    /// The same faults of a Redis that writes everything to its disk, and of one with a replica and sentinels.
    fn with_other_stores(&self, stage: &mut Stage, people: &[Vec<Person>], found: &mut [Found]) -> anyhow::Result<()> {
        stage.redis = PrivateRedis::launch_durable()?;
        let all = self.start(stage, 2, UNLIMITED)?;
        let mut devices = sign_in_everywhere(stage, &all, people, self.plan.clients)?;
        self.screen.step("Redis dies, and has kept everything");
        let faults = faults::redis_dies(stage, &all, &mut devices)?;
        found.iter_mut().zip(faults).for_each(|(found, fault)| found.redis_keeps = Some(fault));
        drop(all);

        let mut sentinels = PrivateSentinels::launch(SILENCE)?;
        let url = sentinels.url();
        let all = self.start_on(stage, 2, UNLIMITED, |number| url.replace("/0?", &format!("/{number}?")))?;
        let mut devices = sign_in_everywhere(stage, &all, people, self.plan.clients)?;
        self.screen.step("the master of Redis dies, and its replica takes its place");
        let faults = faults::redis_fails_over(stage, &mut sentinels, &all, &mut devices)?;
        found.iter_mut().zip(faults).for_each(|(found, fault)| found.redis_fails_over = Some(fault));
        Ok(())
    }
}

/// So many devices of each strategy, by the gateway.
fn sign_in_everywhere(
    stage: &Stage,
    all: &[Nodes],
    people: &[Vec<Person>],
    count: usize,
) -> anyhow::Result<Vec<Vec<Device>>> {
    let signed_in = all.iter().zip(people).map(|(nodes, people)| {
        let gateway = stage.gateway(nodes)?;
        let devices = sign_in_many(stage, stage.port(), &people[..PEOPLE - 1], 1, count)?;
        for device in devices.iter().take(PEOPLE - 1) {
            device.fill_the_cart(stage, stage.port())?;
        }
        drop(gateway);
        Ok(devices)
    });
    signed_in.collect()
}

fn at_nodes(nodes: usize, speed: Speed, kick: Kick, node_joins: Option<Lost>, node_dies: Option<Lost>) -> AtNodes {
    let Speed { per_second, p50_ms, p99_ms, node_cpu_us, redis_cpu_us, redis_commands } = speed;
    AtNodes {
        nodes,
        per_second,
        p50_ms,
        p99_ms,
        node_cpu_us,
        redis_cpu_us,
        redis_commands,
        kick,
        node_dies,
        node_joins,
    }
}

impl Found {
    fn complete(self, row: &Row) -> anyhow::Result<OfRow> {
        let missing = || format!("{} was not measured to its end", row.name);
        let Tried { abilities, credential_bytes, answer_head_bytes, round_trips } = self.tried.with_context(missing)?;
        Ok(OfRow {
            name: row.name.to_owned(),
            strategy: row.strategy.to_owned(),
            declared: self.declared,
            abilities,
            credential_bytes,
            answer_head_bytes,
            round_trips,
            at: self.at,
            memory: self.memory.with_context(missing)?,
            restart: self.restart.with_context(missing)?,
            redis_forgets: self.redis_forgets.with_context(missing)?,
            redis_keeps: self.redis_keeps,
            redis_fails_over: self.redis_fails_over,
        })
    }
}
