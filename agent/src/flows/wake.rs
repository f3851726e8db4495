//! Wake: from a request to a reachable instance.
//!
//! ```text
//!            Running ────────────────────────────────► hot
//! request ─► Asleep + fd ───── connect() is the wake ─► cold   (no await, no D-Bus, no helper)
//!            Stopping ──── wait ──┐
//!            anything else ───────┴─ one flight per instance: load, trigger, wait for the listener
//! ```
//! A flight runs in a task of its own, so a client that goes away ends nothing for the others.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::agent::Agent;
use super::host::{Active, Host, HostError};
use super::instance::{Depth, Flight, Instance, Phase};
use super::lease::Lease;
use super::park::may_wait;
use super::probe::{Open, connect};
use super::refuse::{given_up, refusal, refuse_while_backing_off};
use super::{Served, WakeError};
use crate::upstream::Target;

/// First pause between two tries to connect to a starting app; doubled up to [`TRY_MAX`].
const TRY_MIN: Duration = Duration::from_micros(500);
const TRY_MAX: Duration = Duration::from_millis(20);
/// Room beyond `stop_timeout` for systemd to kill and report, and for the call itself.
pub(super) const STOP_MARGIN: Duration = Duration::from_secs(5);

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
        let phase = instance.phase();
        if phase == Phase::Running {
            if instance.depth() != Depth::None {
                instance.set_depth(Depth::None);
            }
            return Ok((lease, Served::Hot));
        }
        instance.waking.store(true, Ordering::Relaxed);
        instance.wake_begins(phase);
        let reached = self.reach(instance).await;
        reached.inspect_err(|error| instance.wake_failed(error))?;
        Ok((lease, Served::Cold))
    }

    /// Makes an instance that is not known to run reachable.
    pub(super) async fn reach(self: &Arc<Self>, instance: &Arc<Instance>) -> Result<(), WakeError> {
        if instance.removed.load(Ordering::Acquire) {
            return Err(WakeError::Gone { name: instance.name.clone() });
        }
        if let Some(reason) = super::limits::disk_full(&instance.name, instance) {
            return Err(WakeError::DiskFull { name: instance.name.clone(), reason });
        }
        if let Err(refusal) = refuse_while_backing_off(instance) {
            // A start that has just failed may be on its way back to the release before: its end counts.
            let flight = instance.flight.lock().expect("no panic while held").clone();
            let Some(flight) = flight else {
                instance.wake_refused();
                return Err(refusal);
            };
            return landed(instance, flight).await;
        }
        let by_systemd = !instance.setup().is_awaited();
        let fresh = instance.staleness() == 0;
        let phase = instance.phase();
        let at_once = match phase {
            Phase::Running | Phase::Starting => true,
            Phase::Asleep | Phase::Parked => fresh,
            _ => false,
        };
        if !(by_systemd && at_once && !self.is_to_be_proven(instance)) {
            self.join_flight(instance, true).await?;
        }
        if instance.take() {
            // No report says that the service is active: it has been so all the time.
            self.watch_idleness(instance);
        }
        Ok(())
    }

    /// Joins the wake that is under way or begins one. Unless it is `asked` for (somebody has started
    /// the service by hand), it only waits for the listener and starts nothing.
    pub(super) async fn join_flight(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        asked: bool,
    ) -> Result<(), WakeError> {
        let flight = {
            let mut slot = instance.flight.lock().expect("no panic while held");
            match &*slot {
                Some(flight) => flight.clone(),
                None => {
                    let (end, flight) = watch::channel(None);
                    *slot = Some(flight.clone());
                    let landing = Landing { instance: instance.clone(), flight: flight.clone() };
                    let agent = self.clone();
                    tokio::spawn(async move {
                        let (began, release) = (Instant::now(), landing.instance.release());
                        let result = agent.fly(&landing.instance, asked).await;
                        let result =
                            agent.after_start(&landing.instance, began, release, result).await;
                        if let Err(error) = &result
                            && landing.instance.gate.leases() > 0
                        {
                            log::warn!(TENEMENT_INSTANCE = landing.instance.name.to_string(); "wake failed: {error}");
                        }
                        drop(landing);
                        let _ = end.send(Some(result));
                    });
                    flight
                }
            }
        };
        landed(instance, flight).await
    }

    /// One whole wake.
    pub(super) async fn fly(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        asked: bool,
    ) -> Result<(), WakeError> {
        if !asked {
            self.until_gate_opens(instance).await;
        }
        self.settle(instance).await;
        // Of one that was parked or frozen meanwhile nobody wants to know whether it listens, and finding
        // out would wake it.
        let waits = matches!(instance.phase(), Phase::Parked | Phase::Frozen);
        if waits && !asked && abandoned(instance) {
            return Err(given_up(instance));
        }
        self.refit(instance).await.map_err(|e| self.failed(instance, &e))?;
        let mut started = Instant::now();
        if instance.phase() == Phase::Frozen && instance.is_of_another_release() {
            self.stop_in_flight(instance).await.map_err(|e| self.failed(instance, &e))?;
        }
        if instance.phase() == Phase::Frozen {
            self.thaw(instance).await.map_err(|e| self.failed(instance, &e))?;
            if instance.phase() == Phase::Running {
                return Ok(());
            }
        }
        let idle = matches!(instance.phase(), Phase::Asleep | Phase::Dormant | Phase::Failed);
        if idle && !asked && abandoned(instance) {
            return Err(given_up(instance));
        }
        if idle && (instance.staleness() > 0 || instance.phase() != Phase::Asleep) {
            self.prepare_or_stay(instance).await?;
            // Its command has a time of its own.
            started = Instant::now();
            self.load(instance).await.map_err(|e| self.failed(instance, &e))?;
        }
        let mut asked = asked;
        loop {
            if !instance.setup().definition.systemd_listens() {
                self.until_listening(instance, started, &mut asked).await?;
            }
            if self.until_healthy(instance, started, &mut asked).await? {
                if !instance.setup().is_awaited() && self.is_to_be_proven(instance) {
                    self.prove(instance, started, &mut asked).await?;
                }
                return Ok(());
            }
        }
    }

    /// Whether a start may go on: it has not failed, and somebody wants it. A connection would start
    /// a service that is down.
    pub(super) fn may_fly_on(
        &self,
        instance: &Instance,
        started: Instant,
        asked: &mut bool,
    ) -> Result<(), WakeError> {
        if let Some(failure) = instance.failure().filter(|f| f.at >= started) {
            return Err(refusal(instance, &failure));
        }
        if instance.removed.load(Ordering::Acquire) {
            return Err(WakeError::Gone { name: instance.name.clone() });
        }
        let down = !matches!(instance.units().service, Active::Active | Active::Activating);
        let waits = matches!(instance.phase(), Phase::Parked | Phase::Frozen);
        if (down || waits) && !std::mem::take(asked) && abandoned(instance) {
            return Err(given_up(instance));
        }
        Ok(())
    }

    /// Starts the service and tries to connect until the app listens, its start fails, or
    /// `startup_timeout` has passed.
    async fn until_listening(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        started: Instant,
        asked: &mut bool,
    ) -> Result<(), WakeError> {
        let setup = instance.setup().clone();
        let after = setup.definition.startup_timeout;
        let mut trigger = None;
        let mut pause = TRY_MIN;
        loop {
            // Looked at first: after a crash loop, nothing may load the units anew.
            if let Some(failure) = instance.failure().filter(|f| f.at >= started) {
                return Err(refusal(instance, &failure));
            }
            self.pull(instance, &setup.trigger, &mut trigger, *asked).await?;
            *asked &= trigger.is_none();
            for target in std::iter::once(&setup.target).chain(&setup.alternative) {
                if connect(target).await.is_ok() {
                    self.listening(instance, target.clone());
                    return Ok(());
                }
            }
            if instance.removed.load(Ordering::Acquire) {
                return Err(WakeError::Gone { name: instance.name.clone() });
            }
            if started.elapsed() >= after {
                instance.fail(format!("it did not listen within {after:?}"));
                let name = instance.name.clone();
                return Err(WakeError::TimedOut { name, after, last: None });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(TRY_MAX);
        }
    }

    /// Has systemd start the service if it is down. The connection is the wake; it stays open until
    /// the app listens, because systemd starts the service for a connection that is waiting. When
    /// the service ends without having listened, systemd closes it (`FlushPending=`), and those who
    /// still wait need another one.
    async fn pull(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        target: &Target,
        trigger: &mut Option<Open>,
        asked: bool,
    ) -> Result<(), WakeError> {
        *trigger = trigger.take().filter(|open| !open.has_ended());
        let down = !matches!(
            instance.units().service,
            Active::Active | Active::Activating | Active::Deactivating
        );
        if trigger.is_some() || instance.gate.is_closed() {
            return Ok(());
        }
        let parked = instance.phase() == Phase::Parked;
        // One that is just coming up may be about to wait for a connection; one more does no harm.
        if !(down || parked || (may_wait(instance) && instance.gate.leases() > 0)) {
            return Ok(());
        }
        if !asked && abandoned(instance) {
            return Err(given_up(instance));
        }
        let open = match connect(target).await {
            Ok(open) => open,
            Err(_) => {
                // The pair may have been unloaded by hand just now.
                self.load(instance).await.map_err(|e| self.failed(instance, &e))?;
                connect(target).await.map_err(|e| {
                    let error = HostError::Failed(format!("connect to {target}: {e}"));
                    self.failed(instance, &error)
                })?
            }
        };
        *trigger = Some(open);
        if instance.take() {
            self.watch_idleness(instance);
        }
        Ok(())
    }

    /// The app's own listener answered.
    fn listening(self: &Arc<Self>, instance: &Arc<Instance>, target: Target) {
        if instance.gate.is_closed() {
            // A stop has begun meanwhile, and knows better.
            return;
        }
        let mut setup = (**instance.setup()).clone();
        if setup.alternative.as_ref() == Some(&target) {
            setup.alternative = Some(std::mem::replace(&mut setup.target, target));
            instance.set_setup(setup);
        }
        if instance.setup().check.is_some() {
            // It listens, and may not be healthy yet.
            return;
        }
        instance.ready.store(true, Ordering::Release);
        // The signal that it is active may still be under way; the app's answer proves it.
        instance.set_service(Active::Active);
        self.watch_idleness(instance);
    }

    /// Waits until systemd has finished stopping it.
    pub(super) async fn settle(&self, instance: &Instance) {
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
        if instance.removed.load(Ordering::Acquire) {
            return Err(HostError::Failed("it is being removed".into()));
        }
        let changes = instance.staleness();
        if instance.care.has_failed() {
            return Err(HostError::Failed("it has failed: `ten reset` gives it a chance".into()));
        }
        if instance.phase() == Phase::Failed {
            self.host.reset(&instance.name).await?;
        }
        if changes > 0 {
            self.refresh(instance);
        }
        // Only then: until the pair is the new one, requests join the flight and do not connect. One that is
        // up in an older revision is looked at again when it sleeps.
        let with = instance.particulars();
        if self.host.load(&instance.name, &with).await? {
            instance.freshen(changes);
            instance.note_loaded(with.release);
        }
        if matches!(instance.phase(), Phase::Dormant | Phase::Failed) {
            instance.pair_loaded();
        }
        self.make_room();
        Ok(())
    }

    fn failed(&self, instance: &Instance, error: &HostError) -> WakeError {
        if instance.removed.load(Ordering::Acquire) {
            return WakeError::Gone { name: instance.name.clone() };
        }
        let lost = matches!(error, HostError::Unreachable(_));
        instance.source.unreached.store(lost, Ordering::Relaxed);
        refusal(instance, &instance.fail(error.to_string()))
    }
}

/// Ends a flight, whatever happens in it: one that stayed in its slot would be joined for ever.
struct Landing {
    instance: Arc<Instance>,
    flight: Flight,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut slot = self.instance.flight.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|flight| flight.same_channel(&self.flight)) {
            *slot = None;
        }
    }
}

/// What came of a flight.
async fn landed(instance: &Instance, mut flight: Flight) -> Result<(), WakeError> {
    match flight.wait_for(Option::is_some).await {
        Ok(end) => end.clone().unwrap_or_else(|| Err(given_up(instance))),
        Err(_) => Err(given_up(instance)),
    }
}

/// Takes a flight out of its slot if nobody waits for it. This is done under the slot's lock: a
/// request has its lease before it looks into the slot, so it either is seen here or begins another.
fn abandoned(instance: &Instance) -> bool {
    let mut slot = instance.flight.lock().expect("no panic while held");
    let nobody = instance.gate.leases() == 0;
    if nobody {
        *slot = None;
        // No release is to blame for it.
        instance.source.unreached.store(true, Ordering::Relaxed);
    }
    nobody
}
