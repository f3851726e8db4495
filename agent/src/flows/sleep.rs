//! Sleep: an idle instance is stopped, never one in use.
//!
//! Each running instance has one small task that sleeps until its idle deadline; a sleeping instance
//! costs nothing, so 10,000 of them leave the agent at rest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tenement_wire::status::Cause;

use super::agent::Agent;
use super::checkup::close_if_idle;
use super::host::{Active, Host, HostError};
use super::idle::{self, Verdict};
use super::instance::{Instance, Phase, mono_ms};
use super::lease::Closed;
use super::story::Way;

impl<H: Host> Agent<H> {
    /// Sees to it that exactly one task watches the idleness of a running instance.
    pub(super) fn watch_idleness(self: &Arc<Self>, instance: &Arc<Instance>) {
        if instance.watched.swap(true, Ordering::SeqCst) {
            return;
        }
        // Its idle time begins now: it may have been started by hand long after its last use, and
        // after a restart of the agent nobody knows when that was.
        instance.touch();
        let (agent, instance) = (self.clone(), instance.clone());
        tokio::spawn(async move {
            let watch = Watch { agent, instance };
            watch.agent.watch_until_down(&watch.instance).await;
            watch.end();
        });
    }

    async fn watch_until_down(self: &Arc<Self>, instance: &Arc<Instance>) {
        loop {
            let changed = instance.changed.notified();
            let idle = instance.idle.notified();
            tokio::pin!(changed, idle);
            changed.as_mut().enable();
            idle.as_mut().enable();
            if !matches!(instance.phase(), Phase::Running | Phase::Starting | Phase::Stopping) {
                return;
            }
            let leases = instance.gate.leases();
            match idle::decide(mono_ms(), instance.last_used_ms(), leases, sleeps_after(instance)) {
                // One that is unwell is mended or given up first: what waits in the queue of a
                // socket that nobody serves would only wake it again.
                Verdict::Sleep
                    if instance.phase() != Phase::Stopping && !instance.care.is_unwell() =>
                {
                    let slept = {
                        let _because = instance.because(Way::Down, Cause::Idle);
                        self.put_to_sleep(instance).await
                    };
                    match slept {
                        // It lived through its idle time, so whatever failed before is past.
                        Ok(true) if instance.phase() == Phase::Asleep => instance.recovered(),
                        // Something has started it again at once.
                        Ok(true) => instance.touch(),
                        // Somebody has just come, or a stop is under way: both tell of their end.
                        Ok(false) => tokio::select! { () = changed => {}, () = idle => {} },
                        Err(error) => {
                            log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "putting {} to sleep: {error}", instance.name);
                            // The unit is as it was; the next try comes after a full idle time.
                            instance.touch();
                        }
                    }
                }
                Verdict::Wait(after) => {
                    tokio::select! { () = tokio::time::sleep(after) => {}, () = changed => {} }
                }
                Verdict::Sleep | Verdict::InUse | Verdict::Never => {
                    tokio::select! { () = changed => {}, () = idle => {} }
                }
            }
        }
    }

    /// Stops it if nobody uses it. `Ok(false)`: somebody does.
    ///
    /// # Errors
    /// What systemd or the helper said; the gate is open again and the instance as it was.
    pub async fn put_to_sleep(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
    ) -> Result<bool, HostError> {
        let Some(closed) = close_if_idle(instance).await else { return Ok(false) };
        if instance.phase() == Phase::Parked {
            return Ok(true);
        }
        // A request may have been answered before systemd's report that the service is up.
        let ran = instance.phase() == Phase::Running || instance.taken.load(Ordering::SeqCst);
        self.stop_behind(&closed, instance).await?;
        drop(closed);
        if ran {
            self.park_later(instance);
        }
        Ok(true)
    }

    /// Stops it whatever is open: requests that are under way get `stop_timeout` to end, new ones
    /// wait for the next start.
    ///
    /// # Errors
    /// What systemd or the helper said; the gate is open again.
    pub async fn stop(self: &Arc<Self>, instance: &Arc<Instance>) -> Result<(), HostError> {
        let closed = loop {
            if let Some(closed) = Closed::force(instance) {
                break closed;
            }
            // Another stop is under way: its end is ours, unless it failed.
            self.until_gate_opens(instance).await;
            if matches!(instance.phase(), Phase::Asleep | Phase::Dormant | Phase::Failed) {
                return Ok(());
            }
        };
        instance.care.hush.notify_waiters();
        let drain = instance.setup().definition.stop_timeout.min(Duration::from_secs(30));
        let _ = tokio::time::timeout(drain, async {
            loop {
                let idle = instance.idle.notified();
                tokio::pin!(idle);
                idle.as_mut().enable();
                if instance.gate.leases() == 0 && !instance.gate.is_checked() {
                    return;
                }
                idle.await;
            }
        })
        .await;
        // Whatever puts it to sleep later, it is not parked before somebody has used it.
        instance.taken.store(false, Ordering::SeqCst);
        self.stop_behind(&closed, instance).await
    }

    pub(super) async fn until_gate_opens(&self, instance: &Instance) {
        loop {
            let changed = instance.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !instance.gate.is_closed() {
                return;
            }
            changed.await;
        }
    }

    /// Stops the service while the gate is closed.
    pub(super) async fn stop_behind(
        self: &Arc<Self>,
        _: &Closed,
        instance: &Arc<Instance>,
    ) -> Result<(), HostError> {
        instance.pool.clear();
        instance.disk.slept();
        let was_ready = instance.ready.swap(false, Ordering::AcqRel);
        let up = [Active::Active, Active::Activating, Active::Deactivating];
        instance.stopping.store(up.contains(&instance.units().service), Ordering::Relaxed);
        let stopped = self.host.stop(&instance.name).await;
        match self.host.units(&instance.name).await {
            Ok(units) => instance.set_units(units),
            Err(_) if stopped.is_ok() => instance.set_service(Active::Inactive),
            Err(_) => {}
        }
        if stopped.is_err() {
            instance.stopping.store(false, Ordering::Relaxed);
        }
        if stopped.is_err() && instance.units().service == Active::Active {
            // It runs on and listens as before. Without this it would look like one that is still
            // starting, and nobody would try again to put it to sleep.
            instance.ready.store(was_ready, Ordering::Release);
        }
        stopped
    }

    /// Unloads the pairs that were used longest ago when too many are loaded: a loaded pair costs
    /// PID 1 memory and slows every daemon-reload.
    pub(super) fn make_room(self: &Arc<Self>) {
        let max = self.config.load().settings.loaded_max;
        let mut asleep: Vec<_> =
            self.all().into_iter().filter(|one| one.phase() != Phase::Dormant).collect();
        if asleep.len() <= max {
            return;
        }
        let surplus = asleep.len() - max + max / 20;
        asleep.retain(|one| one.phase() == Phase::Asleep && one.gate.leases() == 0);
        asleep.sort_by_key(|one| one.last_used_ms());
        asleep.truncate(surplus);
        let agent = self.clone();
        tokio::spawn(async move {
            for instance in asleep {
                agent.make_dormant(&instance).await;
            }
        });
    }

    /// Unloads an instance's units if nobody uses it.
    pub(super) async fn make_dormant(self: &Arc<Self>, instance: &Arc<Instance>) {
        let Some(_closed) = Closed::if_idle(instance) else { return };
        if instance.phase() != Phase::Asleep {
            return;
        }
        let _because = instance.because(Way::Down, Cause::MakeRoom);
        let unloaded = self.host.unload(&instance.name).await;
        match unloaded {
            Ok(()) => instance.set_units(super::host::Units::default()),
            Err(error) => log::warn!("unloading {}: {error}", instance.name),
        }
    }
}

/// One watch. An instance that looked watched and is not would never sleep.
struct Watch<H: Host> {
    agent: Arc<Agent<H>>,
    instance: Arc<Instance>,
}

impl<H: Host> Watch<H> {
    fn end(&self) {
        // SeqCst on both sides: whoever brings it up writes its state and then reads this flag, the
        // watcher writes this flag and then reads its state, and one of them must see the other.
        self.instance.watched.swap(false, Ordering::SeqCst);
        if matches!(self.instance.phase(), Phase::Running | Phase::Starting) {
            // It came up again between the last look and the end of the watch.
            self.agent.watch_idleness(&self.instance);
        }
    }
}

impl<H: Host> Drop for Watch<H> {
    fn drop(&mut self) {
        // Not when the runtime drops its tasks at its end: nothing can be spawned then.
        if std::thread::panicking() {
            self.end();
        }
    }
}

/// How long an instance in its present phase stays up without use. One that has not come so far as
/// to listen gets the time that it may take for that.
fn sleeps_after(instance: &Instance) -> Option<Duration> {
    let setup = instance.setup();
    let idle = setup.definition.idle_timeout?;
    Some(match instance.phase() {
        Phase::Starting => idle.max(setup.definition.startup_timeout),
        _ => idle,
    })
}
