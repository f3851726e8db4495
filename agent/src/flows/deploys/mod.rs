//! Deployments: instances move to another release, and back if that is no good.
//!
//! ```text
//! in place    current release set ─► each instance moves at its next start ─┬─ or now, in batches: held, stopped,
//!                                    (asleep, parked, frozen: when woken)   │  its command run, started, healthy
//! blue-green  instance of its own, weight 0, healthy ─► `ten route`: weights swapped in one step
//! canary      the same ─► share by share, judged each second ─► all requests, or none
//!
//! a start on a release that fails ─► the release before is current again, who was moved goes back
//! ```
//! One deployment of a process at a time. Each step is stored before the next, so that one that an agent was killed in
//! goes on with the next agent.

mod canary;
mod colour;
pub mod desk;
mod in_place;
pub mod judge;
mod mover;
mod order;
mod prepare;
mod record;
mod trial;
mod weights;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tenement_wire::deploys::{DeployState, DeployView, Strategy};
use tenement_wire::events::{Actor, Event, EventKind};
use tenement_wire::{InstanceName, ProcessName, ReleaseName};
use uuid::Uuid;

pub(super) use mover::held_at_most;
use order::invalid;
pub use order::{DeployError, DeployOrder};
pub use record::Deploy;
use record::{Broken, Rest};
use trial::Trial;

use super::ManageError;
use super::agent::Agent;
use super::clock::now_ms;
use super::host::Host;
use crate::config::Definition;
use crate::store::releases::StoredDeploy;

/// Deployments of each process that are kept.
const KEPT: usize = 100;

/// How many deployments ended how.
pub type Counts = BTreeMap<(ProcessName, Strategy, DeployState), u64>;

/// The deployments of this agent.
#[derive(Debug, Default)]
pub struct Deploys {
    /// By process, the newest first.
    all: Mutex<BTreeMap<ProcessName, Vec<Arc<Deploy>>>>,
    /// Held while one begins.
    beginning: tokio::sync::Mutex<()>,
    trials: Mutex<Vec<Trial>>,
    /// Whether there is any, for those who have no time.
    any_trial: AtomicBool,
    /// Held while a release is taken back.
    taking_back: tokio::sync::Mutex<()>,
    /// The releases whose command was run for an instance's data, the last one last.
    prepared: Mutex<HashMap<InstanceName, Vec<ReleaseName>>>,
    /// Held while an instance is prepared: a move and a request that waits may want it at once.
    preparing: Mutex<HashMap<InstanceName, Arc<tokio::sync::Mutex<()>>>>,
    /// Where releases lie, if not where the host's own agent has them.
    pub releases_dir: OnceLock<PathBuf>,
    counts: Mutex<Counts>,
}

// Every change of what these locks hold is one step, so a poisoned one still holds what is true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An event about a process.
fn of(process: &ProcessName, mut event: Event) -> Event {
    event.process = Some(process.clone());
    event
}

impl Deploys {
    /// Those of a process, the newest first.
    #[must_use]
    pub fn of(&self, process: &ProcessName) -> Vec<Arc<Deploy>> {
        lock(&self.all).get(process).cloned().unwrap_or_default()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`DeployError::Unknown`]
    pub fn get(&self, process: &ProcessName, id: &str) -> Result<Arc<Deploy>, DeployError> {
        let found = self.of(process).into_iter().find(|one| one.id() == id);
        let unknown = || DeployError::Unknown { process: process.clone(), id: id.to_owned() };
        found.ok_or_else(unknown)
    }

    /// How many ended how since the agent started.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    /// The one of `process` that is under way.
    #[must_use]
    pub fn running(&self, process: &ProcessName) -> Option<Arc<Deploy>> {
        self.of(process).into_iter().find(|one| !one.is_over())
    }

    fn add(&self, deploy: Arc<Deploy>) {
        let mut all = lock(&self.all);
        let of = all.entry(deploy.process()).or_default();
        of.insert(0, deploy);
        of.truncate(KEPT);
    }

    /// An instance is gone.
    pub(super) fn forget(&self, name: &InstanceName) {
        lock(&self.prepared).remove(name);
        lock(&self.preparing).remove(name);
    }

