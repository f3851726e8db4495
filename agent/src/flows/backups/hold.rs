//! An instance held still: its service stopped, its requests waiting, no job or command in it, for a bounded time.
//!
//! Jobs are started by systemd and can't be kept from it: those that run are waited for before any request is held, and
//! one that was started meanwhile is found afterwards.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tenement_wire::status::Cause;
use tenement_wire::{InstanceName, TaskTag};

use super::BackupError;
use crate::flows::ManageError;
use crate::flows::agent::Agent;
use crate::flows::host::Host;
use crate::flows::instance::{Instance, Phase, mono_ms};
use crate::flows::lease::Closed;
use crate::flows::story::Way;
use crate::flows::tasks::Still;

/// Between two looks at what runs in it.
const LOOK: Duration = Duration::from_millis(500);

/// An instance that is held. Dropped, it is open again, and started if it ran.
pub(super) struct Held<H: Host> {
    agent: Arc<Agent<H>>,
    instance: Arc<Instance>,
    closed: Option<Closed>,
    ran: bool,
    /// When each of its jobs was last begun.
    jobs: Vec<Option<u64>>,
    _still: Still,
}

impl<H: Host> Held<H> {
    /// Has requests wait, lets those under way end, and stops the service. One that is parked is left so unless its
    /// data is to be replaced (`all`): no app runs in it, though its sandbox holds the directory.
    pub(super) async fn take(
        agent: &Arc<Agent<H>>,
        instance: &Arc<Instance>,
        bound: Duration,
        all: bool,
    ) -> Result<Self, BackupError> {
        let held = || BackupError::Held { name: instance.name.clone(), after: bound };
        let _still = agent.tasks.hold_back(&instance.name);
        until_alone(agent, &instance.name, bound).await?;
        let closed = tokio::time::timeout(bound, shut_on_the_ground(agent, instance)).await;
        let closed = closed.map_err(|_| held())?;
        let until = mono_ms() + u64::try_from(bound.as_millis()).unwrap_or(u64::MAX / 2);
        instance.gate.hold(until);
        let phase = instance.phase();
        let ran = matches!(phase, Phase::Running | Phase::Starting | Phase::Frozen);
        let (agent, instance) = (agent.clone(), instance.clone());
        let mut held = Self { agent, instance, closed: None, ran, jobs: Vec::new(), _still };
        let rests = matches!(phase, Phase::Asleep | Phase::Dormant | Phase::Failed);
        if !(rests || phase == Phase::Parked && !all) {
            let (agent, instance) = (&held.agent, &held.instance);
            let _because = instance.because(Way::Down, Cause::Backup);
            agent.drain(instance).await;
            instance.taken.store(false, Ordering::SeqCst);
            agent.stop_behind(&closed, instance).await?;
        }
        held.closed = Some(closed);
        held.jobs = held.begun().await?;
        must_be_alone(&held.agent, &held.instance.name).await?;
        Ok(held)
    }

    /// Whether nobody has started it, or anything in it, meanwhile.
    ///
    /// # Errors
    /// What was started; or systemd can't be asked.
    pub(super) async fn must_be_still(&self) -> Result<(), BackupError> {
        let name = &self.instance.name;
        let failed = |what| BackupError::Failed(format!("{what} while its data was read"));
        if matches!(self.instance.phase(), Phase::Running | Phase::Starting | Phase::Frozen) {
            return Err(failed(format!("{name} was started by hand")));
        }
        must_be_alone(&self.agent, name).await?;
        if self.begun().await? != self.jobs {
            return Err(failed(format!("a scheduled job of {name} ran")));
        }
        Ok(())
    }

    /// When each of its jobs was last begun.
    async fn begun(&self) -> Result<Vec<Option<u64>>, BackupError> {
        let (name, setup) = (&self.instance.name, self.instance.setup().clone());
        let jobs = setup.definition.cron.iter().filter(|(_, job)| job.is_of(name.id()));
        let mut begun = Vec::new();
        for tag in jobs.filter_map(|(job, _)| TaskTag::cron(job).ok()) {
            let timer = self.agent.host.timer(name, &tag).await?;
            begun.push(timer.and_then(|timer| timer.last_us));
        }
        Ok(begun)
    }
}

impl<H: Host> Drop for Held<H> {
    fn drop(&mut self) {
        drop(self.closed.take());
        if !self.ran || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (agent, instance) = (self.agent.clone(), self.instance.clone());
        tokio::spawn(async move {
            let _because = instance.because(Way::Up, Cause::Backup);
            if let Err(error) = agent.start(&instance).await {
                log::warn!(
                    "{} ran before its data was read, and does not start: {error}",
                    instance.name
                );
            }
        });
    }
}

/// Closes the gate while no start is on its way: it would wait in vain for an app that nobody may start, and be taken
/// for one that failed.
async fn shut_on_the_ground<H: Host>(agent: &Arc<Agent<H>>, instance: &Arc<Instance>) -> Closed {
    let flight = || instance.flight.lock().expect("no panic while held").clone();
    loop {
        if let Some(mut flight) = flight() {
            // Its end comes even if it breaks off: the sender is dropped then.
            let _ = flight.wait_for(Option::is_some).await;
        }
        let closed = agent.shut(instance).await;
        if flight().is_none() {
            return closed;
        }
    }
}

/// Waits until no job or command runs in an instance. Its requests go on meanwhile.
async fn until_alone<H: Host>(
    agent: &Agent<H>,
    name: &InstanceName,
    bound: Duration,
) -> Result<(), BackupError> {
    let end = tokio::time::Instant::now() + bound;
    while let Err(error) = must_be_alone(agent, name).await {
        let busy = matches!(error, BackupError::Manage(ManageError::Conflict { .. }));
        if !busy || tokio::time::Instant::now() >= end {
            return Err(error);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn must_be_alone<H: Host>(agent: &Agent<H>, name: &InstanceName) -> Result<(), BackupError> {
    let running = agent.host.running_tasks(name).await?;
    let Some(tag) = running.first() else { return Ok(()) };
    let what = match tag.job() {
        Some(job) => format!("its job {job} runs, and may write to its data"),
        None => "a command runs in it, and may write to its data".to_owned(),
    };
    Err(ManageError::Conflict { name: name.clone(), what }.into())
}
