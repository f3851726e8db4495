//! The certificates' beginning.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tenement_wire::domains::DomainCertificate;

use super::Places;
use super::events::Happenings;
use super::listeners::Listeners;
use crate::flows::agent::Agent;
use crate::flows::domains::Certificates;
use crate::flows::edge::Edge;
use crate::tls::{Hooks, Standing, Tls, Wanted};

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
        allowed: Box::new(move |host| routes.custom_of(host)),
        tell: Box::new(move |event| events.record(event)),
    };
    let tls = Tls::open(&places.tls(), &host, Wanted::from(&**agent.config.load()), hooks)?;
    tls.listens(u32::try_from(listeners.https.len()).unwrap_or(u32::MAX));
    agent.domains.set_certificates(Arc::new(OfDomains(tls.clone())));
    let shown = tls.clone();
    // Nobody else has set it.
    let _ = agent.metrics.sources.certificates.set(Box::new(move || shown.expiries()));
    Ok(tls)
}

/// What custom domains show of their certificates.
struct OfDomains(Arc<Tls>);

impl Certificates for OfDomains {
    fn of(&self, domains: &[&str]) -> Vec<Option<DomainCertificate>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let standings = self.0.standings(domains).into_iter();
        standings.map(|standing| standing.map(|standing| shown(standing, now))).collect()
    }
}

fn shown(standing: Standing, now: u64) -> DomainCertificate {
    let state = match (standing.not_after, &standing.error) {
        (Some(end), _) if end <= now => "expired",
        (Some(_), Some(_)) => "expiring",
        (Some(_), None) => "valid",
        (None, Some(_)) => "failed",
        (None, None) if standing.ordered => "pending",
        // It is obtained when the first visitor comes.
        (None, None) => "none",
    };
    DomainCertificate {
        state: state.to_owned(),
        expires_ms: standing.not_after.map(|end| end * 1000),
        issuer: standing.issuer,
        problem: standing.error,
    }
}
