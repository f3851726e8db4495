//! Makes the route table of what is registered, configured, weighed and verified.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tenement_wire::domains::DomainState;
use tenement_wire::{InstanceName, ProcessName, RouteTarget};

use super::domains::Domains;
use super::instance::Instance;
use crate::config::Config;
use crate::routes::{
    Dest, Group, Maintenance, Member, PathRoute, Rate, Redirect, RouteTable, Rules, sticky_token,
};

type Target = Dest<Arc<Instance>>;

/// The longest page of maintenance.
const PAGE_MAX: u64 = 256 * 1024;

/// Counts of clients by process, which outlive a table.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<ProcessName, Counted>>);

/// Rate and burst, and who has asked.
type Counted = ((u32, u32), Arc<Rate>);

impl Rates {
    /// The counts of `process`; a new rate begins anew.
    fn of(&self, process: &ProcessName, limit: (u32, u32)) -> Arc<Rate> {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || (limit, Arc::new(Rate::new(limit.0, limit.1)));
        let known = rates.entry(process.clone()).or_insert_with(fresh);
        if known.0 != limit {
            *known = fresh();
        }
        known.1.clone()
    }
}

/// Reads what the table is made of.
struct Maker<'a> {
    config: &'a Config,
    instances: &'a BTreeMap<InstanceName, Arc<Instance>>,
    rules: HashMap<&'a ProcessName, Arc<Rules>>,
    groups: HashMap<&'a ProcessName, Target>,
}

/// The table.
pub(super) fn table(
    config: &Config,
    instances: &BTreeMap<InstanceName, Arc<Instance>>,
    domains: &Domains,
) -> RouteTable<Arc<Instance>> {
    let mut maker =
        Maker { config, instances, rules: rules(config, domains), groups: HashMap::new() };
    maker.groups = maker.groups(domains);
    let domain = &config.settings.domain;
    let processes = config.processes.values().map(|d| (d.name.clone(), d.spawn_on_request));
    let plain = instances.iter().map(|(name, instance)| (name.clone(), instance.clone()));
    let mut table = RouteTable::new(domain, processes, plain);
    for (process, rules) in &maker.rules {
        table.set_rules(process, rules.clone());
    }
    if !maker.rules.is_empty() {
        for name in instances.keys().filter(|name| maker.rules.contains_key(name.process())) {
            table.set(&crate::routes::host_of(name, domain), maker.instance(name));
        }
    }
    for (process, dest) in &maker.groups {
        table.set(&format!("{process}.{domain}"), dest.clone());
    }
    custom(&maker, domains, &mut table);
    configured(&maker, &mut table);
    table
}

fn rules<'a>(config: &'a Config, domains: &Domains) -> HashMap<&'a ProcessName, Arc<Rules>> {
    let mut all = HashMap::new();
    for definition in config.processes.values() {
        let policy = &definition.route;
        let maintained = domains.is_maintained(&definition.name);
        if policy.is_plain() && !maintained {
            continue;
        }
        let maintenance = maintained
            .then(|| Maintenance { page: policy.maintenance_page.as_deref().and_then(page) });
        let rate = policy.rate.map(|limit| domains.rates.of(&definition.name, limit));
        let (process, policy) = (definition.name.clone(), policy.clone());
        all.insert(&definition.name, Arc::new(Rules { process, policy, rate, maintenance }));
    }
    all
}

/// The page at `path`. Without it there is ours, and the log says so.
fn page(path: &Path) -> Option<Bytes> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    match file.and_then(|file| file.take(PAGE_MAX + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 <= PAGE_MAX => Some(bytes.into()),
        Ok(_) => {
            log::error!("{}: a page of maintenance may have {PAGE_MAX} bytes", path.display());
            None
        }
        Err(error) => {
            log::error!("{}: the page of maintenance can't be read: {error}", path.display());
            None
        }
    }
}

impl<'a> Maker<'a> {
    fn groups(&self, domains: &Domains) -> HashMap<&'a ProcessName, Target> {
        let mut members: HashMap<&ProcessName, Vec<Member<Arc<Instance>>>> = HashMap::new();
        for (name, instance) in self.instances {
            let Some(definition) = self.config.processes.get(name.process()) else { continue };
            let weight = domains.weight(name).unwrap_or(definition.route.weight);
            let token = sticky_token(instance.uuid.as_bytes());
            let member = Member { value: instance.clone(), weight, token };
            members.entry(&definition.name).or_default().push(member);
        }
        let mut groups = HashMap::new();
        for (process, members) in members {
            let Some(group) = Group::new(members) else { continue };
            let rules = self.rules.get(process).cloned();
            let dest = match group.members() {
                // Alone it is no matter of weights.
                [one] => Dest::Instance(one.value.clone(), rules),
                _ => Dest::Group(Arc::new(group), rules),
            };
            groups.insert(process, dest);
        }
        groups
    }

    fn instance(&self, name: &InstanceName) -> Target {
        match self.instances.get(name) {
            Some(instance) => {
                Dest::Instance(instance.clone(), self.rules.get(name.process()).cloned())
            }
            None => Dest::UnknownInstance,
        }
    }

    fn dest(&self, target: &RouteTarget) -> Target {
        match target.instance_name() {
            Some(name) => self.instance(&name),
            None => self.groups.get(&target.process).cloned().unwrap_or(Dest::UnknownInstance),
        }
    }
}

fn custom(maker: &Maker<'_>, domains: &Domains, table: &mut RouteTable<Arc<Instance>>) {
    let domain = &maker.config.settings.domain;
    domains.each(|name, target, state, token| {
        // The config may have come to another domain since it was added.
        if name.is_of(domain) {
            return;
        }
        table.set_proof(name.as_str(), token.into());
        match state {
            DomainState::Pending if name.is_wildcard() => {}
            DomainState::Pending => table.set_pending(name.as_str()),
            DomainState::Verified if name.is_wildcard() => {
                table.set_wildcard(name.base(), maker.dest(target));
            }
            DomainState::Verified => table.set(name.as_str(), maker.dest(target)),
        }
    });
}

fn configured(maker: &Maker<'_>, table: &mut RouteTable<Arc<Instance>>) {
    let (routing, domain) = (&maker.config.routing, &maker.config.settings.domain);
    for (name, target) in &routing.subdomains {
        table.set(&format!("{name}.{domain}"), maker.dest(target));
    }
    if let Some(target) = &routing.default {
        table.set(domain, maker.dest(target));
    } else if routing.redirects.iter().any(|rule| rule.host.is_none() && rule.prefix.is_some())
        && !routing.gives_root_away()
    {
        table.set(domain, Dest::Root);
    }
    for rule in &routing.paths {
        let host = rule.host.as_deref().unwrap_or(domain);
        let (dest, prefix) = (maker.dest(&rule.to), rule.prefix.as_str().into());
        table.set_path(host, PathRoute { prefix, strip: rule.strip, dest });
    }
    for rule in &routing.redirects {
        let host = rule.host.as_deref().unwrap_or(domain);
        let dest = Dest::Redirect(Arc::new(Redirect { status: rule.status, to: rule.to.clone() }));
        match &rule.prefix {
            None => table.set(host, dest),
            Some(prefix) => {
                let prefix = prefix.as_str().into();
                table.set_path(host, PathRoute { prefix, strip: false, dest });
            }
        }
    }
}
