//! One deployment: what is told of it, and what it needs to go on after a restart of the agent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tenement_wire::deploys::{
    DeployLine, DeployState, DeployView, LINES_MAX, MoveState, MoveView, Strategy,
};
use tenement_wire::{InstanceName, ProcessName, ReleaseName};
use tokio::sync::watch;

use crate::flows::clock::now_ms;
use crate::store::releases::{Current, StoredDeploy};

/// What a process ran from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    name: ReleaseName,
    previous: Option<ReleaseName>,
}

impl From<Current> for Before {
    fn from(Current { name, previous }: Current) -> Self {
        Self { name, previous }
    }
}

impl From<Before> for Current {
    fn from(Before { name, previous }: Before) -> Self {
        Self { name, previous }
    }
}

/// What goes on after a restart, beside what is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rest {
    /// What the process ran from.
    pub before: Option<Before>,
    /// Whether the instances to move are listed.
    pub listed: bool,
    /// Whether the instance of the release's own has been ready.
    pub raised: bool,
    /// What the instances weighed before.
    pub weights: Vec<(InstanceName, Option<u32>)>,
    /// Shares of a canary.
    pub steps: Vec<u32>,
    /// How long each lasts, in milliseconds.
    pub step_ms: u64,
    /// Whether it leads back to an earlier release, and so nowhere else if that fails.
    pub rollback: bool,
    /// Everything is being put back, in the state that this leads to.
    pub back: Option<DeployState>,
}

/// What is stored.
#[derive(Serialize, Deserialize)]
struct Doc {
    view: DeployView,
    rest: Rest,
}

/// Why a deployment does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// In which state it ends.
    pub state: DeployState,
    /// In words.
    pub why: String,
    /// The instance that shows it.
    pub at: Option<InstanceName>,
    /// What that wrote to its log at last.
    pub lines: Vec<String>,
}

impl Broken {
    /// The release is no good.
    pub fn release(at: &InstanceName, why: String, lines: Vec<String>) -> Self {
        Self { state: DeployState::RolledBack, why, at: Some(at.clone()), lines }
    }

    /// Something else went wrong.
    pub fn other(why: impl ToString) -> Self {
        let (state, why) = (DeployState::Failed, why.to_string());
        Self { state, why, at: None, lines: Vec::new() }
    }
}

/// A deployment.
#[derive(Debug)]
pub struct Deploy {
    view: watch::Sender<DeployView>,
    rest: Mutex<Rest>,
    stop: watch::Sender<Option<Broken>>,
    /// One save at a time, in their order.
    pub(super) saving: tokio::sync::Mutex<()>,
}

impl Deploy {
    pub(super) fn new(view: DeployView, rest: Rest) -> Self {
        let (view, _) = watch::channel(view);
        let (stop, _) = watch::channel(None);
        Self { view, rest: Mutex::new(rest), stop, saving: tokio::sync::Mutex::default() }
    }

    /// From what is stored; none if it can't be read.
    pub(super) fn stored(stored: &StoredDeploy) -> Option<Self> {
        match serde_json::from_str(&stored.doc) {
            Ok(Doc { view, rest }) => Some(Self::new(view, rest)),
            Err(error) => {
                log::error!(
                    "deployment {} of {} can't be read: {error}",
                    stored.id,
                    stored.process
                );
                None
            }
        }
    }

    /// As it is stored.
    pub(super) fn to_store(&self) -> StoredDeploy {
        let (view, rest) = (self.view(), self.rest().clone());
        StoredDeploy {
            id: view.id.clone(),
            process: view.process.clone(),
            started_ms: view.started_ms,
            ended_ms: view.ended_ms,
            // Plain data of ours: it can always be written.
            doc: serde_json::to_string(&Doc { view, rest }).unwrap_or_default(),
        }
    }

    /// As it is now.
    #[must_use]
    pub fn view(&self) -> DeployView {
        self.view.borrow().clone()
    }

    /// Tells of every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<DeployView> {
        self.view.subscribe()
    }

    pub(super) fn is_over(&self) -> bool {
        self.view.borrow().state.is_over()
    }

    pub(super) fn state(&self) -> DeployState {
        self.view.borrow().state
    }

    pub(super) fn strategy(&self) -> Strategy {
        self.view.borrow().strategy
    }

    pub(super) fn process(&self) -> ProcessName {
        self.view.borrow().process.clone()
    }

    pub(super) fn release(&self) -> ReleaseName {
        self.view.borrow().release.clone()
    }

    pub(super) fn id(&self) -> String {
        self.view.borrow().id.clone()
    }

    pub(super) fn rest(&self) -> MutexGuard<'_, Rest> {
        // Every change is one step, so a poisoned lock still holds what is true.
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn before(&self) -> Option<Current> {
        self.rest().before.clone().map(Current::from)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut DeployView)) {
        self.view.send_modify(change);
    }

    /// Adds a line of progress.
    pub(super) fn line(&self, text: String) {
        self.change(|view| {
            view.lines += 1;
            view.log.push(DeployLine { time_ms: now_ms(), text });
            let over = view.log.len().saturating_sub(LINES_MAX);
            view.log.drain(..over);
        });
    }

    /// What it was ended for, if everything is being put back.
    pub(super) fn way_back(&self) -> Option<Broken> {
        let state = self.rest().back?;
        let view = self.view();
        let (why, at, lines) = (view.reason.unwrap_or_default(), view.failed, view.last_lines);
        Some(Broken { state, why, at, lines })
    }

    /// Has it end as `broken` says, if nothing else has done so.
    pub(super) fn stop(&self, broken: Broken) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(broken);
            first
        });
    }

    /// Why it is not to go on.
    pub(super) fn stopped(&self) -> Option<Broken> {
        self.stop.borrow().clone()
    }

    /// Ends when it is not to go on.
    pub(super) async fn until_stopped(&self) {
        // The sender lives as long as this.
        let _ = self.stop.subscribe().wait_for(Option::is_some).await;
    }

    /// Lists the instances to move, unless that was done.
    pub(super) fn list(&self, names: Vec<InstanceName>) {
        if std::mem::replace(&mut self.rest().listed, true) {
            return;
        }
        let waiting = |name| MoveView { name, state: MoveState::Waiting, took_ms: None };
        self.change(|view| view.moves = names.into_iter().map(waiting).collect());
    }

    /// The next to be moved, and how many there are.
    pub(super) fn next_batch(&self) -> Vec<InstanceName> {
        let view = self.view.borrow();
        let due = |one: &&MoveView| matches!(one.state, MoveState::Waiting | MoveState::Moving);
        let due = view.moves.iter().filter(due).take(view.batch as usize);
        due.map(|one| one.name.clone()).collect()
    }

    pub(super) fn set_move(&self, name: &InstanceName, state: MoveState, took_ms: Option<u64>) {
        self.change(|view| {
            if let Some(one) = view.moves.iter_mut().find(|one| one.name == *name) {
                (one.state, one.took_ms) = (state, took_ms.or(one.took_ms));
            }
        });
    }

    /// Its place among those that are moved, for people.
    pub(super) fn place(&self, name: &InstanceName) -> (usize, usize) {
        let view = self.view.borrow();
        let at = view.moves.iter().position(|one| one.name == *name).map_or(0, |at| at + 1);
        (at, view.moves.len())
    }
}
