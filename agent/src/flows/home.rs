//! What the custom domains see of the agent around them.

use std::sync::Weak;

use tenement_wire::{InstanceName, ProcessName};

use super::agent::Agent;
use super::domains::Home;
use super::host::Host;
use crate::routes::DomainName;

/// The agent, which may be gone before them.
pub(super) struct Around<H>(pub(super) Weak<Agent<H>>);

impl<H: Host> Home for Around<H> {
    fn owns(&self, name: &DomainName) -> bool {
        let Some(agent) = self.0.upgrade() else { return false };
        let config = agent.config.load();
        let aliases = &config.settings.api.aliases;
        let (paths, redirects) = (&config.routing.paths, &config.routing.redirects);
        let named = paths.iter().filter_map(|rule| rule.host.as_ref());
        let named = named.chain(redirects.iter().filter_map(|rule| rule.host.as_ref()));
        name.is_of(&config.settings.domain)
            || aliases.iter().chain(named).any(|own| own == name.as_str())
    }

    fn process(&self, process: &ProcessName) -> Option<(u32, Vec<InstanceName>)> {
        let agent = self.0.upgrade()?;
        let config = agent.config.load();
        let definition = config.processes.get(process)?;
        let instances = agent.instances.read().expect("no panic while held");
        let names = instances.keys().filter(|name| name.process() == process);
        Some((definition.route.weight, names.cloned().collect()))
    }

    fn publish(&self) {
        if let Some(agent) = self.0.upgrade() {
            agent.publish();
        }
    }
}
