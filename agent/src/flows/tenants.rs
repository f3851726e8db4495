//! What the proxy sees of the flows.

use std::sync::Arc;
use std::time::Duration;

use tenement_wire::{InstanceName, RouteTarget};
use tokio::time::{Instant, timeout_at};

use super::agent::Agent;
use super::domains::{PROOF_PATH, proves};
use super::host::Host;
use super::instance::Instance;
use super::lease::Lease;
use super::metrics::wakes::Outcome;
use super::{Served, Tenants, WakeError};
use crate::plan;
use crate::routes::{Dest, Route, host_of};
use crate::store::Origin;

impl<H: Host> Tenants for Arc<Agent<H>> {
    fn route(&self, host: &str) -> Route<Arc<Instance>> {
        self.lookup(host)
    }

    fn proof(&self, host: &str, path: &str) -> Option<String> {
        if !path.starts_with(PROOF_PATH) {
            return None;
        }
        let token = self.routes.load().proof(host)?;
        proves(path, &token).map(str::to_owned)
    }

    fn destination(&self, target: &RouteTarget) -> Option<Dest<Arc<Instance>>> {
        let domain = self.config.load().settings.domain.clone();
        let host = match target.instance_name() {
            Some(name) => host_of(&name, &domain),
            None => format!("{}.{domain}", target.process),
        };
        match self.lookup(&host) {
            Route::Instance(instance) => Some(Dest::Instance(instance, None)),
            Route::Site(site) => Some(site.otherwise().clone()),
            _ => None,
        }
    }

    async fn spawn(&self, name: &InstanceName) -> Result<Arc<Instance>, WakeError> {
        let config = self.config.load_full();
        // Checked first: strangers choose these names, and one that can't work must not fill the
        // database.
        if let Some(definition) = config.processes.get(name.process())
            && let Err(error) = plan::paths(name, definition, &config.settings, &self.run_dir)
        {
            log::info!("{name} can't be registered: {error}");
            return Err(WakeError::Gone { name: name.clone() });
        }
        let range = config.settings.port_range;
        let _turn = self.changes.lock().await;
        match self.store.register(name.clone(), Origin::Api, range).await {
            Ok(registered) => {
                log::info!(TENEMENT_INSTANCE = name.to_string(); "{name} is registered because a request asked for it");
                self.admit([registered]);
                self.publish();
                self.get(name).ok_or_else(|| WakeError::Gone { name: name.clone() })
            }
            Err(error) => Err(WakeError::Failed {
                name: name.clone(),
                reason: format!("registering it: {error}"),
                retry_after: Duration::from_secs(5),
            }),
        }
    }

    async fn ensure(&self, instance: &Arc<Instance>) -> Result<(Lease, Served), WakeError> {
        self.ensure_awake(instance).await
    }

    async fn suspect(&self, instance: &Arc<Instance>) -> Result<Served, WakeError> {
        self.look_again(instance).await
    }

    fn tripped(&self, instance: &Arc<Instance>) {
        self.probe_until_closed(instance);
    }

    fn woke(&self, instance: &Arc<Instance>, took: Duration) {
        instance.recovered();
        instance.was_woken(took);
    }

    fn lost(&self, instance: &Arc<Instance>, outcome: Outcome) {
        instance.wake_ended(outcome);
    }

    async fn awaken(&self, instance: &Arc<Instance>, began: Instant) -> Result<Lease, WakeError> {
        let (lease, served) = self.ensure_awake(instance).await?;
        if served == Served::Cold {
            let until = began + instance.setup().definition.startup_timeout;
            match timeout_at(until, instance.until_it_runs(began)).await {
                // Its crashes are not forgotten: nobody has got an answer yet.
                Ok(true) => instance.was_woken(began.elapsed()),
                Ok(false) => instance.wake_ended(Outcome::Failed),
                Err(_) => instance.wake_ended(Outcome::TimedOut),
            }
        }
        Ok(lease)
    }
}
