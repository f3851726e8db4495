//! The verbs of `ten`, on top of the flows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tenement_wire::dto::{
    ConfigCheck, ConfigFile, ConfigProblem, ConfigView, InstanceRow, InstanceView, LimitsSet,
    MetricsSummary, Removed, Traffic, Version, Why,
};
use tenement_wire::status::{Cause, History, StateDatabase};
use tenement_wire::{InstanceId, InstanceName, Limit, SecretView};

use super::agent::Agent;
use super::events::of_operation;
use super::host::Host;
use super::instance::Instance;
use super::management::{ManageError, Management, Spawn};
use super::mishaps::not_stopped;
use super::secrets::SecretOrder;
use super::story::Way;
use super::view::AT_ONCE;
use crate::config;
use crate::store::Origin;

/// Reads the config files from disk; a text says why it can't.
pub type ReadConfig = dyn Fn() -> Result<Vec<config::SourceFile>, String> + Send + Sync;
/// Finds the problems of the paths that a config names.
pub type FindProblems = dyn Fn(&config::Config) -> Vec<ConfigProblem> + Send + Sync;

/// An [`Agent`] with what the verbs need beyond it: where its config comes from and who it is.
pub struct Manager<H> {
    /// The flows.
    pub agent: Arc<Agent<H>>,
    /// Reads the config files from disk.
    pub read_config: Box<ReadConfig>,
    /// Where data lies unless the config says otherwise, for a user's own agent.
    pub data_home: Option<std::path::PathBuf>,
    /// Problems of the paths that a config names.
    pub path_problems: Box<FindProblems>,
    /// Called with each config that comes into force.
    pub on_config: Box<dyn Fn(&config::Config) + Send + Sync>,
    /// What came through the proxy.
    pub traffic: Box<dyn Fn() -> Traffic + Send + Sync>,
    /// Version of systemd.
    pub systemd: Option<u32>,
    /// `system` or `user`.
    pub mode: &'static str,
}

impl<H: Host> Manager<H> {
    /// Starts it for an operator, who also gives one that had failed a new chance.
    async fn start(&self, instance: &Arc<Instance>) -> Result<(), ManageError> {
        instance.has_release()?;
        self.agent.absolve(instance).await?;
        if instance.disk.is_full() {
            // Data may have been deleted since.
            self.agent.measure(instance).await;
        }
        let _because = instance.because(Way::Up, Cause::Operator);
        Ok(self.agent.start(instance).await?)
    }

    /// Starts many side by side; the error is that of the first in order that failed.
    async fn start_all(&self, instances: &[Arc<Instance>]) -> Result<(), ManageError> {
        let (done, of) = (&AtomicUsize::new(0), instances.len());
        let mut starts = Vec::with_capacity(of);
        for instance in instances {
            let start = async move {
                let started = self.start(instance).await;
                let step = done.fetch_add(1, Ordering::Relaxed) + 1;
                if of > 1 {
                    let what = if started.is_ok() { "started" } else { "could not start" };
                    self.agent.record(of_operation(what, &instance.name, step, of));
                }
                started
            };
            starts.push(start.boxed());
        }
        let ends: Vec<_> = stream::iter(starts).buffered(AT_ONCE).collect().await;
        ends.into_iter().collect()
    }

    /// Stops it, unloads it, and deletes its data if asked to.
    async fn take_down(&self, name: &InstanceName, purge: bool) -> Result<(), ManageError> {
        let instance = self.agent.get(name);
        let _because = instance.as_ref().map(|one| one.because(Way::Down, Cause::Removed));
        if let Some(instance) = &instance {
            self.agent.stop(instance).await.map_err(|e| not_stopped(instance, e))?;
        }
        self.agent.end_tasks(name).await;
        let host = &self.agent.host;
        let gone = if purge { host.purge(name).await } else { host.unload(name).await };
        gone.map_err(|e| ManageError::Unavailable { what: "the unit helper", source: e.into() })
    }

