//! Giving up: an instance that keeps crashing or stays unhealthy is failed until an operator says
//! otherwise, across restarts of the agent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tenement_wire::events::EventKind;

use super::agent::Agent;
use super::host::{Active, Host, Units};
use super::instance::{Instance, now_ms};
use super::lease::Closed;
use crate::store::{GaveUp, StoreError};

impl<H: Host> Agent<H> {
    /// Fails it for good: requests are refused from here on, those under way get `stop_timeout` to
    /// end, and its units are unloaded, so that nothing can start it.
    pub(super) async fn give_up(self: &Arc<Self>, instance: &Arc<Instance>, why: String) {
        self.note_failed(instance, why).await;
        let closed = self.shut(instance).await;
        let up = [Active::Active, Active::Activating, Active::Deactivating];
        if up.contains(&instance.units().service) {
            self.drain(instance).await;
            instance.taken.store(false, Ordering::SeqCst);
            if let Err(error) = self.stop_behind(&closed, instance).await {
                log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "stopping {}: {error}", instance.name);
            }
        }
        // An operator may have given it a new chance meanwhile; what was unhealthy is stopped all the same.
        if instance.care.has_failed() {
            self.unload_behind(&closed, instance).await;
        }
    }

    /// Unloads its units while the gate is closed: a wake that came in between would lose its start.
    pub(super) async fn unload_behind(&self, _: &Closed, instance: &Instance) {
        match self.host.unload(&instance.name).await {
            Ok(()) => instance.set_units(Units::default()),
            Err(error) => {
                log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "unloading {}: {error}", instance.name);
            }
        }
    }

    /// Notes that it has failed, in memory first: requests must not wait for a slow disk.
    pub(super) async fn note_failed(&self, instance: &Instance, why: String) {
        let rules = &instance.setup().definition.supervision.clone();
        let reason = match instance.care.strikes() {
            0 => why,
            n => format!("{why}; before that {n} restarts within {:?}", rules.restart_window),
        };
        log::error!(TENEMENT_INSTANCE = instance.name.to_string(); "{} has failed and is not started any more until `ten reset {}`: {reason}", instance.name, instance.name);
        let message = format!("{} has failed: {reason}", instance.name);
        instance.happened(EventKind::Failed, message);
        let gave_up = GaveUp { reason, at_ms: now_ms() };
        instance.care.set_failed(gave_up.clone());
        instance.changed.notify_waiters();
        let noted = self.store.set_failed(instance.name.clone(), Some(gave_up)).await;
        if let Err(error) = noted {
            log::error!("that {} has failed is lost with this agent: {error}", instance.name);
        }
    }

    /// Gives it a new chance: an operator asked for one. Says whether it had failed for good.
    ///
    /// # Errors
    /// The database can't be written; it stays failed then.
    pub(super) async fn absolve(&self, instance: &Instance) -> Result<bool, StoreError> {
        let had_failed = instance.care.has_failed();
        if had_failed {
            self.store.set_failed(instance.name.clone(), None).await?;
            log::info!(TENEMENT_INSTANCE = instance.name.to_string(); "{} gets a new chance", instance.name);
        }
        instance.care.absolve();
        instance.breaker.reset();
        instance.recovered();
        Ok(had_failed)
    }

    /// Takes in which instances had failed before this agent began.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn recall_failed(&self) -> Result<(), StoreError> {
        for (name, gave_up) in self.store.failed().await? {
            match self.known(&name) {
                Some(instance) => instance.care.set_failed(gave_up),
                // Its process may come back with a later config.
                None => drop(self.failed_orphans().insert(name, gave_up)),
            }
        }
        Ok(())
    }
}
