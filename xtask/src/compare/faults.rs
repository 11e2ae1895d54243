//! What is lost when a node, all nodes or Redis go: each fault meets the same number of sessions.

use anyhow::{Context as _, ensure};
use e2e::process::wait_until;
use e2e::servers::PrivateSentinels;
use e2e::services::Service;

use super::client::Device;
use super::figures::{Lost, StoreFault};
use super::nodes::Nodes;
use super::stage::Stage;

/// Looks at each session by the gateway, and signs in anew whoever has lost theirs.
///
/// # Errors
/// A service is not there again in time, or a login is refused.
pub(super) fn count(stage: &Stage, nodes: &Nodes, devices: &mut [Device]) -> anyhow::Result<Lost> {
    let gateway = stage.gateway(nodes)?;
    let lost = count_at(stage, stage.port(), devices)?;
    drop(gateway);
    Ok(lost)
}

fn count_at(stage: &Stage, port: u16, devices: &mut [Device]) -> anyhow::Result<Lost> {
    let mut gone = Vec::new();
    for (number, device) in devices.iter_mut().enumerate() {
        if !device.goes_on(stage, port)? {
            gone.push(number);
        }
    }
    // Afterwards: a login may bring a session of a strategy back, and would spoil the count.
    for number in &gone {
        devices[*number].sign_in_again(stage, port)?;
    }
    Ok(Lost { lost: gone.len(), of: devices.len() })
}

/// Kills the only node, and starts it again.
///
/// # Errors
/// It does not start.
pub(super) fn restart(stage: &Stage, nodes: &mut Nodes, devices: &mut [Device]) -> anyhow::Result<Lost> {
    ensure!(nodes.count() == 1, "a restart is of all nodes");
    nodes.kill(0)?;
    nodes.start(0)?;
    nodes.wait(stage)?;
    count(stage, nodes, devices)
}

/// Kills one of several nodes while the gateway is open.
///
/// # Errors
/// The others do not go on.
pub(super) fn node_dies(stage: &Stage, nodes: &mut Nodes, devices: &mut [Device]) -> anyhow::Result<Lost> {
    let gateway = stage.gateway(nodes)?;
    nodes.kill(nodes.count() - 1)?;
    let lost = count_at(stage, stage.port(), devices)?;
    drop(gateway);
    Ok(lost)
}

/// How many can read their carts right now, asking nodes by turns and past the gateway, but under a pinned strategy, where
/// only one node knows them.
fn served(stage: &Stage, nodes: &Nodes, devices: &[Device]) -> anyhow::Result<usize> {
    if nodes.row.pin.is_some() {
        let gateway = stage.gateway(nodes)?;
        let served = devices.iter().filter(|device| device.is_served(stage, stage.port())).count();
        drop(gateway);
        return Ok(served);
    }
    let ports = nodes.ports_of(Service::Cart);
    let mut ports = ports.iter().cycle();
    let mut is_served = |device: &&Device| ports.next().is_some_and(|port| device.is_served(stage, *port));
    Ok(devices.iter().filter(|device| is_served(device)).count())
}

/// Kills Redis under all strategies at once, and starts it again: one that keeps nothing on disk has forgotten everything.
///
/// # Errors
/// It does not start, or a service is not there again in time.
pub(super) fn redis_dies(
    stage: &mut Stage,
    all: &[Nodes],
    devices: &mut [Vec<Device>],
) -> anyhow::Result<Vec<StoreFault>> {
    stage.redis.kill()?;
    let served = all.iter().zip(&*devices).map(|(nodes, devices)| served(stage, nodes, devices));
    let served = served.collect::<anyhow::Result<Vec<_>>>()?;
    stage.redis.start()?;
    afterwards(stage, all, devices, served)
}

/// Kills the master under all strategies at once, and waits until its replica has taken its place.
///
/// # Errors
/// It does not, or a service is not there again in time.
pub(super) fn redis_fails_over(
    stage: &Stage,
    sentinels: &mut PrivateSentinels,
    all: &[Nodes],
    devices: &mut [Vec<Device>],
) -> anyhow::Result<Vec<StoreFault>> {
    let master = sentinels.master()?;
    sentinels.kill(master)?;
    let served = all.iter().zip(&*devices).map(|(nodes, devices)| served(stage, nodes, devices));
    let served = served.collect::<anyhow::Result<Vec<_>>>()?;
    let promoted = wait_until(std::time::Duration::from_secs(60), || Ok(sentinels.master().is_ok()))?;
    ensure!(promoted, "no replica became the master");
    afterwards(stage, all, devices, served)
}

fn afterwards(
    stage: &Stage,
    all: &[Nodes],
    devices: &mut [Vec<Device>],
    served: Vec<usize>,
) -> anyhow::Result<Vec<StoreFault>> {
    let counted = all.iter().zip(devices).zip(served).map(|((nodes, devices), served_meanwhile)| {
        let after = count(stage, nodes, devices).with_context(|| nodes.row.name)?;
        Ok(StoreFault { served_meanwhile, after })
    });
    counted.collect()
}