    /// Takes in what is stored.
    pub(super) fn recall_prepared(&self, prepared: Vec<(InstanceName, ReleaseName)>) {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for (name, release) in prepared {
            by_name.entry(name).or_default().push(release);
        }
        *lock(&self.prepared) = by_name;
    }
}

impl<H: Host> Agent<H> {
    /// Begins a deployment; it goes on by itself.
    ///
    /// # Errors
    /// [`DeployError`]: nothing was done.
    pub async fn deploy(self: &Arc<Self>, order: DeployOrder) -> Result<Arc<Deploy>, DeployError> {
        let _turn = self.deploys.beginning.lock().await;
        let process = &order.process;
        if let Some(other) = self.deploys.running(process) {
            let (id, release) = (other.id(), other.release());
            return Err(DeployError::Running { process: process.clone(), id, release });
        }
        let definition = self.definition_for(process)?;
        self.must_be_ready(process, &order.release)?;
        let deploy = Arc::new(self.planned(&order, &definition)?);
        // Before anything is done, so that nothing half done is forgotten.
        self.store.put_deploy(deploy.to_store()).await?;
        self.deploys.add(deploy.clone());
        self.say(&deploy, format!("{process} goes to {} ({})", order.release, order.strategy));
        self.drive(deploy.clone());
        Ok(deploy)
    }

    fn definition_for(&self, process: &ProcessName) -> Result<Arc<Definition>, DeployError> {
        let config = self.config.load();
        let Some(definition) = config.processes.get(process) else {
            let known = config.processes.keys().cloned().collect();
            return Err(ManageError::UnknownProcess { process: process.clone(), known }.into());
        };
        if !definition.uses_releases() {
            return Err(ManageError::NoReleases { process: process.clone() }.into());
        }
        Ok(definition.clone())
    }

    fn planned(&self, order: &DeployOrder, definition: &Definition) -> Result<Deploy, DeployError> {
        let DeployOrder { process, release, strategy, now, .. } = order.clone();
        let rules = &definition.deploy;
        let before = self.releases.current(&process);
        let own = (strategy != Strategy::InPlace).then(|| self.colour_of(order)).transpose()?;
        let mut rest = Rest {
            before: before.clone().map(Into::into),
            rollback: order.rollback,
            ..Rest::default()
        };
        if strategy == Strategy::Canary {
            rest.steps = order.steps.clone().unwrap_or_else(|| rules.canary.clone());
            let step = order.step.unwrap_or(rules.canary_step);
            rest.step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
            rest.weights = self.weights_beside(own.as_ref());
            if rest.weights.is_empty() {
                let message = format!(
                    "no instance of {process} has a weight to share: deploy it without --canary, then ten route"
                );
                return Err(invalid("strategy", message));
            }
        }
        let view = DeployView {
            id: Uuid::new_v4().simple().to_string()[..12].to_owned(),
            process,
            release,
            previous: before.map(|before| before.name),
            strategy,
            now: now && strategy == Strategy::InPlace,
            batch: order.batch.unwrap_or(rules.batch),
            state: DeployState::Running,
            started_ms: now_ms(),
            ended_ms: None,
            instance: own,
            moves: Vec::new(),
            steps: Vec::new(),
            reason: None,
            failed: None,
            last_lines: Vec::new(),
            log: Vec::new(),
            lines: 0,
        };
        Ok(Deploy::new(view, rest))
    }

    /// Goes on with what an earlier agent has left. After systemd was asked what runs.
    pub fn resume_deploys(self: &Arc<Self>, stored: Vec<StoredDeploy>) {
        // Of all processes the newest first: added from the oldest.
        for stored in stored.into_iter().rev() {
            let Some(deploy) = Deploy::stored(&stored).map(Arc::new) else { continue };
            self.deploys.add(deploy.clone());
            match deploy.state() {
                DeployState::Unproven => self.resume_trial(&deploy),
                state if !state.is_over() => {
                    match deploy.way_back() {
                        _ if deploy.strategy() == Strategy::InPlace => self.resume_trial(&deploy),
                        Some(broken) => deploy.stop(broken),
                        None => {}
                    }
                    self.say(&deploy, "it goes on with a new agent".into());
                    self.drive(deploy);
                }
                _ => {}
            }
        }
    }

