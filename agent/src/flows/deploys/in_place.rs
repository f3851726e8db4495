//! In place: the process's current release is another one from now on, and its instances come to it at their next
//! starts, or now.

use std::sync::Arc;

use futures_util::future::join_all;
use tenement_wire::deploys::{DeployState, MoveState};
use tenement_wire::{InstanceName, ProcessName, ReleaseName};
use tokio::time::Instant;

use super::record::{Broken, Deploy};
use super::{DeployError, DeployOrder};
use crate::flows::agent::Agent;
use crate::flows::host::Host;
use crate::flows::tunnels::Notice;

impl<H: Host> Agent<H> {
    /// The whole way.
    pub(super) async fn move_in_place(
        self: &Arc<Self>,
        deploy: &Arc<Deploy>,
    ) -> Result<DeployState, Broken> {
        if let Some(broken) = deploy.way_back() {
            return Err(self.go_back(deploy, broken).await);
        }
        let (process, release) = (deploy.process(), deploy.release());
        // First, so that no start slips through in between.
        let trial = self.begin_trial(deploy);
        if let Err(error) = self.set_current_release(&process, &release).await {
            self.deploys.end_trial(&process, &release);
            return Err(Broken::other(error));
        }
        self.forgive(&process).await;
        if !deploy.view().now {
            self.move_sleepers(&process);
            return Ok(if trial { DeployState::Unproven } else { DeployState::Succeeded });
        }
        let mut running = self.running_of(&process);
        running.retain(|one| one.loaded_release().as_ref() != Some(&release));
        deploy.list(running.iter().map(|one| one.name.clone()).collect());
        self.save(deploy).await;
        self.move_sleepers(&process);
        loop {
            if let Some(broken) = deploy.stopped() {
                return Err(self.go_back(deploy, broken).await);
            }
            let batch = deploy.next_batch();
            if batch.is_empty() {
                break;
            }
            let ends = join_all(batch.iter().map(|name| self.move_one(deploy, name))).await;
            self.save(deploy).await;
            let Some(broken) = ends.into_iter().find_map(Result::err) else { continue };
            if let Some(broken) = deploy.stopped() {
                return Err(self.go_back(deploy, broken).await);
            }
            if !self.takes_back(deploy) {
                return Err(Broken { state: DeployState::Failed, ..broken });
            }
            return Err(self.go_back(deploy, broken).await);
        }
        // With nobody to move, nobody has shown that it works.
        if deploy.view().moves.is_empty() && self.deploys.is_tried(&process, &release) {
            return Ok(DeployState::Unproven);
        }
        self.deploys.end_trial(&process, &release);
        Ok(DeployState::Succeeded)
    }

    /// Whether a release that is no good is taken back.
    fn takes_back(&self, deploy: &Deploy) -> bool {
        let config = self.config.load();
        let auto = config.processes.get(&deploy.process()).is_some_and(|d| d.deploy.auto_rollback);
        auto && !deploy.rest().rollback && deploy.before().is_some()
    }

