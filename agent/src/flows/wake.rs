//! Wake: from a request to a reachable instance.
//!
//! ```text
//!            Running ────────────────────────────────► hot
//! request ─► Asleep + fd ───── connect() is the wake ─► cold   (no await, no D-Bus, no helper)
//!            Stopping ──── wait ──┐
//!            anything else ───────┴─ one flight per instance: load, trigger, wait for the listener
//! ```
//! A flight runs in a task of its own, so a client that goes away ends nothing for the others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::agent::Agent;
use super::host::{Active, Host, HostError};
use super::instance::{Instance, Phase};
use super::lease::Lease;
use super::probe::connect;
use super::{Served, WakeError};
use crate::config::Listen;
use crate::upstream::Target;

/// First pause between two tries to connect to a starting app; doubled up to [`TRY_MAX`].
const TRY_MIN: Duration = Duration::from_micros(500);
const TRY_MAX: Duration = Duration::from_millis(20);
/// Room beyond `stop_timeout` for systemd to kill and report.
const STOP_MARGIN: Duration = Duration::from_secs(5);

impl<H: Host> Agent<H> {
    /// Takes a lease and makes the instance reachable. See [`super::Tenants::ensure`].
    ///
    /// # Errors
    /// [`WakeError`] when it can't be started, in time or at all.
    pub async fn ensure_awake(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
    ) -> Result<(Lease, Served), WakeError> {
        let lease = match Lease::take(instance) {
            Some(lease) => lease,
            None => self.lease_after_stop(instance).await?,
        };
        if instance.phase() == Phase::Running {
            return Ok((lease, Served::Hot));
        }
        self.reach(instance).await?;
        Ok((lease, Served::Cold))
    }

