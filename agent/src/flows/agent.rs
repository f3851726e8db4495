//! The registry of instances and what the flows share.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};

use arc_swap::ArcSwap;
use tenement_wire::dto::ConfigProblem;
use tenement_wire::events::Event;
use tenement_wire::{InstanceName, ProcessName};
use tokio::sync::Semaphore;

use super::checks::Checks;
use super::deploys::Deploys;
use super::domains::Domains;
use super::events::Events;
use super::home::Around;
use super::host::Host;
use super::instance::{Instance, Setup, now_ms};
use super::logs::Indexed;
use super::metrics::Metrics;
use super::releases::Releases;
use super::tasks::Tasks;
use super::throttle::RequestLimits;
use crate::config::{Config, Definition, Settings};
use crate::plan::{self, Address, Particulars, PlanError};
use crate::routes::{Route, RouteTable, host_of};
use crate::store::history::History;
use crate::store::{GaveUp, Registered, Store};
use crate::upstream::{Check, Target};

/// Pairs of units created side by side: more only lengthens PID 1's queue (`systemd` creates
/// 300–650 a second whatever the number in flight).
const LOADS_IN_FLIGHT: usize = 32;

/// All that wake, sleep, reconcile and management share. One per agent.
pub struct Agent<H> {
    /// systemd and the unit helper.
    pub host: H,
    /// What is registered.
    pub store: Store,
    /// The config that is in force.
    pub config: ArcSwap<Config>,
    /// Why a newer config on disk is not in force.
    pub rejected: Mutex<Vec<ConfigProblem>>,
    /// `/run/tenement`, or the user's.
    pub run_dir: PathBuf,
    pub(super) routes: ArcSwap<RouteTable<Arc<Instance>>>,
    pub(super) instances: RwLock<BTreeMap<InstanceName, Arc<Instance>>>,
    /// Registered instances whose process is not in the config.
    pub(super) orphans: Mutex<Vec<Registered>>,
    /// Those of them that were in an earlier config. They may still run and be in use; should their
    /// process return, a second lease count for the same units would stop them under open requests.
    parked: Mutex<BTreeMap<InstanceName, Arc<Instance>>>,
    /// Which registered instances without a process had failed before this agent began.
    failed_orphans: Mutex<BTreeMap<InstanceName, GaveUp>>,
    /// Held while instances are registered or the config is replaced: one after the other.
    pub(super) changes: tokio::sync::Mutex<()>,
    pub(super) loads: Semaphore,
    /// Where changes of state are kept, if anywhere. Set before instances are admitted.
    pub history: OnceLock<History>,
    /// Where events are recorded, if anywhere. Set before instances are admitted.
    pub events: OnceLock<Events>,
    /// What is counted and measured of the instances.
    pub metrics: Metrics,
    /// The logs of the instances, if they are indexed.
    pub logs: OnceLock<Indexed>,
    /// Custom domains, weights, and what is in maintenance.
    pub domains: Arc<Domains>,
    /// What instances run from.
    pub releases: Releases,
    /// How they come to other releases.
    pub deploys: Deploys,
    started_ms: u64,
    /// Instances that are being parked at once.
    pub(super) parkings: Semaphore,
    /// Held while parked instances are stopped because there are too many.
    pub(super) seats: tokio::sync::Mutex<()>,
    /// Held while those long asleep are unloaded.
    pub(super) unloads: Arc<tokio::sync::Mutex<()>>,
    /// What was said of a process once and is not repeated: a few sentences for each.
    pub(super) said: Mutex<HashSet<(ProcessName, &'static str)>>,
    /// How many of the coldest were found busy under memory pressure.
    pub(super) passed_over: AtomicUsize,
    /// Where and when instances are checked.
    pub checks: Checks,
    /// One-off commands.
    pub(super) tasks: Tasks,
}

impl<H: Host> Agent<H> {
    /// An agent that knows of no instance yet.
    pub fn new(host: H, store: Store, config: Config, run_dir: PathBuf) -> Arc<Self> {
        let routes = RouteTable::new(&config.settings.domain, [], []);
        let domains = Arc::new(Domains::new(Some(store.clone())));
        let agent = Arc::new(Self {
            host,
            store,
            config: ArcSwap::from_pointee(config),
            rejected: Mutex::default(),
            run_dir,
            routes: ArcSwap::from_pointee(routes),
            instances: RwLock::default(),
            orphans: Mutex::default(),
            parked: Mutex::default(),
            failed_orphans: Mutex::default(),
            changes: tokio::sync::Mutex::default(),
            loads: Semaphore::new(LOADS_IN_FLIGHT),
            history: OnceLock::new(),
            events: OnceLock::new(),
            metrics: Metrics::default(),
            logs: OnceLock::new(),
            domains,
            releases: Releases::default(),
            deploys: Deploys::default(),
            started_ms: now_ms(),
            parkings: Semaphore::new(super::park::AT_ONCE),
            seats: tokio::sync::Mutex::default(),
            unloads: Arc::default(),
            said: Mutex::default(),
            passed_over: AtomicUsize::new(0),
            checks: Checks::new(),
            tasks: Tasks::default(),
        });
        agent.domains.set_home(Around(Arc::downgrade(&agent)));
        agent
    }

