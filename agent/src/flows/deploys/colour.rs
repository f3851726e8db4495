//! Instances of a release's own: made beside those that serve, without a weight; and requests moved to them.

use std::sync::Arc;

use tenement_wire::deploys::MoveRoute;
use tenement_wire::domains::ProcessRouting;
use tenement_wire::events::{Actor, Event, EventKind};
use tenement_wire::{InstanceId, InstanceName, ProcessName};
use tokio::time::Instant;

use super::record::{Broken, Deploy};
use super::{DeployError, DeployOrder, invalid};
use crate::flows::ManageError;
use crate::flows::agent::Agent;
use crate::flows::health::Health;
use crate::flows::host::Host;
use crate::flows::instance::{Instance, Phase};

impl<H: Host> Agent<H> {
    /// The instance that a release gets for itself.
    pub(super) fn colour_of(&self, order: &DeployOrder) -> Result<InstanceName, DeployError> {
        let id = match &order.instance {
            Some(id) => id.clone(),
            None => InstanceId::new(order.release.as_str()).map_err(|error| {
                let message = format!(
                    "{} can't be the id of an instance, which would be named after it: {error}; \
                     choose another version, or name the instance",
                    order.release
                );
                invalid("instance", message)
            })?,
        };
        let name = InstanceName::new(order.process.clone(), id);
        let serves = self.get(&name).is_some() && self.weight_of(&name) > 0;
        if serves {
            let message = format!(
                "{name} has a weight, so it serves requests: choose another version, or take its \
                 weight first (ten weight {name} 0)"
            );
            return Err(invalid("instance", message));
        }
        Ok(name)
    }

    /// What an instance weighs.
    pub(super) fn weight_of(&self, name: &InstanceName) -> u32 {
        let config = self.config.load();
        let default = config.processes.get(name.process()).map_or(0, |d| d.route.weight);
        self.domains.weight(name).unwrap_or(default)
    }

    /// Makes the instance of a release, and waits until it is healthy. Nothing leads to it.
    pub(super) async fn raise_colour(self: &Arc<Self>, deploy: &Arc<Deploy>) -> Result<(), Broken> {
        let began = Instant::now();
        let (name, release) = (deploy.view().instance, deploy.release());
        let Some(name) = name else { return Err(Broken::other("it has no instance")) };
        self.register_at(&name, &release).await.map_err(Broken::other)?;
        let Some(instance) = self.get(&name) else {
            return Err(Broken::other(format!("{name} has been removed")));
        };
        let Some(moving) = self.begin_move(&instance).await else {
            return Err(Broken::other(format!("{name} is being removed")));
        };
        self.say(deploy, format!("{name} is started from {release}, without a weight"));
        let replaced = tokio::select! {
            replaced = self.replace(&moving) => replaced,
            () = deploy.until_stopped() => Err(String::new()),
        };
        let Err(why) = replaced else {
            let ms = began.elapsed().as_millis();
            self.say(deploy, format!("{name} is ready on {release} ({ms} ms)"));
            return Ok(());
        };
        if let Some(broken) = deploy.stopped() {
            let _ = self.rest(&instance, moving.notice()).await;
            return Err(broken);
        }
        let lines = self.last_lines(&name, Self::since_ms(began)).await;
        // It stays registered, so that its log can be looked at, and does not run.
        if let Err(error) = self.rest(&instance, moving.notice()).await {
            self.say(deploy, format!("{name}: {error}"));
        }
        Err(Broken::release(&name, why, lines))
    }

    /// Gives one instance the weight of another, which gets none; without that, of all others. Both change with
    /// the same request.
    ///
    /// # Errors
    /// [`DeployError`]: nothing was changed.
    pub async fn move_route(
        self: &Arc<Self>,
        process: &ProcessName,
        change: MoveRoute,
    ) -> Result<ProcessRouting, DeployError> {
        let name = |id: &InstanceId| InstanceName::new(process.clone(), id.clone());
        self.domains.routing(process)?;
        if let Some(running) = self.deploys.running(process) {
            let (id, release) = (running.id(), running.release());
            return Err(DeployError::Running { process: process.clone(), id, release });
        }
        let to = self.found(&name(&change.to))?;
        let from = change.from.as_ref().map(|id| self.found(&name(id))).transpose()?;
        if from.as_ref().is_some_and(|from| from.name == to.name) {
            return Err(invalid("to", "is where requests come from"));
        }
        if !change.force {
            self.must_be_healthy(&to).await?;
        }
        let mut weights = Vec::new();
        let mut weight = 0;
        for one in self.all() {
            let meant = from.as_ref().is_none_or(|from| from.name == one.name);
            if one.name.process() == process && one.name != to.name && meant {
                weight = weight.max(self.weight_of(&one.name));
                weights.push((one.name.clone(), Some(0)));
            }
        }
        if from.is_none() && weight == 0 {
            let config = self.config.load();
            let default = config.processes.get(process).map_or(0, |d| d.route.weight);
            weight = weight.max(self.weight_of(&to.name)).max(default);
        }
        if weight == 0 {
            let message = format!(
                "{process}:{} has no weight that could move",
                change.from.as_ref().map_or("?", InstanceId::as_str)
            );
            return Err(invalid("from", message));
        }
        weights.push((to.name.clone(), Some(weight)));
        self.domains.weigh(weights).await?;
        let left = from.map_or_else(|| "all others".to_owned(), |from| from.name.to_string());
        let message = format!("requests to {process} go to {} instead of {left}", to.name);
        log::info!(TENEMENT_PROCESS = process.to_string(); "{message}");
        self.record(Event::new(EventKind::Operation, message).about(&to.name).by(Actor::agent()));
        Ok(self.domains.routing(process)?)
    }

    fn found(&self, name: &InstanceName) -> Result<Arc<Instance>, DeployError> {
        let unknown = || ManageError::NotFound { name: name.clone(), similar: Vec::new() };
        Ok(self.get(name).ok_or_else(unknown)?)
    }

    /// Starts it if it sleeps, to find out.
    async fn must_be_healthy(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
    ) -> Result<(), DeployError> {
        let name = instance.name.clone();
        let not = |why: String| DeployError::NotHealthy { name: name.clone(), why };
        if instance.gate.is_moving() {
            return Err(not("it is being moved to another release".into()));
        }
        self.start(instance).await.map_err(|error| not(error.to_string()))?;
        if instance.phase() != Phase::Running {
            return Err(not("it does not run".into()));
        }
        match self.ill(instance) {
            None => Ok(()),
            Some(why) => Err(not(why)),
        }
    }

    /// What is wrong with it, if something is known to be.
    pub(super) fn ill(&self, instance: &Instance) -> Option<String> {
        if let Some(failed) = instance.care.failed() {
            return Some(format!("it has failed: {}", failed.reason));
        }
        if let Some(failure) = instance.failure() {
            return Some(failure.reason);
        }
        let unwell = matches!(instance.care.health(), Health::Unhealthy | Health::Degraded);
        let why = || instance.care.last().map_or_else(String::new, |last| last.to_string());
        unwell.then(why)
    }
}
