//! Sleep: an idle instance is stopped, never one in use.
//!
//! Each running instance has one small task that sleeps until its idle deadline; a sleeping instance
//! costs nothing, so 10,000 of them leave the agent at rest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::agent::Agent;
use super::host::{Active, Host, HostError};
use super::idle::{self, Verdict};
use super::instance::{Instance, Phase, mono_ms};

impl<H: Host> Agent<H> {
    /// Sees to it that exactly one task watches the idleness of a running instance.
    pub(super) fn watch_idleness(self: &Arc<Self>, instance: &Arc<Instance>) {
        if instance.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        if instance.last_used_ms() == 0 {
            // Adopted after a restart of the agent: when it was last used is unknown, so its idle
            // time begins now.
            instance.touch();
        }
        let (agent, instance) = (self.clone(), instance.clone());
        tokio::spawn(async move {
            agent.watch_until_down(&instance).await;
            instance.watched.store(false, Ordering::Release);
            if instance.phase() == Phase::Running {
                // It came up again between the last look and the line above.
                agent.watch_idleness(&instance);
            }
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
            let timeout = instance.setup().definition.idle_timeout;
            match idle::decide(mono_ms(), instance.last_used_ms(), instance.gate.leases(), timeout)
            {
                Verdict::Sleep if instance.phase() == Phase::Running => {
                    if let Err(error) = self.put_to_sleep(instance).await {
                        log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "putting {} to sleep: {error}", instance.name);
                        // The unit is as it was; the next try comes after a full idle time.
                        instance.touch();
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
        if !instance.gate.close_if_idle() {
            return Ok(false);
        }
        self.stop_behind_gate(instance).await.map(|()| true)
    }

    /// Stops it whatever is open: requests that are under way get `stop_timeout` to end, new ones
    /// wait for the next start.
    ///
    /// # Errors
    /// What systemd or the helper said; the gate is open again.
    pub async fn stop(self: &Arc<Self>, instance: &Arc<Instance>) -> Result<(), HostError> {
        if !instance.gate.close() {
            // Another stop is under way: its end is ours.
            self.until_gate_opens(instance).await;
            return Ok(());
        }
        let drain = instance.setup().definition.stop_timeout.min(Duration::from_secs(30));
        let _ = tokio::time::timeout(drain, async {
            loop {
                let idle = instance.idle.notified();
                tokio::pin!(idle);
                idle.as_mut().enable();
                if instance.gate.leases() == 0 {
                    return;
                }
                idle.await;
            }
        })
        .await;
        self.stop_behind_gate(instance).await
    }

    async fn until_gate_opens(&self, instance: &Instance) {
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

    /// The gate is closed and opens again whatever happens here, also if this future is dropped.
    async fn stop_behind_gate(self: &Arc<Self>, instance: &Arc<Instance>) -> Result<(), HostError> {
        struct Open<'a>(&'a Instance);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.gate.open();
                self.0.changed.notify_waiters();
            }
        }
        let _open = Open(instance);
        instance.pool.clear();
        instance.ready.store(false, Ordering::Release);
        let stopped = self.host.stop(&instance.name).await;
        match self.host.units(&instance.name).await {
            Ok(units) => instance.set_units(units),
            Err(_) if stopped.is_ok() => instance.set_service(Active::Inactive),
            Err(_) => {}
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
        if instance.phase() != Phase::Asleep || !instance.gate.close_if_idle() {
            return;
        }
        let unloaded = self.host.unload(&instance.name).await;
        match unloaded {
            Ok(()) => instance.set_units(super::host::Units::default()),
            Err(error) => log::warn!("unloading {}: {error}", instance.name),
        }
        instance.gate.open();
        instance.changed.notify_waiters();
    }
}
