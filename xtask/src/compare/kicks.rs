//! How long a session that has ended is still taken somewhere.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::services::Service;

use super::client::{Device, Person, millis_since};
use super::figures::{Declared, Kick, Seen};
use super::nodes::Nodes;
use super::rows::Ending;
use super::stage::Stage;
use crate::measuring::call::Line;
use crate::measuring::statistics::Spread;

/// For what should be seen at once, on a slow machine.
const LONG: Duration = Duration::from_secs(60);
/// For what is not expected.
const SHORT: Duration = Duration::from_secs(2);

/// Ends sessions, one after the other, and watches each at all nodes.
///
/// # Errors
/// One cannot be ended.
pub(super) fn measure(
    stage: &Stage,
    nodes: &Nodes,
    people: &[Person],
    declared: Declared,
    count: usize,
) -> anyhow::Result<Kick> {
    let gateway = stage.gateway(nodes)?;
    let everywhere = nodes.row.ending == Ending::LogOutEverywhere;
    let expected = declared.revokes_at_once || everywhere;
    // Where none is expected, one that is watched in vain says as much as many.
    let count = if expected { count } else { 1 };
    let mut seen = Vec::new();
    for number in 0..count {
        let person = &people[number % people.len()];
        let address = format!("10.250.0.{}", number + 1);
        let device = person.sign_in(stage, stage.port(), &address)?;
        let other = match nodes.row.ending {
            Ending::Kick => Some(device.another(stage, stage.port())?),
            Ending::LogOut | Ending::LogOutEverywhere => None,
        };
        let patience = if expected { LONG } else { SHORT };
        seen.extend(watch(stage, nodes, &device, other.as_ref(), patience)?);
    }
    drop(gateway);
    let all_seen = seen.len() == count;
    let seen = Spread::of(seen).filter(|_| all_seen);
    Ok(Kick { seen: seen.map(|spread| Seen { p50_ms: spread.median, max_ms: spread.high }), of: count })
}

/// Milliseconds from the request that ends the session until no node takes it; none when some still does.
fn watch(
    stage: &Stage,
    nodes: &Nodes,
    device: &Device,
    other: Option<&Device>,
    patience: Duration,
) -> anyhow::Result<Option<f64>> {
    let read = device.read_of_the_cart(stage);
    let mut lines = nodes.ports_of(Service::Cart).into_iter().map(Line::open).collect::<anyhow::Result<Vec<_>>>()?;
    let mut takes_it = 0;
    for line in &mut lines {
        takes_it += usize::from(line.ask(&read)?.status == 200);
    }
    let expected = if nodes.row.pin.is_some() { 1 } else { lines.len() };
    ensure!(takes_it == expected, "{takes_it} nodes take a new session of {}, not {expected}", nodes.row.name);
    let begin = Instant::now();
    end(stage, nodes.row.ending, device, other)?;
    while begin.elapsed() < patience {
        stage.halt.check()?;
        let mut still = Vec::new();
        for mut line in lines {
            match line.ask(&read)?.status {
                401 => {}
                _ => still.push(line),
            }
        }
        lines = still;
        if lines.is_empty() {
            return Ok(Some(millis_since(begin)));
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(None)
}

fn end(stage: &Stage, ending: Ending, device: &Device, other: Option<&Device>) -> anyhow::Result<()> {
    let port = stage.port();
    let heard = match ending {
        Ending::Kick => {
            let path = format!("/auth/sessions/{}", device.session);
            other.context("another session of the user")?.ask(stage, port, Service::Auth, "DELETE", &path)?
        }
        Ending::LogOut => device.ask(stage, port, Service::Auth, "POST", "/auth/logout")?,
        Ending::LogOutEverywhere => device.ask(stage, port, Service::Auth, "POST", "/auth/logout-all")?,
    };
    heard.success().map(drop).context("a session cannot be ended")
}
