//! The tokens of the API at the agent's start.

use std::sync::Arc;

use crate::flows::agent::Agent;
use crate::flows::edge::Edge;
use crate::flows::events::Events;
use crate::flows::tokens::{Clocks, Tokens};

/// Reads them from the store.
pub(super) async fn load(agent: &Agent<Edge>, events: &Events) -> Result<Arc<Tokens>, String> {
    let tokens = Tokens::load(agent.store.clone(), Clocks::default()).await;
    let tokens = tokens.map_err(|error| format!("the tokens of the API: {error}"))?;
    Ok(Arc::new(tokens.with_events(events.clone())))
}
