//! What the custom domains see of the agent around them.

use std::sync::Weak;

use tenement_wire::events::Event;
use tenement_wire::{InstanceId, InstanceName, ProcessName, RouteTarget};

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

    fn has_process(&self, process: &ProcessName) -> bool {
        self.0.upgrade().is_some_and(|agent| agent.config.load().processes.contains_key(process))
    }

    fn has(&self, target: &RouteTarget) -> bool {
        let Some(agent) = self.0.upgrade() else { return false };
        let instances = agent.instances.read().expect("no panic while held");
        if let Some(name) = target.instance_name() {
            return instances.contains_key(&name);
        }
        // No id comes before it, so the next one is the first of that process, if it has any.
        let least: InstanceId = "0".parse().expect("it is an id");
        let from = InstanceName::new(target.process.clone(), least);
        let first = instances.range(from..).next();
        first.is_some_and(|(name, _)| *name.process() == target.process)
    }

    fn identity(&self, target: &RouteTarget) -> Option<String> {
        let agent = self.0.upgrade()?;
        match target.instance_name() {
            Some(name) => agent.get(&name).map(|instance| instance.uuid.to_string()),
            None => Some(agent.config.load().settings.domain.clone()),
        }
    }

    fn tell(&self, event: Event) {
        if let Some(agent) = self.0.upgrade() {
            agent.record(event);
        }
    }

    fn publish(&self) {
        if let Some(agent) = self.0.upgrade() {
            agent.publish();
        }
    }
}