    /// When it was started, Unix milliseconds.
    pub(super) fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Records an event. It never waits.
    pub fn record(&self, event: Event) {
        if let Some(events) = self.events.get() {
            events.record(event);
        }
    }

    /// The registered instance of that name.
    pub fn get(&self, name: &InstanceName) -> Option<Arc<Instance>> {
        self.instances.read().expect("no panic while held").get(name).cloned()
    }

    /// The same, also when its process is not in the config any more.
    pub(super) fn known(&self, name: &InstanceName) -> Option<Arc<Instance>> {
        self.get(name).or_else(|| self.parked().get(name).cloned())
    }

    /// All of those.
    pub(super) fn all_known(&self) -> Vec<Arc<Instance>> {
        let mut all = self.all();
        all.extend(self.parked().values().cloned());
        all
    }

    fn parked(&self) -> MutexGuard<'_, BTreeMap<InstanceName, Arc<Instance>>> {
        self.parked.lock().expect("no panic while held")
    }

    pub(super) fn failed_orphans(&self) -> MutexGuard<'_, BTreeMap<InstanceName, GaveUp>> {
        self.failed_orphans.lock().expect("no panic while held")
    }

    fn orphan(&self, one: Registered) {
        let mut orphans = self.orphans.lock().expect("no panic while held");
        if !orphans.iter().any(|orphan| orphan.name == one.name) {
            orphans.push(one);
        }
    }

    /// Every registered instance whose process is in the config, in order of name.
    pub fn all(&self) -> Vec<Arc<Instance>> {
        self.instances.read().expect("no panic while held").values().cloned().collect()
    }

    /// What `host` stands for now.
    pub fn lookup(&self, host: &str) -> Route<Arc<Instance>> {
        self.routes.load().lookup(host)
    }

    /// The verified custom domain, or foreign host that the config names, that `host`, in lower case, is or lies below.
    pub fn custom_of(&self, host: &str) -> Option<String> {
        let routes = self.routes.load();
        let found = routes.custom(host)?;
        Some(if found.wildcard { format!("*.{}", found.name) } else { found.name.to_owned() })
    }

    /// Takes registered instances into memory; call [`Agent::publish`] when all are in.
    pub fn admit(&self, registered: impl IntoIterator<Item = Registered>) {
        let mut instances = self.instances.write().expect("no panic while held");
        // Read under the lock: a config that comes into force now is applied to these as well.
        let config = self.config.load();
        let mut without: BTreeMap<ProcessName, usize> = BTreeMap::new();
        for one in registered {
            let Some(definition) = config.processes.get(one.name.process()) else {
                *without.entry(one.name.process().clone()).or_default() += 1;
                self.orphan(one);
                continue;
            };
            match setup(&self.run_dir, &config.settings, definition, &one.name, &one.particulars())
            {
                Ok(setup) => {
                    let instance = instances.entry(one.name.clone()).or_insert_with(|| match self
                        .parked()
                        .remove(&one.name)
                    {
                        Some(instance) => {
                            instance.plan(setup);
                            instance
                        }
                        None => {
                            let old = one.created_ms < self.started_ms;
                            let instance = Instance::new(one, setup);
                            if let Some(history) = self.history.get() {
                                instance.keep_history(history, old);
                            }
                            if let Some(events) = self.events.get() {
                                instance.tell_events(events);
                            }
                            instance.assume_release(self.releases.of(&instance.name));
                            instance.count_wakes(&self.metrics.wakes);
                            if let Some(gave_up) = self.failed_orphans().remove(&instance.name) {
                                instance.care.set_failed(gave_up);
                            }
                            Arc::new(instance)
                        }
                    });
                    super::limits::renew(&config, instance);
                }
                Err(error) => {
                    log::error!(TENEMENT_INSTANCE = one.name.to_string(); "{} gets no requests: {error}", one.name);
                    self.orphan(one);
                }
            }
        }
        for (process, count) in without {
            log::warn!(TENEMENT_PROCESS = process.to_string(), count; "process {process} is not in the config: its {count} registered instance(s) get no requests");
        }
    }

    /// Makes the route table anew from what is registered and configured.
    pub fn publish(&self) {
        // Held until the table is in place, so that no older table replaces a newer one.
        let instances = self.instances.read().expect("no panic while held");
        let config = self.config.load();
        self.routes.store(Arc::new(super::routing::table(&config, &instances, &self.domains)));
        self.tasks.look_at_timers();
    }

    /// Forgets an instance. Requests that already hold it find it removed.
    pub fn dismiss(&self, name: &InstanceName) {
        let gone = self.instances.write().expect("no panic while held").remove(name);
        self.orphans.lock().expect("no panic while held").retain(|one| one.name != *name);
        self.failed_orphans().remove(name);
        self.domains.forget(name);
        self.releases.forget(name);
        self.deploys.forget(name);
        for instance in gone.into_iter().chain(self.parked().remove(name)) {
            instance.removed.store(true, Ordering::Release);
            instance.changed.notify_waiters();
            if let Some(history) = self.history.get() {
                history.forget(instance.uuid);
            }
            self.metrics.forget(instance.uuid);
        }
        self.publish();
    }

    /// Puts a new config in force. Running instances keep what they run with until their next start.
    pub fn adopt_config(&self, config: Config) {
        let old = self.config.swap(Arc::new(config));
        let config = self.config.load();
        let mut homeless = Vec::new();
        self.instances.write().expect("no panic while held").retain(|name, instance| {
            let Some(definition) = config.processes.get(name.process()) else {
                self.parked().insert(name.clone(), instance.clone());
                homeless.push(instance.registered());
                return false;
            };
            if instance.setup().definition != *definition || old.settings != config.settings {
                match setup(
                    &self.run_dir,
                    &config.settings,
                    definition,
                    name,
                    &instance.particulars(),
                ) {
                    Ok(setup) => {
                        instance.plan(setup);
                        super::limits::renew(&config, instance);
                    }
                    Err(error) => {
                        log::error!("{name} gets no requests: {error}");
                        self.parked().insert(name.clone(), instance.clone());
                        homeless.push(instance.registered());
                        return false;
                    }
                }
            }
            true
        });
        let returning = std::mem::take(&mut *self.orphans.lock().expect("no panic while held"));
        homeless.into_iter().for_each(|one| self.orphan(one));
        self.admit(returning);
        self.publish();
    }
}

