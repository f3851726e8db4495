//! What must be there before anything can be served: the bus, and who is registered.

use std::sync::Arc;
use std::time::Duration;

use crate::flows::agent::Agent;
use crate::flows::edge::Edge;
use crate::store::Origin;
use crate::systemd::{Bus, Manager as Systemd};

/// Pause between tries to reach the bus at boot, and between looks after a lost one.
pub(super) const RETRY: Duration = Duration::from_millis(200);
/// How long the agent waits at its start for a bus that is not there yet. With the pause of an agent that can't work it is
/// shorter than the unit's `TimeoutStartSec=`, so that the log says what was missing.
const BUS_WAIT: Duration = Duration::from_secs(45);

/// Waits for the bus, which at boot may come after us.
pub(super) async fn connect(bus: Bus) -> Result<Systemd, String> {
    let mut waited = Duration::ZERO;
    loop {
        match Systemd::connect(bus).await {
            Ok(systemd) => return Ok(systemd),
            Err(error) if waited >= BUS_WAIT => return Err(error.to_string()),
            Err(error) => {
                if waited.is_zero() {
                    log::warn!("waiting for the bus: {error}");
                }
                tokio::time::sleep(RETRY).await;
                waited += RETRY;
            }
        }
    }
}

/// How long the start waits for commands that an earlier agent has left.
const LEFT_BOUND: Duration = Duration::from_secs(5);

/// Registers what the config names, takes in what is registered, and asks systemd what runs.
pub(super) async fn adopt(agent: &Arc<Agent<Edge>>) -> Result<usize, String> {
    let config = agent.config.load_full();
    let range = config.settings.port_range;
    let mut registered = agent.store.all().await.map_err(|e| e.to_string())?;
    let known: std::collections::HashSet<_> = registered.iter().map(|r| r.name.clone()).collect();
    let new: Vec<_> = config.instances.iter().filter(|n| !known.contains(n)).cloned().collect();
    if !new.is_empty() {
        // A full disk must not keep customers off what is registered already.
        match agent.store.register_many(new, Origin::Config, range).await {
            Ok(more) => registered.extend(more),
            Err(error) => {
                log::error!("instances named in the config could not be registered: {error}")
            }
        }
    }
    let count = registered.len();
    let deploys = agent.load_releases().await.map_err(|e| e.to_string())?;
    agent.admit(registered);
    // Before anything can start one of them.
    agent.recall_failed().await.map_err(|e| e.to_string())?;
    agent.domains.load().await.map_err(|e| e.to_string())?;
    agent.publish();
    match agent.resync().await {
        Ok(running) => log::info!("{running} instances are running already"),
        Err(error) => return Err(format!("asking systemd what runs: {error}")),
    }
    // Requests wait meanwhile, so no longer than this. What has not ended then is being ended.
    match tokio::time::timeout(LEFT_BOUND, agent.end_left_commands()).await {
        Ok(Err(error)) => log::warn!("commands of an earlier agent may go on: {error}"),
        Err(_) => log::warn!("commands of an earlier agent take long to end"),
        Ok(Ok(())) => {}
    }
    agent.resume_deploys(deploys);
    Ok(count)
}