    fn drive(self: &Arc<Self>, deploy: Arc<Deploy>) {
        let agent = self.clone();
        tokio::spawn(async move {
            let (process, release) = (deploy.process(), deploy.release());
            let held = agent.hold_release(&process, &release);
            let (doer, one) = (agent.clone(), deploy.clone());
            let work = tokio::spawn(async move {
                match one.strategy() {
                    Strategy::InPlace => doer.move_in_place(&one).await,
                    Strategy::BlueGreen => {
                        doer.raise_colour(&one).await.map(|()| DeployState::Succeeded)
                    }
                    Strategy::Canary => doer.lead_canary(&one).await,
                }
            });
            let end = match work.await {
                Ok(end) => end,
                Err(error) => Err(Broken::other(format!("it broke off: {error}"))),
            };
            // Before it is told of: whoever hears that it is over may delete what is not needed.
            drop(held);
            agent.end(&deploy, end).await;
            agent.collect_releases(&process).await;
        });
    }

    /// Notes how a deployment ended.
    async fn end(&self, deploy: &Deploy, end: Result<DeployState, Broken>) {
        let state = end.as_ref().map_or_else(|broken| broken.state, |state| *state);
        if let Err(Broken { why, at, lines, .. }) = end {
            deploy.change(|view| {
                (view.reason, view.failed, view.last_lines) = (Some(why), at, lines);
            });
        }
        deploy.change(|view| (view.state, view.ended_ms) = (state, Some(now_ms())));
        let view = deploy.view();
        let (process, release) = (view.process.clone(), view.release.clone());
        *lock(&self.deploys.counts).entry((process, view.strategy, state)).or_default() += 1;
        let why = view.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let text = match state {
            DeployState::Unproven => {
                format!("{} runs from {release} from its next starts on", view.process)
            }
            DeployState::Succeeded => format!("{} is at {release}", view.process),
            other => format!("{} to {release}: {}{why}", view.process, other.as_str()),
        };
        self.say(deploy, text.clone());
        if state == DeployState::RolledBack {
            let event = Event::new(EventKind::Rollback, text).by(Actor::agent());
            self.record(of(&view.process, event).with("deploy", view.id));
        }
        self.save(deploy).await;
    }

    /// Stores how far it is. What can't be stored is done all the same: requests wait for nothing here.
    async fn save(&self, deploy: &Deploy) {
        let _turn = deploy.saving.lock().await;
        if let Err(error) = self.store.put_deploy(deploy.to_store()).await {
            log::warn!("deployment {} could not be stored: {error}", deploy.id());
        }
    }

    /// Tells of progress: in the deployment, in the log and as an event.
    fn say(&self, deploy: &Deploy, text: String) {
        let (process, id) = (deploy.process(), deploy.id());
        log::info!(TENEMENT_PROCESS = process.to_string(), deploy = id; "{text}");
        let event = Event::new(EventKind::Operation, text.clone()).by(Actor::agent());
        self.record(of(&process, event).with("deploy", id));
        deploy.line(text);
    }

    /// Ends a deployment that is under way: everything is put back.
    ///
    /// # Errors
    /// [`DeployError::Unknown`], [`DeployError::Over`]; or that can't be stored, and is done all the same.
    pub async fn abort_deploy(
        &self,
        process: &ProcessName,
        id: &str,
        by: &str,
    ) -> Result<Arc<Deploy>, DeployError> {
        let deploy = self.deploys.get(process, id)?;
        let state = deploy.state();
        if state.is_over() {
            return Err(DeployError::Over { id: id.to_owned(), state });
        }
        let why = format!("{by} has ended it");
        let state = DeployState::Aborted;
        // Stored before it is answered: an agent that is killed now goes on with the way back.
        deploy.rest().back.get_or_insert(state);
        deploy.change(|view| {
            view.reason.get_or_insert(why.clone());
        });
        let turn = deploy.saving.lock().await;
        let stored = self.store.put_deploy(deploy.to_store()).await;
        drop(turn);
        deploy.stop(Broken { state, why, at: None, lines: Vec::new() });
        stored?;
        Ok(deploy)
    }
}