    async fn move_one(
        self: &Arc<Self>,
        deploy: &Arc<Deploy>,
        name: &InstanceName,
    ) -> Result<(), Broken> {
        // One that is gone, or was told to stay meanwhile, is not to be moved.
        let moved = || self.get(name).filter(|_| self.releases.pin_of(name).is_none());
        let notice = match moved() {
            Some(instance) => self.give_notice(deploy, &instance).await,
            None => Notice::default(),
        };
        let began = Instant::now();
        let moving = match moved() {
            Some(instance) => self.begin_move(&instance).await.map(|moving| moving.after(notice)),
            None => None,
        };
        let Some(moving) = moving else {
            deploy.set_move(name, MoveState::Moved, None);
            return Ok(());
        };
        deploy.set_move(name, MoveState::Moving, None);
        let replaced = tokio::select! {
            replaced = self.replace(&moving) => replaced,
            () = deploy.until_stopped() => Err("the deployment was ended".into()),
        };
        let took = |began: Instant| Some(u64::try_from(began.elapsed().as_millis()).unwrap_or(0));
        let (at, of) = deploy.place(name);
        let Err(why) = replaced else {
            deploy.set_move(name, MoveState::Moved, took(began));
            let ms = began.elapsed().as_millis();
            self.say(
                deploy,
                format!("{name} is ready on {} ({at} of {of}, {ms} ms)", deploy.release()),
            );
            return Ok(());
        };
        self.say(deploy, format!("{name} is not ready on {}: {why}", deploy.release()));
        let since = Self::since_ms(began);
        let ended = deploy.stopped().is_some() && deploy.before().is_some();
        if ended || self.takes_back(deploy) {
            // Now, so that its requests wait no longer than they must.
            match self.restore_release(&deploy.process(), deploy.before()).await {
                Ok(()) => {
                    self.deploys.end_trial(&deploy.process(), &deploy.release());
                    if let Err(why) = self.replace(&moving).await {
                        self.say(
                            deploy,
                            format!("{name} is not ready on the release before either: {why}"),
                        );
                    }
                }
                Err(error) => self.say(deploy, format!("it can't be taken back: {error}")),
            }
        }
        deploy.set_move(name, MoveState::Failed, took(began));
        drop(moving);
        Err(Broken::release(name, why, self.last_lines(name, since).await))
    }

    /// Puts everything back, and says why.
    async fn go_back(self: &Arc<Self>, deploy: &Arc<Deploy>, broken: Broken) -> Broken {
        let (process, release) = (deploy.process(), deploy.release());
        deploy.rest().back = Some(broken.state);
        deploy.change(|view| {
            (view.reason, view.failed) = (Some(broken.why.clone()), broken.at.clone());
            view.last_lines.clone_from(&broken.lines);
        });
        self.save(deploy).await;
        // Where there was none before, there is nothing to go back to.
        if deploy.before().is_some()
            && let Err(error) = self.restore_release(&process, deploy.before()).await
        {
            return Broken {
                state: DeployState::Failed,
                why: format!("{}; it can't be taken back: {error}", broken.why),
                ..broken
            };
        }
        self.deploys.end_trial(&process, &release);
        self.forgive(&process).await;
        self.move_sleepers(&process);
        let size = deploy.view().batch.max(1) as usize;
        loop {
            let mut there = self.running_of(&process);
            there.retain(|one| {
                one.is_of_another_release() && one.loaded_release().as_ref() == Some(&release)
            });
            there.truncate(size);
            if there.is_empty() || deploy.before().is_none() {
                return broken;
            }
            let back = there.iter().map(|instance| async move {
                let Some(moving) = self.begin_move(instance).await else { return };
                let name = &instance.name;
                if instance.is_of_another_release() {
                    match self.replace(&moving).await {
                        Ok(()) => self.say(deploy, format!("{name} is back")),
                        Err(why) => {
                            self.say(deploy, format!("{name} does not come back: {why}"));
                            // Its next request tries again; it is not of that release any more.
                            instance.note_loaded(None);
                        }
                    }
                }
                deploy.set_move(name, MoveState::Back, None);
            });
            join_all(back).await;
            self.save(deploy).await;
        }
    }

    /// Begins to go back to the release before, or to another one that was there.
    ///
    /// # Errors
    /// [`DeployError`]: nothing was done.
    pub async fn roll_back(
        self: &Arc<Self>,
        mut order: DeployOrder,
        to: Option<ReleaseName>,
    ) -> Result<Arc<Deploy>, DeployError> {
        let process = &order.process;
        let previous = self.releases.current(process).and_then(|current| current.previous);
        let Some(release) = to.or(previous) else {
            self.definition_for(process)?;
            return Err(DeployError::NothingBefore { process: process.clone() });
        };
        order.release = release;
        order.rollback = true;
        self.deploy(order).await
    }
}

impl super::Deploys {
    /// Whether a release of a process is on trial.
    #[must_use]
    pub fn is_tried(&self, process: &ProcessName, release: &ReleaseName) -> bool {
        let trials = super::lock(&self.trials);
        trials.iter().any(|one| one.is_of(process, release))
    }
}
