//! The certificates' beginning.

use std::sync::Arc;

use super::Places;
use super::events::Happenings;
use super::listeners::Listeners;
use crate::flows::Tenants as _;
use crate::flows::agent::Agent;
use crate::flows::edge::Edge;
use crate::routes::Route;
use crate::tls::{Hooks, Tls, Wanted};

/// Reads and makes what certificates there are.
pub(super) fn start(
    places: &Places,
    agent: &Arc<Agent<Edge>>,
    trail: &Happenings,
    listeners: &Listeners,
) -> Result<Arc<Tls>, String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (routes, events) = (agent.clone(), trail.events.clone());
    let hooks = Hooks {
        allowed: Box::new(move |host| is_custom(&routes, host)),
        tell: Box::new(move |event| events.record(event)),
    };
    let tls = Tls::open(&places.tls(), &host, Wanted::from(&**agent.config.load()), hooks)?;
    tls.listens(u32::try_from(listeners.https.len()).unwrap_or(u32::MAX));
    let shown = tls.clone();
    // Nobody else has set it.
    let _ = agent.metrics.sources.certificates.set(Box::new(move || shown.expiries()));
    Ok(tls)
}

/// Whether `host` is routed although it does not lie within the domain: a custom domain.
fn is_custom(agent: &Arc<Agent<Edge>>, host: &str) -> bool {
    let config = agent.config.load();
    let rest = host.strip_suffix(config.settings.domain.as_str());
    let within = rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !within && matches!(agent.route(host), Route::Instance(_))
}
