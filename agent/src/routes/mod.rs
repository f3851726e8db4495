//! Floor 1: from a host name to what it stands for, as one immutable table.
//!
//! ```text
//! host ─► hosts: plain instances, at once ─► or a Site: paths, weights, rules, redirects
//!   └ not there ─► what the name could mean within our domain ─► wildcards of customers ─► pending custom domains
//! ```
//! The table maps whole lower-case host names; it is built anew only when an instance is registered
//! or removed, a domain or weight changes, or the config does, never on wake or sleep (a clone of 10,000 entries
//! costs 3 ms). Custom domains are entries like all others, so that their number costs a lookup nothing.

mod group;
mod name;
mod rules;
mod site;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tenement_wire::{InstanceId, InstanceName, ProcessName};

pub use group::{Group, Member, STICKY_LEN, sticky_token};
pub use name::{DomainName, NotADomain};
pub use rules::{Maintenance, Rate, Rules};
pub use site::{Dest, Found, PathRoute, Redirect, Site};

/// What a host name stands for.
#[derive(Debug, Clone)]
pub enum Route<T> {
    /// A registered instance, of a process without rules.
    Instance(T),
    /// Something that the path, weights or rules decide.
    Site(Arc<Site<T>>),
    /// Well formed for a process that spawns on request, but not registered yet; with the process's rules.
    Spawnable(InstanceName, Option<Arc<Rules>>),
    /// A custom domain that is not verified yet, and that no verified wildcard covers.
    Pending,
    /// Well formed for a known process, but no such instance.
    UnknownInstance,
    /// The domain itself.
    Root,
    /// Anything else.
    UnknownHost,
}

#[derive(Debug, Clone)]
enum Entry<T> {
    Plain(T),
    Site(Arc<Site<T>>),
}

impl<T: Clone> Entry<T> {
    fn of(dest: Dest<T>) -> Self {
        match dest {
            Dest::Instance(value, None) => Self::Plain(value),
            other => Self::Site(Arc::new(Site::of(other))),
        }
    }

    fn route(&self) -> Route<T> {
        match self {
            Self::Plain(value) => Route::Instance(value.clone()),
            Self::Site(site) => Route::Site(site.clone()),
        }
    }

    fn to_site(&self) -> Site<T> {
        match self {
            Self::Plain(value) => Site::of(Dest::Instance(value.clone(), None)),
            Self::Site(site) => (**site).clone(),
        }
    }
}

/// A name beyond our own domain that routes here, as [`RouteTable::custom`] finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Custom<'a> {
    /// `shop.customer.com`; of a wildcard, what follows the star: `customer.com`.
    pub name: &'a str,
    /// Whether it is a wildcard that covers the host.
    pub wildcard: bool,
}

