//! An instance held still: its service stopped, its requests waiting, for a bounded time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tenement_wire::status::Cause;

use super::BackupError;
use crate::flows::agent::Agent;
use crate::flows::host::Host;
use crate::flows::instance::{Instance, Phase, mono_ms};
use crate::flows::lease::Closed;
use crate::flows::story::Way;

/// An instance that is held. Dropped, it is open again, and started if it ran.
pub(super) struct Held<H: Host> {
    agent: Arc<Agent<H>>,
    instance: Arc<Instance>,
    closed: Option<Closed>,
    ran: bool,
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
        let closed = tokio::time::timeout(bound, agent.shut(instance)).await.map_err(|_| held())?;
        let until = mono_ms() + u64::try_from(bound.as_millis()).unwrap_or(u64::MAX / 2);
        instance.gate.hold(until);
        let phase = instance.phase();
        let ran = matches!(phase, Phase::Running | Phase::Starting | Phase::Frozen);
        let mut held = Self { agent: agent.clone(), instance: instance.clone(), closed: None, ran };
        let rests = matches!(phase, Phase::Asleep | Phase::Dormant | Phase::Failed);
        if !(rests || phase == Phase::Parked && !all) {
            let _because = instance.because(Way::Down, Cause::Backup);
            agent.drain(instance).await;
            instance.taken.store(false, Ordering::SeqCst);
            agent.stop_behind(&closed, instance).await?;
        }
        held.closed = Some(closed);
        Ok(held)
    }

    /// Whether nobody has started it meanwhile, by hand.
    pub(super) fn is_still(&self) -> bool {
        !matches!(self.instance.phase(), Phase::Running | Phase::Starting | Phase::Frozen)
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
