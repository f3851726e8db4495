//! Releases on trial: no instance has been ready on them yet. The first start that fails takes them back, and the
//! requests that wait for it are served by the release before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tenement_wire::deploys::DeployState;
use tenement_wire::{ProcessName, ReleaseName};
use tokio::time::Instant;

use super::record::{Broken, Deploy};
use super::{Deploys, lock};
use crate::flows::WakeError;
use crate::flows::agent::Agent;
use crate::flows::host::Host;
use crate::flows::instance::Instance;
use crate::store::releases::Current;

/// Releases that one wake goes back through.
const BACK_MAX: usize = 3;

/// A release on trial.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    process: ProcessName,
    release: ReleaseName,
    /// What is current again if it fails.
    before: Current,
    /// Which deployment has brought it.
    deploy: String,
}

impl Trial {
    pub(super) fn is_of(&self, process: &ProcessName, release: &ReleaseName) -> bool {
        self.process == *process && self.release == *release
    }
}

impl Deploys {
    fn trial(&self, process: &ProcessName, release: &ReleaseName) -> Option<Trial> {
        if !self.any_trial.load(Ordering::Acquire) {
            return None;
        }
        let trials = lock(&self.trials);
        trials.iter().find(|one| one.is_of(process, release)).cloned()
    }

    fn try_out(&self, trial: Trial) {
        let mut trials = lock(&self.trials);
        trials.retain(|one| !one.is_of(&trial.process, &trial.release));
        trials.push(trial);
        self.any_trial.store(true, Ordering::Release);
    }

    /// Ends a trial; says whether there was one.
    pub(super) fn end_trial(&self, process: &ProcessName, release: &ReleaseName) -> bool {
        let mut trials = lock(&self.trials);
        let before = trials.len();
        trials.retain(|one| !one.is_of(process, release));
        self.any_trial.store(!trials.is_empty(), Ordering::Release);
        trials.len() < before
    }
}

impl<H: Host> Agent<H> {
    /// Puts the release of a deployment on trial, if it may be taken back by itself.
    pub(super) fn begin_trial(&self, deploy: &Deploy) -> bool {
        let (process, release) = (deploy.process(), deploy.release());
        let config = self.config.load();
        let auto = config.processes.get(&process).is_some_and(|d| d.deploy.auto_rollback);
        let before = deploy.before().filter(|before| before.name != release);
        let Some(before) = before.filter(|_| auto && !deploy.rest().rollback) else { return false };
        self.deploys.try_out(Trial { process, release, before, deploy: deploy.id() });
        true
    }

    /// The same after a restart of the agent, if the release is still in use.
    pub(super) fn resume_trial(&self, deploy: &Deploy) {
        let current = self.releases.current(&deploy.process());
        if current.is_some_and(|current| current.name == deploy.release()) {
            self.begin_trial(deploy);
        }
    }

    /// Whether the release that its next start is from is on trial.
    pub(in crate::flows) fn is_on_trial(&self, instance: &Instance) -> bool {
        self.trial_of(instance).is_some()
    }

    fn trial_of(&self, instance: &Instance) -> Option<Trial> {
        if !self.deploys.any_trial.load(Ordering::Acquire) {
            return None;
        }
        let trial = self.deploys.trial(instance.name.process(), &instance.release()?)?;
        self.releases.pin_of(&instance.name).is_none().then_some(trial)
    }

    /// Whether its start has to be shown to work.
    pub(in crate::flows) fn is_to_be_proven(&self, instance: &Instance) -> bool {
        instance.gate.is_moving() || self.is_on_trial(instance)
    }

    /// What becomes of a start: a good one ends a trial, and a bad one takes the release back and is tried again with
    /// the one before.
    pub(in crate::flows) async fn after_start(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        began: Instant,
        release: Option<ReleaseName>,
        mut result: Result<(), WakeError>,
    ) -> Result<(), WakeError> {
        let mut release = release;
        for _ in 0..BACK_MAX {
            let Some(tried) = release.clone() else { return result };
            match &result {
                Ok(()) => {
                    if instance.release() == release && self.is_on_trial(instance) {
                        self.passed(instance, &tried);
                    }
                    return result;
                }
                Err(WakeError::Gone { .. } | WakeError::DiskFull { .. }) => return result,
                Err(_) if instance.gate.is_moving() => return result,
                Err(_) if instance.source.unreached.swap(false, Ordering::Relaxed) => {
                    return result;
                }
                Err(error) => {
                    let trial = self.trial_of(instance).filter(|trial| trial.release == tried);
                    if let Some(trial) = trial {
                        self.fall_back(&trial, instance, began, error).await;
                    }
                }
            }
            // Another one's start may have taken it back just now.
            if instance.release() == release || instance.release().is_none() {
                return result;
            }
            release = instance.release();
            self.clear_away(instance).await;
            if self.absolve(instance).await.is_err() {
                return result;
            }
            instance.mark_stale();
            result = self.fly(instance, true).await;
        }
        result
    }

    /// Whether the end of a start that failed is left to who takes the release back.
    pub(in crate::flows) fn is_minded(&self, instance: &Instance) -> bool {
        self.is_to_be_proven(instance)
    }

    fn passed(self: &Arc<Self>, instance: &Instance, release: &ReleaseName) {
        let process = instance.name.process();
        let Some(trial) = self.deploys.trial(process, release) else { return };
        if !self.deploys.end_trial(process, release) {
            return;
        }
        let Ok(deploy) = self.deploys.get(process, &trial.deploy) else { return };
        if deploy.state() != DeployState::Unproven {
            return;
        }
        let (agent, name) = (self.clone(), instance.name.clone());
        tokio::spawn(async move {
            deploy.line(format!("{name} is ready on it"));
            agent.end(&deploy, Ok(DeployState::Succeeded)).await;
        });
    }

    /// Takes a release back: from here on nothing starts from it.
    async fn fall_back(
        self: &Arc<Self>,
        trial: &Trial,
        instance: &Arc<Instance>,
        began: Instant,
        error: &WakeError,
    ) {
        let _turn = self.deploys.taking_back.lock().await;
        if self.deploys.trial(&trial.process, &trial.release).is_none() {
            return;
        }
        if let Err(error) = self.restore_release(&trial.process, Some(trial.before.clone())).await {
            log::error!(TENEMENT_PROCESS = trial.process.to_string(); "{} stays at {}, which does not start: {error}", trial.process, trial.release);
            return;
        }
        self.deploys.end_trial(&trial.process, &trial.release);
        let why = error.to_string();
        log::error!(TENEMENT_PROCESS = trial.process.to_string(); "{} is back at {}: {why}", trial.process, trial.before.name);
        self.move_sleepers(&trial.process);
        let Ok(deploy) = self.deploys.get(&trial.process, &trial.deploy) else { return };
        let (agent, name, since) = (self.clone(), instance.name.clone(), Self::since_ms(began));
        // Beside the request, which waits.
        tokio::spawn(async move {
            let lines = agent.last_lines(&name, since).await;
            let broken = Broken::release(&name, why, lines);
            match deploy.state() {
                DeployState::Unproven => agent.end(&deploy, Err(broken)).await,
                _ => deploy.stop(broken),
            }
        });
    }
}
