//! Floor 1: from a host name to what it stands for, as one immutable table.
//!
//! The table maps whole lower-case host names; it is built anew only when an instance is registered
//! or removed or the config changes, never on wake or sleep (a clone of 10,000 entries costs 3 ms).

use std::collections::HashMap;

use tenement_wire::{InstanceId, InstanceName, ProcessName};

/// What a host name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<T> {
    /// A registered instance.
    Instance(T),
    /// Well formed for a process that spawns on request, but not registered yet.
    Spawnable(InstanceName),
    /// Well formed for a known process, but no such instance.
    UnknownInstance,
    /// The domain itself.
    Root,
    /// Anything else.
    UnknownHost,
}

/// `host → T`, with what is needed to tell unknown hosts apart.
#[derive(Debug, Clone)]
pub struct RouteTable<T> {
    domain: Box<str>,
    hosts: HashMap<Box<str>, T>,
    processes: HashMap<ProcessName, bool>,
}

impl<T: Clone> RouteTable<T> {
    /// A table for `domain` (lower case), the processes with their `spawn_on_request`, and instances.
    pub fn new(
        domain: &str,
        processes: impl IntoIterator<Item = (ProcessName, bool)>,
        instances: impl IntoIterator<Item = (InstanceName, T)>,
    ) -> Self {
        let hosts = instances
            .into_iter()
            .map(|(name, value)| (host_of(&name, domain).into_boxed_str(), value))
            .collect();
        Self { domain: domain.into(), hosts, processes: processes.into_iter().collect() }
    }

    /// What `host` stands for. `host` must be normalized: lower case, no port, no trailing dot.
    pub fn lookup(&self, host: &str) -> Route<T> {
        if let Some(value) = self.hosts.get(host) {
            return Route::Instance(value.clone());
        }
        let Some(rest) = host.strip_suffix(&*self.domain) else { return Route::UnknownHost };
        if rest.is_empty() {
            return Route::Root;
        }
        let Some((id, process)) = rest.strip_suffix('.').and_then(|r| r.split_once('.')) else {
            return Route::UnknownHost;
        };
        let (Ok(id), Ok(process)) = (id.parse::<InstanceId>(), process.parse::<ProcessName>())
        else {
            return Route::UnknownHost;
        };
        match self.processes.get(&process) {
            Some(true) => Route::Spawnable(InstanceName::new(process, id)),
            Some(false) => Route::UnknownInstance,
            None => Route::UnknownHost,
        }
    }
}

/// `{id}.{process}.{domain}`.
#[must_use]
pub fn host_of(name: &InstanceName, domain: &str) -> String {
    format!("{}.{}.{domain}", name.id(), name.process())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> RouteTable<u8> {
        RouteTable::new(
            "example.com",
            [("api".parse().unwrap(), false), ("web".parse().unwrap(), true)],
            [("api:prod".parse().unwrap(), 7)],
        )
    }

    #[test]
    fn hosts_find_their_instance_and_only_theirs() {
        let table = table();
        assert_eq!(table.lookup("prod.api.example.com"), Route::Instance(7));
        assert_eq!(table.lookup("example.com"), Route::Root);
        assert_eq!(table.lookup("x.api.example.com"), Route::UnknownInstance);
        assert_eq!(table.lookup("x.web.example.com"), Route::Spawnable("web:x".parse().unwrap()));
    }

    #[test]
    fn foreign_hosts_are_unknown() {
        let table = table();
        for host in [
            "prod.api.example.org",
            "prod.api.xexample.com",
            "api.example.com",
            "a.b.api.example.com",
            "prod..example.com",
            ".api.example.com",
            "prod.nope.example.com",
            "",
            "com",
        ] {
            assert_eq!(table.lookup(host), Route::UnknownHost, "{host}");
        }
    }
}
