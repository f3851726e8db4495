//! The beginning of backups.

use std::sync::Arc;

use super::Places;
use crate::flows::agent::Agent;
use crate::flows::backups::Backups;
use crate::flows::edge::Edge;

/// Learns how they went, and begins to make what is due.
pub(super) async fn start(
    places: &Places,
    agent: &Arc<Agent<Edge>>,
) -> Result<Backups<Edge>, String> {
    let backups = Backups::new(agent.clone(), places.state_dir.clone()).await;
    let backups = backups.map_err(|error| format!("backups: {error}"))?;
    let figures = backups.clone();
    // Nobody else has set it.
    let _ = agent.metrics.sources.backups.set(Box::new(move || figures.figures()));
    tokio::spawn(backups.clone().keep_making());
    Ok(backups)
}
