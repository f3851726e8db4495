//! What the API needs of deployments.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tenement_wire::deploys::{DeployView, MoveRoute, PinView};
use tenement_wire::domains::ProcessRouting;
use tenement_wire::{InstanceName, ProcessName, ReleaseName};

use super::record::Deploy;
use super::{DeployError, DeployOrder};
use crate::flows::ManageError;
use crate::flows::agent::Agent;
use crate::flows::host::Host;
use crate::flows::releases::ReleaseError;

/// An answer in the making.
pub type Answer<T> = BoxFuture<'static, Result<T, DeployError>>;

/// Deployments, as the API asks for them.
pub trait Rollouts: Send + Sync + 'static {
    /// Begins one.
    fn begin(&self, order: DeployOrder) -> Answer<Arc<Deploy>>;
    /// Begins to go back to a release; without one, to that before.
    fn back(&self, order: DeployOrder, to: Option<ReleaseName>) -> Answer<Arc<Deploy>>;
    /// Those of a process, the newest first.
    ///
    /// # Errors
    /// If there is no such process.
    fn list(&self, process: &ProcessName) -> Result<Vec<DeployView>, DeployError>;
    /// One of them.
    ///
    /// # Errors
    /// If there is none.
    fn get(&self, process: &ProcessName, id: &str) -> Result<Arc<Deploy>, DeployError>;
    /// Ends one that is under way.
    ///
    fn abort(&self, process: ProcessName, id: String, by: String) -> Answer<Arc<Deploy>>;
    /// Moves requests from one instance to another.
    fn route(&self, process: ProcessName, change: MoveRoute) -> Answer<ProcessRouting>;
    /// Has an instance stay at a release, or go with its process again.
    fn pin(&self, name: InstanceName, release: Option<ReleaseName>) -> Answer<PinView>;
}

impl<H: Host> Rollouts for Arc<Agent<H>> {
    fn begin(&self, order: DeployOrder) -> Answer<Arc<Deploy>> {
        let agent = self.clone();
        Box::pin(async move { agent.deploy(order).await })
    }

    fn back(&self, order: DeployOrder, to: Option<ReleaseName>) -> Answer<Arc<Deploy>> {
        let agent = self.clone();
        Box::pin(async move { agent.roll_back(order, to).await })
    }

    fn list(&self, process: &ProcessName) -> Result<Vec<DeployView>, DeployError> {
        let found = self.deploys.of(process);
        let config = self.config.load();
        if found.is_empty() && !config.processes.contains_key(process) {
            let known = config.processes.keys().cloned().collect();
            return Err(ManageError::UnknownProcess { process: process.clone(), known }.into());
        }
        Ok(found.iter().map(|one| one.view()).collect())
    }

    fn get(&self, process: &ProcessName, id: &str) -> Result<Arc<Deploy>, DeployError> {
        self.deploys.get(process, id)
    }

    fn abort(&self, process: ProcessName, id: String, by: String) -> Answer<Arc<Deploy>> {
        let agent = self.clone();
        Box::pin(async move { agent.abort_deploy(&process, &id, &by).await })
    }

    fn route(&self, process: ProcessName, change: MoveRoute) -> Answer<ProcessRouting> {
        let agent = self.clone();
        Box::pin(async move { agent.move_route(&process, change).await })
    }

    fn pin(&self, name: InstanceName, release: Option<ReleaseName>) -> Answer<PinView> {
        let agent = self.clone();
        Box::pin(async move {
            let Some(instance) = Agent::get(&agent, &name) else {
                return Err(ManageError::NotFound { name, similar: Vec::new() }.into());
            };
            agent.definition_for(name.process())?;
            Agent::pin(&agent, &name, release.as_ref()).await?;
            let (pinned, release) = (agent.releases.pin_of(&name), instance.release());
            Ok(PinView { name, pinned, release })
        })
    }
}

impl<H: Host> Agent<H> {
    /// Deploys a release in place, each instance at its next start; waits until the process is at it.
    ///
    /// # Errors
    /// [`ReleaseError::Unknown`], or [`DeployError`]: nothing was done.
    pub async fn adopt_release(
        self: &Arc<Self>,
        process: &ProcessName,
        name: &ReleaseName,
    ) -> Result<(), ReleaseError> {
        if self.releases.get(process, name).is_none() {
            return Err(ReleaseError::Unknown { process: process.clone(), name: name.clone() });
        }
        let is_at = self.releases.current(process).is_some_and(|current| current.name == *name);
        if is_at && self.deploys.running(process).is_none() {
            return Ok(());
        }
        let order = DeployOrder {
            release: name.clone(),
            rollback: false,
            ..DeployOrder::back(process.clone(), false, None)
        };
        let deploy = self.deploy(order).await?;
        let mut watch = deploy.watch();
        // Nothing in it waits for an instance. The sender lives as long as `deploy`.
        let end = watch.wait_for(|view| view.state.is_over()).await;
        match end.ok().map(|view| (view.state.is_good(), view.reason.clone())) {
            Some((true, _)) => Ok(()),
            other => {
                let why = other.and_then(|(_, why)| why).unwrap_or_default();
                Err(ManageError::Internal(why.into()).into())
            }
        }
    }
}

/// For an API without an agent behind it.
#[derive(Debug)]
pub struct NoRollouts;

fn nothing(process: &ProcessName) -> DeployError {
    ManageError::UnknownProcess { process: process.clone(), known: Vec::new() }.into()
}

impl Rollouts for NoRollouts {
    fn begin(&self, order: DeployOrder) -> Answer<Arc<Deploy>> {
        Box::pin(std::future::ready(Err(nothing(&order.process))))
    }

    fn back(&self, order: DeployOrder, _: Option<ReleaseName>) -> Answer<Arc<Deploy>> {
        self.begin(order)
    }

    fn list(&self, process: &ProcessName) -> Result<Vec<DeployView>, DeployError> {
        Err(nothing(process))
    }

    fn get(&self, process: &ProcessName, _: &str) -> Result<Arc<Deploy>, DeployError> {
        Err(nothing(process))
    }

    fn abort(&self, process: ProcessName, _: String, _: String) -> Answer<Arc<Deploy>> {
        Box::pin(std::future::ready(Err(nothing(&process))))
    }

    fn route(&self, process: ProcessName, _: MoveRoute) -> Answer<ProcessRouting> {
        Box::pin(std::future::ready(Err(nothing(&process))))
    }

    fn pin(&self, name: InstanceName, _: Option<ReleaseName>) -> Answer<PinView> {
        // Whether there is such an instance is not known here.
        Box::pin(std::future::ready(Err(nothing(name.process()))))
    }
}
