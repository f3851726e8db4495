//! The events' beginning and end.

use std::sync::Arc;

use tenement_wire::events::{Actor, Event, EventKind};

use super::Places;
use crate::api::Peer;
use crate::config::{Config, EventKeep};
use crate::flows::agent::Agent;
use crate::flows::alerts::Alerts;
use crate::flows::edge::Edge;
use crate::flows::events::{Events, Keep, Refused};
use crate::store::events::EventStore;

/// What happens on the host, and who is told.
#[derive(Clone)]
pub(super) struct Happenings {
    pub(super) events: Events,
    pub(super) alerts: Alerts,
}

/// Changes of state kept at most, some 30 MB: they come by themselves all the time.
const ROUTINE: u64 = 100_000;

/// Begins to record events, with that of the agent's own start, and to send alerts.
pub(super) fn start(places: &Places, agent: &Arc<Agent<Edge>>) -> Happenings {
    let config = agent.config.load();
    let events = Events::new(EventStore::open(&places.events(), keep(&config)));
    // Nobody else has set it.
    let _ = agent.events.set(events.clone());
    let version = env!("CARGO_PKG_VERSION");
    let event = Event::new(EventKind::Agent, format!("the agent was started, version {version}"));
    events.record(event.by(Actor::agent()).with("version", version));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let alerts = Alerts::new(events.clone(), host, config.settings.alerts.clone());
    tokio::spawn(alerts.clone().run());
    Happenings { events, alerts }
}

/// A new config is in force.
pub(super) fn adopt(happenings: &Happenings, config: &Config) {
    happenings.events.keep(keep(config));
    happenings.alerts.set(config.settings.alerts.clone());
}

/// Records who was turned away at the admin socket: the first time at once, then once a minute with their number.
pub(super) fn turned_away(
    happenings: &Happenings,
) -> impl Fn(&Peer) + Clone + Send + Sync + use<> + 'static {
    let events = happenings.events.clone();
    move |peer| {
        events.refused(Refused {
            address: "local".to_owned(),
            actor: Actor::uid(peer.uid),
            status: 403,
            code: "forbidden".to_owned(),
            action: "connecting to the admin socket".to_owned(),
            request_id: String::new(),
        });
    }
}

/// How much the config says to keep.
fn keep(config: &Config) -> Keep {
    let EventKeep { age, max } = config.settings.events;
    Keep { age, count: max, routine: max.min(ROUTINE) }
}

/// Records the agent's end and closes the file.
pub(super) async fn stop(happenings: &Happenings) {
    let events = &happenings.events;
    events.record(Event::new(EventKind::Agent, "the agent was stopped").by(Actor::agent()));
    events.close().await;
}
