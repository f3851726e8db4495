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
use super::cool::Outcome;
use super::descent::{self, Step, Verdict, Without};
use super::host::{Active, Host, HostError};
use super::instance::{Instance, Phase};
use super::lease::Closed;
use super::story::Way;
use super::tunnels::Notice;

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
        let mut failed = Failed::default();
        loop {
            let changed = instance.changed.notified();
            let idle = instance.idle.notified();
            tokio::pin!(changed, idle);
            changed.as_mut().enable();
            idle.as_mut().enable();
            let phase = instance.phase();
            let up = [Phase::Running, Phase::Starting, Phase::Stopping, Phase::Frozen];
            if !up.contains(&phase) {
                return;
            }
            let setup = instance.setup().clone();
            let look = self.look(instance, &setup.definition, failed.since(instance));
            let pause = match descent::decide(&look) {
                // One that is unwell is mended or given up first: what waits in the queue of a socket
                // that nobody serves would only wake it again.
                Verdict::Go(step) if phase != Phase::Stopping && !instance.care.is_unwell() => {
                    match self.go(instance, step, &mut failed).await {
                        Next::Look => continue,
                        Next::Pause(after) => Some(after),
                        Next::Told => None,
                    }
                }
                Verdict::Wait(after, _) => Some(after),
                Verdict::Go(_) | Verdict::InUse | Verdict::Rest => None,
            };
            // A window of `keep_warm` ends without a word, and so does being among the last used.
            let pause = if look.kept { Some(pause.map_or(KEPT, |p| p.min(KEPT))) } else { pause };
            tokio::select! {
                () = async { tokio::time::sleep(pause.unwrap_or_default()).await }, if pause.is_some() => {}
                () = changed => {}
                () = idle => {}
            }
        }
    }

    /// Takes a step whose time has come.
    async fn go(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        step: Step,
        failed: &mut Failed,
    ) -> Next {
        match self.step_down(instance, step, "idle").await {
            Ok(Outcome::Done) if step == Step::Stop => {
                match instance.phase() {
                    // It lived through its idle time, so whatever failed before is past.
                    Phase::Asleep => instance.recovered(),
                    // Something has started it again at once.
                    _ => instance.touch(),
                }
                Next::Look
            }
            Ok(Outcome::Done) => Next::Look,
            // Somebody has just come, or a stop is under way: both tell of their end.
            Ok(Outcome::InUse) => Next::Told,
            Ok(Outcome::Busy(_)) => Next::Pause(BUSY),
            Err(error) => {
                // Each use would make it news again, and it is the same as before.
                let level = match self.is_news(instance.name.process(), step.verb()) {
                    true => log::Level::Warn,
                    false => log::Level::Debug,
                };
                log::log!(level, TENEMENT_INSTANCE = instance.name.to_string(); "{}: a step down ({step:?}) failed: {error}", instance.name);
                match step {
                    // The next step takes its place until it is used again.
                    Step::Reclaim => failed.without.reclaim = true,
                    Step::Freeze => failed.without.freeze = true,
                    // The unit is as it was; the next try comes after a full idle time.
                    Step::Stop | Step::Unload => instance.touch(),
                }
                Next::Look
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
        let ran = matches!(instance.phase(), Phase::Running | Phase::Frozen)
            || instance.taken.load(Ordering::SeqCst);
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
        self.drain(instance).await;
        // Whatever puts it to sleep later, it is not parked before somebody has used it.
        instance.taken.store(false, Ordering::SeqCst);
        self.stop_behind(&closed, instance).await
    }

    /// Closes its gate whatever is open, after a stop that is under way.
    pub(super) async fn shut(&self, instance: &Arc<Instance>) -> Closed {
        loop {
            if let Some(closed) = Closed::force(instance) {
                return closed;
            }
            self.until_gate_opens(instance).await;
        }
    }

    /// Gives requests that are under way `stop_timeout` to end; the gate is closed.
    pub(super) async fn drain(&self, instance: &Instance) {
        let drain = instance.setup().definition.stop_timeout.min(Duration::from_secs(30));
        self.drain_for(instance, drain, &Notice::default()).await;
    }

    /// Gives them so long, but for tunnels that had their time.
    pub(super) async fn drain_for(&self, instance: &Instance, drain: Duration, had: &Notice) {
        instance.care.hush.notify_waiters();
        let _ = tokio::time::timeout(drain, async {
            loop {
                let idle = instance.idle.notified();
                tokio::pin!(idle);
                idle.as_mut().enable();
                let left = instance.gate.leases() as usize;
                if left <= had.open() && !instance.gate.is_checked() {
                    return;
                }
                idle.await;
            }
        })
        .await;
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
        // Read from its control group while that is there.
        let used = self.host.used(vec![instance.name.clone()]).await;
        let stopped = self.host.stop(&instance.name).await;
        if stopped.is_ok()
            && let Some(us) = used.first().and_then(|used| used.cpu_us)
        {
            instance.note_cpu(us);
        }
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
        // Cached, since requests change the keys meanwhile.
        asleep.sort_by_cached_key(|one| one.last_used_ms());
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
        let Some(closed) = Closed::if_idle(instance) else { return };
        if !matches!(instance.phase(), Phase::Asleep | Phase::Parked) {
            return;
        }
        let _because = instance.because(Way::Down, Cause::MakeRoom);
        if instance.phase() == Phase::Parked
            && let Err(error) = self.stop_behind(&closed, instance).await
        {
            log::warn!("stopping {}, which was parked: {error}", instance.name);
            return;
        }
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
        if matches!(self.instance.phase(), Phase::Running | Phase::Starting | Phase::Frozen) {
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

/// How long until one that is busy is looked at again, and one that is kept running.
const BUSY: Duration = Duration::from_secs(3);
const KEPT: Duration = Duration::from_secs(10);

/// What a watch does after a step.
enum Next {
    /// Looks again at once.
    Look,
    /// Looks again after this time.
    Pause(Duration),
    /// Waits until it is told of a change.
    Told,
}

/// Steps that have failed since the last use.
#[derive(Default)]
struct Failed {
    used_ms: u64,
    without: Without,
}

impl Failed {
    fn since(&mut self, instance: &Instance) -> Without {
        let used_ms = instance.last_used_ms();
        if used_ms != self.used_ms {
            *self = Self { used_ms, without: Without::default() };
        }
        self.without
    }
}
