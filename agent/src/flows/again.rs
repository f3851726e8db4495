//! Starts without a request, and second looks at what was thought to run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::agent::Agent;
use super::host::Host;
use super::instance::{Instance, Phase};
use super::probe::connect;
use super::refuse::refuse_while_backing_off;
use super::{Served, WakeError};

impl<H: Host> Agent<H> {
    /// A connection broke before any answer: asks systemd what is, and wakes again if need be.
    ///
    /// # Errors
    /// [`WakeError`] when it can't be started again.
    pub async fn look_again(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
    ) -> Result<Served, WakeError> {
        if refuse_while_backing_off(instance).is_err() {
            // Refused there too, unless a start is on its way back to the release before.
            return self.reach(instance).await.map(|()| Served::Cold);
        }
        match self.host.units(&instance.name).await {
            Ok(units) => instance.set_units(units),
            Err(error) => log::warn!("looking at {} again: {error}", instance.name),
        }
        if instance.phase() == Phase::Stopping {
            self.settle(instance).await;
        }
        if instance.phase() == Phase::Running {
            let own = !instance.setup().definition.systemd_listens();
            if !own || connect(&instance.target()).await.is_ok() {
                return Ok(Served::Hot);
            }
            // It was started again unseen and does not listen yet.
            instance.ready.store(false, Ordering::Release);
        }
        instance.waking.store(true, Ordering::Relaxed);
        instance.wake_begins(instance.phase());
        self.reach(instance).await?;
        Ok(Served::Cold)
    }

    /// Starts it for somebody who sends no request, and waits until it is reachable.
    ///
    /// # Errors
    /// [`WakeError`] when it can't be started.
    pub async fn start(self: &Arc<Self>, instance: &Arc<Instance>) -> Result<(), WakeError> {
        let begun = Instant::now();
        let parked = instance.phase() == Phase::Parked;
        let (_lease, served) = self.ensure_awake(instance).await?;
        if served == Served::Hot {
            return Ok(());
        }
        if parked {
            self.nudge(instance).await;
        }
        // With a socket of systemd's, a connection would be the wake; nobody connects here.
        let started = self.host.start(&instance.name, &instance.particulars()).await;
        started.map_err(|error| WakeError::NotStarted {
            name: instance.name.clone(),
            reason: error.to_string(),
        })?;
        self.look_again(instance).await?;
        instance.waking.store(false, Ordering::Relaxed);
        instance.wake_went_well(begun.elapsed());
        Ok(())
    }
}