/// `host → T`, with what is needed to tell unknown hosts apart.
#[derive(Debug, Clone)]
pub struct RouteTable<T> {
    domain: Box<str>,
    hosts: HashMap<Box<str>, Entry<T>>,
    processes: HashMap<ProcessName, (bool, Option<Arc<Rules>>)>,
    wildcards: HashMap<Box<str>, Entry<T>>,
    pending: HashSet<Box<str>>,
    proofs: HashMap<Box<str>, Arc<str>>,
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
            .map(|(name, value)| (host_of(&name, domain).into_boxed_str(), Entry::Plain(value)))
            .collect();
        let processes =
            processes.into_iter().map(|(name, spawns)| (name, (spawns, None))).collect();
        let (wildcards, pending, proofs) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self { domain: domain.into(), hosts, processes, wildcards, pending, proofs }
    }

    /// Requests for unknown instances of `process` are under these rules.
    pub fn set_rules(&mut self, process: &ProcessName, rules: Arc<Rules>) {
        if let Some((_, known)) = self.processes.get_mut(process) {
            *known = Some(rules);
        }
    }

    /// All paths of `host` lead to `dest`.
    pub fn set(&mut self, host: &str, dest: Dest<T>) {
        self.hosts.insert(host.into(), Entry::of(dest));
    }

    /// The paths of `host` below a prefix lead elsewhere than its others. One that was not set leads nowhere else.
    pub fn set_path(&mut self, host: &str, route: PathRoute<T>) {
        let known = self.hosts.get(host).map(Entry::to_site);
        let mut site = known.unwrap_or_else(|| Site::of(Dest::UnknownHost));
        site.add(route);
        self.hosts.insert(host.into(), Entry::Site(Arc::new(site)));
    }

    /// Every name with one label before `base` leads to `dest`, but for those that are set.
    pub fn set_wildcard(&mut self, base: &str, dest: Dest<T>) {
        self.wildcards.insert(base.into(), Entry::of(dest));
    }

    /// `host` is not verified yet. It changes nothing for a name that routes already, by a wildcard too: whoever
    /// claims a name without a proof must not take it off the one who has proven it.
    pub fn set_pending(&mut self, host: &str) {
        self.pending.insert(host.into());
    }

    /// Whoever asks `host` for its proof gets this token.
    pub fn set_proof(&mut self, host: &str, token: Arc<str>) {
        self.proofs.insert(host.into(), token);
    }

    /// What proves that requests to `host` come here, verified or not. Of a wildcard, `check.` stands before it.
    #[must_use]
    pub fn proof(&self, host: &str) -> Option<Arc<str>> {
        let wildcard = || self.proofs.get(format!("*.{}", host.strip_prefix("check.")?).as_str());
        self.proofs.get(host).or_else(wildcard).cloned()
    }

    /// What `host` stands for. `host` must be normalized: lower case, no port, no trailing dot.
    pub fn lookup(&self, host: &str) -> Route<T> {
        match self.hosts.get(host) {
            Some(entry) => entry.route(),
            None => self.lookup_further(host),
        }
    }

    /// A verified custom domain, or a host beyond our domain that the config names: who asks for a
    /// certificate of any other name is refused without asking anybody.
    #[must_use]
    pub fn custom(&self, host: &str) -> Option<Custom<'_>> {
        if self.within(host).is_some() {
            return None;
        }
        if let Some((name, _)) = self.hosts.get_key_value(host) {
            return Some(Custom { name, wildcard: false });
        }
        let (_, base) = host.split_once('.')?;
        let (name, _) = self.wildcards.get_key_value(base)?;
        Some(Custom { name, wildcard: true })
    }

    fn within<'h>(&self, host: &'h str) -> Option<&'h str> {
        let rest = host.strip_suffix(&*self.domain)?;
        (rest.is_empty() || rest.ends_with('.')).then_some(rest)
    }

    fn lookup_further(&self, host: &str) -> Route<T> {
        if let Some(rest) = self.within(host) {
            return self.lookup_own(rest);
        }
        let wildcard = host.split_once('.').and_then(|(_, base)| self.wildcards.get(base));
        match wildcard {
            Some(entry) => entry.route(),
            None if self.pending.contains(host) => Route::Pending,
            None => Route::UnknownHost,
        }
    }

    /// `rest` is what stands before our domain, with its dot.
    fn lookup_own(&self, rest: &str) -> Route<T> {
        let Some(rest) = rest.strip_suffix('.') else { return Route::Root };
        let Some((id, process)) = rest.split_once('.') else {
            // No instance of it has a weight.
            let known =
                rest.parse().is_ok_and(|name: ProcessName| self.processes.contains_key(&name));
            return if known { Route::UnknownInstance } else { Route::UnknownHost };
        };
        let (Ok(id), Ok(process)) = (id.parse::<InstanceId>(), process.parse::<ProcessName>())
        else {
            return Route::UnknownHost;
        };
        match self.processes.get(&process) {
            Some((true, rules)) => Route::Spawnable(InstanceName::new(process, id), rules.clone()),
            Some((false, _)) => Route::UnknownInstance,
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
        assert!(matches!(table.lookup("prod.api.example.com"), Route::Instance(7)));
        assert!(matches!(table.lookup("example.com"), Route::Root));
        assert!(matches!(table.lookup("x.api.example.com"), Route::UnknownInstance));
        assert!(matches!(table.lookup("api.example.com"), Route::UnknownInstance));
        let Route::Spawnable(name, None) = table.lookup("x.web.example.com") else { panic!() };
        assert_eq!(name.to_string(), "web:x");
    }

    #[test]
    fn foreign_hosts_are_unknown() {
        let table = table();
        for host in [
            "prod.api.example.org",
            "prod.api.xexample.com",
            "nope.example.com",
            "xexample.com",
            "a.b.api.example.com",
            "prod..example.com",
            ".api.example.com",
            "prod.nope.example.com",
            "",
            "com",
        ] {
            assert!(matches!(table.lookup(host), Route::UnknownHost), "{host}");
        }
    }

    #[test]
    fn custom_domains_route_once_verified_and_only_those_get_certificates() {
        let mut table = table();
        table.set("shop.customer.com", Dest::Instance(8, None));
        table.set_wildcard("customer.org", Dest::Instance(9, None));
        table.set_pending("new.customer.net");
        assert!(matches!(table.lookup("shop.customer.com"), Route::Instance(8)));
        assert!(matches!(table.lookup("any.customer.org"), Route::Instance(9)));
        for host in ["customer.org", "a.any.customer.org", "x.shop.customer.com", "customer.com"] {
            assert!(matches!(table.lookup(host), Route::UnknownHost), "{host}");
            assert_eq!(table.custom(host), None, "{host}");
        }
        assert!(matches!(table.lookup("new.customer.net"), Route::Pending));
        let custom = |host| table.custom(host).map(|found| (found.name, found.wildcard));
        assert_eq!(custom("shop.customer.com"), Some(("shop.customer.com", false)));
        assert_eq!(custom("any.customer.org"), Some(("customer.org", true)));
        assert_eq!(custom("new.customer.net"), None, "a pending one gets none");
        assert_eq!(custom("prod.api.example.com"), None, "our own names are not custom");
    }

    #[test]
    fn a_claim_without_proof_takes_no_name_off_a_verified_wildcard() {
        let mut table = table();
        table.set_wildcard("customer.org", Dest::Instance(9, None));
        table.set_pending("shop.customer.org");
        table.set_pending("prod.web.example.com");
        assert!(matches!(table.lookup("shop.customer.org"), Route::Instance(9)));
        let found = table.custom("shop.customer.org").expect("it has its certificate too");
        assert_eq!((found.name, found.wildcard), ("customer.org", true));
        assert!(matches!(table.lookup("prod.web.example.com"), Route::Spawnable(..)));
    }

    #[test]
    fn a_path_of_a_host_leads_elsewhere_and_its_others_where_they_led() {
        let mut table = table();
        let dest = Dest::Instance(1, None);
        table.set_path(
            "prod.api.example.com",
            PathRoute { prefix: "/x".into(), strip: false, dest },
        );
        let Route::Site(site) = table.lookup("prod.api.example.com") else { panic!("no site") };
        assert!(matches!(site.find("/x/y").dest, Dest::Instance(1, _)));
        assert!(matches!(site.find("/y").dest, Dest::Instance(7, _)));
    }
}