impl<H: Host> Agent<H> {
    /// Puts limits that were set for this instance alone in force, as far as the agent keeps them.
    pub fn retune(&self, instance: &Instance, overrides: tenement_wire::ResourceLimits) {
        instance.set_overrides(overrides);
        let settings = &self.config.load().settings;
        let mut setup = (**instance.setup()).clone();
        let overrides = instance.particulars().overrides;
        setup.requests = RequestLimits::of(&setup.definition.limits_of(&overrides, settings));
        instance.set_setup(setup);
    }

    /// Brings what is known of an instance up to the config in force: its units are of that now.
    pub(super) fn refresh(&self, instance: &Instance) {
        let config = self.config.load();
        let Some(definition) = config.processes.get(instance.name.process()) else { return };
        match setup(
            &self.run_dir,
            &config.settings,
            definition,
            &instance.name,
            &instance.particulars(),
        ) {
            Ok(setup) => instance.set_setup(setup),
            Err(error) => log::error!("{} keeps its address: {error}", instance.name),
        }
    }
}

/// Where an instance is reached, from the same function that plans its units.
fn setup(
    run_dir: &Path,
    settings: &Settings,
    definition: &Arc<Definition>,
    name: &InstanceName,
    with: &Particulars,
) -> Result<Setup, PlanError> {
    let paths = plan::paths(name, definition, settings, run_dir)?;
    let check = plan::health_path(name, definition, settings, &paths, with.port)
        .and_then(|path| Check::new(&path, &host_of(name, &settings.domain)))
        .map(Arc::new);
    let mut targets = paths.targets.into_iter().map(|address| match address {
        Address::Unix(path) => Target::Unix(path.into()),
        Address::Port => Target::Tcp(([127, 0, 0, 1], with.port).into()),
    });
    let trigger = Target::Unix(paths.trigger.into());
    Ok(Setup {
        definition: definition.clone(),
        target: targets.next().unwrap_or_else(|| trigger.clone()),
        alternative: targets.next(),
        trigger,
        requests: RequestLimits::of(&definition.limits_of(&with.overrides, settings)),
        data_dir: paths.data_dir.into(),
        check,
    })
}