    async fn register(&self, spawn: &Spawn) -> Result<Vec<Arc<Instance>>, ManageError> {
        // Of two that spawn the same id at once, the second must learn that it exists.
        let _turn = self.agent.changes.lock().await;
        let config = self.agent.config.load_full();
        let Some(definition) = config.processes.get(&spawn.process) else {
            return Err(ManageError::UnknownProcess {
                process: spawn.process.clone(),
                known: config.processes.keys().cloned().collect(),
            });
        };
        let named = |id: &InstanceId| InstanceName::new(spawn.process.clone(), id.clone());
        let names: Vec<InstanceName> = if spawn.ids.is_empty() {
            (1..=definition.instances)
                .map(|n| named(&InstanceId::new(&n.to_string()).expect("a number is a label")))
                .collect()
        } else {
            let names: Vec<_> = spawn.ids.iter().map(named).collect();
            let taken: Vec<_> =
                names.iter().filter(|n| self.agent.get(n).is_some()).cloned().collect();
            if !taken.is_empty() {
                return Err(ManageError::AlreadyExists { names: taken });
            }
            names
        };
        for name in &names {
            crate::plan::paths(name, definition, &config.settings, &self.agent.run_dir).map_err(
                |error| ManageError::Invalid { field: "ids", message: error.to_string() },
            )?;
        }
        let range = config.settings.port_range;
        let new: Vec<_> = names.iter().filter(|n| self.agent.get(n).is_none()).cloned().collect();
        let registered = self.agent.store.register_many(new, Origin::Api, range).await?;
        self.agent.admit(registered);
        self.agent.publish();
        Ok(names.iter().filter_map(|name| self.agent.get(name)).collect())
    }
}