    /// Waits until a stop of ours has ended and takes a lease then.
    async fn lease_after_stop(&self, instance: &Arc<Instance>) -> Result<Lease, WakeError> {
        let bound = instance.setup().definition.stop_timeout + STOP_MARGIN;
        let wait = async {
            loop {
                // Registered before the look, so that an opening in between is not missed.
                let changed = instance.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if instance.removed.load(Ordering::Acquire) {
                    return Err(WakeError::Gone { name: instance.name.clone() });
                }
                if let Some(lease) = Lease::take(instance) {
                    return Ok(lease);
                }
                changed.await;
            }
        };
        let timed_out = || WakeError::TimedOut { name: instance.name.clone(), after: bound };
        tokio::time::timeout(bound, wait).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Makes an instance that is not known to run reachable.
    pub(super) async fn reach(self: &Arc<Self>, instance: &Arc<Instance>) -> Result<(), WakeError> {
        if instance.removed.load(Ordering::Acquire) {
            return Err(WakeError::Gone { name: instance.name.clone() });
        }
        refuse_while_backing_off(instance)?;
        instance.waking.store(true, Ordering::Relaxed);
        let by_systemd = instance.setup().definition.listen == Listen::Fd;
        let fresh = !instance.stale.load(Ordering::Acquire);
        if by_systemd && matches!(instance.phase(), Phase::Running | Phase::Starting) {
            return Ok(());
        }
        if by_systemd && fresh && instance.phase() == Phase::Asleep {
            return Ok(());
        }
        self.join_flight(instance).await
    }

    /// Joins the wake that is under way or begins one.
    async fn join_flight(self: &Arc<Self>, instance: &Arc<Instance>) -> Result<(), WakeError> {
        let mut flight = {
            let mut slot = instance.flight.lock().expect("no panic while held");
            match &*slot {
                Some(flight) => flight.clone(),
                None => {
                    let (end, flight) = watch::channel(None);
                    *slot = Some(flight.clone());
                    let (agent, instance) = (self.clone(), instance.clone());
                    tokio::spawn(async move {
                        let result = agent.fly(&instance).await;
                        if let Err(error) = &result {
                            log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "wake failed: {error}");
                        }
                        *instance.flight.lock().expect("no panic while held") = None;
                        let _ = end.send(Some(result));
                    });
                    flight
                }
            }
        };
        let gone = || WakeError::Failed {
            name: instance.name.clone(),
            reason: "the wake was given up".into(),
            retry_after: Duration::from_secs(1),
        };
        match flight.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or_else(|| Err(gone())),
            Err(_) => Err(gone()),
        }
    }

    /// One whole wake.
    async fn fly(self: &Arc<Self>, instance: &Arc<Instance>) -> Result<(), WakeError> {
        self.settle(instance).await;
        let setup = instance.setup().clone();
        let deadline = Instant::now() + setup.definition.startup_timeout;
        let idle = matches!(instance.phase(), Phase::Asleep | Phase::Dormant | Phase::Failed);
        let stale = instance.stale.load(Ordering::Acquire);
        if idle && (stale || instance.phase() != Phase::Asleep) {
            self.load(instance).await.map_err(|e| self.failed(instance, &e))?;
        }
        if setup.definition.listen == Listen::Fd {
            return Ok(());
        }
        // The connection is the wake; it must stay open until the app listens, because systemd
        // starts the service for a connection that is waiting.
        let trigger = match instance.units().service {
            Active::Active | Active::Activating => None,
            _ => Some(connect(&setup.trigger).await.map_err(|e| {
                let error = HostError::Failed(format!("connect to {}: {e}", setup.trigger));
                self.failed(instance, &error)
            })?),
        };
        let ready = self.until_listening(instance, deadline).await;
        drop(trigger);
        ready
    }

    /// Tries to connect until the app listens, its start fails, or the deadline passes.
    async fn until_listening(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        deadline: Instant,
    ) -> Result<(), WakeError> {
        let setup = instance.setup().clone();
        let mut pause = TRY_MIN;
        loop {
            for target in std::iter::once(&setup.target).chain(&setup.alternative) {
                if connect(target).await.is_ok() {
                    self.listening(instance, target.clone()).await;
                    return Ok(());
                }
            }
            if let Some(failure) = instance.failure().filter(|f| f.at.elapsed() < f.back_off()) {
                return Err(refusal(instance, &failure));
            }
            if Instant::now() >= deadline {
                let after = setup.definition.startup_timeout;
                instance.fail(format!("it did not listen within {after:?}"));
                return Err(WakeError::TimedOut { name: instance.name.clone(), after });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(TRY_MAX);
        }
    }

    /// The app's own listener answered.
    async fn listening(self: &Arc<Self>, instance: &Arc<Instance>, target: Target) {
        let mut setup = (**instance.setup()).clone();
        if setup.alternative.as_ref() == Some(&target) {
            setup.alternative = Some(std::mem::replace(&mut setup.target, target));
            instance.set_setup(setup);
        }
        instance.ready.store(true, Ordering::Release);
        // The signal that it is active may still be under way; the app's answer proves it.
        instance.set_service(Active::Active);
        self.watch_idleness(instance);
    }

    /// Waits until systemd has finished stopping it.
    async fn settle(&self, instance: &Instance) {
        let bound = instance.setup().definition.stop_timeout + STOP_MARGIN;
        let _ = tokio::time::timeout(bound, async {
            loop {
                let changed = instance.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if instance.phase() != Phase::Stopping {
                    return;
                }
                changed.await;
            }
        })
        .await;
    }

    /// Has the helper load the pair, in its newest revision.
    pub(super) async fn load(self: &Arc<Self>, instance: &Instance) -> Result<(), HostError> {
        let _turn = self.loads.acquire().await.expect("never closed");
        let was_failed = instance.phase() == Phase::Failed;
        if was_failed {
            self.host.reset(&instance.name).await?;
        }
        self.host.load(&instance.name, instance.port).await?;
        // Only now: until the pair is the new one, requests join the flight and do not connect.
        instance.stale.store(false, Ordering::Release);
        if matches!(instance.phase(), Phase::Dormant | Phase::Failed) {
            instance.set_socket(Active::Active);
        }
        self.make_room();
        Ok(())
    }

    /// A connection broke before any answer: asks systemd what is, and wakes again if need be.
    ///
    /// # Errors
    /// [`WakeError`] when it can't be started again.
    pub async fn look_again(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
    ) -> Result<Served, WakeError> {
        refuse_while_backing_off(instance)?;
        match self.host.units(&instance.name).await {
            Ok(units) => instance.set_units(units),
            Err(error) => log::warn!("looking at {} again: {error}", instance.name),
        }
        if instance.phase() == Phase::Stopping {
            self.settle(instance).await;
        }
        if instance.phase() == Phase::Running {
            return Ok(Served::Hot);
        }
        self.reach(instance).await?;
        Ok(Served::Cold)
    }

    fn failed(&self, instance: &Instance, error: &HostError) -> WakeError {
        refusal(instance, &instance.fail(error.to_string()))
    }
}

fn refuse_while_backing_off(instance: &Instance) -> Result<(), WakeError> {
    match instance.failure() {
        Some(failure) if failure.at.elapsed() < failure.back_off() => {
            Err(refusal(instance, &failure))
        }
        _ => Ok(()),
    }
}

fn refusal(instance: &Instance, failure: &super::instance::Failure) -> WakeError {
    WakeError::Failed {
        name: instance.name.clone(),
        reason: failure.reason.clone(),
        retry_after: failure.back_off().saturating_sub(failure.at.elapsed()),
    }
}
