//! The events' beginning and end.

use std::sync::Arc;

use tenement_wire::events::{Actor, Event, EventKind};

use super::Places;
use crate::config::Config;
use crate::flows::agent::Agent;
use crate::flows::edge::Edge;
use crate::flows::events::{Events, Keep};
use crate::store::events::EventStore;

/// Begins to record events, with that of the agent's own start.
pub(super) fn start(places: &Places, agent: &Arc<Agent<Edge>>) -> Events {
    let events = Events::new(EventStore::open(&places.events(), keep(&agent.config.load())));
    // Nobody else has set it.
    let _ = agent.events.set(events.clone());
    let version = env!("CARGO_PKG_VERSION");
    let event = Event::new(EventKind::Agent, format!("the agent was started, version {version}"));
    events.record(event.by(Actor::agent()).with("version", version));
    events
}

/// How much the config says to keep.
pub(super) fn keep(_config: &Config) -> Keep {
    Keep { age: std::time::Duration::from_secs(90 * 86_400), count: 1_000_000, routine: 100_000 }
}

/// Records the agent's end and closes the file.
pub(super) async fn stop(events: &Events) {
    events.record(Event::new(EventKind::Agent, "the agent was stopped").by(Actor::agent()));
    events.close().await;
}