impl<H: Host> Management for Manager<H> {
    async fn list(&self) -> Result<Vec<InstanceView>, ManageError> {
        let mut views = self.agent.views(self.agent.all()).await;
        let orphans = self.agent.orphans.lock().expect("no panic while held").clone();
        views.extend(orphans.iter().map(|orphan| self.agent.view_orphan(orphan)));
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    async fn rows(&self) -> Result<Vec<InstanceRow>, ManageError> {
        Ok(self.at_hand())
    }

    async fn show(&self, name: &InstanceName) -> Result<InstanceView, ManageError> {
        Ok(self.agent.view(&self.find(name)?).await)
    }

    async fn spawn(&self, spawn: Spawn) -> Result<Vec<InstanceView>, ManageError> {
        let instances = self.register(&spawn).await?;
        if spawn.start {
            self.start_all(&instances).await?;
        } else {
            let (agent, asleep) = (self.agent.clone(), instances.clone());
            // Registered instances are loaded beside the answer, so that `systemctl start` finds them.
            tokio::spawn(async move { agent.preload_because(asleep, Cause::Operator).await });
        }
        let mut views = self.agent.views(instances).await;
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    async fn wake(&self, name: &InstanceName) -> Result<InstanceView, ManageError> {
        let instance = self.find(name)?;
        self.start(&instance).await?;
        instance.touch();
        Ok(self.agent.view(&instance).await)
    }

    async fn sleep(&self, name: &InstanceName, force: bool) -> Result<InstanceView, ManageError> {
        let instance = self.find(name)?;
        if force {
            return self.stop(name).await;
        }
        let _because = instance.because(Way::Down, Cause::Operator);
        if let Some(busy) = self.agent.busy(&instance).await {
            return Err(ManageError::InUse { name: name.clone(), holds: vec![busy] });
        }
        let sleeps = self.agent.put_to_sleep(&instance).await;
        if !sleeps.map_err(|e| not_stopped(&instance, e))? {
            let holds = self.agent.explain(&instance).await.holds;
            if !holds.is_empty() {
                return Err(ManageError::InUse { name: name.clone(), holds });
            }
        }
        Ok(self.agent.view(&instance).await)
    }

    async fn stop(&self, name: &InstanceName) -> Result<InstanceView, ManageError> {
        let instance = self.find(name)?;
        let _because = instance.because(Way::Down, Cause::Operator);
        self.agent.stop(&instance).await.map_err(|e| not_stopped(&instance, e))?;
        Ok(self.agent.view(&instance).await)
    }

    async fn restart(&self, name: &InstanceName) -> Result<InstanceView, ManageError> {
        let instance = self.find(name)?;
        // One that can't start again is not stopped.
        instance.has_release()?;
        let _because = instance.because(Way::Down, Cause::Operator);
        self.agent.stop(&instance).await.map_err(|e| not_stopped(&instance, e))?;
        instance.mark_stale();
        self.agent.record(of_operation("stopped, to be restarted,", name, 1, 2));
        self.start(&instance).await?;
        self.agent.record(of_operation("restarted", name, 2, 2));
        Ok(self.agent.view(&instance).await)
    }

    async fn reset(&self, name: &InstanceName) -> Result<InstanceView, ManageError> {
        let instance = self.find(name)?;
        self.agent.absolve(&instance).await?;
        // So that its socket is there again, as for any other that sleeps.
        self.agent.preload(vec![instance.clone()]).await;
        Ok(self.agent.view(&instance).await)
    }

    async fn set(
        &self,
        name: &InstanceName,
        changes: BTreeMap<Limit, Option<u64>>,
    ) -> Result<LimitsSet, ManageError> {
        self.agent.set_limits(&self.find(name)?, &changes).await
    }

    async fn remove(&self, name: &InstanceName, purge: bool) -> Result<Removed, ManageError> {
        let config = self.agent.config.load_full();
        if config.instances.contains(name) {
            return Err(ManageError::Conflict {
                name: name.clone(),
                what: "the config names it under [instances]; take it out there and reload first"
                    .into(),
            });
        }
        let mut removing = None;
        let orphan = {
            let orphans = self.agent.orphans.lock().expect("no panic while held");
            orphans.iter().find(|one| one.name == *name).cloned()
        };
        let data_dir = match &orphan {
            Some(orphan) => self.agent.view_orphan(orphan).data_dir,
            None => {
                let instance = self.find(name)?;
                let view = self.agent.view_with(&instance, &super::host::Details::default());
                // From here on requests are refused; without this one could wake it in between.
                if instance.removed.swap(true, Ordering::AcqRel) {
                    let (name, what) = (name.clone(), "it is being removed".into());
                    return Err(ManageError::Conflict { name, what });
                }
                removing = Some(Removing { instance, done: false });
                view.data_dir
            }
        };
        self.take_down(name, purge).await?;
        let domains = self.agent.domains.end_or_keep(name, purge).await?;
        {
            let _turn = self.agent.changes.lock().await;
            self.agent.store.remove(name.clone()).await?;
            self.agent.dismiss(name);
        }
        if let Some(removing) = &mut removing {
            removing.done = true;
        }
        if purge {
            // One that was added meanwhile must not lead to whoever gets the name next.
            self.agent.domains.end_with(name).await?;
        }
        if let (true, Some(logs)) = (purge, self.agent.logs.get())
            && let Err(error) = logs.purge(name).await
        {
            // It is gone all the same, and to remove it once more would find nothing.
            log::error!("the log lines of {name}, which was purged, could not be removed: {error}");
        }
        Ok(Removed { name: name.clone(), data_dir, purged: purge, domains })
    }

    async fn why(&self, name: &InstanceName) -> Result<Why, ManageError> {
        Ok(self.agent.explain(&self.find(name)?).await)
    }

    async fn secrets(
        &self,
        name: &InstanceName,
        order: SecretOrder,
    ) -> Result<Vec<SecretView>, ManageError> {
        self.order_secrets(name, order).await
    }

    async fn config(&self) -> Result<ConfigView, ManageError> {
        Ok(self.agent.config_view())
    }

    async fn config_check(&self, files: Vec<ConfigFile>) -> Result<ConfigCheck, ManageError> {
        self.check_config(files)
    }

    async fn reload(&self) -> Result<ConfigView, ManageError> {
        self.reload_config().await
    }

    async fn history(&self, name: &InstanceName, limit: u32) -> Result<History, ManageError> {
        let instance = self.find(name)?;
        let (entries, dropped) = match self.agent.history.get() {
            Some(history) => (history.of(instance.uuid, limit).await?, history.dropped()),
            None => (Vec::new(), 0),
        };
        Ok(History { name: name.clone(), uuid: instance.uuid.to_string(), entries, dropped })
    }

    async fn state(&self) -> Result<StateDatabase, ManageError> {
        Ok(self.agent.store.report().await?)
    }

    async fn metrics(&self) -> Result<MetricsSummary, ManageError> {
        self.count().await
    }

    async fn ready(&self) -> Result<(), ManageError> {
        self.check_ready().await
    }

    async fn version(&self) -> Result<Version, ManageError> {
        Ok(Version {
            version: env!("CARGO_PKG_VERSION").into(),
            systemd: self.systemd,
            mode: self.mode.into(),
        })
    }
}

/// A removal under way. Unless it gets done, requests are served again.
struct Removing {
    instance: Arc<Instance>,
    done: bool,
}

impl Drop for Removing {
    fn drop(&mut self) {
        if !self.done {
            self.instance.removed.store(false, Ordering::Release);
        }
    }
}
