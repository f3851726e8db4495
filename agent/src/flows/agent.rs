//! The registry of instances and what the flows share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};

use arc_swap::ArcSwap;
use tenement_wire::InstanceName;
use tenement_wire::dto::ConfigProblem;
use tokio::sync::Semaphore;

use super::host::Host;
use super::instance::{Instance, Setup};
use crate::config::{Config, Definition, Listen, RunAs, Settings};
use crate::plan::paths;
use crate::routes::{Route, RouteTable};
use crate::store::{Registered, Store};
use crate::upstream::Target;

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
    pub(super) loads: Semaphore,
}

impl<H: Host> Agent<H> {
    /// An agent that knows of no instance yet.
    pub fn new(host: H, store: Store, config: Config, run_dir: PathBuf) -> Arc<Self> {
        let routes = RouteTable::new(&config.settings.domain, [], []);
        Arc::new(Self {
            host,
            store,
            config: ArcSwap::from_pointee(config),
            rejected: Mutex::default(),
            run_dir,
            routes: ArcSwap::from_pointee(routes),
            instances: RwLock::default(),
            orphans: Mutex::default(),
            loads: Semaphore::new(LOADS_IN_FLIGHT),
        })
    }

    /// The registered instance of that name.
    pub fn get(&self, name: &InstanceName) -> Option<Arc<Instance>> {
        self.instances.read().expect("no panic while held").get(name).cloned()
    }

    /// Every registered instance whose process is in the config, in order of name.
    pub fn all(&self) -> Vec<Arc<Instance>> {
        self.instances.read().expect("no panic while held").values().cloned().collect()
    }

    /// What `host` stands for now.
    pub fn lookup(&self, host: &str) -> Route<Arc<Instance>> {
        self.routes.load().lookup(host)
    }

    /// Takes registered instances into memory; call [`Agent::publish`] when all are in.
    pub fn admit(&self, registered: impl IntoIterator<Item = Registered>) {
        let config = self.config.load();
        let mut instances = self.instances.write().expect("no panic while held");
        for one in registered {
            let Some(definition) = config.processes.get(one.name.process()) else {
                log::warn!(TENEMENT_INSTANCE = one.name.to_string(); "{} is registered, but its process is not in the config: it gets no requests", one.name);
                self.orphans.lock().expect("no panic while held").push(one);
                continue;
            };
            let setup = setup(&self.run_dir, &config.settings, definition, &one.name, one.port);
            let instance = Instance::new(one.name.clone(), one.uuid, one.port, setup);
            instances.entry(one.name).or_insert_with(|| Arc::new(instance));
        }
    }

    /// Makes the route table anew from what is registered and configured.
    pub fn publish(&self) {
        let config = self.config.load();
        let processes = config.processes.values().map(|d| (d.name.clone(), d.spawn_on_request));
        let instances = self.instances.read().expect("no panic while held");
        let hosts = instances.iter().map(|(name, instance)| (name.clone(), instance.clone()));
        self.routes.store(Arc::new(RouteTable::new(&config.settings.domain, processes, hosts)));
    }

    /// Forgets an instance. Requests that already hold it find it removed.
    pub fn dismiss(&self, name: &InstanceName) {
        let gone = self.instances.write().expect("no panic while held").remove(name);
        self.orphans.lock().expect("no panic while held").retain(|one| one.name != *name);
        if let Some(instance) = gone {
            instance.removed.store(true, Ordering::Release);
            instance.changed.notify_waiters();
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
                homeless.push(Registered::of(name.clone(), instance.uuid, instance.port));
                return false;
            };
            if instance.setup().definition != *definition || old.settings != config.settings {
                let port = instance.port;
                instance.set_setup(setup(&self.run_dir, &config.settings, definition, name, port));
                instance.stale.store(true, Ordering::Release);
            }
            true
        });
        let returning = std::mem::take(&mut *self.orphans.lock().expect("no panic while held"));
        self.orphans.lock().expect("no panic while held").extend(homeless);
        self.admit(returning);
        self.publish();
    }
}

/// Where an instance is reached, from the same functions that plan its units.
fn setup(
    run_dir: &std::path::Path,
    settings: &Settings,
    definition: &Arc<Definition>,
    name: &InstanceName,
    port: u16,
) -> Setup {
    let paths = paths::of(name, definition, settings, run_dir);
    let unix = |path: PathBuf| Target::Unix(path.into());
    let tcp = Target::Tcp(([127, 0, 0, 1], port).into());
    let _ = RunAs::PerInstance;
    let (target, alternative) = match definition.listen {
        Listen::Fd => (unix(paths.trigger.clone()), None),
        Listen::Socket => (unix(paths.app_socket), None),
        Listen::Port => (tcp, None),
        Listen::Own => (tcp, Some(unix(paths.app_socket))),
    };
    Setup { definition: definition.clone(), target, alternative, trigger: unix(paths.trigger) }
}
